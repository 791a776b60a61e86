//! Credentials: files that an administrator puts into `/etc/APP/credentials`, which systemd gives to services and to nobody
//! else (systemd.exec(5), `LoadCredential=`).
//!
//! Which there are is known on the machine alone, so that they stand in a drop-in of each template and not in the units of a
//! release.

use std::fs;
use std::path::Path;

use super::app::{App, UNITS, write_whole};
use super::systemd::systemctl;
use super::units::{MARK, Unit};
use crate::error::{Error, Result};

/// The file in the directory of a template's drop-ins.
const DROP_IN: &str = "coil-credentials.conf";

/// Their names, sorted.
pub fn names(app: &App) -> Vec<String> {
    let entries = fs::read_dir(app.credentials()).into_iter().flatten().flatten();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let names = entries.filter(|entry| entry.path().is_file());
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| !name.starts_with('.') && name.chars().all(plain)).collect();
    names.sort();
    names
}

/// What gives them to a service, one word for each.
pub fn properties(app: &App) -> Vec<String> {
    let directory = app.credentials();
    names(app).iter().map(|name| format!("LoadCredential={name}:{}/{name}", directory.display())).collect()
}

/// Gives them to all services of these units, and takes away those that are no more.
pub fn pass_on(app: &App, units: &[Unit]) -> Result<()> {
    let mut changed = false;
    let properties = properties(app);
    let text = format!(
        "{MARK}{}: the files in {}.\n[Service]\n{}\n",
        app.name(),
        app.credentials().display(),
        properties.join("\n")
    );
    for unit in units.iter().filter(|unit| unit.name.ends_with("@.service")) {
        let place = Path::new(UNITS).join(format!("{}.d", unit.name));
        let path = place.join(DROP_IN);
        let there = fs::read_to_string(&path).ok();
        if properties.is_empty() {
            changed |= there.is_some() && fs::remove_file(&path).is_ok();
            // An administrator's own stay, and the directory with them.
            let _ = fs::remove_dir(&place);
        } else if there.as_ref() != Some(&text) {
            fs::create_dir_all(&place).map_err(Error::at("create", &place))?;
            write_whole(&path, 0o644, text.as_bytes())?;
            changed = true;
        }
    }
    if changed { systemctl(&["daemon-reload"]) } else { Ok(()) }
}
