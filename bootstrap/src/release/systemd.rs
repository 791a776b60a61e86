//! systemd, through `systemctl` and `journalctl`: what they say is the answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// There while systemd is the init of this machine (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// How many lines of a service's journal explain why it did not come up.
const LINES: &str = "12";

/// Whether systemd is in charge of this machine.
pub fn is_in_charge() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Refuses to go on where it is not.
pub fn need(what: &str) -> Result<()> {
    match is_in_charge() {
        true => Ok(()),
        false => Err(Error::Release(format!(
            "{what} needs systemd, and it is not in charge of this machine: start the command yourself, or look at \
             COIL=units for what to tell another supervisor"
        ))),
    }
}

/// Runs `systemctl` with these words and waits for it.
pub fn systemctl(words: &[&str]) -> Result<()> {
    let program = Path::new("systemctl");
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(Error::at("run", program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(Error::Release(format!("`systemctl {}` failed: {}", words.join(" "), said.trim())))
}

/// Properties of a unit (systemctl(1), `show`).
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Those of `unit` that are named.
    pub fn of(unit: &str, names: &[&str]) -> Properties {
        let wanted = names.join(",");
        let output = Command::new("systemctl").args(["show", "--property", &wanted, "--", unit]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let pairs = text.unwrap_or_default();
        let pairs = pairs.lines().filter_map(|line| line.split_once('='));
        Properties(pairs.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value of one; empty where it is not known.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// The state of a unit: `active`, `failed`.
pub fn state(unit: &str) -> String {
    Properties::of(unit, &["ActiveState"]).get("ActiveState").to_owned()
}

/// The names of loaded units that fit this pattern, running or not.
pub fn loaded(pattern: &str) -> Vec<String> {
    let words = ["list-units", "--all", "--plain", "--no-legend", "--no-pager", "--", pattern];
    let output = Command::new("systemctl").args(words).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The last lines that a unit has written since `since`, in seconds since 1970.
pub fn journal(unit: &str, since: u64) -> String {
    let since = format!("@{since}");
    let words =
        ["--unit", unit, "--since", &since, "--lines", LINES, "--output", "cat", "--no-pager", "--quiet"];
    let output = Command::new("journalctl").args(words).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned()).unwrap_or_default()
}
