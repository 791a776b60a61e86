//! Locks of uv, Poetry and PDM, through the exporters of the tools that wrote them.
//!
//! Their own formats are theirs: what they say in the standard one is what counts. A lock that no longer
//! matches its project is an error here, never resolved anew.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Work;
use super::tool::{clean, find_program, find_uv, run};
use crate::error::{Context, Failure, Result};
use crate::lock::Lock;
use crate::project::lock_file::{LockFile, LockKind};

/// Reads a lock, by its exporter where it is not a standard one. Its paths are absolute.
pub fn read(lock: &LockFile, work: &Work) -> Result<Lock> {
    let command = match lock.kind {
        LockKind::Pylock => return Lock::read(&lock.path),
        LockKind::Uv | LockKind::UvScript => uv(lock, work)?,
        LockKind::Poetry => poetry(lock, work)?,
        LockKind::Pdm => return pdm(lock, work),
    };
    export(command, lock)?;
    Lock::read(&place(work))
}

/// Where exporters write to.
fn place(work: &Work) -> PathBuf {
    work.scratch.join("pylock.exported.toml")
}

fn uv(lock: &LockFile, work: &Work) -> Result<Command> {
    let program = find_uv().ok_or_else(|| missing(lock, "uv", "install uv (https://docs.astral.sh/uv/)"))?;
    let mut command = Command::new(program);
    command.args([
        "export",
        "--locked",
        "--format",
        "pylock.toml",
        "--no-header",
        "--quiet",
        "--no-progress",
    ]);
    command.args(["--color", "never", "--no-python-downloads", "--python"]).arg(&work.interpreter.executable);
    command.arg("--output-file").arg(place(work));
    if let Some(project) = &lock.project {
        match lock.kind {
            LockKind::UvScript => command.arg("--script").arg(project),
            _ => command.arg("--no-default-groups").arg("--project").arg(project),
        };
    }
    if lock.kind == LockKind::Uv {
        for extra in &work.request.extras {
            command.args(["--extra", extra]);
        }
        for group in &work.request.groups {
            command.args(["--group", group]);
        }
    }
    // What would choose otherwise than is said above.
    for name in ["FROZEN", "PYTHON", "NO_DEV", "DEV", "ONLY_DEV", "OUTPUT_FILE", "PROJECT", "WORKING_DIR"] {
        command.env_remove(format!("UV_{name}"));
    }
    Ok(command)
}

fn poetry(lock: &LockFile, work: &Work) -> Result<Command> {
    let hint = "install Poetry and its export plugin: pipx install poetry && pipx inject poetry poetry-plugin-export";
    let mut command = Command::new(find_program("poetry").ok_or_else(|| missing(lock, "poetry", hint))?);
    command
        .args(["export", "--no-interaction", "--no-ansi", "--format", "pylock.toml", "--output"])
        .arg(place(work));
    if let Some(project) = &lock.project {
        command.arg("--directory").arg(project);
    }
    for extra in &work.request.extras {
        command.args(["--extras", extra]);
    }
    for group in &work.request.groups {
        command.args(["--with", group]);
    }
    Ok(command)
}

/// PDM writes beside the project which interpreter it found: it works on a copy of the two files it reads.
fn pdm(lock: &LockFile, work: &Work) -> Result<Lock> {
    let hint = "install PDM 2.24 or newer: pipx install pdm";
    let program = find_program("pdm").ok_or_else(|| missing(lock, "pdm", hint))?;
    let copy = work.scratch.join("pdm");
    let project = lock.path.parent().unwrap_or(Path::new("/"));
    let copied = std::fs::create_dir_all(&copy)
        .and_then(|()| std::fs::copy(&lock.path, copy.join("pdm.lock")))
        .and_then(|_| std::fs::copy(project.join("pyproject.toml"), copy.join("pyproject.toml")));
    copied.context(|| format!("{} cannot be copied", lock.path.display()))?;
    let command = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(words).arg("--project").arg(&copy).current_dir(&copy);
        for (name, value) in [("CHECK_UPDATE", "0"), ("USE_VENV", "0"), ("IGNORE_SAVED_PYTHON", "1")] {
            command.env(format!("PDM_{name}"), value);
        }
        command
    };
    export(command(&["lock", "--check", "--quiet"]), lock).map_err(|_| stale(lock))?;
    let mut command = command(&["export", "--format", "pylock"]);
    command.arg("--output").arg(place(work));
    export(command, lock)?;
    Lock::read_beside(&place(work), project)
}

fn export(mut command: Command, lock: &LockFile) -> Result<()> {
    clean(&mut command);
    // These tools have environments of their own: the active one is not theirs.
    command.env_remove("VIRTUAL_ENV");
    let what = format!("{} cannot be exported", lock.path.display());
    run(command, &what).map(drop).map_err(|failure| {
        let said = failure.source().map(ToString::to_string).unwrap_or_default().to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if says(&["needs to be updated", "changed significantly", "lock file is not up to date", "lock file hash"]) {
            return stale(lock);
        }
        if says(&["command \"export\" does not exist", "command export does not exist"]) {
            return failure.hint("install its plugin: poetry self add poetry-plugin-export, or pipx inject poetry poetry-plugin-export");
        }
        if says(&["invalid export format", "invalid choice: 'pylock'", "invalid value 'pylock.toml'"]) {
            return failure.hint("it is too old to write pylock.toml: upgrade it, and its plugins");
        }
        failure
    })
}

fn stale(lock: &LockFile) -> Failure {
    Failure::new(format!("{} does not match its project any more", lock.path.display()))
        .hint(format!("lock it anew: {}", lock.relock()))
}

fn missing(lock: &LockFile, program: &str, hint: &str) -> Failure {
    Failure::new(format!("{} is read through {program}, and {program} is not installed", lock.path.display()))
        .hint(hint)
}
