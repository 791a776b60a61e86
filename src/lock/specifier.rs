//! Versions and version specifiers (PEP 440): which of two versions is newer, and whether one is allowed.
//!
//! Choosing versions is the resolver's business. This is for checking what was chosen, for markers and for
//! `requires-python`; so pre-releases count like all other versions.

use std::cmp::Ordering;

use crate::wheel::version::canonical;

/// A version, comparable. Equal are those that PEP 440 calls equal: `1.0` and `1.0.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    epoch: u64,
    /// Without zeros at its end.
    release: Vec<u64>,
    /// `a`, `b` or `rc`, which sort as they should, and the number.
    pre: Option<(String, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<Segment>,
}

/// A part of a local version: "comparison ... numeric section sorts greater than lexicographic".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Text(String),
    Number(u64),
}

/// What a pre-release sorts by: `1.dev1`, `1a1`, `1`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Stage<'a> {
    OnlyDev,
    Pre(&'a str, u64),
    Final,
}

impl Version {
    /// Reads a version in any spelling; `None` where it is none, or has a number above 2⁶⁴.
    pub fn parse(text: &str) -> Option<Version> {
        let text = canonical(text)?;
        let (public, local) = match text.split_once('+') {
            Some((public, local)) => (public, Some(local)),
            None => (text.as_str(), None),
        };
        let (public, dev) = tail(public, ".dev")?;
        let (public, post) = tail(public, ".post")?;
        let (epoch, release) = match public.split_once('!') {
            Some((epoch, release)) => (epoch.parse().ok()?, release),
            None => (0, public),
        };
        let end = release.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(release.len());
        let (release, pre) = release.split_at(end);
        let pre = match pre.find(|c: char| c.is_ascii_digit()) {
            Some(digits) => Some((pre[..digits].to_owned(), pre[digits..].parse().ok()?)),
            None => None,
        };
        let segment = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().ok().map(Segment::Number),
            false => Some(Segment::Text(part.to_owned())),
        };
        Some(Version {
            epoch,
            release: trimmed(release.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?),
            pre,
            post,
            dev,
            local: local.map_or(Some(Vec::new()), |local| local.split('.').map(segment).collect())?,
        })
    }

    /// A final release of these numbers.
    pub fn of_release(numbers: &[u64]) -> Version {
        let release = trimmed(numbers.to_vec());
        Version { epoch: 0, release, pre: None, post: None, dev: None, local: Vec::new() }
    }

    fn stage(&self) -> Stage<'_> {
        match &self.pre {
            Some((label, number)) => Stage::Pre(label, *number),
            None if self.post.is_none() && self.dev.is_some() => Stage::OnlyDev,
            None => Stage::Final,
        }
    }

    fn public(&self) -> Version {
        Version { local: Vec::new(), ..self.clone() }
    }

    /// Whether the release begins with these numbers, as if it went on with zeros.
    fn begins_with(&self, numbers: &[u64]) -> bool {
        let own = self.release.iter().copied().chain(std::iter::repeat(0));
        own.zip(numbers).all(|(own, number)| own == *number)
    }

    fn is_before_release(&self) -> bool {
        self.pre.is_some() || self.dev.is_some()
    }

    fn same_release(&self, other: &Version) -> bool {
        self.epoch == other.epoch && self.release == other.release
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let last = |dev: Option<u64>| dev.map_or((1, 0), |dev| (0, dev));
        (self.epoch.cmp(&other.epoch))
            .then_with(|| self.release.cmp(&other.release))
            .then_with(|| self.stage().cmp(&other.stage()))
            .then_with(|| self.post.cmp(&other.post))
            .then_with(|| last(self.dev).cmp(&last(other.dev)))
            .then_with(|| self.local.cmp(&other.local))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A comma-separated set of version specifiers; all must allow a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Specifiers(Vec<Specifier>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Specifier {
    operator: &'static str,
    text: String,
    /// `None` for `===` with something that is no version.
    version: Option<Version>,
    /// The numbers of the release as they are written.
    numbers: Vec<u64>,
    is_prefix: bool,
}

/// Longer ones before their own beginnings.
const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];

impl Specifiers {
    /// Reads specifiers; `None` where they are none. An empty text allows everything.
    pub fn parse(text: &str) -> Option<Specifiers> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(Specifier::parse).collect::<Option<_>>().map(Specifiers)
    }

    /// Whether all of them allow the version.
    pub fn allow(&self, version: &Version) -> bool {
        self.0.iter().all(|specifier| specifier.allows(version))
    }
}

impl Specifier {
    fn parse(text: &str) -> Option<Specifier> {
        let operator = OPERATORS.into_iter().find(|operator| text.starts_with(operator))?;
        let text = text[operator.len()..].trim().to_owned();
        if operator == "===" {
            let version = Version::parse(&text);
            return (!text.is_empty()).then_some(Specifier {
                operator,
                version,
                text,
                numbers: Vec::new(),
                is_prefix: false,
            });
        }
        // `>=3.6.*` means nothing by PEP 440, and is found in old metadata: as `>=3.6`.
        let (plain, is_prefix) = match text.strip_suffix(".*") {
            Some(plain) => (plain, true),
            None => (text.as_str(), false),
        };
        let version = Version::parse(plain)?;
        let numbers = numbers(plain)?;
        // "~= MUST NOT be used with a single segment version number".
        if operator == "~=" && numbers.len() < 2 {
            return None;
        }
        Some(Specifier { operator, version: Some(version), numbers, is_prefix, text })
    }

