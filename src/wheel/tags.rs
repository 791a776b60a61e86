//! Compatibility tags: what a wheel runs on, and what a runtime accepts.
//!
//! Platform compatibility tags specification (PEP 425, 513, 571, 599, 600). Nothing here chooses
//! between wheels: that is the resolver's business. A wheel fits, or a sentence says why not.

use std::fmt;

use coil_bootstrap::format::path::TreePath;

use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;

/// What of the runtime a wheel has to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `(3, 12)`.
    pub version: (u16, u16),
    /// The ABI tag: `cp312`, `cp313t`.
    pub abi: String,
    /// The C library it runs on: `(2, 36)`.
    pub glibc: (u16, u16),
    /// `x86_64`, `aarch64`.
    pub machine: String,
    /// Where modules are, below the environment: `lib/python3.12/site-packages`.
    pub site_packages: TreePath,
}

impl Target {
    /// What `interpreter` accepts; fails where it does not run on glibc.
    pub fn of(interpreter: &Interpreter) -> Result<Self> {
        let (major, minor, _) = interpreter.version;
        let glibc = interpreter.glibc.ok_or_else(|| {
            Failure::new(format!("{} does not run on glibc", interpreter.base_executable.display()))
                .hint("name an interpreter that does with --python")
        })?;
        let threads = if interpreter.abi_flags.contains('t') { "t" } else { "" };
        let site_packages = TreePath::new(format!("lib/python{major}.{minor}{threads}/site-packages"))
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(Target {
            version: (major, minor),
            abi: format!("cp{major}{minor}{}", interpreter.abi_flags),
            glibc,
            machine: interpreter.machine.clone(),
            site_packages,
        })
    }

    /// Whether threads run without the global interpreter lock.
    pub fn is_free_threaded(&self) -> bool {
        self.abi.trim_end_matches('d').ends_with('t')
    }

    /// Whether at least one of the tags that `tags` stands for is accepted.
    pub fn accepts(&self, tags: &Tags) -> bool {
        tags.platforms.iter().any(|platform| self.accepts_platform(platform))
            && tags.pythons.iter().any(|python| tags.abis.iter().any(|abi| self.accepts_python(python, abi)))
    }

    /// What is wrong with `tags`, as the second half of a sentence about the wheel; `None` where they fit.
    pub fn objection(&self, tags: &Tags) -> Option<String> {
        if self.accepts(tags) {
            return None;
        }
        let accepted = self.to_string();
        let fitting = |platform: &String| self.accepts_platform(platform);
        let needed = tags.platforms.iter().filter_map(|platform| self.newer_glibc(platform)).min();
        let reason = if tags.platforms.iter().any(fitting) {
            "is for another Python or another ABI".to_owned()
        } else if let Some((major, minor)) = needed {
            format!(
                "needs glibc {major}.{minor}, and the runtime has glibc {}.{}",
                self.glibc.0, self.glibc.1
            )
        } else if tags.platforms.iter().all(|platform| platform.starts_with("musllinux")) {
            "is for musl, not for glibc".to_owned()
        } else {
            "is for another platform".to_owned()
        };
        Some(format!("{reason}: it is for {tags}, the runtime accepts {accepted}"))
    }

    /// The glibc that the platform tag asks for, where that alone is in the way.
    fn newer_glibc(&self, platform: &str) -> Option<(u16, u16)> {
        let (glibc, machine) = glibc_of(platform)?;
        (machine == self.machine && glibc > self.glibc).then_some(glibc)
    }

    fn accepts_python(&self, python: &str, abi: &str) -> bool {
        let (major, minor) = self.version;
        let lower = |digits: &str| {
            let (tag_major, tag_minor) = split_version(digits)?;
            Some(tag_major == major && tag_minor.is_none_or(|tag_minor| tag_minor <= minor))
        };
        if let Some(digits) = python.strip_prefix("py") {
            return abi == "none" && lower(digits) == Some(true);
        }
        let Some((tag_major, Some(tag_minor))) = python.strip_prefix("cp").and_then(split_version) else {
            return false;
        };
        if (tag_major, tag_minor) == (major, minor) && (abi == "none" || self.loads(abi)) {
            return true;
        }
        abi == self.stable_abi() && tag_major == major && tag_major >= 3 && (2..=minor).contains(&tag_minor)
    }

