//! Releases as images, for hosts that run containers: their engine, docker or podman, loads what it lacks, and the tag `current`
//! says which release it is.
//!
//! What starts and stops containers there is the user's business (Swarm, compose, a unit), and one command that he
//! names; nothing here knows any of them. Nothing is changed on a host but tags of the app's own images, and a log.

mod engine;
mod load;
mod offer;
mod script;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use coil_bootstrap::receive::offer::is_release;

pub use self::engine::Kind;
pub use self::offer::{Offer, repository};
pub use self::script::Place;

use self::load::{Loading, failure};
use self::script::{AGAIN, CONTAINER, FAILED, LOADED};
use super::process::{Ended, Host, Ssh};
use super::release::{App, Release};
use super::remote::Said;
use super::script::{BEFORE, CURRENT};
use super::transfer::Transfer;
use crate::error::{Failure, Result};
use crate::report::Report;

/// How much of what a command wrote is told when it failed, in lines.
const LAST_LINES: usize = 5;

/// How hosts with containers are reached, and what is run there when another image is current.
pub struct Containers<'a> {
    /// How they are reached.
    pub ssh: &'a Ssh,
    /// The app's images there.
    pub place: Place,
    /// The command, for a shell.
    pub run: Option<&'a str>,
    /// Who is told what it wrote, where everything is told.
    pub report: &'a Report,
}

/// An image that is offered to such hosts.
pub struct OfferedImage<'a> {
    hosts: Containers<'a>,
    offer: &'a Offer,
    /// The releases that each host has too many of, once it has this one.
    superseded: Mutex<BTreeMap<String, Vec<String>>>,
}

impl<'a> OfferedImage<'a> {
    /// This image for these hosts.
    pub fn new(hosts: Containers<'a>, offer: &'a Offer) -> Self {
        OfferedImage { hosts, offer, superseded: Mutex::default() }
    }
}

impl Containers<'_> {
    /// Makes the image with this tag the current one.
    fn change(&self, host: &Host, target: &str, superseded: &[String]) -> Said {
        let ended = self.ssh.start(host, &self.place.change(target, superseded)).and_then(|mut remote| {
            // Where it does not read, it says why.
            let _ = remote.streams().1.write_all(self.run.unwrap_or_default().as_bytes());
            remote.end()
        });
        let ended = match ended {
            Ok(ended) => ended,
            Err(failure) => return Said { before: None, current: None, result: Err(failure) },
        };
        let before = told(&ended, BEFORE).filter(|word| is_release(word));
        let current = told(&ended, CURRENT).filter(|word| is_release(word));
        ended.errors.lines().for_each(|line| self.report.detail(&format!("{host}: {line}")));
        let result = match ended.code {
            Some(0) => Ok(String::new()),
            _ => Err(self.why(&ended, host, current.as_deref())),
        };
        Said { before, current, result }
    }

    /// Why the change failed, and what is so now.
    fn why(&self, ended: &Ended, host: &Host, current: Option<&str>) -> Failure {
        let Some(status) = told(ended, FAILED) else { return failure(ended, self.place.engine, host) };
        let lines: Vec<&str> = ended.errors.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        let said = if last.is_empty() { String::new() } else { format!(":\n  {last}") };
        let message = format!("the command of --run ended with status {status}{said}");
        let app = &self.place.repository;
        let name = current.map_or("what was current".to_owned(), |release| format!("{app}:{release}"));
        match (told(ended, AGAIN).as_deref(), current) {
            (Some("0"), _) => {
                Failure::new(format!("{message}\n{name} is current as before, and it was run for that again"))
            }
            (Some(again), _) => Failure::new(format!(
                "{message}\n{name} is current as before, but run for that again it ended with status {again}"
            ))
            .hint(format!("look at {host} first: what serves there is not known")),
            (None, Some(_)) => Failure::new(message),
            (None, None) => Failure::new(format!("{message}\nno image is current, as before")),
        }
    }
}

impl App for Containers<'_> {
    fn go_back(&self, host: &Host) -> Said {
        self.change(host, "previous", &[])
    }
}

impl App for OfferedImage<'_> {
    fn go_back(&self, host: &Host) -> Said {
        self.hosts.go_back(host)
    }
}

impl Release for OfferedImage<'_> {
    fn id(&self) -> &str {
        self.offer.release()
    }

    fn arrived(&self) -> &'static str {
        "loaded"
    }

    fn bring(&self, host: &Host, report: &Report, transfer: &mut Transfer) -> Result<()> {
        let Containers { ssh, place, .. } = &self.hosts;
        let engine = Loading { ssh, host, place, offer: self.offer, report }.load(transfer)?;
        let mut superseded = self.superseded.lock().unwrap_or_else(PoisonError::into_inner);
        superseded.insert(host.to_string(), engine.superseded(self.id()));
        Ok(())
    }

    fn activate(&self, host: &Host) -> Said {
        let superseded = self.superseded.lock().unwrap_or_else(PoisonError::into_inner);
        let superseded = superseded.get(&host.to_string()).cloned().unwrap_or_default();
        self.hosts.change(host, self.id(), &superseded)
    }

    fn check(&self, host: &Host) -> Result<()> {
        let Containers { ssh, place, .. } = &self.hosts;
        let ended = ssh.run(host, &place.containers(self.id()))?;
        if ended.code != Some(0) {
            return Err(failure(&ended, place.engine, host));
        }
        if told(&ended, LOADED).is_none() {
            let now = told(&ended, CURRENT).filter(|word| is_release(word));
            return Err(Failure::new(match now {
                Some(now) => format!("somebody made release {now} current meanwhile"),
                None => "it has no current release any more".into(),
            }));
        }
        let containers =
            ended.output.lines().filter_map(|line| line.strip_prefix(CONTAINER)?.split_once(' '));
        match containers.into_iter().find(|(_, state)| is_bad(state)) {
            Some((name, state)) => Err(Failure::new(format!("the container {name} is not well: {state}"))
                .hint(format!("`ssh {host} docker logs {name}` has its last words, or podman in its place"))),
            None => Ok(()),
        }
    }
}

/// Whether a container in this state, in the engine's words, tells that its image does not work.
fn is_bad(state: &str) -> bool {
    let ended = state.starts_with("Exited") && !state.starts_with("Exited (0)");
    ended || state.starts_with("Restarting") || state.starts_with("Dead") || state.contains("(unhealthy)")
}

/// What follows these words in what a host has said.
fn told(ended: &Ended, words: &str) -> Option<String> {
    ended.output.lines().find_map(|line| line.strip_prefix(words)).map(|rest| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_well_that_runs_or_ended_well() {
        for good in [
            "Up 3 seconds",
            "Up 3 seconds (healthy)",
            "Up 1 second (health: starting)",
            "Exited (0) 2 seconds ago",
            "Created",
        ] {
            assert!(!is_bad(good), "{good}");
        }
        for bad in
            ["Restarting (1) 3 seconds ago", "Exited (1) 3 seconds ago", "Up 1 minute (unhealthy)", "Dead"]
        {
            assert!(is_bad(bad), "{bad}");
        }
    }
}
