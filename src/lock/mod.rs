//! The lock: the exact set of distributions, as the part of `pylock.toml` (PEP 751) that coil writes.
//!
//! The lock of a bundle is made for one interpreter: it lists the one file that was taken for each
//! distribution, not every file an index offers. It never holds a credential or a path of the machine it was
//! made on, so that it can be shown and compared. The locks of projects, which other tools write, are read
//! into the same types, with everything that decides what of them is taken.

pub mod choose;
pub mod complete;
pub mod dependency;
pub mod marker;
mod read;
pub mod specifier;
pub mod url;
mod write;

use coil_bootstrap::format::digest::Digest;
use serde::{Deserialize, Serialize};

/// The version of the specification that is written, and the only one that is read.
pub const LOCK_VERSION: &str = "1.0";

/// What a bundle's distributions are, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The versions of Python the lock is for (`==3.12.*`), as a version specifier.
    pub requires_python: Option<String>,
    /// Markers of the environments the lock is for; for all of them without any.
    pub environments: Vec<String>,
    /// The extras that can be chosen.
    pub extras: Vec<String>,
    /// The dependency groups that can be chosen.
    pub dependency_groups: Vec<String>,
    /// The dependency groups that are always chosen.
    pub default_groups: Vec<String>,
    /// The distributions. In the lock of a bundle each name is there once, in its normal form.
    pub packages: Vec<Package>,
}

/// One distribution and where it came from: one of `wheels`, `sdist`, `archive`, `vcs`, `directory`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// Its name in normal form (`markdown-it-py`).
    pub name: String,
    /// Its version; a source tree may leave it out.
    pub version: Option<String>,
    /// The environments it is installed in; in all of them without one.
    pub marker: Option<String>,
    /// The versions of Python it is for.
    pub requires_python: Option<String>,
    /// The wheel that was taken from an index or a directory of wheels.
    #[serde(default)]
    pub wheels: Vec<Artifact>,
    /// The source distribution that a wheel was built of, where the index has no fitting wheel.
    pub sdist: Option<Artifact>,
    /// The one file that was named directly, by address or by path.
    pub archive: Option<Artifact>,
    /// The revision that a wheel was built of.
    pub vcs: Option<Vcs>,
    /// The source tree that a wheel was built of.
    pub directory: Option<Directory>,
}

/// A file: where it is, how long it is, and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Artifact {
    /// Its file name, where it is not the last component of the address or path.
    pub name: Option<String>,
    /// Its address, without credentials.
    pub url: Option<String>,
    /// Its file name, where it was a local file.
    pub path: Option<String>,
    /// Its length in bytes, where that is known.
    pub size: Option<u64>,
    /// Where in it the project is, for a file of sources.
    pub subdirectory: Option<String>,
    /// Its digests.
    #[serde(default)]
    pub hashes: Hashes,
}

/// The digests of a file; SHA-256 is the one coil checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Hashes {
    /// The SHA-256, as 64 hexadecimal digits; `None` where the lock has other algorithms only.
    #[serde(default, deserialize_with = "read::sha256")]
    pub sha256: Option<Digest>,
}

/// A revision in a version control system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vcs {
    /// Which one: `git`, `hg`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address of the repository, without credentials.
    pub url: Option<String>,
    /// The path of the repository, where it is on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was asked for: a branch or a tag.
    pub requested_revision: Option<String>,
    /// The exact revision.
    pub commit_id: String,
    /// Where in the repository the project is.
    pub subdirectory: Option<String>,
}

/// A source tree on the machine that packed it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Directory {
    /// Its path; in the lock of a bundle `.` for the project itself, else the directory's name.
    pub path: String,
    /// Where in it the project is.
    pub subdirectory: Option<String>,
}

impl Lock {
    /// Sorts the packages by name, and takes out what a lock must not tell: credentials and directories.
    pub fn new(requires_python: Option<String>, mut packages: Vec<Package>) -> Self {
        packages.sort_by(|one, two| one.name.cmp(&two.name));
        for package in &mut packages {
            let files = package.wheels.iter_mut().chain(&mut package.sdist).chain(&mut package.archive);
            files.for_each(Artifact::forget_the_machine);
            if let Some(vcs) = &mut package.vcs {
                vcs.forget_the_machine();
            }
        }
        Lock { requires_python, packages, ..Lock::default() }
    }
}

impl Artifact {
    /// A file at `address`, which may be a `file:` address or hold credentials: [`Lock::new`] tidies it.
    pub fn at(address: impl Into<String>, sha256: Digest) -> Self {
        Artifact {
            name: None,
            url: Some(address.into()),
            path: None,
            size: None,
            subdirectory: None,
            hashes: Hashes { sha256: Some(sha256) },
        }
    }

    /// The name of the file.
    pub fn file_name(&self) -> Option<String> {
        let place = self.url.as_deref().map(url::file_name);
        self.name.clone().or(place).or_else(|| self.path.as_deref().map(last_component))
    }

    fn forget_the_machine(&mut self) {
        let Some(address) = self.url.take() else {
            self.path = self.path.as_deref().map(last_component);
            return;
        };
        if url::local_path(&address).is_some() {
            self.path = Some(url::file_name(&address));
        } else {
            self.url = Some(url::without_credentials(&address));
        }
    }
}

impl Vcs {
    fn forget_the_machine(&mut self) {
        self.path = self.path.take().map(|path| last_component(&path));
        let Some(address) = self.url.take() else { return };
        match url::local_path(&address) {
            Some(_) => self.path = Some(url::file_name(&address)),
            None => self.url = Some(url::without_credentials(&address)),
        }
    }
}

fn last_component(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// The normal form of a distribution's name (PyPA, "Names and normalization"): lower case, every run of
/// `-`, `_` and `.` a single `-`.
pub fn normal_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    let mut separator = false;
    for character in name.chars() {
        if matches!(character, '-' | '_' | '.') {
            separator = true;
            continue;
        }
        if separator && !normal.is_empty() {
            normal.push('-');
        }
        separator = false;
        normal.extend(character.to_lowercase());
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_the_same_are_the_same() {
        for name in ["Markdown_It.Py", "markdown-it-py", "markdown--it__py"] {
            assert_eq!(normal_name(name), "markdown-it-py");
        }
    }

    #[test]
    fn a_lock_tells_no_credentials_and_no_directories() {
        let digest = Digest::of(b"x");
        let mut package = Package { name: "b".into(), ..Package::default() };
        package.wheels = vec![Artifact::at("https://me:secret@host/w/b-1-py3-none-any.whl", digest)];
        package.sdist = Some(Artifact::at("file:///home/me/w/b-1%2Bx.tar.gz", digest));
        let lock = Lock::new(None, vec![package, Package { name: "a".into(), ..Package::default() }]);
        assert_eq!(lock.packages[0].name, "a");
        let b = &lock.packages[1];
        assert_eq!(b.wheels[0].url.as_deref(), Some("https://host/w/b-1-py3-none-any.whl"));
        let sdist = b.sdist.as_ref().unwrap();
        assert_eq!((sdist.url.as_deref(), sdist.path.as_deref()), (None, Some("b-1+x.tar.gz")));
    }
}
