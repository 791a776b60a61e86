//! `METADATA` and `WHEEL`: what a wheel says of itself.
//!
//! Both are headers as in e-mail (core metadata specification): `Key: value`, folded lines, a body
//! after the first empty line. Only what is needed to install is read; the rest is left alone.

use super::name::is_distribution;
use super::version::canonical;

/// What `METADATA` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The distribution's name as its author spells it.
    pub name: String,
    /// The version as its author spells it.
    pub version: String,
    /// What it needs (PEP 508), markers included.
    pub requires_dist: Vec<String>,
    /// The Python versions it is for.
    pub requires_python: Option<String>,
}

impl Metadata {
    /// Reads `METADATA`; the error is the end of a sentence about the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let headers = Headers::parse(bytes);
        let name = headers.one("Name").ok_or("names no distribution (Name)")?;
        if !is_distribution(&name) {
            return Err(format!("names a distribution {name:?}, which is not a valid name"));
        }
        let version = headers.one("Version").ok_or("has no Version")?;
        if canonical(&version).is_none() {
            return Err(format!("has the Version {version:?}, which is not a version (PEP 440)"));
        }
        Ok(Metadata {
            name,
            version,
            requires_dist: headers.all("Requires-Dist"),
            requires_python: headers.one("Requires-Python"),
        })
    }
}

/// What `WHEEL` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packaging {
    /// The version of the wheel format.
    pub wheel_version: (u32, u32),
    /// Whether the root of the archive belongs into purelib. Here purelib and platlib are one place.
    pub root_is_purelib: bool,
    /// The expanded tags.
    pub tags: Vec<String>,
}

impl Packaging {
    /// The newest format that this code knows.
    pub const KNOWN: (u32, u32) = (1, 0);

    /// Reads `WHEEL`; the error is the end of a sentence about the file.
    ///
    /// "A wheel installer should warn if Wheel-Version is greater than the version it supports, and
    /// must fail if Wheel-Version has a greater major version": the caller warns, this fails.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let headers = Headers::parse(bytes);
        let text = headers.one("Wheel-Version").ok_or("has no Wheel-Version")?;
        let number = |text: &str| text.trim().parse::<u32>().ok();
        let wheel_version = match text.split_once('.') {
            Some((major, minor)) => number(major).zip(number(minor)),
            None => number(&text).map(|major| (major, 0)),
        };
        let wheel_version =
            wheel_version.ok_or_else(|| format!("has the Wheel-Version {text:?}, which is not a version"))?;
        if wheel_version.0 != Self::KNOWN.0 {
            return Err(format!("has the Wheel-Version {text}, and only versions 1.x can be read"));
        }
        Ok(Packaging {
            wheel_version,
            root_is_purelib: headers.one("Root-Is-Purelib").is_some_and(|is| is.eq_ignore_ascii_case("true")),
            tags: headers.all("Tag"),
        })
    }
}

/// Keys and values in their order.
struct Headers(Vec<(String, String)>);

impl Headers {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
            if line.trim().is_empty() {
                break;
            }
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = headers.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((key, value)) = line.split_once(':') {
                headers.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
            } else {
                break;
            }
        }
        Headers(headers)
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        self.0.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.clone())
    }

    fn one(&self, key: &str) -> Option<String> {
        self.values(key).next()
    }

    fn all(&self, key: &str) -> Vec<String> {
        self.values(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_where_the_description_begins() {
        let metadata = Metadata::parse(
            b"Metadata-Version: 2.1\r\nName: Foo.Bar\r\nversion: 1.0\r\nRequires-Dist: a\r\n  ; extra == 'x'\r\n\
              Requires-Dist: b>1\r\n\r\nName: other\r\nRequires-Dist: c\r\n",
        )
        .unwrap();
        assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("Foo.Bar", "1.0"));
        assert_eq!(metadata.requires_dist, ["a\n; extra == 'x'", "b>1"]);
        assert_eq!(metadata.requires_python, None);
    }

    #[test]
    fn metadata_without_a_usable_name_or_version_is_refused() {
        for text in [
            "",
            "Name: foo",
            "Version: 1",
            "Name: ../foo\nVersion: 1",
            "Name: foo\nVersion: latest",
            "\nName: foo",
        ] {
            assert!(Metadata::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_newer_minor_format_is_read_and_a_newer_major_one_is_not() {
        let parse = |version: &str| Packaging::parse(format!("Wheel-Version: {version}\n").as_bytes());
        assert_eq!(parse("1.9").unwrap().wheel_version, (1, 9));
        for version in ["2.0", "0.9", "", "one", "99999999999.0"] {
            assert!(parse(version).is_err(), "{version}");
        }
    }
}
