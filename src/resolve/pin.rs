//! A pin: one distribution the resolver chose, and where it is.

use std::path::{Path, PathBuf};

use coil_bootstrap::format::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::lock::{Artifact, Directory, Package, Vcs, normal_name, url};
use crate::wheel::WheelName;

/// One distribution that was chosen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pin {
    /// Its name in normal form.
    pub name: String,
    /// Its version, where the resolver says it.
    pub version: Option<String>,
    /// Where it is.
    pub source: Source,
}

/// Where a chosen distribution is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Source {
    /// One of the wheels that were built before, by its place in the request.
    Built(usize),
    /// A file: a wheel or a source distribution.
    File {
        /// Its address; `file:` for a local one.
        address: String,
        /// Its digest, where the index tells it.
        sha256: Option<Digest>,
        /// Whether it was named directly rather than found in an index.
        direct: bool,
    },
    /// A revision in a version control system.
    Vcs(Vcs),
    /// A source tree.
    Directory(PathBuf),
}

impl Pin {
    /// The pin of a wheel that the user gives.
    pub fn of_wheel(path: &Path) -> Result<Pin> {
        let name = WheelName::parse(&path.file_name().unwrap_or_default().to_string_lossy())?;
        let source = Source::File { address: url::of_path(path), sha256: None, direct: true };
        Ok(Pin { name: normal_name(&name.distribution), version: None, source })
    }

    /// The name of the file, or of the distribution where there is none.
    pub fn file_name(&self) -> String {
        match &self.source {
            Source::File { address, .. } => url::file_name(address),
            _ => self.name.clone(),
        }
    }

    /// Whether it is on this machine, named by the user.
    pub fn is_local(&self) -> bool {
        match &self.source {
            Source::Built(_) | Source::Directory(_) => true,
            Source::File { address, direct, .. } => *direct && address.starts_with("file:"),
            Source::Vcs(_) => false,
        }
    }

    /// The wheel on this machine that it already is.
    pub fn local_wheel(&self) -> Option<PathBuf> {
        let Source::File { address, .. } = &self.source else { return None };
        url::local_path(address).filter(|path| path.extension().is_some_and(|end| end == "whl"))
    }

    /// What the lock says of it. `wheel` is what was fetched or built: its name tells a version that the
    /// resolver left out, and its length and digest are stated where it is the file that was chosen.
    pub fn into_package(self, wheel: &FetchedWheel) -> Package {
        let name_of_version = || wheel.path.file_name()?.to_str()?.split('-').nth(1).map(str::to_owned);
        let mut package =
            Package { version: self.version.clone().or_else(name_of_version), ..Package::default() };
        match self.source {
            // The project itself, and source trees beside it: by name, without where they are.
            Source::Built(0) => {
                package.directory = Some(Directory { path: ".".to_owned(), subdirectory: None })
            }
            Source::Built(_) => {
                package.directory = Some(Directory { path: self.name.clone(), subdirectory: None })
            }
            Source::Directory(path) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                package.directory =
                    Some(Directory { path: name.unwrap_or_else(|| self.name.clone()), subdirectory: None });
            }
            Source::Vcs(vcs) => package.vcs = Some(vcs),
            Source::File { address, sha256, direct } => {
                let (address, below) = match address.split_once("#subdirectory=") {
                    Some((address, below)) => (address.to_owned(), Some(below.to_owned())),
                    None => (address, None),
                };
                let is_wheel = url::file_name(&address).ends_with(".whl");
                // Only a wheel may come without: what was fetched is then the file itself.
                let mut artifact = Artifact::at(address, sha256.unwrap_or(wheel.sha256));
                artifact.subdirectory = below;
                artifact.size = is_wheel.then_some(wheel.size);
                match (direct, is_wheel) {
                    (true, _) => package.archive = Some(artifact),
                    (false, true) => package.wheels = vec![artifact],
                    (false, false) => package.sdist = Some(artifact),
                }
            }
        }
        package.name = self.name;
        package
    }
}

/// A wheel on this machine.
#[derive(Debug, Clone)]
pub struct FetchedWheel {
    /// Where it is.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}
