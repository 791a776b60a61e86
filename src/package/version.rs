//! Versions of packages: those of Python (PEP 440), so that package managers order them the same way.
//!
//! ```text
//! 1.4.0rc1 -> 1.4.0~rc1     1.4.0.dev3 -> 1.4.0~~dev3     1.4.0.post1 -> 1.4.0.post1     2!1.4 -> 2:1.4
//! ```
//! In deb-version(7) and in rpm a tilde sorts before everything, even the end of a version.

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::release;

use crate::error::{Failure, Result};

/// A version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    epoch: Option<u32>,
    upstream: String,
    /// What a packager counts for one version of the app.
    revision: Option<String>,
}

/// How Python spells what comes before a version, and how it is written here.
const BEFORE: [(&str, &str); 8] = [
    ("alpha", "~a"),
    ("beta", "~b"),
    ("preview", "~rc"),
    ("pre", "~rc"),
    ("rc", "~rc"),
    ("dev", "~~dev"),
    ("a", "~a"),
    ("b", "~b"),
];

impl Version {
    /// `[EPOCH:]UPSTREAM[-REVISION]`, as the user says it.
    pub fn said(text: &str) -> Result<Version> {
        let wrong = || {
            Failure::new(format!("{text:?} cannot be the version of a package"))
                .hint("begin with a digit, and use letters, digits, dots, plus signs and tildes: 1.4.0+2")
        };
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (Some(epoch.parse().map_err(|_| wrong())?), rest),
            None => (None, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((upstream, revision)) => (upstream, Some(revision)),
            None => (rest, None),
        };
        let right = is_plain(upstream) && upstream.starts_with(|c: char| c.is_ascii_digit());
        if !right || revision.is_some_and(|revision| !is_plain(revision)) {
            return Err(wrong());
        }
        Ok(Version { epoch, upstream: upstream.into(), revision: revision.map(str::to_owned) })
    }

    /// The version of a bundle. One that has none is told apart by its commit, or by its digest; with a time, later ones
    /// sort after earlier ones.
    pub fn of(manifest: &Manifest, digest: &Digest, time: Option<u64>) -> Version {
        if let Some(version) = &manifest.version {
            return Version::translated(version);
        }
        let commit = manifest.source.as_ref().map(|source| &source.commit[..source.commit.len().min(12)]);
        let what = match (commit, &manifest.source) {
            (Some(commit), Some(source)) if !source.dirty => format!("git.{commit}"),
            _ => release::id(digest),
        };
        let time = time.map(|time| format!("{time}.")).unwrap_or_default();
        Version { epoch: None, upstream: format!("0.0.0+{time}{what}"), revision: None }
    }

    fn translated(text: &str) -> Version {
        let text = text.trim().to_ascii_lowercase();
        let text = text.trim_start_matches('v');
        let (epoch, text) = match text.split_once('!') {
            Some((epoch, rest)) => (epoch.parse().ok().filter(|epoch| *epoch > 0), rest),
            None => (None, text),
        };
        let (public, local) = text.split_once('+').unwrap_or((text, ""));
        let mut upstream = String::new();
        let mut rest = public;
        while let Some(c) = rest.chars().next() {
            let after_digit = upstream.ends_with(|c: char| c.is_ascii_digit());
            let word = rest.trim_start_matches(['.', '-', '_']);
            let before = BEFORE.iter().find(|(spelled, _)| {
                word.strip_prefix(spelled)
                    .is_some_and(|next| !next.starts_with(|c: char| c.is_ascii_alphabetic()))
            });
            if let Some((spelled, written)) = before.filter(|_| after_digit) {
                upstream += written;
                rest = word[spelled.len()..].trim_start_matches(['.', '-', '_']);
                continue;
            }
            upstream.push(if c.is_ascii_alphanumeric() { c } else { '.' });
            rest = &rest[c.len_utf8()..];
        }
        if !upstream.starts_with(|c: char| c.is_ascii_digit()) {
            upstream.insert(0, '0');
        }
        if !local.is_empty() {
            upstream.push('+');
            upstream.extend(local.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '.' }));
        }
        Version { epoch, upstream, revision: None }
    }

    /// As dpkg has it.
    pub fn deb(&self) -> String {
        let epoch = self.epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        epoch + &self.in_file_name()
    }

    /// As it stands in the name of a package of Debian: without its epoch.
    pub fn in_file_name(&self) -> String {
        let revision = self.revision.as_ref().map(|revision| format!("-{revision}")).unwrap_or_default();
        format!("{}{revision}", self.upstream)
    }

    /// The parts that rpm has: epoch, version, release.
    pub fn rpm(&self) -> (Option<u32>, &str, &str) {
        (self.epoch, &self.upstream, self.revision.as_deref().unwrap_or("1"))
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_puts_before_a_version_is_before_it() {
        for (python, package) in [
            ("1.4.0", "1.4.0"),
            ("1.4.0rc1", "1.4.0~rc1"),
            ("1.4.0-beta.2", "1.4.0~b2"),
            ("1.4.0a1.dev2", "1.4.0~a1~~dev2"),
            ("1.4.0.dev3", "1.4.0~~dev3"),
            ("1.4.0.post1", "1.4.0.post1"),
            ("1.4.0.post1.dev2", "1.4.0.post1~~dev2"),
            ("v2!1.4+deadbeef.1", "2:1.4+deadbeef.1"),
            ("1.4 beta", "1.4.beta"),
            ("next", "0next"),
        ] {
            assert_eq!(Version::translated(python).deb(), package, "{python}");
        }
    }

    #[test]
    fn what_the_user_says_is_taken_as_it_is_or_refused() {
        let said = Version::said("1:1.4.0+2-3").unwrap();
        assert_eq!((said.deb().as_str(), said.in_file_name().as_str()), ("1:1.4.0+2-3", "1.4.0+2-3"));
        assert_eq!(said.rpm(), (Some(1), "1.4.0+2", "3"));
        assert_eq!(Version::said("7").unwrap().rpm(), (None, "7", "1"));
        for wrong in ["", "a", "1 2", "1\nX: y", "x:1", "1-", "-1", "1/2", "1_2"] {
            assert!(Version::said(wrong).is_err(), "{wrong}");
        }
    }
}
