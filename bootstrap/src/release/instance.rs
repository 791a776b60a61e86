//! One process type of one release: bringing it up, and knowing that it is.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::app::App;
use super::beside::Beside;
use super::changes;
use super::listening;
use super::probe;
use super::systemd::{self, Properties, systemctl};
use super::units;
use crate::error::{Error, Result};
use crate::format::production::{Kind, START_TIMEOUT, Service};

/// How often its state is looked at.
const PAUSE: Duration = Duration::from_millis(25);

/// How long a worker must have run: one that cannot import its app ends before.
const STEADY: Duration = Duration::from_secs(2);

/// How long a release that is up may give bad answers: what it needs may have to be warmed up.
const PROBED: Duration = Duration::from_secs(3);

/// A process type of a release, as systemd runs it.
pub struct Instance<'a> {
    service: &'a Service,
    stem: String,
    unit: String,
    address: String,
}

/// The instances of a release that run all the time.
pub fn lasting<'a>(
    app: &App,
    services: impl IntoIterator<Item = (&'a String, &'a Service)>,
    id: &str,
) -> Vec<Instance<'a>> {
    let lasting =
        services.into_iter().filter(|(_, service)| matches!(service.kind, Kind::Web | Kind::Worker));
    let instance = |(name, service): (&'a String, &'a Service)| Instance {
        service,
        stem: app.stem(name),
        unit: units::instance(app, name, id),
        address: units::address(app, name, service),
    };
    lasting.map(instance).collect()
}

impl<'a> Instance<'a> {
    /// One that listens at an `address` of its own.
    pub fn beside(service: &'a Service, beside: &Beside, address: String) -> Self {
        Instance { service, stem: beside.stem().into(), unit: beside.unit(), address }
    }

    /// Its unit.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Whether it answers requests.
    pub fn is_web(&self) -> bool {
        self.service.kind == Kind::Web
    }

    /// Its socket's unit.
    pub fn socket(&self) -> String {
        format!("{}.socket", self.stem)
    }

    /// Has it started, without waiting for what becomes of it.
    pub fn start(&self) -> Result<()> {
        systemctl(&["start", "--no-block", "--", &self.unit])
    }

    /// Waits until it is up: it says so where it can, and it waits for connections where it answers requests. Fails when
    /// it ends, and when it takes too long.
    pub fn wait(&self, since: u64) -> Result<()> {
        let patience = Duration::from_secs(self.service.start_timeout.unwrap_or(START_TIMEOUT).into());
        let begun = Instant::now();
        let until = begun + patience;
        let mut running_since = None;
        loop {
            let state = State::of(&self.unit);
            if let Some(how) = state.failure() {
                return Err(self.failed(&how, since));
            }
            if state.is_up() {
                let running = *running_since.get_or_insert_with(Instant::now);
                let ready = match self.service.kind {
                    Kind::Web => self.is_listening(),
                    _ => running.elapsed() >= STEADY,
                };
                if ready {
                    break;
                }
            }
            if Instant::now() > until {
                let what = if self.is_web() { "does not wait for connections" } else { "is not up" };
                return Err(self.failed(&format!("it {what} after {} s", patience.as_secs()), since));
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    /// Whether it waits for connections.
    pub fn is_listening(&self) -> bool {
        let sockets = listening::sockets(&self.address);
        !sockets.is_empty() && listening::is_waited_at(&sockets, &listening::processes(&self.unit))
    }

    /// Asks it for what its probe says, until it gives a good answer or has had its time to do so.
    pub fn probe(&self, since: u64) -> Result<()> {
        let Some(path) = &self.service.probe else { return Ok(()) };
        let until = Instant::now() + PROBED;
        loop {
            let told = match probe::ask(&self.address, path) {
                Ok(status) if status < 400 => return Ok(()),
                Ok(status) => format!("it answers {path} with status {status}"),
                Err(error) => format!("it does not answer {path}: {}", crate::error::reason(&error)),
            };
            if let Some(how) = State::of(&self.unit).failure() {
                return Err(self.failed(&how, since));
            }
            if Instant::now() > until {
                return Err(self.failed(&told, since));
            }
            sleep(10 * PAUSE);
        }
    }

    fn failed(&self, how: &str, since: u64) -> Error {
        let lines = systemd::journal(&self.unit, since);
        let lines = if lines.is_empty() { String::new() } else { format!("; its last words:\n{lines}") };
        Error::Release(format!("{} did not come up: {how}{lines}", self.unit))
    }
}

/// Runs a process type that ends by itself, and waits for it.
pub fn run_once(app: &App, name: &str, id: &str) -> Result<()> {
    let unit = units::instance(app, name, id);
    let since = changes::now();
    // One that ran before and has ended would be `failed` still.
    let _ = systemctl(&["reset-failed", "--", &unit]);
    systemctl(&["start", "--", &unit]).map_err(|_| {
        let lines = systemd::journal(&unit, since);
        // It is told here and in the log; `systemctl --failed` is about what is to run.
        let _ = systemctl(&["reset-failed", "--", &unit]);
        Error::Release(format!("{unit} failed; its last words:\n{lines}"))
    })
}

/// What systemd knows of a service.
struct State(Properties);

impl State {
    fn of(unit: &str) -> State {
        State(Properties::of(
            unit,
            &["ActiveState", "SubState", "Result", "NRestarts", "ExecMainStatus", "ExecMainCode"],
        ))
    }

    fn is_up(&self) -> bool {
        self.0.get("ActiveState") == "active"
    }

    /// How it ended, where it did.
    fn failure(&self) -> Option<String> {
        let restarted = !matches!(self.0.get("NRestarts"), "" | "0");
        let ended =
            self.0.get("ActiveState") == "failed" || self.0.get("SubState") == "auto-restart" || restarted;
        let (code, status) = (self.0.get("ExecMainCode"), self.0.get("ExecMainStatus"));
        ended.then(|| match self.0.get("Result") {
            "timeout" => "it was not ready in time".to_owned(),
            // CLD_EXITED (waitid(2)); anything else was a signal.
            _ if code == "1" => format!("it ended with exit code {status}"),
            _ if matches!(code, "2" | "3") => format!("it was ended by signal {status}"),
            result => format!("it ended ({result})"),
        })
    }
}