    fn allows(&self, version: &Version) -> bool {
        let Some(wanted) = &self.version else {
            return false;
        };
        let begins =
            |length: usize| version.epoch == wanted.epoch && version.begins_with(&self.numbers[..length]);
        // "Local version identifiers ... ignored if the specifier has none".
        let equal = || match wanted.local.is_empty() {
            true => version.public() == *wanted,
            false => version == wanted,
        };
        match self.operator {
            "===" => version == wanted,
            "==" if self.is_prefix => begins(self.numbers.len()),
            "!=" if self.is_prefix => !begins(self.numbers.len()),
            "==" => equal(),
            "!=" => !equal(),
            "<=" => version.public() <= *wanted,
            ">=" => version.public() >= *wanted,
            // "The exclusive ordered comparison <V MUST NOT allow a pre-release of the specified version
            // unless the specified version is itself a pre-release."
            "<" => {
                let its_pre = version.is_before_release() && version.same_release(wanted);
                version < wanted && (!its_pre || wanted.is_before_release())
            }
            // ">V MUST NOT allow a post-release of the given version unless V itself is a post release" and
            // "MUST NOT match a local version of the specified version".
            ">" => {
                let its_post = version.post.is_some() && version.same_release(wanted);
                version.public() > *wanted && (!its_post || wanted.post.is_some())
            }
            // "~= 2.2 is approximately equivalent to >= 2.2, == 2.*".
            _ => version.public() >= *wanted && begins(self.numbers.len() - 1),
        }
    }
}

/// Takes `LABEL NUMBER` off the end.
fn tail<'a>(text: &'a str, label: &str) -> Option<(&'a str, Option<u64>)> {
    match text.rsplit_once(label) {
        Some((front, number)) => Some((front, Some(number.parse().ok()?))),
        None => Some((text, None)),
    }
}

fn trimmed(mut release: Vec<u64>) -> Vec<u64> {
    while release.last() == Some(&0) {
        release.pop();
    }
    release
}

fn numbers(version: &str) -> Option<Vec<u64>> {
    let version = version.trim_start_matches(['v', 'V']);
    let release = version.split_once('!').map_or(version, |(_, release)| release);
    let end = release.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(release.len());
    release[..end].trim_end_matches('.').split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn versions_are_ordered_as_the_specification_says() {
        let rising = [
            "1.dev0",
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.1.dev1",
            "1.10",
            "2011.4",
            "1!0.5",
        ];
        let versions: Vec<Version> = rising.into_iter().map(version).collect();
        assert!(versions.is_sorted_by(|one, two| one < two), "{versions:?}");
        assert_eq!(version("1.0"), version("v1.0.0"));
        assert_eq!(Version::parse("99999999999999999999999"), None);
    }

    #[test]
    fn specifiers_allow_what_the_specification_says() {
        let allows = |specifiers: &str, text: &str| {
            Specifiers::parse(specifiers).unwrap_or_else(|| panic!("{specifiers}")).allow(&version(text))
        };
        for (specifiers, yes) in [
            ("", "1"),
            ("==1.0", "1"),
            ("==1", "1+cpu"),
            ("==1.1.*", "1.1a1"),
            ("~=2.2", "2.99"),
            ("~=1.4.5", "1.4.5.post1"),
            (">=1,<2", "1.9"),
            ("<=1", "1+cpu"),
            (">1.post1", "1.post2"),
            ("<1rc2", "1rc1"),
            ("!=1.*", "2"),
            ("===1.0", "1.0"),
            (">=1.0.*", "1.0"),
            ("!=1.0", "1.0.1"),
            (">1", "1.0.1"),
        ] {
            assert!(allows(specifiers, yes), "{yes} {specifiers}");
        }
        for (specifiers, no) in [
            ("==1+cpu", "1"),
            ("==1+cpu", "1+gpu"),
            ("~=2.2", "3"),
            ("~=2.2.0", "2.3"),
            (">1", "1.post1"),
            (">1", "1+cpu"),
            ("<1", "1rc1"),
            ("<1", "1.dev1"),
            ("==1.1", "1.1.post1"),
            ("!=1.0.*", "1.0.5"),
            ("==1!1.*", "1.0"),
        ] {
            if let Some(version) = Version::parse(no) {
                assert!(!Specifiers::parse(specifiers).unwrap().allow(&version), "{no} {specifiers}");
            }
        }
        for none in ["1.0", "=1", "~=1", ">=", ">=x", "==1.0,x", "=>1"] {
            assert_eq!(Specifiers::parse(none), None, "{none}");
        }
    }
}
