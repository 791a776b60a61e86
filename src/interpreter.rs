//! The interpreter on the build machine: how it is found, and what it says of itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// A CPython on this machine, in its own words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// The interpreter the user meant: a virtualenv's python where there is one. Resolution runs with it.
    pub executable: PathBuf,
    /// The interpreter behind it, outside every virtualenv, symbolic links resolved: what is harvested.
    pub base_executable: PathBuf,
    /// `sys.version_info[:3]`.
    pub version: (u16, u16, u16),
    /// `platform.python_version()`: `3.13.0rc1` where `version` says `3.13.0`.
    pub full_version: String,
    /// `sys.implementation.name`.
    pub implementation: String,
    /// `sys.abiflags`: `t` for a free-threaded build, `d` for a debug build, else empty.
    pub abi_flags: String,
    /// `sys.base_prefix`.
    pub base_prefix: PathBuf,
    /// `sys.base_exec_prefix`.
    pub base_exec_prefix: PathBuf,
    /// `sysconfig`'s `stdlib`: the directory of `os.py`.
    pub stdlib: PathBuf,
    /// Where its extension modules are (`lib-dynload`), `sys.path`'s entry where it exists.
    pub dynload: Option<PathBuf>,
    /// `importlib.util.MAGIC_NUMBER` as hexadecimal digits: the first bytes of its byte code.
    pub magic: String,
    /// The C library it runs on, as (major, minor); `None` where it is not glibc.
    pub glibc: Option<(u16, u16)>,
    /// `platform.machine()`: `x86_64`, `aarch64`.
    pub machine: String,
    /// Whether `import pip` works in it.
    pub has_pip: bool,
    /// The environment markers of PEP 508, by name.
    pub markers: BTreeMap<String, String>,
}

/// The Python versions that can be packed: 3.9 up to, but not including, 3.15.
pub const SUPPORTED: std::ops::Range<u16> = 9..15;

impl Interpreter {
    /// Asks the interpreter at `executable` what it is.
    ///
    /// It is run isolated and without any `PYTHON*` variable, so that it answers for itself and not for
    /// what the user has set up around it.
    pub fn probe(executable: &Path) -> Result<Self> {
        let shown = executable.display();
        let other = "name another interpreter with --python";
        let mut command = Command::new(executable);
        command.args(["-I", "-c", include_str!("../runtime-templates/probe.py")]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PYTHON") || name == "__PYVENV_LAUNCHER__" {
                command.env_remove(name);
            }
        }
        let output = command.stdin(Stdio::null()).output().map_err(|error| {
            Failure::new(format!("cannot start the interpreter {shown}")).because(error).hint(other)
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
            let message = format!("{shown} cannot be used: it failed to tell what it is ({})", output.status);
            return Err(Failure::new(message).because(last).hint(other));
        }
        // Start-up files (`.pth`) may print as well: the answer is the last line.
        let answer = output.stdout.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let told: Interpreter = serde_json::from_slice(answer).map_err(|error| {
            Failure::new(format!("{shown} cannot be used: it is not a Python interpreter"))
                .because(error)
                .hint(other)
        })?;
        told.check(executable).map_err(|failure| failure.hint(other))?;
        Ok(told)
    }

    /// `3.12`
    pub fn minor_version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// The ABI tag: `cp312`, `cp313t`.
    pub fn abi(&self) -> String {
        format!("cp{}{}{}", self.version.0, self.version.1, self.abi_flags)
    }

    fn check(&self, executable: &Path) -> Result<()> {
        let shown = executable.display();
        if self.implementation != "cpython" {
            let message = format!("{shown} is {}, and only CPython can be packed", self.implementation);
            return Err(Failure::new(message));
        }
        let (major, minor, _) = self.version;
        if major != 3 || !SUPPORTED.contains(&minor) {
            let message = format!("{shown} is Python {}, and coil packs 3.9 to 3.14", self.full_version);
            return Err(Failure::new(message));
        }
        if self.glibc.is_none() {
            return Err(Failure::new(format!(
                "{shown} does not run on glibc, and coil packs only those that do"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_of_this_machine_tells_what_it_is() {
        let interpreter = Interpreter::probe(Path::new("python3")).unwrap();
        assert_eq!(interpreter.implementation, "cpython");
        assert!(interpreter.base_executable.is_absolute());
        assert!(interpreter.stdlib.join("os.py").exists());
        assert_eq!(interpreter.magic.len(), 8);
    }

    #[test]
    fn what_start_up_files_print_is_not_taken_for_the_answer() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python3");
        std::fs::write(&path, "#!/bin/sh\necho welcome\nexec python3 \"$@\"\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Interpreter::probe(&path).unwrap().implementation, "cpython");
    }

    #[test]
    fn what_is_no_interpreter_or_a_broken_one_is_refused_with_a_hint() {
        let cases = [
            ("/bin/echo", "not a Python interpreter"),
            ("/bin/false", "failed to tell"),
            ("/nowhere/python3", "cannot start"),
        ];
        for (program, reason) in cases {
            let failure = Interpreter::probe(Path::new(program)).unwrap_err();
            assert!(failure.to_string().contains(reason), "{failure}");
            assert!(failure.advice().is_some());
        }
    }
}
