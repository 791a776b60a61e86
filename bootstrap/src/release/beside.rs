//! A process type of a release at a socket of its own, beside the one that serves: on trial, or with a share of the requests.
//!
//! It runs under the template of its process type, with its user, settings, credentials and sandbox. Its units are in `/run`:
//! no reboot meets them, and the next of its kind replaces what a killed one has left.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::app::{App, UNITS, write_whole};
use super::systemd::systemctl;
use super::units::{MARK, Unit};
use crate::error::{Error, Result};

/// The directory of units that are made while a machine runs (systemd.unit(5)).
const RUNTIME_UNITS: &str = "/run/systemd/system";

/// Why it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To answer what it must answer; it ends with whoever asks, and nobody else can reach it.
    Trial,
    /// To get a share of the requests; it is kept running, and goes down with the app.
    Canary,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Trial => "trial",
            Role::Canary => "canary",
        }
    }
}

/// The units of one.
#[derive(Debug)]
pub struct Beside {
    stem: String,
    role: Role,
    id: String,
}

impl Beside {
    /// The process type whose units begin with `stem`, of the release `id`.
    pub fn new(stem: &str, role: Role, id: &str) -> Beside {
        Beside { stem: stem.into(), role, id: id.into() }
    }

    /// The one that is there.
    pub fn there(stem: &str, role: Role) -> Option<Beside> {
        let text = fs::read_to_string(Beside::new(stem, role, "").file("socket")).ok()?;
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("Service=")?.split_once('@')?.1.split_once('.'))?;
        Some(Beside::new(stem, role, id.0))
    }

    /// The beginning of the names of its process type's units.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The release.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The unit that is its process type.
    pub fn unit(&self) -> String {
        format!("{}@{}.service", self.name(), self.id)
    }

    /// Writes its units, and opens its socket at `address`.
    pub fn open(&self, app: &App, units: &[Unit], address: &str) -> Result<()> {
        let template = units.iter().find(|unit| unit.name == format!("{}@.service", self.stem));
        let template = template.ok_or_else(|| {
            Error::Release(format!(
                "release {} has no unit {}@.service: install it again",
                self.id, self.stem
            ))
        })?;
        let own = format!("Sockets={}.socket", self.stem);
        let is_kept = |line: &&str| {
            self.role == Role::Canary || !(line.starts_with("PartOf=") || line.starts_with("Restart"))
        };
        let line = |line| {
            if line == own { format!("Sockets={}.socket\n", self.name()) } else { format!("{line}\n") }
        };
        let service: String = template.text.lines().filter(is_kept).map(line).collect();
        let who = match self.role {
            Role::Trial => "SocketMode=0600\n",
            Role::Canary => "",
        };
        let socket = format!(
            "{MARK}{}, and gone when the machine starts again.\n[Socket]\nListenStream={address}\nService={}\n\
             TriggerLimitIntervalSec=0\nRemoveOnStop=yes\n{who}",
            app.name(),
            self.unit()
        );
        let place = Path::new(RUNTIME_UNITS);
        fs::create_dir_all(place).map_err(Error::at("create", place))?;
        write_whole(&self.file("@.service"), 0o644, service.as_bytes())?;
        write_whole(&self.file("socket"), 0o644, socket.as_bytes())?;
        // An administrator's drop-ins hold for it, too.
        let drop_ins = Path::new(UNITS).join(format!("{}@.service.d", self.stem));
        if drop_ins.is_dir() {
            let link = self.drop_ins();
            symlink(&drop_ins, &link).map_err(Error::at("create", &link))?;
        }
        systemctl(&["daemon-reload"])?;
        systemctl(&["start", "--", &self.socket()])
    }

    /// Ends it at once, whatever it is doing.
    pub fn kill(&self) {
        let _ = systemctl(&["kill", "--signal=KILL", "--", &format!("{}@*.service", self.name())]);
    }

    /// Ends it, whichever release it is of, as any service is ended, closes its socket and removes its units.
    pub fn close(&self) {
        let all = format!("{}@*.service", self.name());
        let _ = systemctl(&["stop", "--", &all]);
        let _ = systemctl(&["stop", "--", &self.socket()]);
        let _ = systemctl(&["reset-failed", "--", &self.unit(), &self.socket()]);
        for file in [self.file("socket"), self.file("@.service"), self.drop_ins()] {
            let _ = fs::remove_file(file);
        }
        let _ = systemctl(&["daemon-reload"]);
    }

    /// Whether units of it, or of another release in its place, are there.
    pub fn has_units(&self) -> bool {
        self.file("socket").exists() || self.file("@.service").exists()
    }

    fn name(&self) -> String {
        format!("{}-{}", self.stem, self.role.word())
    }

    fn socket(&self) -> String {
        format!("{}.socket", self.name())
    }

    fn file(&self, end: &str) -> PathBuf {
        let dot = if end.starts_with('@') { "" } else { "." };
        Path::new(RUNTIME_UNITS).join(format!("{}{dot}{end}", self.name()))
    }

    fn drop_ins(&self) -> PathBuf {
        self.file("@.service.d")
    }
}
