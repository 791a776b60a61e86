//! From one release to another without a moment in which nobody answers.
//!
//! The new release is brought up beside the old one at the same socket; when it is up, and not before, `current` and the
//! units that name a release are changed, and the old one is told to end what it has begun. What goes wrong up to that
//! point ends the new one and leaves everything as it was. A kill at any point leaves one of the two serving: the next
//! activation, or rollback, puts the rest in order.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::app::{App, UNITS};
use super::canary::Canary;
use super::changes::{self, note};
use super::credentials;
use super::ending::{self, instance_of, remove_units, running, template_of};
use super::instance::{self, Instance, lasting};
use super::listening;
use super::settings;
use super::store::{self, Release, write};
use super::systemd::{self, systemctl};
use super::trial;
use super::units::{self, Unit};
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::production::Kind;
use crate::host::complain;

/// How many releases stay.
const KEEP: usize = 5;

/// One release takes over from another.
pub struct Handover<'a> {
    /// The app.
    pub app: &'a App,
    /// The new release's.
    pub manifest: &'a Manifest,
    /// The new release.
    pub release: &'a Release,
    /// What the log calls it.
    pub word: &'static str,
}

impl Handover<'_> {
    /// Makes the release the one that serves, and says so in a sentence.
    pub fn make(&self) -> Result<String> {
        let before = Release::linked(self.app, "current");
        let id = self.release.id();
        let told =
            |release: &Option<Release>| release.as_ref().map_or("nothing".into(), |it| it.id().to_owned());
        if let Err(error) = self.bring_up(before.as_ref()) {
            self.take_back(before.as_ref());
            let first = error.to_string();
            let first = first.lines().next().unwrap_or_default().trim_end_matches("; its last words:");
            // On a full disk there is no room for the line, and what was refused is refused all the same.
            let _ = note(self.app, &format!("refused {id}: {first}; {} serves", told(&before)));
            return Err(Error::Release(format!(
                "{error}\n{id} was not activated; {}",
                match &before {
                    Some(before) => format!("{} serves as before", before.id()),
                    None => "nothing serves".into(),
                }
            )));
        }
        self.switch(before.as_ref())?;
        let after = before.filter(|before| before != self.release);
        note(self.app, &format!("{} {id}{} after {}", self.word, about(self.manifest), told(&after)))?;
        self.end_others()?;
        Canary::withdraw(self.app);
        self.remove_old();
        Ok(format!("{} {id} is active\n", self.app.name()))
    }

    /// Has a share of the requests go to the release, beside the one that serves.
    pub fn give_share(&self, share: u8) -> Result<String> {
        let (app, id) = (self.app, self.release.id());
        let Some(before) = Release::linked(app, "current") else {
            return Err(Error::Release(format!(
                "nothing of {} serves yet, beside which {id} could get a share: activate it without --weight",
                app.name()
            )));
        };
        if before == *self.release {
            return Err(Error::Release(format!(
                "{id} serves already, and gets all requests that no other release gets"
            )));
        }
        let given =
            self.prepare(Some(&before)).and_then(|_| Canary::set(app, self.manifest, self.release, share));
        // The templates are those of the release that serves.
        before.units().and_then(|units| write(&units, |_| true))?;
        if let Err(error) = given {
            let first = error.to_string();
            let first = first.lines().next().unwrap_or_default();
            let _ = note(app, &format!("refused {id}: {first}; {} serves", before.id()));
            return Err(Error::Release(format!(
                "{error}\n{id} gets no requests; {} serves as before",
                before.id()
            )));
        }
        note(app, &format!("shared {id}{} {share} of 100 beside {}", about(self.manifest), before.id()))?;
        Ok(format!("{} {id} gets {share} of 100 requests beside {}\n", app.name(), before.id()))
    }

    /// Does what comes before any instance of the release is started. Says what its units are.
    fn prepare(&self, before: Option<&Release>) -> Result<Vec<Unit>> {
        let (app, production, id) = (self.app, &self.manifest.production, self.release.id());
        settings::check(app, &production.settings)?;
        let units = self.release.units()?;
        self.check_addresses(&units)?;
        write(&units, |unit| !unit.of_release || before.is_none())?;
        credentials::pass_on(app, &units)?;
        for (name, service) in production.services.iter().filter(|_| self.is_new(before)) {
            if service.kind == Kind::Release {
                instance::run_once(app, name, id)?;
            }
        }
        Ok(units)
    }

    /// Whether nobody has met this release yet, as far as is known.
    fn is_new(&self, before: Option<&Release>) -> bool {
        let is_canary = || Canary::there(self.app).is_some_and(|canary| canary.id() == self.release.id());
        self.word == "activated" && before != Some(self.release) && !is_canary()
    }

    /// Has the release running beside the other.
    fn bring_up(&self, before: Option<&Release>) -> Result<()> {
        let (app, production, id) = (self.app, &self.manifest.production, self.release.id());
        let units = self.prepare(before)?;
        let since = changes::now();
        // What served before has answered before, and the way back is to be short.
        for (name, service) in production.services.iter().filter(|_| self.is_new(before)) {
            trial::hold(app, name, service, id, &units, since)?;
        }
        let instances = lasting(app, &production.services, id);
        for web in instances.iter().filter(|instance| instance.is_web()) {
            // An address that the release before it did not have.
            write(&units, |unit| unit.name == web.socket() && !Path::new(UNITS).join(&unit.name).exists())?;
            if systemd::state(&web.socket()) != "active" {
                let _ = systemctl(&["reset-failed", "--", &web.socket()]);
                systemctl(&["start", "--", &web.socket()])?;
            }
        }
        if before != Some(self.release) {
            self.end_left(&instances)?;
        }
        for instance in &instances {
            let _ = systemctl(&["reset-failed", "--", instance.unit()]);
            instance.start()?;
        }
        instances.iter().try_for_each(|instance| instance.wait(since))
    }

    /// Ends what an activation that was killed was about to end of this release, and had made deaf: it would never wait for
    /// connections again.
    fn end_left(&self, instances: &[Instance<'_>]) -> Result<()> {
        let begun = ending::begun(self.app);
        let deaf = |instance: &&Instance<'_>| {
            instance.is_web() && begun.iter().any(|unit| unit == instance.unit()) && !instance.is_listening()
        };
        let left = instances.iter().filter(deaf).map(|instance| instance.unit().to_owned());
        let runs = |unit: &String| !matches!(systemd::state(unit).as_str(), "inactive" | "failed");
        self.end(&left.filter(runs).collect::<Vec<_>>())
    }

    /// A socket cannot change its address without being closed.
    fn check_addresses(&self, units: &[Unit]) -> Result<()> {
        let address =
            |text: &str| text.lines().find_map(|line| line.strip_prefix("ListenStream=").map(str::to_owned));
        for unit in units.iter().filter(|unit| unit.name.ends_with(".socket")) {
            let there = fs::read_to_string(Path::new(UNITS).join(&unit.name)).unwrap_or_default();
            let (Some(old), Some(new)) = (address(&there), address(&unit.text)) else { continue };
            if old != new && systemd::state(&unit.name) == "active" {
                return Err(Error::Release(format!(
                    "it listens at {new}, and {} is open at {old}, which cannot change while requests come: stop the app \
                     (`systemctl stop {} {}`) and activate it again",
                    unit.name,
                    self.app.target(),
                    unit.name
                )));
            }
        }
        Ok(())
    }

    /// Makes the release the one that serves, now and when the machine starts again.
    fn switch(&self, before: Option<&Release>) -> Result<()> {
        if let Some(before) = before.filter(|before| *before != self.release) {
            before.link(self.app, "previous")?;
        }
        self.release.link(self.app, "current")?;
        let units = self.release.units()?;
        write(&units, |_| true)?;
        let named = |end: &str| {
            units.iter().map(|unit| unit.name.clone()).filter(|name| name.ends_with(end)).collect::<Vec<_>>()
        };
        let mut enabled = named(".socket");
        enabled.push(self.app.target());
        let words: Vec<&str> =
            ["enable", "--quiet", "--"].into_iter().chain(enabled.iter().map(String::as_str)).collect();
        systemctl(&words)?;
        let timers = named(".timer");
        let started = timers.iter().chain(std::iter::once(&enabled[enabled.len() - 1]));
        let words: Vec<&str> = ["start", "--"].into_iter().chain(started.map(String::as_str)).collect();
        systemctl(&words)
    }

    /// Ends what runs of other releases, each when it has ended what it has begun, and removes units that are no more.
    fn end_others(&self) -> Result<()> {
        let own: BTreeSet<String> = self.release.units()?.into_iter().map(|unit| unit.name).collect();
        let mut known = own.clone();
        for release in Release::all(self.app) {
            known.extend(release.units().unwrap_or_default().into_iter().map(|unit| unit.name));
        }
        let gone: Vec<&String> = known.difference(&own).collect();
        for unit in gone.iter().filter(|unit| !unit.ends_with("@.service")) {
            let _ = systemctl(&["disable", "--quiet", "--now", "--", unit]);
        }
        let running = running(&known);
        let is_other =
            |unit: &String| instance_of(unit) != Some(self.release.id()) || !own.contains(&template_of(unit));
        self.end(&running.into_iter().filter(is_other).collect::<Vec<_>>())?;
        remove_units(gone.into_iter().map(String::as_str))
    }

    /// Ends these instances when each has ended what it has begun.
    fn end(&self, units: &[String]) -> Result<()> {
        let services = &self.manifest.production.services;
        let web = services.iter().filter(|(_, service)| service.kind == Kind::Web);
        let addresses = web.map(|(name, service)| units::address(self.app, name, service));
        ending::end(self.app, units, &addresses.flat_map(|address| listening::sockets(&address)).collect())
    }

    /// Leaves everything as it was before.
    fn take_back(&self, before: Option<&Release>) {
        if before == Some(self.release) {
            // It was asked to come up once more: what it is does not change by that.
            return;
        }
        let instances = lasting(self.app, &self.manifest.production.services, self.release.id());
        // What never waited for connections has begun nothing that it would have to end.
        for web in instances.iter().filter(|instance| instance.is_web() && !instance.is_listening()) {
            let _ = systemctl(&["kill", "--signal=KILL", "--", web.unit()]);
        }
        let units: Vec<String> = instances.iter().map(|instance| instance.unit().to_owned()).collect();
        if let Err(error) = self.end(&units) {
            complain(self.app.name().as_ref(), &error);
        }
        match before.map(|before| before.units()) {
            Some(Ok(units)) => {
                let _ = write(&units, |_| true);
                let is_there = |name: &str| units.iter().any(|unit| unit.name == name);
                let own = self.release.units().unwrap_or_default();
                let own = own.iter().map(|unit| unit.name.as_str());
                let _ = remove_units(own.filter(|name| !is_there(name)));
            }
            Some(Err(error)) => complain(self.app.name().as_ref(), &error),
            None => {
                for web in instances.iter().filter(|instance| instance.is_web()) {
                    let _ = systemctl(&["stop", "--", &web.socket()]);
                }
            }
        }
    }

    /// Removes all but the last releases, with what is unpacked of them, and never one that serves or did before.
    fn remove_old(&self) {
        let kept = [Release::linked(self.app, "current"), Release::linked(self.app, "previous")];
        let is_kept = |release: &Release| kept.iter().flatten().any(|one| one == release);
        let others = Release::all(self.app).into_iter().filter(|release| !is_kept(release));
        let room = KEEP - kept.iter().flatten().count();
        let old: Vec<Release> = others.skip(room).collect();
        if let Err(error) = store::remove(&old) {
            complain(self.app.name().as_ref(), &error);
        }
    }
}

/// What people know a release by.
fn about(manifest: &Manifest) -> String {
    let version = manifest.version.clone();
    let commit = manifest.source.as_ref().map(|source| {
        let dirty = if source.dirty { " with changes" } else { "" };
        format!("commit {}{dirty}", &source.commit[..source.commit.len().min(12)])
    });
    let known: Vec<String> = version.into_iter().chain(commit).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}
