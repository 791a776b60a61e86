//! The launcher's own commands on a host: activate, rollback, status.

use coil_bootstrap::receive::offer::is_release;
use coil_bootstrap::release::RESTARTS;
use serde_json::Value;

use super::process::{Host, Ssh};
use super::script::{self, BEFORE, CURRENT};
use crate::error::{Context, Failure, Result};

/// What a command on a host came to.
pub struct Said {
    /// The release that was current before, as far as the host said.
    pub before: Option<String>,
    /// The release that is current afterwards, as far as the host said.
    pub current: Option<String>,
    /// What the command printed, or why it failed.
    pub result: Result<String>,
}

/// Runs one of the launcher's commands on `host`, with this release of the app or with the current one.
pub fn run(ssh: &Ssh, host: &Host, app: &str, release: Option<&str>, command: &str) -> Said {
    let ended = match ssh.run(host, &script::command(app, release, command)) {
        Ok(ended) => ended,
        Err(failure) => return Said { before: None, current: None, result: Err(failure) },
    };
    let (mut before, mut current) = (None, None);
    let mut text = String::new();
    for line in ended.output.lines() {
        if let Some(link) = line.strip_prefix(BEFORE) {
            before = release_of(link);
        } else if let Some(link) = line.strip_prefix(CURRENT) {
            current = release_of(link);
        } else {
            text += &format!("{line}\n");
        }
    }
    let result = if ended.code == Some(0) { Ok(text) } else { Err(ended.failure(app)) };
    Said { before, current, result }
}

/// The release that the link leads to.
fn release_of(link: &str) -> Option<String> {
    let name = link.trim().trim_end_matches('/').rsplit('/').next()?;
    is_release(name).then(|| name.to_owned())
}

/// Whether the release runs well on `host`, some time after it was activated.
pub fn check(ssh: &Ssh, host: &Host, app: &str, release: &str) -> Result<()> {
    let said = run(ssh, host, app, Some(release), "status --json");
    let status: Value =
        serde_json::from_str(&said.result?).context(|| "what it says of its units makes no sense".into())?;
    let units = status["units"].as_object().into_iter().flatten();
    for (unit, state) in units.filter(|(unit, _)| unit.ends_with(&format!("@{release}.service"))) {
        let state = state.as_str().unwrap_or_default();
        let words = format!("`journalctl -u {unit}` on {host} has its last words");
        if let Some((_, count)) = state.split_once(RESTARTS) {
            return Err(
                Failure::new(format!("{unit} died and was started again (restarts: {count})")).hint(words)
            );
        }
        // Between two starts a service of a timer is inactive.
        if !(state.starts_with("active") || state.starts_with("inactive")) {
            return Err(Failure::new(format!("{unit} is {state}")).hint(words));
        }
    }
    match said.current {
        Some(current) if current == release => Ok(()),
        Some(current) => Err(Failure::new(format!("it went back to release {current} by itself"))),
        None => Err(Failure::new("it has no current release any more")),
    }
}
