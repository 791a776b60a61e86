//! Finds the interpreter that the user means, among those that are on this machine.
//!
//! What is found is asked what it is, unless that is remembered ([`Probes`]). A version that is not there is fetched
//! by uv, where that is installed and may do it; nothing else is downloaded.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Failure, Result};
use crate::interpreter::{Interpreter, SUPPORTED};
use crate::probes::Probes;
use crate::report::Report;

/// Finds the interpreter for `--python`'s value, or for none.
///
/// Without one: the active virtualenv's (`VIRTUAL_ENV`, `CONDA_PREFIX`), else `python3` on PATH. A value is
/// the path of an interpreter, a directory with `bin/python3`, or a version (`3.12`, `3.12.1`, `python3.12`): then
/// PATH, pyenv's versions and those uv knows are looked through, and uv is asked to fetch it. The failure lists what
/// was looked at. Who is in `probes` and has not changed is not started.
pub fn find(request: Option<&str>, probes: Probes, report: &Report) -> Result<Interpreter> {
    let machine = Machine::of_environment(probes);
    match request {
        None => machine.default_interpreter(),
        Some(text) if Path::new(text).is_dir() => machine.in_directory(Path::new(text)),
        Some(text) => match Version::parse(text) {
            Some(version) => machine.interpreter_of_version(version, text, report),
            None => machine.named(text),
        },
    }
}

/// What of the environment says where interpreters are.
struct Machine {
    path: Vec<PathBuf>,
    virtualenvs: Vec<(&'static str, PathBuf)>,
    pyenv: Option<PathBuf>,
    probes: Probes,
}

/// A version as somebody asks for it: two or three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version(u16, u16, Option<u16>);

impl Machine {
    fn of_environment(probes: Probes) -> Machine {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let pyenv = set("PYENV_ROOT").or_else(|| Some(set("HOME")?.join(".pyenv")));
        Machine {
            probes: probes.with_pyenv(pyenv.clone()),
            path: std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect(),
            virtualenvs: ["VIRTUAL_ENV", "CONDA_PREFIX"]
                .into_iter()
                .filter_map(|name| Some((name, set(name)?)))
                .collect(),
            pyenv,
        }
    }

    fn default_interpreter(&self) -> Result<Interpreter> {
        if let Some((name, directory)) = self.virtualenvs.first() {
            return self.in_directory(directory).map_err(|failure| {
                Failure::new(format!("the active environment ({name}) cannot be used"))
                    .because(failure)
                    .hint("deactivate it, or name an interpreter with --python")
            });
        }
        let mut first = None;
        for file in self.on_path("python3") {
            match self.probes.ask(&file) {
                Ok(interpreter) => return Ok(interpreter),
                Err(failure) => first = first.or(Some(failure)),
            }
        }
        Err(first.unwrap_or_else(|| {
            Failure::new("there is no python3 on PATH, and no virtualenv is active")
                .hint("name an interpreter with --python, a path or a version")
        }))
    }

    /// A path, or the name of a program on PATH.
    fn named(&self, text: &str) -> Result<Interpreter> {
        let file = if text.contains('/') { Some(PathBuf::from(text)) } else { self.on_path(text).next() };
        match file.filter(|file| file.exists()) {
            Some(file) => self.probes.ask(&file),
            None => Err(Failure::new(format!("there is no interpreter {text}"))
                .hint("give --python a path, a directory with bin/python3, or a version such as 3.12")),
        }
    }

