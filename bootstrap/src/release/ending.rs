//! The end of what served: each instance ends what it has begun, and no connection is lost to one that is about to go.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::app::UNITS;
use super::hush::hush;
use super::listening;
use super::store::is_id;
use super::systemd::{self, systemctl};
use super::units::MARK;
use crate::error::Result;

/// How long a connection that was accepted may take to send its request before its server is told to end.
const HUSH: Duration = Duration::from_millis(100);

/// Ends these instances when each has ended what it has begun. They take no connection at these sockets any more before they
/// are told.
pub fn end(units: &[String], sockets: &BTreeSet<u64>) -> Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    deafen(units, sockets);
    let words = ["stop", "--"].into_iter().chain(units.iter().map(String::as_str));
    systemctl(&words.collect::<Vec<_>>())?;
    for unit in units {
        let _ = systemctl(&["reset-failed", "--", unit]);
    }
    Ok(())
}

/// Has these instances take no connection any more at these sockets, and gives them time for those that they have taken.
pub fn deafen(units: &[String], sockets: &BTreeSet<u64>) {
    let hushed: Vec<bool> = units.iter().map(|unit| hush(sockets, &listening::processes(unit))).collect();
    if hushed.contains(&true) {
        thread::sleep(HUSH);
    }
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
        let path = Path::new(UNITS).join(name);
        fs::read_to_string(&path).is_ok_and(|text| text.starts_with(MARK)) && fs::remove_file(path).is_ok()
    };
    if names.filter(remove).count() > 0 { systemctl(&["daemon-reload"]) } else { Ok(()) }
}
