//! `requires-python`: whether an interpreter is one that a script or a source tree runs on.
//!
//! Wheels are checked by the resolver; this is for what has no wheel. Only releases are compared
//! (PyPA, "Version specifiers"): an interpreter's version has three numbers and nothing after them.

use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;
use crate::lock::specifier::{Specifiers, Version};

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
    let version = Version::of_release(&[version.0, version.1, version.2].map(u64::from));
    Some(Specifiers::parse(specifier)?.allow(&version))
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
