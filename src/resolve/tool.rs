//! uv and pip as programs: finding them and starting them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::complaint::failure;
use super::{Options, Resolver, no_tool};
use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;
use crate::project::sources::source_date;

/// The tools that are there.
#[derive(Debug, Clone)]
pub struct Tools {
    /// uv, unless the user wants pip alone.
    pub uv: Option<PathBuf>,
    /// pip, where it can be had.
    pub pip: Option<Pip>,
}

/// How pip is started for an interpreter.
#[derive(Debug, Clone)]
pub enum Pip {
    /// `python -m pip`
    Module,
    /// From the wheel that `ensurepip` would install: a virtualenv made by uv has no pip of its own.
    Bundled(PathBuf),
    /// In an environment that uv makes for the interpreter.
    ThroughUv(PathBuf),
    /// The pip of another interpreter, which does the same for this one: a packed runtime has none.
    Of(PathBuf),
}

/// The first pip that works for another interpreter than its own (`--python`).
pub(super) const FOR_OTHERS: (u32, u32) = (22, 3);

impl Tools {
    /// Looks for the tools that the options ask for; a failure where there is none.
    pub fn find(interpreter: &Interpreter, options: &Options) -> Result<Tools> {
        let uv = match options.resolver {
            Some(Resolver::Pip) => None,
            _ => find_uv(),
        };
        if options.resolver == Some(Resolver::Uv) && uv.is_none() {
            return Err(Failure::new("uv is asked for, and it is not installed")
                .hint("install it (https://docs.astral.sh/uv/), or use --resolver pip"));
        }
        let pip =
            if interpreter.has_pip { Some(Pip::Module) } else { bundled_pip(interpreter).map(Pip::Bundled) };
        let pip = pip.or_else(|| uv.clone().map(Pip::ThroughUv)).or_else(other_pip);
        if uv.is_none() && pip.is_none() {
            return Err(no_tool(interpreter));
        }
        Ok(Tools { uv, pip })
    }

    /// A command line that starts pip.
    pub fn pip(&self, interpreter: &Interpreter) -> Result<Command> {
        let mut command = match &self.pip {
            Some(Pip::Module) => {
                let mut command = Command::new(&interpreter.executable);
                command.args(["-m", "pip"]);
                command
            }
            Some(Pip::Bundled(wheel)) => {
                let mut command = Command::new(&interpreter.executable);
                command.arg(wheel.join("pip"));
                command
            }
            Some(Pip::ThroughUv(uv)) => {
                let mut command = Command::new(uv);
                command.args(["tool", "run", "--quiet", "--no-python-downloads", "--python"]);
                command.arg(&interpreter.executable).arg("pip");
                command
            }
            Some(Pip::Of(other)) => {
                let mut command = Command::new(other);
                command.args(["-m", "pip", "--python"]).arg(&interpreter.executable);
                command
            }
            None => return Err(no_tool(interpreter)),
        };
        // What would install or print elsewhere than where it is wanted.
        for name in
            ["TARGET", "PREFIX", "ROOT", "REPORT", "WHEEL_DIR", "DRY_RUN", "QUIET", "VERBOSE", "NO_DEPS"]
        {
            command.env_remove(format!("PIP_{name}"));
        }
        for (name, value) in [
            ("PIP_USER", "0"),
            ("PIP_REQUIRE_VIRTUALENV", "0"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_USE_PEP517", "1"),
            ("PYTHONSAFEPATH", "1"),
        ] {
            command.env(name, value);
        }
        clean(&mut command);
        Ok(command)
    }
}

/// Takes out of the environment what would reach into the interpreter, and states a date for builds.
pub fn clean(command: &mut Command) {
    for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "__PYVENV_LAUNCHER__"] {
        command.env_remove(name);
    }
    command.env("SOURCE_DATE_EPOCH", source_date(None));
}

/// Runs a tool to its end. `what` begins the sentence of a failure: `the requirements cannot be resolved`.
pub fn run(mut command: Command, what: &str) -> Result<Output> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(format!("{what}: {program} cannot be started")).because(error))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(failure(what, &String::from_utf8_lossy(&output.stderr), &String::from_utf8_lossy(&output.stdout)))
}

/// The same, and every line on its standard output is `heard` as it comes.
pub fn run_and_hear(mut command: Command, what: &str, heard: &mut dyn FnMut(&str)) -> Result<Output> {
    let program = Path::new(command.get_program()).display().to_string();
    let cannot = |error| Failure::new(format!("{what}: {program} cannot be started")).because(error);
    let lost = |error| Failure::new(format!("{what}: {program} cannot be heard")).because(error);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (said, errors) = std::thread::scope(|scope| {
        let errors = scope.spawn(|| {
            let mut errors = Vec::new();
            stderr.map_or(Ok(0), |mut stderr| stderr.read_to_end(&mut errors)).map(|_| errors)
        });
        let mut said = Vec::new();
        let mut lines = stdout.map(BufReader::new);
        while let Some(lines) = &mut lines {
            let begin = said.len();
            if lines.read_until(b'\n', &mut said).map_err(lost)? == 0 {
                break;
            }
            heard(&String::from_utf8_lossy(&said[begin..]));
        }
        let errors = errors.join().unwrap_or_else(|_| Ok(Vec::new())).map_err(lost)?;
        Ok::<_, Failure>((said, errors))
    })?;
    let status = child.wait().map_err(lost)?;
    if status.success() {
        return Ok(Output { status, stdout: said, stderr: errors });
    }
    Err(failure(what, &String::from_utf8_lossy(&errors), &String::from_utf8_lossy(&said)))
}

/// uv where it works: `$UV` (set by `uv run`), else the one on PATH. A shim of pyenv may be there without a
/// uv behind it.
pub fn find_uv() -> Option<PathBuf> {
    let named = std::env::var_os("UV").map(PathBuf::from);
    let named = named.filter(|file| file.is_file() && works(file.as_os_str()));
    named.or_else(|| find_program("uv"))
}

/// A program on PATH that works.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join(name));
    on_path.filter(|file| file.is_file()).find(|file| works(file.as_os_str()))
}

fn works(program: &OsStr) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What `python3` has: its pip, or the wheel of one.
fn other_pip() -> Option<Pip> {
    let other = Interpreter::probe(&find_program("python3")?).ok()?;
    if other.has_pip && pip_version(&other.executable).is_some_and(|version| version >= FOR_OTHERS) {
        return Some(Pip::Of(other.executable));
    }
    bundled_pip(&other).map(Pip::Bundled)
}

/// `pip 23.2.1 from ...`
fn pip_version(python: &Path) -> Option<(u32, u32)> {
    let mut command = Command::new(python);
    clean(&mut command);
    let said = command.args(["-m", "pip", "--version"]).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout);
    let mut numbers = said.split_whitespace().nth(1)?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The wheel of pip that comes with CPython: beside `ensurepip`, or where Debian keeps it.
fn bundled_pip(interpreter: &Interpreter) -> Option<PathBuf> {
    let mut directories = vec![interpreter.stdlib.join("ensurepip/_bundled")];
    if interpreter.stdlib.starts_with("/usr") {
        directories.push(PathBuf::from("/usr/share/python-wheels"));
    }
    directories.iter().find_map(|directory| {
        let files = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let is_pip = |file: &PathBuf| {
            let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
            name.starts_with("pip-") && name.ends_with(".whl")
        };
        files.filter(is_pip).max()
    })
}
