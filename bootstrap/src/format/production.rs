//! What a bundle says of a server it is installed on: which of its commands are kept running there, and which settings
//! they take from outside.
//!
//! It is in the manifest because a bundle manages itself on a server: nothing else is there to read a project's files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::image::{is_directory, is_name};

/// How long a process type has to come up, in seconds, where nothing else is said.
pub const START_TIMEOUT: u32 = 90;

/// How long a process type has to end what it has begun, in seconds, where nothing else is said.
pub const DRAIN: u32 = 30;

/// What a server runs of a bundle. Both parts are empty for a bundle that is a program and no service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Production {
    /// The process types, by the names of their commands.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Service>,
    /// The variables that the server's own file of settings may have, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Setting>,
}

/// A process type: a command that a server runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    /// What it is to the server.
    pub kind: Kind,
    /// `web`: where it listens, as `ListenStream=` of systemd.socket(5) takes it. Without one, at `/run/APP/APP.sock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `web`: the path that a release must answer, with a status below 400, before the one before it goes; `//HOST/PATH`
    /// for an app that answers to its own name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Whether the program itself says when it is ready (sd_notify(3)).
    #[serde(default, skip_serializing_if = "is_false")]
    pub notify: bool,
    /// `timer`: when it runs, as `OnCalendar=` of systemd.timer(5) takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How long it has to come up, in seconds ([`START_TIMEOUT`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<u32>,
    /// How long it has to end what it has begun, in seconds ([`DRAIN`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<u32>,
    /// `web`: the directory of the app's tree that holds its static files.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_files: Option<String>,
}

/// What a process type is to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It answers requests at a socket that outlives every release.
    Web,
    /// It is kept running.
    Worker,
    /// It runs when a calendar says so.
    Timer,
    /// It runs once before a release becomes active, and stops that when it fails.
    Release,
}

/// A variable that comes from the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// What a new file of settings says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Whether no release becomes active without it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// What it is for, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Service {
    /// A process type about which nothing is said but what it is.
    pub fn of(kind: Kind) -> Self {
        Service {
            kind,
            listen: None,
            probe: None,
            notify: false,
            schedule: None,
            start_timeout: None,
            drain: None,
            static_files: None,
        }
    }
}

impl Production {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Production::default()
    }

    /// Says what is impossible about it; the services must be among the bundle's commands.
    pub(super) fn check(&self, is_command: impl Fn(&str) -> bool) -> Result<(), String> {
        for (name, service) in &self.services {
            if !is_command(name) || !is_unit_name(name) {
                return Err(format!("{name:?} cannot be a service"));
            }
            service.check().map_err(|what| format!("the service {name}: {what}"))?;
        }
        for (name, setting) in &self.settings {
            if !is_variable(name) {
                return Err(format!("{name:?} cannot be the name of a setting"));
            }
            let texts = setting.default.iter().chain(&setting.help);
            if texts.into_iter().any(|text| text.contains(char::is_control)) {
                return Err(format!("what is said of the setting {name} has control characters in it"));
            }
        }
        Ok(())
    }
}

impl Service {
    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str, text: &str| Err(format!("{text:?} is no {what}"));
        if self.kind != Kind::Web
            && (self.listen.is_some() || self.probe.is_some() || self.static_files.is_some())
        {
            return Err("only one that answers requests has an address, a probe or static files".into());
        }
        if (self.kind == Kind::Timer) != self.schedule.is_some() {
            return Err("a schedule belongs to a timer, and a timer needs one".into());
        }
        match self {
            Service { listen: Some(text), .. } if !is_address(text) => wrong("address", text),
            Service { probe: Some(text), .. } if !is_probe(text) => wrong("path to ask for", text),
            Service { schedule: Some(text), .. } if !is_schedule(text) => wrong("schedule", text),
            Service { static_files: Some(text), .. } if !is_static(text) => wrong("directory", text),
            _ => Ok(()),
        }
    }
}

/// Whether a part of a unit's name can be `text` (systemd.unit(5)), and so can a file's.
pub fn is_unit_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 100 && !text.starts_with(['-', '.']) && text.bytes().all(plain)
}

