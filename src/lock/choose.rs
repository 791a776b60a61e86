//! What of a lock is installed: the packages for one interpreter, and for the extras and groups that are
//! wanted.
//!
//! "The following is a way ... to install from a lock file" (PEP 751, "Installing from a lock file"): this
//! is that list. Nothing is chosen here that the lock does not decide.

use std::collections::{BTreeMap, BTreeSet};

use super::marker::{Environment, Marker};
use super::specifier::{Specifiers, Version};
use super::{Lock, Package, normal_name};
use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;
use crate::project::nearest::nearest;

/// For whom a lock is read.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The interpreter that is packed.
    pub interpreter: &'a Interpreter,
    /// The extras, in normal form.
    pub extras: &'a BTreeSet<String>,
    /// The dependency groups, in normal form.
    pub groups: &'a BTreeSet<String>,
    /// What the lock is called in messages: its path.
    pub lock: &'a str,
    /// What locks anew: `uv lock`.
    pub relock: &'a str,
}

/// The packages of the lock that are installed, each name once, in the lock's order.
pub fn choose<'a>(lock: &'a Lock, wanted: &Wanted) -> Result<Vec<&'a Package>> {
    let none = BTreeSet::new();
    let mut groups: BTreeSet<String> = lock.default_groups.iter().map(|name| normal_name(name)).collect();
    groups.extend(wanted.groups.iter().cloned());
    let environment = Environment {
        markers: &wanted.interpreter.markers,
        extra: "",
        extras: wanted.extras,
        groups: &groups,
    };
    check_python("", lock.requires_python.as_deref(), wanted)?;
    check_environments(lock, &Environment { extras: &none, groups: &none, ..environment }, wanted)?;
    let mut chosen: BTreeMap<String, &Package> = BTreeMap::new();
    let mut packages = Vec::new();
    for package in &lock.packages {
        let name = normal_name(&package.name);
        if let Some(marker) = &package.marker
            && !holds(marker, &environment, &format!("{} of {name}", wanted.lock))?
        {
            continue;
        }
        check_python(&format!("{name} in "), package.requires_python.as_deref(), wanted)?;
        if let Some(other) = chosen.insert(name.clone(), package) {
            let version =
                |package: &Package| package.version.clone().unwrap_or_else(|| "without a version".into());
            return Err(Failure::new(format!(
                "{} has two packages for this environment: {name} {} and {name} {}",
                wanted.lock,
                version(other),
                version(package)
            ))
            .hint(format!("make the lock anew: {}", wanted.relock)));
        }
        packages.push(package);
    }
    Ok(packages)
}

/// Fails where something is wanted that neither the lock nor the project (`declared`) knows.
///
/// A lock may have been made for one choice of extras and name none; then the project's own list counts.
pub fn check_names(
    kind: &str,
    wanted: &BTreeSet<String>,
    declared: &BTreeSet<String>,
    place: &str,
) -> Result<()> {
    let Some(unknown) = wanted.iter().find(|name| !declared.contains(*name)) else { return Ok(()) };
    let failure = Failure::new(format!("{place} has no {kind} called {unknown:?}"));
    let known: Vec<&str> = declared.iter().map(String::as_str).collect();
    Err(match nearest(unknown, known.iter().copied()) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None if known.is_empty() => failure.hint(format!("it has no {kind}s at all")),
        None => failure.hint(format!("its {kind}s are: {}", known.join(", "))),
    })
}

fn check_python(what: &str, specifier: Option<&str>, wanted: &Wanted) -> Result<()> {
    let Some(specifier) = specifier else { return Ok(()) };
    let (interpreter, lock) = (wanted.interpreter, wanted.lock);
    let specifiers = Specifiers::parse(specifier).ok_or_else(|| {
        Failure::new(format!("{what}{lock} requires Python {specifier:?}, which is not a version specifier"))
    })?;
    let version = [interpreter.version.0, interpreter.version.1, interpreter.version.2].map(u64::from);
    match specifiers.allow(&Version::of_release(&version)) {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{what}{lock} is for Python {specifier}, and {} is {}",
            interpreter.executable.display(),
            interpreter.full_version
        ))
        .hint(format!("name another interpreter with --python, or lock for this one: {}", wanted.relock))),
    }
}

