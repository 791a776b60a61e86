//! The launcher's own commands on a host: activate, rollback, status.

use coil_bootstrap::receive::offer::is_release;

use super::process::{Host, Ssh};
use super::script::{self, CURRENT};
use crate::error::{Failure, Result};

/// What a command on a host came to.
pub struct Said {
    /// The release that is current afterwards, as far as the host said.
    pub current: Option<String>,
    /// What the command printed, or why it failed.
    pub result: Result<String>,
}

/// Runs one of the launcher's commands on `host`, with this release of the app or with the current one.
pub fn run(ssh: &Ssh, host: &Host, app: &str, release: Option<&str>, command: &str) -> Said {
    let ended = match ssh.run(host, &script::command(app, release, command)) {
        Ok(ended) => ended,
        Err(failure) => return Said { current: None, result: Err(failure) },
    };
    let mut current = None;
    let mut text = String::new();
    for line in ended.output.lines() {
        match line.strip_prefix(CURRENT) {
            Some(link) => {
                let name = link.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                current = is_release(name).then(|| name.to_owned());
            }
            None => text += &format!("{line}\n"),
        }
    }
    let result = if ended.code == Some(0) { Ok(text) } else { Err(ended.failure()) };
    Said { current, result }
}

/// Whether the release runs well on `host`, some time after it was activated.
pub fn check(ssh: &Ssh, host: &Host, app: &str, release: &str) -> Result<()> {
    let said = run(ssh, host, app, Some(release), "status");
    said.result?;
    match said.current {
        Some(current) if current == release => Ok(()),
        Some(current) => Err(Failure::new(format!("it went back to release {current} by itself"))),
        None => Err(Failure::new("it has no current release any more")),
    }
}