/// Whether `text` can name a variable in a file that systemd, shells and people read.
pub fn is_variable(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    is_name(text) && text.bytes().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// `8000`, `127.0.0.1:8000`, `[::1]:8000`, `/run/site.sock`
pub fn is_address(text: &str) -> bool {
    if text.starts_with('/') {
        // More than a socket's address has room for (unix(7)), and what means something else in a unit.
        return is_directory(text) && text.len() < 108 && !text.contains(['%', ' ', '"', '\'', '\\']);
    }
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0) && !text.starts_with('+');
    is_port(text) || text.parse::<std::net::SocketAddr>().is_ok_and(|address| address.port() > 0)
}

/// `/health?full=1`
pub fn is_probe(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 1000 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// One line without what means something else in a unit.
pub fn is_schedule(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " *-:,./~+_".contains(c);
    !text.trim().is_empty() && text.len() <= 200 && text.chars().all(plain)
}

/// A relative path that stays where it begins.
pub fn is_static(text: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    text.len() <= 1000 && text.split('/').all(plain)
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn production() -> Production {
        let web = Service {
            listen: Some("127.0.0.1:8000".into()),
            probe: Some("/health?full=1".into()),
            notify: true,
            start_timeout: Some(5),
            drain: Some(0),
            static_files: Some("staticfiles".into()),
            ..Service::of(Kind::Web)
        };
        let clock = Service { schedule: Some("Mon..Fri *-*-* 03:00:00".into()), ..Service::of(Kind::Timer) };
        let secret = Setting { required: true, help: Some("of Django".into()), default: None };
        Production {
            services: [("web".into(), web), ("clock".into(), clock)].into(),
            settings: [("SECRET_KEY".into(), secret)].into(),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(production().check(|_| true), Ok(()));
        let json = serde_json::to_string(&production()).unwrap();
        assert_eq!(serde_json::from_str::<Production>(&json).unwrap(), production());
        assert_eq!(serde_json::to_string(&Production::default()).unwrap(), "{}");
        assert!(production().check(|name| name != "web").is_err());
    }

    #[test]
    fn addresses_are_what_a_socket_unit_takes() {
        for right in ["8000", "127.0.0.1:80", "[::1]:80", "/run/a/b.sock"] {
            assert!(is_address(right), "{right}");
        }
        for wrong in [
            "",
            "0",
            "+80",
            "70000",
            "localhost:80",
            "1.2.3.4",
            "1.2.3.4:0",
            "/a b",
            "/a%b",
            "a.sock",
            "80\n",
        ] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }

    #[test]
    fn nothing_of_it_can_add_a_line_to_a_unit() {
        let refused = |change: &dyn Fn(&mut Production)| {
            let mut bad = production();
            change(&mut bad);
            assert!(bad.check(|_| true).is_err(), "{bad:?}");
        };
        for text in ["", "\n", "daily\nExecStart=/bin/sh", "%i", "a\0"] {
            refused(&|bad| bad.services.get_mut("clock").unwrap().schedule = Some(text.into()));
        }
        for text in ["", "health", "/a b", "/\n", "/\u{e9}"] {
            refused(&|bad| bad.services.get_mut("web").unwrap().probe = Some(text.into()));
        }
        for text in ["", "/static", "a/../../b", "a//b", ".", "a\nb"] {
            refused(&|bad| bad.services.get_mut("web").unwrap().static_files = Some(text.into()));
        }
        for name in ["", "-a", "a b", "a/b", "a\nb", "a%b", "a@b"] {
            refused(&|bad| drop(bad.services.insert(name.into(), Service::of(Kind::Worker))));
        }
        for name in ["", "1A", "A B", "A=B", "A-B", "\u{c4}"] {
            refused(&|bad| drop(bad.settings.insert(name.into(), Setting::default())));
        }
        refused(&|bad| bad.services.get_mut("clock").unwrap().schedule = None);
        refused(&|bad| bad.services.get_mut("clock").unwrap().probe = Some("/".into()));
        refused(&|bad| bad.settings.get_mut("SECRET_KEY").unwrap().help = Some("a\nB=c".into()));
    }
}