    fn interpreter_of_version(&self, version: Version, text: &str, report: &Report) -> Result<Interpreter> {
        let mut looked = Vec::new();
        let mut fault = None;
        for place in [Machine::version_on_path, Machine::version_of_pyenv, Machine::version_of_uv] {
            for file in place(self, version, &mut looked) {
                if self.probes.is_empty_shim(&file) {
                    continue;
                }
                match self.probes.ask(&file) {
                    Ok(interpreter) if version.covers(interpreter.version) => return Ok(interpreter),
                    Ok(_) => {}
                    // A shim of pyenv may have nothing behind it. What does start, and still cannot be
                    // packed, says why, if nothing better comes.
                    Err(failure) if starts(&file) => fault = fault.or(Some(failure)),
                    Err(_) => self.probes.remember_empty_shim(&file),
                }
            }
        }
        // What is there and cannot be packed is not passed over in silence.
        if fault.is_none() && SUPPORTED.contains(&version.1) {
            match self.fetch_with_uv(version, report) {
                Ok(Some(interpreter)) => return Ok(interpreter),
                Ok(None) => {}
                Err(failure) => fault = Some(failure),
            }
        }
        let failure =
            Failure::new(format!("there is no Python {} here; looked at {}", text.trim(), looked.join(", ")));
        let failure = failure
            .hint("install it (pyenv, uv python install), or give --python the path of an interpreter");
        Err(match fault {
            Some(fault) => failure.because(fault),
            None => failure,
        })
    }

    fn on_path(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.path.iter().map(move |directory| directory.join(name)).filter(|file| file.is_file())
    }

    fn version_on_path(&self, version: Version, looked: &mut Vec<String>) -> Vec<PathBuf> {
        let name = format!("python{}.{}", version.0, version.1);
        looked.push(format!("{name} and python3 on PATH"));
        self.on_path(&name).chain(self.on_path("python3")).collect()
    }

    /// pyenv's versions, the newest first.
    fn version_of_pyenv(&self, version: Version, looked: &mut Vec<String>) -> Vec<PathBuf> {
        let Some(versions) =
            self.pyenv.as_ref().map(|root| root.join("versions")).filter(|path| path.is_dir())
        else {
            return Vec::new();
        };
        looked.push(versions.display().to_string());
        let entries = std::fs::read_dir(&versions).into_iter().flatten().flatten();
        let mut found: Vec<((u16, u16, u16), PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let installed = Version::parse(name.to_str()?)?;
                let installed = (installed.0, installed.1, installed.2?);
                version.covers(installed).then(|| (installed, entry.path().join("bin/python3")))
            })
            .collect();
        found.sort();
        found.into_iter().rev().map(|(_, file)| file).filter(|file| file.is_file()).collect()
    }

    fn uv(&self) -> Option<PathBuf> {
        self.on_path("uv").find(|file| starts(file))
    }

    /// What uv installs for this version; `None` where there is no uv.
    fn fetch_with_uv(&self, version: Version, report: &Report) -> Result<Option<Interpreter>> {
        let Some(uv) = self.uv() else { return Ok(None) };
        report.doing(&format!("fetching CPython {version} with uv"));
        let words = ["python", "install", "--no-bin", "--no-progress", "--color", "never"];
        let output = Command::new(uv).args(words).arg(version.to_string()).stdin(Stdio::null()).output();
        let output = output.context(|| "uv cannot be started".into())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace("error: ", "");
            return Err(Failure::new(format!("uv cannot install it: {said}")));
        }
        let found = self.version_of_uv(version, &mut Vec::new());
        let interpreter = found.first().map(|file| Interpreter::probe(file)).transpose()?;
        if let Some(interpreter) = &interpreter {
            report.done(&format!("fetched CPython {} with uv", interpreter.full_version));
        }
        Ok(interpreter)
    }

    fn version_of_uv(&self, version: Version, looked: &mut Vec<String>) -> Vec<PathBuf> {
        let Some(uv) = self.uv() else { return Vec::new() };
        looked.push("uv's interpreters".to_owned());
        let mut command = Command::new(uv);
        command.args(["python", "find", "--offline", "--no-python-downloads", &version.to_string()]);
        let Ok(output) = command.stdin(Stdio::null()).stderr(Stdio::null()).output() else {
            return Vec::new();
        };
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if path.is_empty() { Vec::new() } else { vec![PathBuf::from(path)] }
    }

    /// The interpreter of a prefix or a virtualenv.
    fn in_directory(&self, directory: &Path) -> Result<Interpreter> {
        let candidates = ["bin/python3", "bin/python", "python3", "python"].map(|name| directory.join(name));
        match candidates.iter().find(|file| file.is_file()) {
            Some(file) => self.probes.ask(file),
            None => Err(Failure::new(format!(
                "{} holds no interpreter: there is no bin/python3 in it",
                directory.display()
            ))
            .hint("give --python the path of an interpreter, a virtualenv, or a version such as 3.12")),
        }
    }
}