/// "If environments is specified, at least one of the environment markers MUST be satisfied".
fn check_environments(lock: &Lock, environment: &Environment, wanted: &Wanted) -> Result<()> {
    if lock.environments.is_empty() {
        return Ok(());
    }
    for marker in &lock.environments {
        if holds(marker, environment, wanted.lock)? {
            return Ok(());
        }
    }
    Err(Failure::new(format!(
        "{} is for other environments than Python {} on {}: {}",
        wanted.lock,
        wanted.interpreter.full_version,
        wanted.interpreter.machine,
        lock.environments.join("; ")
    ))
    .hint(format!("lock for this one: {}", wanted.relock)))
}

fn holds(marker: &str, environment: &Environment, place: &str) -> Result<bool> {
    Marker::parse(marker).and_then(|marker| marker.holds(environment)).map_err(|reason| {
        Failure::new(format!("the marker {marker:?} in {place} cannot be understood: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::tags::tests::cpython_312;

    const LOCK: &str = "lock-version = \"1.0\"\nrequires-python = \">=3.9\"\nextras = [\"http\"]\n\
        dependency-groups = [\"dev\", \"main\"]\ndefault-groups = [\"main\"]\n\
        [[packages]]\nname = \"a\"\nversion = \"1\"\nmarker = \"python_version < '3.10'\"\n\
        [[packages]]\nname = \"a\"\nversion = \"2\"\nmarker = \"python_version >= '3.10'\"\n\
        [[packages]]\nname = \"h\"\nmarker = \"'http' in extras\"\n\
        [[packages]]\nname = \"d\"\nmarker = \"'dev' in dependency_groups\"\n\
        [[packages]]\nname = \"m\"\nmarker = \"'main' in dependency_groups\"\n";

    fn chosen(text: &str, extras: &[&str], groups: &[&str]) -> Result<Vec<String>> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (extras, groups) = (set(extras), set(groups));
        let wanted = Wanted {
            interpreter: &cpython_312(),
            extras: &extras,
            groups: &groups,
            lock: "pylock.toml",
            relock: "coil lock",
        };
        let lock = Lock::from_toml(text)?;
        let packages = choose(&lock, &wanted)?;
        Ok(packages.iter().map(|p| format!("{}{}", p.name, p.version.as_deref().unwrap_or(""))).collect())
    }

    #[test]
    fn the_packages_for_this_environment_and_choice_are_taken() {
        assert_eq!(chosen(LOCK, &[], &[]).unwrap(), ["a2", "m"]);
        assert_eq!(chosen(LOCK, &["http"], &["dev"]).unwrap(), ["a2", "h", "d", "m"]);
    }

    #[test]
    fn a_lock_for_others_is_refused_with_the_reason() {
        let says = |from: &str, to: &str| chosen(&LOCK.replace(from, to), &[], &[]).unwrap_err().to_string();
        let python = says(">=3.9", "==3.11.*");
        assert_eq!(python, "pylock.toml is for Python ==3.11.*, and /usr/bin/python3.12 is 3.12.1");
        let other = says("extras = [\"http\"]", "environments = [\"python_version == '3.11'\"]");
        assert!(other.starts_with("pylock.toml is for other environments"), "{other}");
        let two = says("< '3.10'", "> '3'");
        assert!(two.ends_with("two packages for this environment: a 1 and a 2"), "{two}");
        let marker = says("'main' in dependency_groups", "main");
        assert!(marker.contains("the marker \"main\" in pylock.toml of m cannot be understood"), "{marker}");
        let package =
            says("name = \"h\"\nmarker = \"'http' in extras\"", "name = \"h\"\nrequires-python = \">=3.13\"");
        assert!(package.starts_with("h in pylock.toml is for Python >=3.13"), "{package}");
    }

    #[test]
    fn names_that_nobody_knows_are_answered_with_the_nearest() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let hint = |name: &str| {
            let failure = check_names("extra", &set(&[name]), &set(&["http", "socks"]), "x").unwrap_err();
            failure.advice().unwrap().to_owned()
        };
        assert_eq!(
            (hint("htp").as_str(), hint("zzz").as_str()),
            ("did you mean http?", "its extras are: http, socks")
        );
        assert!(check_names("extra", &set(&["http"]), &set(&["http"]), "x").is_ok());
    }
}
