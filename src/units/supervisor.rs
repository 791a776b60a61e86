//! Definitions for hosts without systemd: supervisord, runit, s6.
//!
//! They keep processes running; none of them hands a socket over from one release to the next, so a new release is a
//! restart there.

use coil_bootstrap::format::production::{DRAIN, Kind, Service, Setting};

use super::{Definition, Place};
use crate::error::{Failure, Result};

/// A program that keeps others running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Supervisor {
    /// systemd: the units that `COIL=units` prints.
    Systemd,
    /// supervisord, 4.0 or later.
    Supervisord,
    /// runit: directories for runsvdir.
    Runit,
    /// s6: directories for s6-svscan.
    S6,
}

/// What it is told: one definition for each process type that is kept running, and the script that starts them.
pub fn supervised(place: &Place, supervisor: Supervisor) -> Result<Vec<Definition>> {
    let app = place.app();
    if place.manifest.production.services.is_empty() {
        return Err(Failure::new(format!("{} has no services", place.manifest.name))
            .hint("name them in a Procfile or under [tool.coil.services], and pack it again"));
    }
    let script = format!("/etc/{}/supervised.py", app.name());
    let start = |name: &str| format!("COIL=python {} {script} {name}", quoted(place));
    let kept = place.manifest.production.services.iter();
    let kept: Vec<(&String, &Service)> =
        kept.filter(|(_, service)| matches!(service.kind, Kind::Web | Kind::Worker)).collect();
    let mut definitions = match supervisor {
        Supervisor::Systemd => Vec::new(),
        Supervisor::Supervisord => vec![supervisord(place, &kept, &start)],
        Supervisor::Runit => {
            kept.iter().flat_map(|kept| directory(place, "/etc/sv", "runit", *kept, &start)).collect()
        }
        Supervisor::S6 => {
            kept.iter().flat_map(|kept| directory(place, "/etc/s6/sv", "s6", *kept, &start)).collect()
        }
    };
    let others: Vec<String> = place
        .manifest
        .production
        .services
        .iter()
        .filter_map(|(name, service)| match service.kind {
            Kind::Release => {
                Some(format!("# {name} runs once before the others are restarted: {}\n", start(name)))
            }
            Kind::Timer => Some(format!(
                "# {name} runs by a schedule ({}), which cron has: {}\n",
                service.schedule.as_deref().unwrap_or_default(),
                start(name)
            )),
            _ => None,
        })
        .collect();
    definitions.push(Definition {
        path: script,
        text: others.concat() + &start_script(place),
        executable: false,
    });
    Ok(definitions)
}

/// Configuration of supervisord, "[program:x] Section Settings".
fn supervisord(place: &Place, kept: &[(&String, &Service)], start: &dyn Fn(&str) -> String) -> Definition {
    let app = place.app();
    let mut text = String::new();
    for (name, service) in kept {
        text += &format!(
            "[program:{}]\ncommand=/usr/bin/env {}\nautostart=true\nautorestart=true\nstartsecs=2\nstartretries=1000000\n\
             stopsignal=TERM\nstopwaitsecs={}\nkillasgroup=true\nredirect_stderr=true\n\n",
            app.stem(name),
            start(name).replace('%', "%%"),
            service.drain.unwrap_or(DRAIN),
        );
    }
    Definition { path: format!("/etc/supervisor/conf.d/{}.conf", app.name()), text, executable: false }
}

/// A directory of runit or s6: both run `run`, and start it again when it ends. A file says how long s6 waits for the end.
fn directory(
    place: &Place,
    root: &str,
    whose: &str,
    (name, service): (&String, &Service),
    start: &dyn Fn(&str) -> String,
) -> Vec<Definition> {
    let stem = place.app().stem(name);
    let run = format!("#!/bin/sh\nexec 2>&1\nexec env {}\n", start(name));
    let mut files = vec![Definition { path: format!("{root}/{stem}/run"), text: run, executable: true }];
    if whose == "s6" {
        let wait = u64::from(service.drain.unwrap_or(DRAIN)) * 1000;
        let text = format!("{wait}\n");
        files.push(Definition { path: format!("{root}/{stem}/timeout-kill"), text, executable: false });
    }
    files
}

fn start_script(place: &Place) -> String {
    let app = place.app();
    let services = place.manifest.production.services.keys();
    let addresses: Vec<String> =
        services.filter_map(|name| Some(format!("\"{name}\": \"{}\"", place.address(name)?))).collect();
    let file = place.file.display().to_string();
    let settings = &place.manifest.production.settings;
    let default =
        |(name, said): (&String, &Setting)| Some(format!("\"{name}\": {}", literal(said.default.as_ref()?)));
    let defaults: Vec<String> = settings.iter().filter_map(default).collect();
    let required = settings.iter().filter(|(_, said)| said.required);
    let required: Vec<String> = required.map(|(name, _)| format!("\"{name}\"")).collect();
    include_str!("../../runtime-templates/supervised.py")
        .replace("@ADDRESSES@", &addresses.join(", "))
        .replace("@REQUIRED@", &required.join(", "))
        .replace("@SETTINGS@", &app.settings().display().to_string())
        .replace("@STATE@", &app.home().join("state").display().to_string())
        .replace("@SCRIPT@", &format!("/etc/{}/supervised.py", app.name()))
        .replace("@USER@", &app.user())
        .replace("@APP@", app.name())
        .replace("@FILE@", &file)
        // Last, as it is the one that a project writes freely.
        .replace("@DEFAULTS@", &defaults.join(", "))
}

/// A text, which has no control characters, as Python reads it.
fn literal(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The path of the bundle as a shell reads it; it was checked to be plain.
fn quoted(place: &Place) -> String {
    place.file.display().to_string()
}
