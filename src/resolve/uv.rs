//! Resolution with uv: `uv pip compile --format pylock.toml`, and one file chosen for each package.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::locked::best;
use super::pin::{Pin, Source};
use super::tool::{Tools, clean, run};
use super::{Work, no_tool};
use crate::error::{Failure, Result};
use crate::lock::{Artifact, Lock, Package, normal_name, url};

/// What uv chooses.
pub fn pins(work: &Work, tools: &Tools) -> Result<Vec<Pin>> {
    let uv = tools.uv.as_ref().ok_or_else(|| no_tool(work.interpreter))?;
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
    if work.exact {
        command.arg("--no-deps");
    }
    // Projects are built whatever uv may build: what lists them are its inputs, not choices of its own.
    if !work.request.options.builds() && work.request.uv_projects.is_empty() {
        command.arg("--no-build");
    }
    work.add_projects(&mut command);
    command.arg(&work.list).args(&work.request.requirement_files);
    // The interpreter is named above; these would name another.
    for name in ["UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_OUTPUT_FILE", "UV_CUSTOM_COMPILE_COMMAND"] {
        command.env_remove(name);
    }
    clean(&mut command);
    run(command, "the requirements cannot be resolved")?;
    Lock::read(&output)?.packages.into_iter().map(|package| pin_of(package, work)).collect()
}

fn pin_of(package: Package, work: &Work) -> Result<Pin> {
    let name = normal_name(&package.name);
    let source = source_of(&package, work)
        .ok_or_else(|| Failure::new(format!("no file of {name} fits this interpreter")))?;
    Ok(Pin { name, version: package.version, source })
}

fn source_of(package: &Package, work: &Work) -> Option<Source> {
    if let Some(directory) = &package.directory {
        return Some(Source::Directory(PathBuf::from(&directory.path)));
    }
    if let Some(vcs) = &package.vcs {
        return Some(Source::Vcs(vcs.clone()));
    }
    let file = |artifact: &Artifact, direct: bool| {
        let address = match (&artifact.url, &artifact.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => url::of_path(Path::new(path)),
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
    // Where none is allowed, whoever checks the hashes says so.
    let any = || super::locked::best(package, work.interpreter, &|_| true);
    let allowed = |wheel: &&Artifact| work.files.allow(&package.name, wheel.hashes.sha256);
    let best = best(package, work.interpreter, &allowed);
    let sdist = package.sdist.as_ref().filter(|_| work.request.options.builds());
    best.or(sdist).or_else(any).and_then(|artifact| file(artifact, false))
}

impl Work<'_> {
    /// Has uv read those projects themselves that tell it where to find what they need: their wheels'
    /// metadata does not say that.
    fn add_projects(&self, command: &mut Command) {
        let request = self.request;
        let Some(first) = request.uv_projects.first() else { return };
        // uv looks from where it runs for the indexes of a project.
        command.current_dir(first);
        for project in &request.uv_projects {
            command.arg(project.join("pyproject.toml"));
        }
        for extra in &request.extras {
            command.args(["--extra", extra]);
        }
        for project in &request.uv_projects {
            for group in &request.groups {
                let place = project.join("pyproject.toml");
                command.arg("--group").arg(format!("{}:{group}", place.display()));
            }
        }
    }

    /// The place of the built wheel that the file stands in for.
    pub(super) fn stand_in(&self, path: &Path) -> Option<usize> {
        self.stand_ins.iter().position(|stand_in| stand_in == path)
    }
}
