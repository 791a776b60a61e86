//! `requires-python`: whether an interpreter is one that a script or a source tree runs on.
//!
//! Wheels are checked by the resolver; this is for what has no wheel. Only releases are compared
//! (PyPA, "Version specifiers"): an interpreter's version has three numbers and nothing after them.

use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;

/// Fails where `specifier`, which `project` states, leaves the interpreter's version out.
pub fn check_requires_python(project: &str, specifier: &str, interpreter: &Interpreter) -> Result<()> {
    match allows(specifier, interpreter.version) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(format!(
            "{project} needs Python {specifier}, and {} is {}",
            interpreter.executable.display(),
            interpreter.full_version
        ))
        .hint("name another interpreter with --python, a path or a version")),
        None => {
            Err(Failure::new(format!("{project}: requires-python {specifier:?} is not a version specifier")))
        }
    }
}

/// Whether every part of the specifier allows the version; `None` where it cannot be read.
fn allows(specifier: &str, version: (u16, u16, u16)) -> Option<bool> {
    let version = [version.0, version.1, version.2].map(u64::from);
    let mut all = true;
    for part in specifier.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        all &= allows_part(part, &version)?;
    }
    Some(all)
}

fn allows_part(part: &str, version: &[u64; 3]) -> Option<bool> {
    let operator =
        ["===", "~=", "==", "!=", "<=", ">=", "<", ">"].into_iter().find(|op| part.starts_with(op))?;
    let text = part[operator.len()..].trim();
    let (text, is_prefix) = match text.strip_suffix(".*") {
        Some(text) => (text, true),
        None => (text, false),
    };
    // Pre-releases compare like the release they lead to: `<3.13.0a1` still leaves 3.13.0 out.
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let wanted: Vec<u64> = text[..end]
        .trim_end_matches('.')
        .split('.')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let at = |index: usize| wanted.get(index).copied().unwrap_or(0);
    let full = [at(0), at(1), at(2)];
    let same_start = |length: usize| {
        version.iter().copied().chain([0; 8]).take(length).eq(wanted.iter().copied().take(length))
    };
    Some(match operator {
        "==" if is_prefix => same_start(wanted.len()),
        "!=" if is_prefix => !same_start(wanted.len()),
        "==" | "===" => *version == full,
        "!=" => *version != full,
        "<=" => *version <= full,
        ">=" => *version >= full,
        "<" => *version < full,
        ">" => *version > full,
        // "~= 2.2 is approximately equivalent to >= 2.2, == 2.*".
        _ => wanted.len() >= 2 && *version >= full && same_start(wanted.len() - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_are_read_as_the_specification_says() {
        let on = |specifier: &str| allows(specifier, (3, 12, 1));
        for yes in [
            ">=3.9", ">=3.9,<4", "==3.12.*", "~=3.11", "~=3.12.0", "!=3.12.0", "<3.13", "", ">=3.12.1",
            "==3.12.1",
        ] {
            assert_eq!(on(yes), Some(true), "{yes}");
        }
        for no in [
            ">=3.13",
            "<3.12",
            "==3.11.*",
            "~=3.13",
            "~=3.11.0",
            "!=3.12.*",
            ">3.12.1",
            "<3.9,>=3.8",
            "==3.12",
        ] {
            assert_eq!(on(no), Some(false), "{no}");
        }
        for neither in ["3.9", ">=", ">=x", "=>3.9"] {
            assert_eq!(on(neither), None, "{neither}");
        }
    }
}
