//! What an image says beside its layers: how containers start, as whom, with which variables, labels and ports.

use std::collections::BTreeMap;

use coil_bootstrap::format::image::ImageSettings;
use coil_bootstrap::format::manifest::Manifest;

use super::base::{CERTIFICATES, HOME, USER};
use super::oci::{Nothing, Run};
use super::starts::{ENVIRONMENT, PROGRAMS, Starts};
use crate::error::Result;
use crate::project::image::over;

/// What a user decides about an image. It goes before what the bundle says, and that before what all images have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(pub ImageSettings);

impl Settings {
    /// What is said of the image of a bundle (OCI image specification, "Pre-Defined Annotation Keys").
    pub fn annotations(&self, manifest: &Manifest, created: &str) -> BTreeMap<String, String> {
        let key = |key: &str| format!("org.opencontainers.image.{key}");
        let mut all = BTreeMap::from([(key("title"), manifest.name.clone())]);
        all.extend(manifest.version.iter().map(|version| (key("version"), version.clone())));
        all.extend(manifest.source.iter().map(|source| (key("revision"), source.commit.clone())));
        all.extend(self.with(manifest).labels);
        // The configuration says it, too, and there is one truth.
        all.insert(key("created"), created.to_owned());
        all
    }

    /// How containers are started.
    pub fn run(&self, manifest: &Manifest, starts: Starts, labels: &BTreeMap<String, String>) -> Result<Run> {
        let settings = self.with(manifest);
        let mut variables = BTreeMap::from([
            ("HOME", HOME.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("PATH", format!("/{PROGRAMS}:{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin")),
            ("SSL_CERT_FILE", CERTIFICATES.to_owned()),
            ("VIRTUAL_ENV", ENVIRONMENT.to_owned()),
        ]);
        let own = manifest.environment.variables.iter().chain(&settings.env);
        variables.extend(own.map(|(name, value)| (name.as_str(), value.clone())));
        let (entrypoint, cmd) = match (settings.entrypoint, settings.cmd) {
            (None, None) => (starts.entry_point, starts.command),
            (None, Some(command)) => (starts.entry_point, Some(command)),
            (entry_point, command) => (entry_point, command),
        };
        Ok(Run {
            entrypoint,
            cmd,
            env: variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
            exposed_ports: settings.ports.into_iter().map(|port| (port, Nothing {})).collect(),
            labels: labels.clone(),
            stop_signal: settings.stop_signal,
            user: settings.user.unwrap_or_else(|| format!("{USER}:{USER}")),
            working_dir: settings.workdir.unwrap_or_else(|| "/".to_owned()),
            rest: BTreeMap::new(),
        })
    }

    /// These before what the bundle says.
    pub(super) fn with(&self, manifest: &Manifest) -> ImageSettings {
        over(self.0.clone(), manifest.image.clone())
    }
}
