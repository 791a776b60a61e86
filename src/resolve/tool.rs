//! uv and pip as programs: finding them, starting them, and telling why they failed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{Options, Resolver, no_tool};
use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;

/// The date that files in what is built get where the user states none: a fixed one, 2020-02-02.
pub const SOURCE_DATE_EPOCH: &str = "1580601600";

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
}

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
        let pip = pip.or_else(|| uv.clone().map(Pip::ThroughUv));
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
    if std::env::var_os("SOURCE_DATE_EPOCH").is_none() {
        command.env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
    }
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

/// A failure out of what a tool said: its own last lines are the cause.
pub fn failure(what: &str, errors: &str, output: &str) -> Failure {
    let said = if errors.trim().is_empty() { output } else { errors };
    let said = without_credentials(&said.replace('\r', "\n"));
    let failure = Failure::new(what).because(essence(&said));
    match advice(&without_frames(&said).join("\n")) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The lines that say why: those that are marked as errors, else the last ones.
fn essence(said: &str) -> String {
    let noise = ["WARNING:", "DEPRECATION:", "[notice]", "note:", "hint:"];
    let frills = ['×', '╰', '─', '▶', '>', '│', '├', ' '];
    let lines: Vec<&str> = without_frames(said)
        .into_iter()
        .map(|line| line.trim_end().trim_start_matches(frills))
        .filter(|line| !line.is_empty() && !noise.iter().any(|mark| line.starts_with(mark)))
        .collect();
    // A build's own complaint stands above pip's summary of it.
    if let Some(end) = lines.iter().position(|line| *line == "[end of output]") {
        let begin =
            lines[..end].iter().rposition(|line| line.ends_with("lines of output]")).map_or(0, |at| at + 1);
        return shortened(&lines[begin..end]);
    }
    let marks = ["ERROR: ", "error: ", "cause: ", "Caused by: "];
    let first = lines.iter().position(|line| marks.iter().any(|mark| line.starts_with(mark)));
    let plain: Vec<&str> = lines[first.unwrap_or(0)..]
        .iter()
        .map(|line| marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line))
        .collect();
    shortened(&plain)
}

/// The lines without the frames of Python's tracebacks: they are indented below their title, and what was
/// raised is not.
fn without_frames(said: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut title: Option<usize> = None;
    for line in said.lines() {
        let indent = line.len() - line.trim_start_matches([' ', '│']).len();
        if let Some(at) = line.find("Traceback (most recent call last)") {
            title = Some(indent);
            lines.push(&line[..at]);
        } else if title.is_none_or(|title| indent <= title) {
            title = None;
            lines.push(line);
        }
    }
    lines
}

/// The beginning and the end of many lines.
fn shortened(lines: &[&str]) -> String {
    match lines.len() {
        0..=12 => lines.join("\n"),
        length => [&lines[..5], &["..."], &lines[length - 6..]].concat().join("\n"),
    }
}

/// What the user can do, guessed from the words of the tools.
fn advice(said: &str) -> Option<&'static str> {
    let words = said.to_lowercase();
    let says = |marks: &[&str]| marks.iter().any(|mark| words.contains(mark));
    let python = [
        "requires-python",
        "requires a different python",
        "does not satisfy python",
        "requested python version",
    ];
    if says(&["no such option: --report", "no such option: --python"]) {
        return Some(
            "this pip is too old (22.3 is needed): upgrade it with `python -m pip install -U pip`, or install uv",
        );
    }
    if says(&["unexpected argument '--format'", "invalid value 'pylock.toml'"]) {
        return Some("this uv is too old to write pylock.toml: upgrade it, or use --resolver pip");
    }
    if says(&["do not match the hashes", "hash mismatch"]) {
        return Some(
            "the file is not the one that was expected: make the hashes anew if it may have changed",
        );
    }
    if says(&["--require-hashes mode", "requires hashes"]) {
        return Some("add the hashes of everything that is needed: uv pip compile --generate-hashes");
    }
    let network = [
        "name resolution",
        "name or service not known",
        "failed to establish a new connection",
        "dns error",
        "error sending request",
        "connection refused",
        "network is unreachable",
        "network was disabled",
        "timed out",
        "failed to fetch",
        "could not connect",
        "tunnel error",
        "client error (connect)",
    ];
    if says(&["401", "403 ", "unauthorized", "forbidden"]) && says(&["http", "index"]) {
        return Some("check the user name and password of the index (--index-url, ~/.netrc)");
    }
    if says(&network) {
        return Some("check the network, or use wheels from a directory: --no-index --find-links DIR");
    }
    if says(&["certificate"]) {
        return Some("name the certificates with SSL_CERT_FILE or PIP_CERT");
    }
    if says(&[
        "subprocess-exited-with-error",
        "failed to build",
        "build backend",
        "metadata-generation-failed",
        "exception:",
    ]) {
        return Some(
            "a source distribution cannot be built here: install what it needs, or ask for a version that has a wheel",
        );
    }
    if says(&python) {
        return Some("name another interpreter with --python, or ask for another version");
    }
    if says(&["conflict", "incompatible"]) || (says(&["depends on"]) && says(&["unsatisfiable"])) {
        return Some("loosen one of the requirements that exclude each other");
    }
    let unknown =
        ["no matching distribution", "was not found", "no solution found", "no versions of", "not found in"];
    says(&unknown).then_some(
        "check the name and the version, and where they are looked for (--index-url, --find-links)",
    )
}

/// Addresses in messages lose their credentials.
fn without_credentials(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.map(|word| crate::lock::url::without_credentials(word)).collect()
}

/// uv where it works: `$UV` (set by `uv run`), else the one on PATH. A shim of pyenv may be there without a
/// uv behind it.
fn find_uv() -> Option<PathBuf> {
    let named = std::env::var_os("UV").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("uv"));
    named.into_iter().chain(on_path).filter(|file| file.is_file()).find(|file| works(file.as_os_str()))
}

fn works(program: &OsStr) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
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

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn told(said: &str) -> (String, String) {
        let failure = failure("it cannot be resolved", said, "");
        (failure.source().unwrap().to_string(), failure.advice().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_cause_is_what_the_tool_said_without_its_frills() {
        let (cause, hint) =
            told("WARNING: x\nERROR: No matching distribution found for nope\n[notice] new pip\n");
        assert_eq!(cause, "No matching distribution found for nope");
        assert!(hint.starts_with("check the name"));
        let (cause, _) =
            told("  × No solution found when resolving dependencies:\n  ╰─▶ Because nope was not found\n");
        assert_eq!(cause, "No solution found when resolving dependencies:\nBecause nope was not found");
        let (cause, hint) = told(
            "error: subprocess-exited-with-error\n× x\n│ exit code: 1\n╰─> [2 lines of output]\n  a\n  no gcc\n  [end of output]\nnote: y\n",
        );
        assert_eq!(cause, "a\nno gcc");
        assert!(hint.starts_with("a source distribution cannot be built"));
    }

    #[test]
    fn hints_fit_the_cause_and_credentials_do_not_show() {
        let (cause, hint) = told("error: Request failed for https://me:pw@host/simple\n  cause: dns error\n");
        assert_eq!(cause, "Request failed for https://host/simple\ndns error");
        assert!(hint.contains("--find-links"));
        assert!(told("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES").1.contains("hashes"));
    }
}
