//! A release on trial: it answers what it must answer, before it is started where clients can meet it.
//!
//! It runs under the template of its process type, with its user, settings, credentials and sandbox, at a socket that
//! nobody else knows, and is ended when it has answered. The units of a trial are in `/run`: no reboot meets them, and
//! the next trial replaces what a killed one has left.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::app::{App, UNITS, write_whole};
use super::instance::Instance;
use super::systemd::systemctl;
use super::units::{MARK, Unit};
use crate::error::{Error, Result};
use crate::format::production::Service;

/// The directory of units that are made while a machine runs (systemd.unit(5)).
const RUNTIME_UNITS: &str = "/run/systemd/system";

/// The units of a trial; they are ended and removed with the value.
struct Trial {
    socket: String,
    template: String,
    unit: String,
}

/// Brings the release `id` up at a socket of its own and asks it for what the service's probe says.
pub fn hold(app: &App, name: &str, service: &Service, id: &str, units: &[Unit], since: u64) -> Result<()> {
    if service.probe.is_none() {
        return Ok(());
    }
    let stem = app.stem(name);
    let own = units.iter().find(|unit| unit.name == format!("{stem}@.service"));
    let own =
        own.ok_or_else(|| Error::Release(format!("release {id} has no unit for {name}: install it again")))?;
    let trial = Trial {
        socket: format!("{stem}-trial.socket"),
        template: format!("{stem}-trial@.service"),
        unit: format!("{stem}-trial@{id}.service"),
    };
    trial.end();
    let address = address(app, &stem, service)?;
    trial.write(app, &stem, &own.text, &address)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["start", "--", &trial.socket])?;
    let instance = Instance::on_trial(service, trial.unit.clone(), address);
    instance.start()?;
    instance.wait(since)?;
    instance.probe(since)
}

/// An address of the same kind as the service's own: a server that is made for one may not take the other.
fn address(app: &App, stem: &str, service: &Service) -> Result<String> {
    if service.listen.as_ref().is_none_or(|own| own.starts_with('/')) {
        return Ok(format!("/run/{}/{stem}-trial.sock", app.name()));
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.map(|address| address.to_string()).map_err(Error::at("find a free port at", "127.0.0.1"))
}

impl Trial {
    fn write(&self, app: &App, stem: &str, template: &str, address: &str) -> Result<()> {
        let sockets = format!("Sockets={stem}.socket");
        let text =
            template.lines().filter(|line| !line.starts_with("PartOf=") && !line.starts_with("Restart"));
        let text: String =
            text.map(|line| {
                if line == sockets { format!("Sockets={}\n", self.socket) } else { format!("{line}\n") }
            })
            .collect();
        let socket = format!(
            "{MARK}{}: a release on trial.\n[Socket]\nListenStream={address}\nService={}\nSocketMode=0600\n\
             TriggerLimitIntervalSec=0\nRemoveOnStop=yes\n",
            app.name(),
            self.unit
        );
        let place = Path::new(RUNTIME_UNITS);
        fs::create_dir_all(place).map_err(Error::at("create", place))?;
        write_whole(&place.join(&self.template), 0o644, text.as_bytes())?;
        write_whole(&place.join(&self.socket), 0o644, socket.as_bytes())?;
        // An administrator's drop-ins hold for it, too.
        let drop_ins = Path::new(UNITS).join(format!("{stem}@.service.d"));
        if drop_ins.is_dir() {
            let link = self.drop_ins();
            symlink(&drop_ins, &link).map_err(Error::at("create", &link))?;
        }
        Ok(())
    }

    fn drop_ins(&self) -> PathBuf {
        Path::new(RUNTIME_UNITS).join(format!("{}.d", self.template))
    }

    fn end(&self) {
        let files =
            [self.socket.as_str(), self.template.as_str()].map(|name| Path::new(RUNTIME_UNITS).join(name));
        if !files.iter().any(|file| file.exists()) {
            return;
        }
        let stem = self.template.trim_end_matches(".service");
        // It has answered, or it never will: nothing that it has begun is anybody's.
        let _ = systemctl(&["kill", "--signal=KILL", "--", &format!("{stem}*.service")]);
        let _ = systemctl(&["stop", "--", &format!("{stem}*.service"), &self.socket]);
        let _ = systemctl(&["reset-failed", "--", &self.unit, &self.socket]);
        for file in files.iter().chain([&self.drop_ins()]) {
            let _ = fs::remove_file(file);
        }
        let _ = systemctl(&["daemon-reload"]);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.end();
    }
}