/// Whether a program starts: a shim of pyenv may have nothing behind it.
fn starts(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg(OsStr::new("--version")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Version {
    /// Reads `3.12`, `3.12.1`, `python3.12` and `cpython3.12`.
    fn parse(text: &str) -> Option<Version> {
        let text = text.trim();
        let text = text.strip_prefix('c').unwrap_or(text);
        let numbers = text.strip_prefix("python").unwrap_or(text).trim_start_matches(['-', '@']);
        let mut parts = numbers.split('.').map(|part| part.parse::<u16>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = match parts.next() {
            None => None,
            Some(number) => Some(number?),
        };
        parts.next().is_none().then_some(Version(major, minor, patch))
    }

    fn covers(self, (major, minor, patch): (u16, u16, u16)) -> bool {
        (self.0, self.1) == (major, minor) && self.2.is_none_or(|wanted| wanted == patch)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)?;
        self.2.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn machine(virtualenvs: Vec<(&'static str, PathBuf)>, pyenv: Option<PathBuf>) -> Machine {
        Machine { path: Vec::new(), virtualenvs, pyenv, probes: Probes::forgotten() }
    }

    #[test]
    fn versions_are_told_from_names() {
        assert_eq!(Version::parse("3.12"), Some(Version(3, 12, None)));
        assert_eq!(Version::parse("python3.12.1"), Some(Version(3, 12, Some(1))));
        for name in ["python3", "3", "3.x", "3.12.1.0", "pypy3.10", "", "3.12t"] {
            assert_eq!(Version::parse(name), None, "{name}");
        }
        assert!(Version(3, 12, None).covers((3, 12, 9)) && !Version(3, 12, Some(1)).covers((3, 12, 9)));
    }

    #[test]
    fn pyenvs_newest_fitting_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["3.12.1", "3.12.10", "3.12.9", "3.11.1", "my-env"] {
            let bin = root.path().join("versions").join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            std::fs::write(bin.join("python3"), "").unwrap();
        }
        let machine = machine(Vec::new(), Some(root.path().to_owned()));
        let found = machine.version_of_pyenv(Version(3, 12, None), &mut Vec::new());
        let names: Vec<_> =
            found.iter().map(|file| file.iter().rev().nth(2).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["3.12.10", "3.12.9", "3.12.1"]);
    }

    #[test]
    fn a_version_that_is_nowhere_is_answered_with_where_was_looked() {
        let machine = machine(Vec::new(), None);
        let report = Report::new(crate::report::Loudness::Quiet);
        let failure = machine.interpreter_of_version(Version(3, 12, None), "3.12", &report).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "there is no Python 3.12 here; looked at python3.12 and python3 on PATH"
        );
        assert!(failure.advice().unwrap().contains("--python"));
    }

    #[test]
    fn a_broken_active_environment_is_named_and_not_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let virtualenvs = vec![("VIRTUAL_ENV", root.path().to_owned())];
        let machine = machine(virtualenvs, None);
        let failure = machine.default_interpreter().unwrap_err();
        assert_eq!(failure.to_string(), "the active environment (VIRTUAL_ENV) cannot be used");
    }

    #[test]
    fn a_shim_with_nothing_behind_it_does_not_start() {
        let root = tempfile::tempdir().unwrap();
        let shim = root.path().join("uv");
        std::fs::write(&shim, "#!/bin/sh\nexit 127\n").unwrap();
        std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!starts(&shim));
    }
}
