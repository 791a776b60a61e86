//! Reads a lock back. What coil does not write is passed over where the specification lets a reader
//! do so; a lock of another version, or one without what coil needs, is an error.

use std::path::{Component, Path, PathBuf};

use coil_bootstrap::format::digest::Digest;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{LOCK_VERSION, Lock, Package};
use crate::error::{Context, Failure, Result};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Page {
    lock_version: String,
    requires_python: Option<String>,
    #[serde(default)]
    environments: Vec<String>,
    #[serde(default)]
    extras: Vec<String>,
    #[serde(default)]
    dependency_groups: Vec<String>,
    #[serde(default)]
    default_groups: Vec<String>,
    packages: Vec<Package>,
}

impl Lock {
    /// Reads the text of a `pylock.toml`.
    pub fn from_toml(text: &str) -> Result<Lock> {
        let page: Page = toml::from_str(text).context(|| "the lock cannot be read".to_owned())?;
        // "Tools SHOULD ... raise an error if the major version is not supported" (PEP 751).
        if page.lock_version.split('.').next() != LOCK_VERSION.split('.').next() {
            return Err(Failure::new(format!(
                "the lock has version {}, and coil reads {LOCK_VERSION}",
                page.lock_version
            )));
        }
        Ok(Lock {
            requires_python: page.requires_python,
            environments: page.environments,
            extras: page.extras,
            dependency_groups: page.dependency_groups,
            default_groups: page.default_groups,
            packages: page.packages,
        })
    }

    /// Reads the lock in the file at `path`. Its relative paths become absolute ones: "relative paths are
    /// relative to the lock file" (PEP 751).
    pub fn read(path: &Path) -> Result<Lock> {
        let whole = path.canonicalize().context(|| format!("{} cannot be read", path.display()))?;
        Lock::read_beside(path, whole.parent().unwrap_or(Path::new("/")))
    }

    /// Reads the lock in the file at `path` as if it lay in the directory `beside`.
    pub fn read_beside(path: &Path, beside: &Path) -> Result<Lock> {
        let unreadable = || format!("{} cannot be read", path.display());
        let text = std::fs::read_to_string(path).context(unreadable)?;
        let mut lock = Lock::from_toml(&text).context(unreadable)?;
        let place = |path: &mut String| *path = plain(&beside.join(&*path)).to_string_lossy().into_owned();
        for package in &mut lock.packages {
            let files = package.wheels.iter_mut().chain(&mut package.sdist).chain(&mut package.archive);
            files.filter_map(|file| file.path.as_mut()).for_each(place);
            package.directory.iter_mut().for_each(|directory| place(&mut directory.path));
            package.vcs.iter_mut().filter_map(|vcs| vcs.path.as_mut()).for_each(place);
        }
        Ok(lock)
    }
}

/// 64 hexadecimal digits.
pub(super) fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    let text = String::deserialize(deserializer)?.to_lowercase();
    let digest = Digest::from_hex(&text);
    digest.map(Some).ok_or_else(|| D::Error::custom(format!("{text:?} is not a SHA-256 digest")))
}

/// The path without `.` and `..`.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::{Artifact, Directory, Vcs};
    use super::*;

    fn package(name: &str) -> Package {
        Package { name: name.into(), version: Some("1.0".into()), ..Package::default() }
    }

    fn every_kind() -> Lock {
        let digest = Digest::of(b"x");
        let mut wheel = package("wheel");
        let mut artifact = Artifact::at("https://host/wheel-1.0-py3-none-any.whl", digest);
        artifact.size = Some(4321);
        wheel.wheels = vec![artifact];
        let mut sdist = package("sdist");
        sdist.sdist = Some(Artifact::at("https://host/sdist-1.0.tar.gz", digest));
        sdist.marker = Some("sys_platform == \"linux\"".into());
        let mut archive = package("archive");
        archive.archive = Some(Artifact::at("file:///w/archive-1.0-py3-none-any.whl", digest));
        let mut vcs = package("vcs");
        vcs.vcs = Some(Vcs {
            kind: "git".into(),
            url: Some("https://host/r.git".into()),
            path: None,
            requested_revision: Some("main".into()),
            commit_id: "0123".into(),
            subdirectory: Some("py".into()),
        });
        let mut directory = package("directory");
        directory.directory = Some(Directory { path: "a \"b\"\\\n".into(), subdirectory: None });
        Lock::new(Some("==3.12.*".into()), vec![wheel, sdist, archive, vcs, directory])
    }

    #[test]
    fn a_lock_reads_back_what_it_writes() {
        let lock = every_kind();
        assert_eq!(Lock::from_toml(&lock.to_toml()).unwrap(), lock);
        assert_eq!(Lock::from_toml(&Lock::default().to_toml()).unwrap(), Lock::default());
    }

    #[test]
    fn other_tools_locks_are_read_and_other_versions_are_not() {
        let text =
            "lock-version = \"1.1\"\ncreated-by = \"another\"\nextras = []\n[[packages]]\nname = \"a\"\n";
        assert_eq!(Lock::from_toml(text).unwrap().packages[0].name, "a");
        let error = Lock::from_toml(&text.replace("1.1", "2.0")).unwrap_err();
        assert_eq!(error.to_string(), "the lock has version 2.0, and coil reads 1.0");
        assert!(Lock::from_toml("lock-version = \"1.0\"").is_err());
    }

    #[test]
    fn a_digest_that_is_none_is_refused() {
        let text = every_kind().to_toml().replace(&Digest::of(b"x").hex(), "abc");
        assert!(Lock::from_toml(&text).is_err());
    }
}
