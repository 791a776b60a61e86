//! The end of what served: each instance ends what it has begun, and no connection is lost to one that is about to go.
//!
//! Which instances are about to end stands in `/run/APP/ending` while they are: one that was made deaf and not ended, because
//! whoever did that was killed, would never answer again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::app::{App, UNITS, write_whole};
use super::deaf::{deafen, let_come_up};
use super::store::is_id;
use super::systemd::{self, systemctl};
use super::units::MARK;
use crate::error::Result;

/// Ends these instances of the app when each has ended what it has begun. They take no connection at these sockets any more
/// before they are told.
pub fn end(app: &App, units: &[String], sockets: &BTreeSet<u64>) -> Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    let mut ending: BTreeSet<String> = begun(app).into_iter().collect();
    // Others may be deaf: they would not come up any more.
    for unit in units.iter().filter(|unit| !ending.contains(*unit)) {
        let_come_up(unit, sockets);
    }
    ending.extend(units.iter().cloned());
    note(app, &ending);
    deafen(units, sockets);
    let words = ["stop", "--"].into_iter().chain(units.iter().map(String::as_str));
    systemctl(&words.collect::<Vec<_>>())?;
    for unit in units {
        let _ = systemctl(&["reset-failed", "--", unit]);
    }
    ending.retain(|unit| !units.contains(unit));
    note(app, &ending);
    Ok(())
}

/// The instances that somebody was about to end, and may have made deaf.
pub fn begun(app: &App) -> Vec<String> {
    let text = fs::read_to_string(record(app)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The instances that are loaded of these templates.
pub fn running(templates: &BTreeSet<String>) -> Vec<String> {
    let patterns = templates.iter().filter_map(|name| name.strip_suffix("@.service"));
    patterns
        .flat_map(|stem| systemd::loaded(&format!("{stem}@*.service")))
        .filter(|unit| instance_of(unit).is_some_and(is_id))
        .collect()
}

/// `a@b.service` -> `b`
pub fn instance_of(unit: &str) -> Option<&str> {
    unit.split_once('@')?.1.strip_suffix(".service")
}

/// `a@b.service` -> `a@.service`
pub fn template_of(unit: &str) -> String {
    let stem = unit.split_once('@').map_or(unit, |(stem, _)| stem);
    format!("{stem}@.service")
}

/// Removes units of these names, as far as they are coil's.
pub fn remove_units<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let remove = |name: &&str| {
        let path = PathBuf::from(UNITS).join(name);
        fs::read_to_string(&path).is_ok_and(|text| text.starts_with(MARK)) && fs::remove_file(path).is_ok()
    };
    if names.filter(remove).count() > 0 { systemctl(&["daemon-reload"]) } else { Ok(()) }
}

/// Writes down which instances are about to end. It is for the case of a kill alone: where it cannot be written, all goes on.
fn note(app: &App, units: &BTreeSet<String>) {
    let record = record(app);
    let Some(directory) = record.parent() else { return };
    if units.is_empty() {
        let _ = fs::remove_file(&record);
        // Where sockets of the app are in it, it stays.
        let _ = fs::remove_dir(directory);
        return;
    }
    let lines: Vec<&str> = units.iter().map(String::as_str).collect();
    let _ = fs::create_dir_all(directory);
    let _ = write_whole(&record, 0o644, lines.join("\n").as_bytes());
}

fn record(app: &App) -> PathBuf {
    PathBuf::from("/run").join(app.name()).join("ending")
}
