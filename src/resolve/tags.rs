//! Which of several wheels an interpreter prefers (PyPA, "Platform compatibility tags").
//!
//! uv lists every wheel that fits; an installer takes the most specific. This is that order, for
//! CPython on glibc.

use crate::interpreter::Interpreter;

/// How good a wheel is for the interpreter, smaller is better; `None` where it does not fit.
pub fn rank(wheel: &str, interpreter: &Interpreter) -> Option<Rank> {
    let mut parts = wheel.strip_suffix(".whl")?.rsplitn(4, '-');
    let (platforms, abis, pythons) = (parts.next()?, parts.next()?, parts.next()?);
    let build = parts.next()?.split('-').nth(2).unwrap_or_default();
    let digits = build.find(|c: char| !c.is_ascii_digit()).unwrap_or(build.len());
    let build_number: u64 = build[..digits].parse().unwrap_or(0);
    let mut best: Option<Rank> = None;
    for python in pythons.split('.') {
        for abi in abis.split('.') {
            for platform in platforms.split('.') {
                let Some((kind, age)) = kind_of(python, abi, platform == "any", interpreter) else {
                    continue;
                };
                let Some(distance) = platform_distance(platform, interpreter) else { continue };
                // Higher build numbers win among wheels of one tag.
                let rank = Rank(kind, age, distance, u64::MAX - build_number);
                best = Some(best.map_or(rank, |best| best.min(rank)));
            }
        }
    }
    best
}

/// The order in which an installer prefers wheels: kind of tag, age of the Python it names, age of the
/// platform, build number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u8, u16, u16, u64);

/// The place of the tags for Python and ABI, and how much older the Python they name is.
fn kind_of(python: &str, abi: &str, any: bool, interpreter: &Interpreter) -> Option<(u8, u16)> {
    let (major, minor, _) = interpreter.version;
    let own = format!("cp{major}{minor}");
    let abi3 = if interpreter.abi_flags.contains('t') { "abi3t" } else { "abi3" };
    if let Some(version) = python.strip_prefix("cp3").and_then(|version| version.parse::<u16>().ok()) {
        return match abi {
            _ if python == own && abi == interpreter.abi() && !any => Some((0, 0)),
            _ if python == own && abi == abi3 && !any => Some((1, 0)),
            "none" if python == own => Some((if any { 6 } else { 2 }, 0)),
            _ if abi == abi3 && !any && version < minor => Some((3, minor - version)),
            _ => None,
        };
    }
    // py312, py3, py311, py310 ...: the exact one, then the major version, then the older ones.
    let age = match python.strip_prefix("py3")? {
        "" => 1,
        version => match minor.checked_sub(version.parse().ok()?)? {
            0 => 0,
            older => older + 1,
        },
    };
    (abi == "none").then_some((if any { 7 } else { 5 }, age))
}

/// How far the platform tag is from the newest that fits; `None` where it does not.
fn platform_distance(platform: &str, interpreter: &Interpreter) -> Option<u16> {
    if platform == "any" {
        return Some(0);
    }
    let (major, minor) = interpreter.glibc?;
    let rest = platform.strip_suffix(&interpreter.machine)?.strip_suffix('_')?;
    let wanted = match rest {
        "linux" => return Some(u16::MAX),
        "manylinux1" => (2, 5),
        "manylinux2010" => (2, 12),
        "manylinux2014" => (2, 17),
        other => {
            let (one, two) = other.strip_prefix("manylinux_")?.split_once('_')?;
            (one.parse().ok()?, two.parse().ok()?)
        }
    };
    (wanted.0 == major && wanted.1 <= minor).then(|| minor - wanted.1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A CPython 3.12 on glibc 2.36.
    pub fn cpython_312() -> Interpreter {
        Interpreter {
            executable: "/usr/bin/python3.12".into(),
            base_executable: "/usr/bin/python3.12".into(),
            version: (3, 12, 1),
            full_version: "3.12.1".into(),
            implementation: "cpython".into(),
            abi_flags: String::new(),
            base_prefix: "/usr".into(),
            base_exec_prefix: "/usr".into(),
            stdlib: "/usr/lib/python3.12".into(),
            dynload: None,
            magic: "cb0d0d0a".into(),
            glibc: Some((2, 36)),
            machine: "x86_64".into(),
            has_pip: true,
            markers: [("python_version".to_owned(), "3.12".to_owned())].into(),
        }
    }

    #[test]
    fn wheels_are_preferred_in_the_order_of_the_specification() {
        let best_first = [
            "x-1-cp312-cp312-manylinux_2_28_x86_64.whl",
            "x-1-2-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            "x-1-1-cp312-cp312-manylinux2014_x86_64.whl",
            "x-1-cp312-cp312-linux_x86_64.whl",
            "x-1-cp312-abi3-manylinux1_x86_64.whl",
            "x-1-cp311-abi3-manylinux_2_28_x86_64.whl",
            "x-1-cp37-abi3-manylinux_2_28_x86_64.whl",
            "x-1-py3-none-manylinux_2_17_x86_64.whl",
            "x-1-cp312-none-any.whl",
            "x-1-py312-none-any.whl",
            "x-1-py2.py3-none-any.whl",
            "x-1-py311-none-any.whl",
        ];
        let ranks: Vec<Rank> = best_first
            .iter()
            .map(|name| rank(name, &cpython_312()).unwrap_or_else(|| panic!("{name}")))
            .collect();
        assert!(ranks.is_sorted_by(|one, two| one < two), "{ranks:?}");
    }

    #[test]
    fn wheels_for_others_do_not_fit() {
        for name in [
            "x-1-cp313-cp313-manylinux_2_28_x86_64.whl",
            "x-1-cp313-abi3-manylinux_2_28_x86_64.whl",
            "x-1-cp312-cp312t-manylinux_2_28_x86_64.whl",
            "x-1-cp312-cp312-manylinux_2_39_x86_64.whl",
            "x-1-cp312-cp312-manylinux_2_28_aarch64.whl",
            "x-1-cp312-cp312-musllinux_1_2_x86_64.whl",
            "x-1-py2-none-any.whl",
            "x-1-py313-none-any.whl",
            "x-1.tar.gz",
        ] {
            assert_eq!(rank(name, &cpython_312()), None, "{name}");
        }
    }
}