    /// A free-threaded build has a stable ABI of its own (PEP 803).
    fn stable_abi(&self) -> &'static str {
        if self.is_free_threaded() { "abi3t" } else { "abi3" }
    }

    /// A debug build loads what was built without debugging as well (since Python 3.8).
    fn loads(&self, abi: &str) -> bool {
        abi == self.abi || abi == self.abi.trim_end_matches('d')
    }

    fn accepts_platform(&self, platform: &str) -> bool {
        if let Some((glibc, machine)) = glibc_of(platform) {
            return machine == self.machine && glibc.0 == self.glibc.0 && glibc <= self.glibc;
        }
        platform == "any" || platform.strip_prefix("linux_").is_some_and(|machine| machine == self.machine)
    }
}

/// The glibc and the machine that a manylinux tag names; `None` for any other tag.
fn glibc_of(platform: &str) -> Option<((u16, u16), &str)> {
    if let Some(rest) = platform.strip_prefix("manylinux_") {
        let mut parts = rest.splitn(3, '_');
        let mut number = || parts.next()?.parse::<u16>().ok();
        let glibc = number().zip(number())?;
        return Some((glibc, parts.next()?));
    }
    // The first two exist for Intel's machines alone.
    let old = |machine: &&str| matches!(*machine, "x86_64" | "i686");
    let of = |prefix: &str| platform.strip_prefix(prefix);
    None.or_else(|| of("manylinux1_").filter(old).map(|machine| ((2, 5), machine)))
        .or_else(|| of("manylinux2010_").filter(old).map(|machine| ((2, 12), machine)))
        .or_else(|| of("manylinux2014_").map(|machine| ((2, 17), machine)))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version;
        let (libc_major, libc_minor) = self.glibc;
        let (abi, stable, machine) = (&self.abi, self.stable_abi(), &self.machine);
        write!(
            f,
            "{abi}, {stable} from cp{major}2 to cp{major}{minor} and py{major} on any, linux_{machine} "
        )?;
        write!(f, "and manylinux up to {libc_major}_{libc_minor}_{machine}")
    }
}

/// What a wheel runs on, as its file name says: every combination of one of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// `py3`, `cp312`.
    pub pythons: Vec<String>,
    /// `none`, `abi3`, `cp312`.
    pub abis: Vec<String>,
    /// `any`, `manylinux_2_17_x86_64`.
    pub platforms: Vec<String>,
}

impl Tags {
    /// The tags of the three parts of a file name, each a set with `.` between its members.
    pub fn parse(python: &str, abi: &str, platform: &str) -> Option<Self> {
        let set = |part: &str| {
            let valid = |tag: &str| {
                !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            let tags = part.split('.').map(|tag| valid(tag).then(|| tag.to_ascii_lowercase()));
            tags.collect::<Option<Vec<_>>>()
        };
        Some(Tags { pythons: set(python)?, abis: set(abi)?, platforms: set(platform)? })
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pythons.join("."), self.abis.join("."), self.platforms.join("."))
    }
}

