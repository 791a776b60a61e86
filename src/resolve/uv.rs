//! Resolution with uv: `uv pip compile --format pylock.toml`, and one file chosen for each package.

use std::path::Path;
use std::process::Command;

use super::pin::{Pin, Source};
use super::tags::rank;
use super::tool::{clean, run};
use super::{Work, no_tool};
use crate::error::{Context, Failure, Result};
use crate::lock::{Artifact, Lock, Package, normal_name, url};

/// What uv chooses.
pub fn pins(work: &Work) -> Result<Vec<Pin>> {
    let uv = work.tools.uv.as_ref().ok_or_else(|| no_tool(work.interpreter))?;
    let output = work.scratch.join("pylock.toml");
    let mut command = Command::new(uv);
    command.args(["pip", "compile", "--quiet", "--no-progress", "--color", "never", "--no-header"]);
    command.args(["--no-annotate", "--no-python-downloads", "--format", "pylock.toml", "--python"]);
    command.arg(&work.interpreter.executable).arg("--output-file").arg(&output);
    let (words, variables) = work.indexes.for_uv();
    command.args(words).envs(variables);
    for file in &work.request.constraint_files {
        command.arg("--constraints").arg(file);
    }
    command.arg(&work.list).args(&work.request.requirement_files);
    // The interpreter is named above; these would name another.
    for name in ["UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_OUTPUT_FILE", "UV_CUSTOM_COMPILE_COMMAND"] {
        command.env_remove(name);
    }
    clean(&mut command);
    run(command, "the requirements cannot be resolved")?;
    let text = std::fs::read_to_string(&output).context(|| "uv left no lock".to_owned())?;
    Lock::from_toml(&text)?.packages.into_iter().map(|package| pin_of(package, work)).collect()
}

fn pin_of(package: Package, work: &Work) -> Result<Pin> {
    let name = normal_name(&package.name);
    let source = source_of(&package, work)
        .ok_or_else(|| Failure::new(format!("no file of {name} fits this interpreter")))?;
    Ok(Pin { name, version: package.version, source })
}

fn source_of(package: &Package, work: &Work) -> Option<Source> {
    let absolute = |path: &str| work.scratch.join(path);
    if let Some(directory) = &package.directory {
        return Some(Source::Directory(absolute(&directory.path)));
    }
    if let Some(vcs) = &package.vcs {
        return Some(Source::Vcs(vcs.clone()));
    }
    let file = |artifact: &Artifact, direct: bool| {
        let address = match (&artifact.url, &artifact.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => url::of_path(&absolute(path)),
            (None, None) => return None,
        };
        let built = url::local_path(&address).and_then(|path| work.stand_in(&path));
        Some(match built {
            Some(index) => Source::Built(index),
            None => Source::File { address, sha256: artifact.hashes.sha256, direct },
        })
    };
    if let Some(archive) = &package.archive {
        return file(archive, true);
    }
    let rank = |wheel: &&Artifact| rank(&wheel.file_name().unwrap_or_default(), work.interpreter);
    let fitting = package.wheels.iter().filter(|wheel| rank(wheel).is_some());
    let best = fitting.min_by_key(rank);
    best.or(package.sdist.as_ref()).and_then(|artifact| file(artifact, false))
}

impl Work<'_> {
    /// The place of the built wheel that the file stands in for.
    pub(super) fn stand_in(&self, path: &Path) -> Option<usize> {
        self.stand_ins.iter().position(|stand_in| stand_in == path)
    }
}
