//! What a server has of an app: its releases, which of them serves and since when, and how its units are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::app::App;
use super::canary::Canary;
use super::changes::active_since;
use super::store::{Release, id};
use super::systemd::{self, Properties};
use crate::bundle::Bundle;
use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::format::time::rfc3339;

/// What stands between a unit's state and how often it was started again after it had died.
pub const RESTARTS: &str = ", restarts: ";

/// Tells it as text, or as JSON for programs.
pub fn status(bundle: &Bundle, as_json: bool) -> Result<String> {
    let app = App::of(bundle.manifest());
    let known = Known::of(&app);
    Ok(match as_json {
        true => format!("{}\n", known.json(&app, &id(&bundle.digest()))),
        false => known.text(&app, &id(&bundle.digest())),
    })
}

struct Known {
    current: Option<String>,
    previous: Option<String>,
    /// What has a share of the requests, and how many of a hundred.
    canary: Option<(String, u8)>,
    releases: Vec<Described>,
    units: Vec<(String, String)>,
}

struct Described {
    id: String,
    installed: String,
    version: Option<String>,
    commit: Option<String>,
    /// Why it cannot be read, where it cannot.
    damage: Option<String>,
}

impl Known {
    fn of(app: &App) -> Known {
        let link = |name: &str| Release::linked(app, name).map(|release| release.id().to_owned());
        let all = Release::all(app);
        let stems: BTreeSet<String> = all
            .iter()
            .flat_map(|release| release.units().unwrap_or_default())
            .filter_map(|unit| unit.name.strip_suffix("@.service").map(str::to_owned))
            .collect();
        let patterns = stems.iter().flat_map(|stem| {
            [
                format!("{stem}@*.service"),
                format!("{stem}-canary@*.service"),
                format!("{stem}.socket"),
                format!("{stem}.timer"),
            ]
        });
        let mut units = Vec::new();
        if systemd::is_in_charge() {
            for unit in patterns.flat_map(|pattern| systemd::loaded(&pattern)) {
                let state = Properties::of(&unit, &["ActiveState", "SubState", "NRestarts"]);
                let mut text = format!("{} ({})", state.get("ActiveState"), state.get("SubState"));
                // One that dies again and again is active in between.
                if !matches!(state.get("NRestarts"), "" | "0") {
                    text += &format!("{RESTARTS}{}", state.get("NRestarts"));
                }
                units.push((unit, text));
            }
        }
        let releases = all.iter().map(Described::of).collect();
        let canary = Canary::there(app).map(|canary| (canary.id().to_owned(), canary.weight()));
        Known { current: link("current"), previous: link("previous"), canary, releases, units }
    }

    fn text(&self, app: &App, own: &str) -> String {
        let name = app.name();
        let mut text = match &self.current {
            Some(id) => {
                let since = active_since(app, id).map(|since| format!(" since {since}")).unwrap_or_default();
                format!("{name}: {id} is active{since}\n")
            }
            None if self.releases.is_empty() => {
                format!("{name}: nothing is installed; COIL=install does that\n")
            }
            None => format!("{name}: nothing is active; COIL=activate does that\n"),
        };
        if let Some((id, weight)) = &self.canary {
            text += &format!("{id} gets {weight} of 100 requests beside it\n");
        }
        if !self.releases.iter().any(|release| release.id == own) {
            text += &format!("this file would be {own}, which is not installed\n");
        }
        for release in &self.releases {
            let mark = match Some(&release.id) {
                id if id == self.current.as_ref() => "active",
                id if id == self.canary.as_ref().map(|(id, _)| id) => "canary",
                id if id == self.previous.as_ref() => "previous",
                _ => "",
            };
            let this = if release.id == own { " (this file)" } else { "" };
            let line = format!(
                "{:<13} {mark:<9} installed {}{}{this}",
                release.id,
                release.installed,
                release.about()
            );
            text += &format!("  {}\n", line.trim_end());
        }
        for (unit, state) in &self.units {
            text += &format!("  {unit:<40} {state}\n");
        }
        text += &format!("  settings: {}\n", app.settings().display());
        text
    }

    fn json(&self, app: &App, own: &str) -> Value {
        let releases: Vec<Value> = self
            .releases
            .iter()
            .map(|it| {
                json!({
                    "id": it.id, "installed": it.installed, "version": it.version, "commit": it.commit, "damage": it.damage,
                })
            })
            .collect();
        let units: serde_json::Map<String, Value> =
            self.units.iter().map(|(unit, state)| (unit.clone(), json!(state))).collect();
        json!({
            "app": app.name(),
            "this": own,
            "current": self.current,
            "previous": self.previous,
            "canary": self.canary.as_ref().map(|(id, weight)| json!({"id": id, "weight": weight})),
            "since": self.current.as_ref().and_then(|id| active_since(app, id)),
            "releases": releases,
            "units": units,
            "settings": app.settings().display().to_string(),
        })
    }
}

impl Described {
    fn of(release: &Release) -> Described {
        let opened = release.open();
        let manifest: Option<&Manifest> = opened.as_ref().ok().map(Bundle::manifest);
        Described {
            id: release.id().to_owned(),
            installed: rfc3339(release.since()),
            version: manifest.and_then(|manifest| manifest.version.clone()),
            commit: manifest
                .and_then(|manifest| manifest.source.as_ref())
                .map(|source| source.commit.clone()),
            damage: opened.as_ref().err().map(ToString::to_string),
        }
    }

    fn about(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let commit = self.commit.as_ref().and_then(|commit| commit.get(..12));
        let commit = commit.map(|commit| format!(" commit {commit}")).unwrap_or_default();
        let damage = self.damage.as_ref().map(|damage| format!(" ({damage})")).unwrap_or_default();
        format!("{version}{commit}{damage}")
    }
}
