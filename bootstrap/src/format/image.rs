//! What a bundle says of the images that are made of it: how their containers start, and what is said of them.
//!
//! The launcher has no use for it. It is in the manifest so that the image of a bundle is the image of its project.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Settings of images; everything that is absent is as every bundle has it. Names and values are those of the OCI image
/// specification ("OCI Image Configuration", "config").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageSettings {
    /// What a container always runs, with its first arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// What a container runs that is given nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Variables of containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Labels, which are annotations as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ports that the app listens on: `8000/tcp`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ports: BTreeSet<String>,
    /// The numbers of user and group: `1000:1000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The absolute path of the directory that containers run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// What asks a container to end: `SIGTERM`, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

impl ImageSettings {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == ImageSettings::default()
    }

    /// Says what is impossible about it.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |what: &str, text: &str| Err(format!("{text:?} cannot be {what} of an image"));
        let names = [("a variable", &self.env), ("a label", &self.labels)];
        for (what, name) in names.iter().flat_map(|(what, pairs)| pairs.keys().map(move |name| (what, name)))
        {
            if !is_name(name) {
                return wrong(what, name);
            }
        }
        if let Some(port) = self.ports.iter().find(|port| !is_port(port)) {
            return wrong("a port", port);
        }
        let single = [
            ("the user", &self.user, is_user as fn(&str) -> bool),
            ("the directory", &self.workdir, is_directory),
            ("the stop signal", &self.stop_signal, is_signal),
        ];
        for (what, text, is_right) in single {
            if let Some(text) = text.as_ref().filter(|text| !is_right(text)) {
                return wrong(what, text);
            }
        }
        if self.entrypoint.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty)) {
            return Err("the entry point of an image is empty".into());
        }
        let words = self.entrypoint.iter().chain(&self.cmd).flatten();
        if words.chain(self.env.values()).chain(self.labels.values()).any(|text| text.contains('\0')) {
            return Err("what it says of an image holds a NUL byte".into());
        }
        Ok(())
    }
}

/// Whether `text` can name a variable or a label.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == '=' || c.is_control())
}

/// `8000/tcp`
pub fn is_port(text: &str) -> bool {
    text.split_once('/').is_some_and(|(number, protocol)| {
        is_number::<u16>(number) && number != "0" && matches!(protocol, "tcp" | "udp" | "sctp")
    })
}

/// `1000:1000`
pub fn is_user(text: &str) -> bool {
    text.split_once(':').is_some_and(|(user, group)| is_number::<u32>(user) && is_number::<u32>(group))
}

/// An absolute path.
pub fn is_directory(text: &str) -> bool {
    text.starts_with('/') && !text.contains(char::is_control)
}

/// `SIGTERM`, `SIGRTMIN+3`, or a number from 1 to 64.
pub fn is_signal(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-');
    let number = is_number::<u8>(text) && text.parse().is_ok_and(|number: u8| (1..=64).contains(&number));
    number || text.strip_prefix("SIG").is_some_and(|name| !name.is_empty() && name.bytes().all(plain))
}

/// A number as it is always written: without a sign, without zeros in front.
fn is_number<T: std::str::FromStr>(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0')) && text.parse::<T>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ImageSettings {
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        ImageSettings {
            entrypoint: Some(vec!["/venv/bin/python".into()]),
            cmd: Some(Vec::new()),
            env: pair("MODE", "two\nlines"),
            labels: pair("org.example.team", ""),
            ports: ["8000/tcp".to_owned()].into(),
            user: Some("0:4294967295".into()),
            workdir: Some("/app".into()),
            stop_signal: Some("SIGRTMIN+3".into()),
        }
    }

    #[test]
    fn settings_read_back_what_was_written() {
        assert_eq!(settings().check(), Ok(()));
        let json = serde_json::to_string(&settings()).unwrap();
        assert_eq!(serde_json::from_str::<ImageSettings>(&json).unwrap(), settings());
        assert!(
            serde_json::from_str::<ImageSettings>(&json.replacen("stopSignal", "stop-signal", 1)).is_err()
        );
        assert_eq!(serde_json::to_string(&ImageSettings::default()).unwrap(), "{}");
    }

    #[test]
    fn what_no_engine_would_take_is_refused() {
        let refused = |change: &dyn Fn(&mut ImageSettings)| {
            let mut bad = settings();
            change(&mut bad);
            assert!(bad.check().is_err(), "{bad:?}");
        };
        for port in ["", "8000", "0/tcp", "08/tcp", "+8/tcp", "70000/tcp", "80/http", "80/tcp\n", "/tcp"] {
            refused(&|bad| bad.ports = [port.to_owned()].into());
        }
        for user in ["", "1", "me:me", "1:", ":1", "-1:1", "01:1", "1:1\0", "4294967296:1"] {
            refused(&|bad| bad.user = Some(user.into()));
        }
        for signal in ["", "TERM", "SIG", "0", "65", "sigterm", "SIGTERM\n"] {
            refused(&|bad| bad.stop_signal = Some(signal.into()));
        }
        for name in ["", "A=B", "A\0", "A\nB"] {
            refused(&|bad| drop(bad.env.insert(name.into(), String::new())));
            refused(&|bad| drop(bad.labels.insert(name.into(), String::new())));
        }
        refused(&|bad| bad.workdir = Some("app".into()));
        refused(&|bad| bad.workdir = Some("/a\nb".into()));
        refused(&|bad| bad.entrypoint = Some(Vec::new()));
        refused(&|bad| bad.entrypoint = Some(vec![String::new()]));
        refused(&|bad| bad.cmd = Some(vec!["a\0".into()]));
        refused(&|bad| drop(bad.env.insert("A".into(), "a\0".into())));
        refused(&|bad| drop(bad.labels.insert("a".into(), "a\0".into())));
    }
}
