//! The file name of a wheel: what it is, before it is opened.

use std::fmt;

use super::tags::Tags;
use super::version::canonical;
use crate::error::{Failure, Result};

/// A wheel's file name, taken apart.
///
/// Binary distribution format, "File name convention":
/// `{distribution}-{version}(-{build tag})?-{python tag}-{abi tag}-{platform tag}.whl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    /// The file name itself: how this wheel is called wherever the user reads of it.
    pub text: String,
    /// The distribution as the file name spells it.
    pub distribution: String,
    /// The version as the file name spells it.
    pub version: String,
    /// The build tag: tells builds of one version apart.
    pub build: Option<String>,
    /// What it runs on.
    pub tags: Tags,
}

impl WheelName {
    /// Takes `file_name` apart; fails where it is not a wheel's.
    pub fn parse(file_name: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Failure::new(format!("{file_name:?} is not the name of a wheel: {why}")).hint(
                "a wheel is called NAME-VERSION-PYTHON-ABI-PLATFORM.whl; keep the name it was built with",
            )
        };
        let stem = file_name.strip_suffix(".whl").ok_or_else(|| wrong("it does not end in .whl"))?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (distribution, version, build, tags) = match parts.as_slice() {
            [distribution, version, tags @ ..] if tags.len() == 3 => (distribution, version, None, tags),
            [distribution, version, build, tags @ ..] if tags.len() == 3 => {
                (distribution, version, Some(*build), tags)
            }
            _ => return Err(wrong("it has not five or six parts with \"-\" between them")),
        };
        if !is_distribution(distribution) {
            return Err(wrong("its first part is not the name of a distribution"));
        }
        if canonical(version).is_none() {
            return Err(wrong("its second part is not a version (PEP 440)"));
        }
        if build.is_some_and(|build| !build.starts_with(|first: char| first.is_ascii_digit())) {
            return Err(wrong("its build tag does not begin with a digit"));
        }
        let tags = Tags::parse(tags[0], tags[1], tags[2])
            .ok_or_else(|| wrong("one of its tags is empty or holds a strange character"))?;
        Ok(WheelName {
            text: file_name.to_owned(),
            distribution: (*distribution).to_owned(),
            version: (*version).to_owned(),
            build: build.map(str::to_owned),
            tags,
        })
    }

    /// Whether `name` and `version` are this wheel's, whatever their spelling.
    pub fn is(&self, name: &str, version: &str) -> bool {
        normalised(name) == normalised(&self.distribution) && canonical(version) == canonical(&self.version)
    }
}

impl fmt::Display for WheelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The one spelling of a distribution's name (PEP 503): lower case, runs of `-`, `_` and `.` as one `-`.
pub fn normalised(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if text.ends_with('-') => {}
            '-' | '_' | '.' => text.push('-'),
            other => text.extend(other.to_lowercase()),
        }
    }
    text
}

/// Whether this can be the name of a distribution (PEP 508): letters and digits, and `-`, `_`, `.` between.
pub fn is_distribution(name: &str) -> bool {
    let ends = |end: Option<char>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|inner| inner.is_ascii_alphanumeric() || matches!(inner, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_apart() {
        let name = WheelName::parse("Foo_Bar-1.0+cpu-2a-cp39.cp310-abi3-linux_x86_64.whl").unwrap();
        assert_eq!((name.distribution.as_str(), name.version.as_str()), ("Foo_Bar", "1.0+cpu"));
        assert_eq!(name.build.as_deref(), Some("2a"));
        assert_eq!(name.tags.to_string(), "cp39.cp310-abi3-linux_x86_64");
        assert!(name.is("foo.bar", "1.0.0+CPU"));
        assert!(!name.is("foo.bar", "1.0"));
        assert!(!name.is("foobar", "1.0+cpu"));
    }

    #[test]
    fn names_that_are_not_a_wheels_are_refused() {
        for name in [
            "foo-1.0.tar.gz",
            "foo-1.0-py3-none.whl",
            "foo-1.0-1-2-py3-none-any.whl",
            "foo-1.0-x1-py3-none-any.whl",
            "foo-x-py3-none-any.whl",
            "_foo-1.0-py3-none-any.whl",
            "../foo-1.0-py3-none-any.whl",
            "foo-1.0-py3--any.whl",
            "foo-1.0-py3..py2-none-any.whl",
            ".whl",
        ] {
            assert!(WheelName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_have_one_normalised_spelling() {
        assert_eq!(normalised("Foo__Bar.-baz"), "foo-bar-baz");
    }
}
