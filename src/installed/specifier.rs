//! Whether an installed version is one that a requirement asks for (PyPA, "Version specifiers").

use std::cmp::Ordering;

use crate::wheel::version::canonical;

/// A version in its order. Fields are compared one after another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    epoch: u64,
    release: Vec<u64>,
    /// What comes before a release: `1.0.dev1` < `1.0a1` < `1.0`.
    pre: (i8, String, u64),
    /// What comes after it; -1 without.
    post: i128,
    /// What is still in development; above everything without.
    dev: u64,
    /// Numbers are newer than words; none is oldest.
    local: Vec<(u64, String)>,
}

/// Whether `version` fits the version part of a requirement (`>=1.2,<2`, possibly in brackets).
///
/// `None` where one of the two cannot be read.
pub fn fits(specifier: &str, version: &str) -> Option<bool> {
    let specifier = specifier.trim();
    let specifier =
        specifier.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(specifier);
    let mut all = true;
    for part in specifier.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        all &= fits_part(part, version)?;
    }
    Some(all)
}

fn fits_part(part: &str, text: &str) -> Option<bool> {
    let operators = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
    let operator = operators.into_iter().find(|operator| part.starts_with(operator))?;
    let wanted = part[operator.len()..].trim();
    if operator == "===" {
        return Some(wanted.eq_ignore_ascii_case(text.trim()));
    }
    let version = Version::parse(text)?;
    if let Some(prefix) = wanted.strip_suffix(".*") {
        let same = version.begins_with(&Version::parse(prefix)?, prefix.split('.').count());
        return match operator {
            "==" => Some(same),
            "!=" => Some(!same),
            _ => None,
        };
    }
    let wanted_version = Version::parse(wanted)?;
    let public = version.public();
    let same = if wanted.contains('+') { version == wanted_version } else { public == wanted_version };
    Some(match operator {
        "==" => same,
        "!=" => !same,
        ">=" => public >= wanted_version,
        "<=" => public <= wanted_version,
        // "MUST NOT allow a pre-release of the specified version unless the specified version is itself one."
        "<" => public < wanted_version && (wanted_version.is_pre() || !version.is_pre_of(&wanted_version)),
        // "MUST NOT allow a post-release of the given version unless V itself is a post release."
        ">" => public > wanted_version && (wanted_version.post >= 0 || !version.is_post_of(&wanted_version)),
        _ => {
            let parts = numbers(wanted);
            parts >= 2 && public >= wanted_version && version.begins_with(&wanted_version, parts - 1)
        }
    })
}

/// How many numbers the release part of a version has.
fn numbers(version: &str) -> usize {
    let version = version.trim_start_matches(['v', 'V']);
    let version = version.split_once('!').map_or(version, |(_, release)| release);
    version.split('.').take_while(|part| part.starts_with(|c: char| c.is_ascii_digit())).count()
}

impl Version {
    /// Reads the canonical spelling: `[N!]N(.N)*[{a|b|rc}N][.postN][.devN][+LOCAL]`.
    fn parse(text: &str) -> Option<Version> {
        let text = canonical(text)?;
        let (text, local) = text.split_once('+').unwrap_or((&text, ""));
        let (text, dev) = number_after(text, ".dev");
        let (text, post) = number_after(text, ".post");
        let (epoch, text) = text.split_once('!').unwrap_or(("0", text));
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (release, pre) = text.split_at(end);
        let letters = pre.trim_end_matches(|c: char| c.is_ascii_digit());
        let pre = match (letters, post, dev) {
            ("", None, Some(_)) => (-1, String::new(), 0),
            ("", ..) => (1, String::new(), 0),
            (letters, ..) => (0, letters.to_owned(), pre[letters.len()..].parse().ok()?),
        };
        let number = |part: &str| part.parse::<u64>().ok();
        let mut release = release.split('.').map(number).collect::<Option<Vec<_>>>()?;
        while release.len() > 1 && release.last() == Some(&0) {
            release.pop();
        }
        let local = local.split('.').filter(|part| !part.is_empty()).map(|part| match number(part) {
            Some(number) => (number.saturating_add(1), String::new()),
            None => (0, part.to_owned()),
        });
        Some(Version {
            epoch: number(epoch)?,
            release,
            pre,
            post: post.map_or(-1, i128::from),
            dev: dev.unwrap_or(u64::MAX),
            local: local.collect(),
        })
    }

    fn public(&self) -> Version {
        Version { local: Vec::new(), ..self.clone() }
    }

    fn is_pre(&self) -> bool {
        self.pre.0 < 1 || self.dev != u64::MAX
    }

    fn same_release(&self, other: &Version) -> bool {
        (self.epoch, &self.release).cmp(&(other.epoch, &other.release)) == Ordering::Equal
    }

    fn is_pre_of(&self, other: &Version) -> bool {
        self.is_pre() && self.same_release(other)
    }

    fn is_post_of(&self, other: &Version) -> bool {
        self.post >= 0 && self.same_release(other)
    }

    /// Whether the first `count` numbers of the releases are equal.
    fn begins_with(&self, other: &Version, count: usize) -> bool {
        let at = |version: &Version, index: usize| version.release.get(index).copied().unwrap_or(0);
        self.epoch == other.epoch && (0..count).all(|index| at(self, index) == at(other, index))
    }
}

fn number_after<'a>(text: &'a str, label: &str) -> (&'a str, Option<u64>) {
    match text.split_once(label) {
        Some((before, number)) => (before, number.parse().ok()),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_specification_says() {
        let ordered = [
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
            "1.0.15",
            "1.1.dev1",
            "1!0.1",
        ];
        let versions: Vec<Version> = ordered.iter().map(|text| Version::parse(text).unwrap()).collect();
        assert!(versions.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn specifiers_are_read_as_the_specification_says() {
        for (specifier, version) in [
            ("", "1"),
            (">=3,<4", "3.2.4"),
            ("==3.2.4", "3.2.4+cpu"),
            ("==3.2.*", "3.2.4"),
            ("~=2.2", "2.9"),
            ("~=2.2.1", "2.2.5"),
            ("!=1.5", "1.5.1"),
            ("(>1,<2)", "1.1"),
            ("===Foo", "foo"),
            ("<2", "1.9"),
            ("==1.0+a", "1.0+a"),
            ("<2rc1", "2b1"),
            ("==1", "1.0.0"),
            ("==1.*", "1"),
        ] {
            assert_eq!(fits(specifier, version), Some(true), "{specifier} {version}");
        }
        for (specifier, version) in [
            ("<2", "2.0a1"),
            (">1.7", "1.7.0.post1"),
            ("==3.1", "3.2"),
            ("~=2.2.1", "2.3"),
            ("!=1.5.*", "1.5.1"),
            (">1.0", "1.0+x"),
            ("==1.0+a", "1.0+b"),
            (">=1", "1.0rc1"),
            ("===1.0", "1"),
        ] {
            assert_eq!(fits(specifier, version), Some(false), "{specifier} {version}");
        }
        for (specifier, version) in [("1.0", "1"), (">=x", "1"), (">=1", "x"), (">=1.*", "1")] {
            assert_eq!(fits(specifier, version), None, "{specifier} {version}");
        }
    }
}
