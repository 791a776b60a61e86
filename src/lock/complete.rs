//! Whether a set of distributions is complete: everything that one of them needs is there, in a version
//! that it accepts.
//!
//! A resolver sees to that by itself. A lock is believed, not resolved: it may be older than its project,
//! or made for another choice of extras. This says what would fail on somebody else's machine.

use std::collections::{BTreeMap, BTreeSet};

use super::dependency::Dependency;
use super::marker::Environment;
use super::normal_name;
use super::specifier::Version;

/// A distribution of the set, as its wheel tells.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// Its name in normal form.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it needs (`Requires-Dist`).
    pub requires: Vec<String>,
}

/// Something the project itself needs: a dependency specifier, and who states it.
#[derive(Debug, Clone)]
pub struct Need {
    /// The specifier.
    pub text: String,
    /// Who states it: `pyproject.toml`, `the command line`.
    pub origin: String,
    /// The extras of the one who states it that are wanted, in normal form.
    pub extras: Vec<String>,
}

/// What is missing or contradicts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// What the project needs, and does not get: sentences.
    pub of_project: Vec<String>,
    /// What distributions of the set need, and do not get: sentences.
    pub of_distributions: Vec<String>,
}

/// Finds what is missing from the set. `markers` are the interpreter's.
///
/// Metadata that cannot be understood is passed over: it is the distribution's author's mistake, and no
/// resolver would have taken it for a reason either.
pub fn gaps(distributions: &[Distribution], needs: &[Need], markers: &BTreeMap<String, String>) -> Gaps {
    let set: BTreeMap<&str, &Distribution> =
        distributions.iter().map(|distribution| (distribution.name.as_str(), distribution)).collect();
    let look = Look { set: &set, markers };
    let mut gaps = Gaps::default();
    // Every distribution without extras, then with those that somebody asks for.
    let mut pending: Vec<(String, String)> =
        distributions.iter().map(|distribution| (distribution.name.clone(), String::new())).collect();
    for need in needs {
        let extras: Vec<&str> = std::iter::once("").chain(need.extras.iter().map(String::as_str)).collect();
        for extra in extras {
            let gap = look.at(&need.text, &need.origin, extra, &mut pending);
            gaps.of_project.extend(gap);
        }
    }
    let mut seen = BTreeSet::new();
    while let Some((name, extra)) = pending.pop() {
        if !seen.insert((name.clone(), extra.clone())) {
            continue;
        }
        let Some(distribution) = set.get(name.as_str()) else { continue };
        let who = match extra.is_empty() {
            true => format!("{name} {}", distribution.version),
            false => format!("{name}[{extra}] {}", distribution.version),
        };
        for text in &distribution.requires {
            gaps.of_distributions.extend(look.at(text, &who, &extra, &mut pending));
        }
    }
    for list in [&mut gaps.of_project, &mut gaps.of_distributions] {
        list.sort();
        list.dedup();
    }
    gaps
}

struct Look<'a> {
    set: &'a BTreeMap<&'a str, &'a Distribution>,
    markers: &'a BTreeMap<String, String>,
}

impl Look<'_> {
    /// What is wrong with `text`, which `who` states; what it leads to goes on `pending`.
    fn at(&self, text: &str, who: &str, extra: &str, pending: &mut Vec<(String, String)>) -> Option<String> {
        let dependency = Dependency::parse(text).ok()?;
        let none = BTreeSet::new();
        let environment = Environment { markers: self.markers, extra, extras: &none, groups: &none };
        let holds = |extra: &str| {
            let environment = Environment { extra, ..environment };
            dependency.marker.as_ref().is_none_or(|marker| marker.holds(&environment).unwrap_or(false))
        };
        // What is needed without the extra as well was looked at without it.
        if !holds(extra) || (!extra.is_empty() && holds("")) {
            return None;
        }
        let Some(found) = self.set.get(dependency.name.as_str()) else {
            return Some(format!("{who} needs {}, which is missing", dependency.text));
        };
        pending.extend(dependency.extras.iter().map(|extra| (dependency.name.clone(), normal_name(extra))));
        let version = Version::parse(&found.version)?;
        match dependency.versions.is_none_or(|versions| versions.allow(&version)) {
            true => None,
            false => Some(format!(
                "{who} needs {}, and {} {} is there",
                dependency.text, found.name, found.version
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(name: &str, version: &str, requires: &[&str]) -> Distribution {
        let requires = requires.iter().map(|text| (*text).to_owned()).collect();
        Distribution { name: name.into(), version: version.into(), requires }
    }

    fn need(text: &str) -> Need {
        Need { text: text.into(), origin: "pyproject.toml".into(), extras: vec!["x".into()] }
    }

    #[test]
    fn a_complete_set_has_no_gaps() {
        let set = [
            distribution("a", "1.0", &["B>=1", "c; python_version < '3'", "d; extra == 'y'", "!!"]),
            distribution("b", "1.0rc1", &["a[z]"]),
        ];
        let markers = [("python_version".to_owned(), "3.12".to_owned())].into();
        let found = gaps(&set, &[need("a"), need("e; extra == 'z'")], &markers);
        // A pre-release of what is needed is too old.
        assert_eq!(found.of_distributions, ["a 1.0 needs B>=1, and b 1.0rc1 is there"]);
        assert!(found.of_project.is_empty());
    }

    #[test]
    fn extras_lead_to_what_they_need_and_both_sides_are_named() {
        let set = [distribution("a", "1", &["b; extra == 'y'", "a[w]; extra == 'y'", "v; extra == 'w'"])];
        let found = gaps(&set, &[need("a[Y]>=2"), need("c; extra == 'x'")], &BTreeMap::new());
        assert_eq!(
            found.of_project,
            ["pyproject.toml needs a[Y]>=2, and a 1 is there", "pyproject.toml needs c, which is missing"]
        );
        assert_eq!(
            found.of_distributions,
            ["a[w] 1 needs v, which is missing", "a[y] 1 needs b, which is missing"]
        );
    }
}