/// `3` is `(3, None)`, `312` is `(3, Some(12))`.
fn split_version(digits: &str) -> Option<(u16, Option<u16>)> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (major, minor) = digits.split_at(1);
    Some((major.parse().ok()?, if minor.is_empty() { None } else { Some(minor.parse().ok()?) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(abi: &str, version: (u16, u16)) -> Target {
        Target {
            version,
            abi: abi.to_owned(),
            glibc: (2, 28),
            machine: "x86_64".to_owned(),
            site_packages: TreePath::new("lib/python3.12/site-packages").unwrap(),
        }
    }

    fn accepts(target: &Target, tags: &str) -> bool {
        let parts: Vec<&str> = tags.split('-').collect();
        target.accepts(&Tags::parse(parts[0], parts[1], parts[2]).unwrap())
    }

    #[test]
    fn wheels_for_this_python_fit() {
        let target = target("cp312", (3, 12));
        for tags in [
            "py3-none-any",
            "py2.py3-none-any",
            "py312-none-any",
            "py30-none-any",
            "cp312-none-any",
            "cp312-cp312-linux_x86_64",
            "cp312-cp312-manylinux_2_28_x86_64",
            "cp312-cp312-manylinux_2_99_x86_64.manylinux2014_x86_64",
            "cp36-abi3-manylinux1_x86_64",
            "cp312-abi3-manylinux2010_x86_64",
            "cp39.cp310-abi3.cp39-manylinux2014_x86_64",
        ] {
            assert!(accepts(&target, tags), "{tags}");
        }
    }

    #[test]
    fn wheels_for_something_else_do_not() {
        let target = target("cp312", (3, 12));
        for tags in [
            "py2-none-any",
            "py313-none-any",
            "py3-abi3-any",
            "cp311-cp311-linux_x86_64",
            "cp311-none-any",
            "cp313-abi3-linux_x86_64",
            "cp27-abi3-linux_x86_64",
            "cp3-none-any",
            "cp312-cp312t-linux_x86_64",
            "cp312-cp312-manylinux_2_29_x86_64",
            "cp312-cp312-manylinux_3_1_x86_64",
            "cp312-cp312-manylinux_2_17_aarch64",
            "cp312-cp312-musllinux_1_2_x86_64",
            "cp312-cp312-macosx_11_0_arm64",
            "cp312-cp312-win_amd64",
            "pp310-pypy310_pp73-linux_x86_64",
            "cp99999999999-none-any",
            "cp-none-any",
        ] {
            assert!(!accepts(&target, tags), "{tags}");
        }
    }

    #[test]
    fn a_free_threaded_python_has_a_stable_abi_of_its_own() {
        let target = target("cp313t", (3, 13));
        assert!(accepts(&target, "cp313-cp313t-linux_x86_64"));
        assert!(accepts(&target, "py3-none-any"));
        assert!(!accepts(&target, "cp313-cp313-linux_x86_64"));
        assert!(accepts(&target, "cp313-abi3t-linux_x86_64"));
        assert!(!accepts(&target, "cp39-abi3-linux_x86_64"));
    }

    #[test]
    fn old_manylinux_tags_exist_on_intel_only() {
        let mut target = target("cp312", (3, 12));
        target.machine = "aarch64".to_owned();
        assert!(accepts(&target, "cp312-cp312-manylinux2014_aarch64"));
        assert!(!accepts(&target, "cp312-cp312-manylinux2010_aarch64"));
    }

    #[test]
    fn the_objection_says_what_both_sides_are() {
        let target = target("cp312", (3, 12));
        let objection =
            target.objection(&Tags::parse("cp312", "cp312", "musllinux_1_2_x86_64").unwrap()).unwrap();
        assert_eq!(
            objection,
            "is for musl, not for glibc: it is for cp312-cp312-musllinux_1_2_x86_64, the runtime accepts cp312, \
             abi3 from cp32 to cp312 and py3 on any, linux_x86_64 and manylinux up to 2_28_x86_64"
        );
    }

    #[test]
    fn a_wheel_for_a_newer_glibc_is_told_by_the_oldest_it_asks_for() {
        let target = target("cp312", (3, 12));
        let begins = |tags: &str, words: &str| {
            let parts: Vec<&str> = tags.split('-').collect();
            let tags = Tags::parse(parts[0], parts[1], parts[2]).unwrap();
            let objection = target.objection(&tags).unwrap();
            assert!(objection.starts_with(&format!("{words}: it is for {tags}, ")), "{objection}");
        };
        let newer = "needs glibc 2.34, and the runtime has glibc 2.28";
        begins("cp312-cp312-manylinux_2_34_x86_64", newer);
        begins("cp312-cp312-manylinux_2_39_x86_64.manylinux_2_34_x86_64.musllinux_1_2_x86_64", newer);
        begins("cp312-cp312-manylinux_2_39_aarch64", "is for another platform");
        begins("cp311-cp311-manylinux_2_17_x86_64", "is for another Python or another ABI");
    }
}
