//! What a user decides about an image: how containers start, as whom, with which variables, labels and ports.

use std::collections::BTreeMap;

use coil_bootstrap::format::manifest::Manifest;

use super::base::{CERTIFICATES, HOME, USER};
use super::oci::{Nothing, Run};
use super::starts::{ENVIRONMENT, PROGRAMS, Starts};
use crate::error::{Failure, Result};

/// What is decided; everything else is as the bundle has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What always runs, with its first arguments.
    pub entry_point: Option<Vec<String>>,
    /// What runs unless a container is given something else.
    pub command: Option<Vec<String>>,
    /// Variables.
    pub variables: BTreeMap<String, String>,
    /// Labels, which are annotations as well.
    pub labels: BTreeMap<String, String>,
    /// Ports that the app listens on: `8000`, `53/udp`.
    pub ports: Vec<String>,
    /// A numeric user, or user and group: `1000`, `1000:1000`.
    pub user: Option<String>,
    /// Where it runs.
    pub directory: Option<String>,
    /// What asks it to end: `SIGTERM`.
    pub stop_signal: Option<String>,
}

impl Settings {
    /// What is said of the image of a bundle (OCI image specification, "Pre-Defined Annotation Keys").
    pub fn annotations(&self, manifest: &Manifest, created: &str) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut add =
            |key: &str, value: &str| all.insert(format!("org.opencontainers.image.{key}"), value.to_owned());
        add("created", created);
        add("title", &manifest.name);
        if let Some(version) = &manifest.version {
            add("version", version);
        }
        if let Some(source) = &manifest.source {
            add("revision", &source.commit);
        }
        all.extend(self.labels.clone());
        all
    }

    /// How containers are started.
    pub fn run(&self, manifest: &Manifest, starts: Starts, labels: &BTreeMap<String, String>) -> Result<Run> {
        let mut variables = BTreeMap::from([
            ("HOME", HOME.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("PATH", format!("/{PROGRAMS}:{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin")),
            ("SSL_CERT_FILE", CERTIFICATES.to_owned()),
            ("VIRTUAL_ENV", ENVIRONMENT.to_owned()),
        ]);
        let own = manifest.environment.variables.iter().chain(&self.variables);
        variables.extend(own.map(|(name, value)| (name.as_str(), value.clone())));
        let (entrypoint, cmd) = match (&self.entry_point, &self.command) {
            (None, None) => (starts.entry_point, starts.command),
            (None, Some(command)) => (starts.entry_point, Some(command.clone())),
            (Some(entry_point), command) => (Some(entry_point.clone()), command.clone()),
        };
        Ok(Run {
            entrypoint,
            cmd,
            env: variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
            exposed_ports: self
                .ports
                .iter()
                .map(|text| Ok((port(text)?, Nothing {})))
                .collect::<Result<_>>()?,
            labels: labels.clone(),
            stop_signal: self.stop_signal.as_deref().map(signal).transpose()?,
            user: user(self.user.as_deref())?,
            working_dir: directory(self.directory.as_deref())?,
            rest: BTreeMap::new(),
        })
    }
}

/// `8000` and `8000/tcp` are one.
fn port(text: &str) -> Result<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_number = number
        .parse::<u16>()
        .is_ok_and(|number| number > 0 && text.starts_with(|c: char| c.is_ascii_digit()));
    if is_number && ["tcp", "udp", "sctp"].contains(&protocol) {
        return Ok(format!("{number}/{protocol}"));
    }
    Err(Failure::new(format!("{text:?} is no port")).hint("write a number such as 8000, or 53/udp"))
}

/// Engines look names up in the image, and Kubernetes cannot know what a name stands for.
fn user(text: Option<&str>) -> Result<String> {
    let Some(text) = text else { return Ok(format!("{USER}:{USER}")) };
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    let is_number =
        |text: &str| text.parse::<u32>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit());
    match is_number(user) && is_number(group) {
        true => Ok(format!("{user}:{group}")),
        false => Err(Failure::new(format!("the user {text:?} of an image is no number"))
            .hint("write a user such as 1000, or a user and a group such as 1000:1000")),
    }
}

fn directory(text: Option<&str>) -> Result<String> {
    match text {
        Some(text) if !text.starts_with('/') => {
            Err(Failure::new(format!("the working directory {text:?} of an image is not absolute"))
                .hint("write it from the image's root on, such as /app"))
        }
        text => Ok(text.unwrap_or("/").to_owned()),
    }
}

fn signal(text: &str) -> Result<String> {
    let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let name = text.strip_prefix("SIG").is_some_and(|name| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"+-".contains(&byte))
    });
    match number || name {
        true => Ok(text.to_owned()),
        false => {
            Err(Failure::new(format!("{text:?} is no signal"))
                .hint("write a name such as SIGTERM, or a number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_engine_would_take_is_refused() {
        assert_eq!(port("8000").unwrap(), "8000/tcp");
        assert_eq!(port("53/udp").unwrap(), "53/udp");
        for bad in ["", "0", "+80", "70000", "http", "80/xyz", "80/"] {
            assert!(port(bad).is_err(), "{bad}");
        }
        assert_eq!(user(None).unwrap(), "65532:65532");
        assert_eq!(user(Some("7")).unwrap(), "7:7");
        assert!(["me", "", "1:", "-1", "+1"].iter().all(|bad| user(Some(bad)).is_err()));
        assert!(signal("SIGRTMIN+3").is_ok() && signal("15").is_ok());
        assert!(["TERM", "SIG", "0", "sigterm"].iter().all(|bad| signal(bad).is_err()));
        assert!(directory(Some("app")).is_err());
    }
}
