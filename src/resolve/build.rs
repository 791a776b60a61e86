//! Builds the wheel of a source tree (PEP 517), fast enough to be done at every pack.
//!
//! `pip wheel` makes a new environment each time; here it is kept by what it is made of. The backend
//! runs in the source tree itself, because backends look there for version control (setuptools-scm) and
//! keep their own caches (maturin); setuptools, which would leave `build` and `*.egg-info`, is told to
//! work in the scratch directory.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::json;

use super::build_environment::BuildEnvironments;
use super::build_memory::Memory;
use super::stand_in::{essential, header};
use super::tool::{clean, run};
use super::{Options, Tools};
use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;
use crate::lock::normal_name;
use crate::project::Build;
use crate::project::pyproject::{BuildSystem, PyProject};
use crate::project::sources::source_date;
use crate::report::Report;

/// A wheel that was built of a source tree, and what its metadata says.
#[derive(Debug, Clone)]
pub struct Built {
    /// The directory it was built of, absolute.
    pub directory: PathBuf,
    /// The wheel.
    pub wheel: PathBuf,
    /// The distribution's name as its metadata writes it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The extras that are wanted.
    pub extras: Vec<String>,
    /// The lines of its METADATA that a resolution depends on.
    pub metadata: String,
}

/// Where and with what is built.
#[derive(Debug, Clone, Copy)]
pub struct Workshop<'a> {
    /// The interpreter to build for.
    pub interpreter: &'a Interpreter,
    /// Which tool fills the build environment, and where from.
    pub options: &'a Options,
    /// Where build environments are kept from one pack to the next.
    pub cache: &'a Path,
    /// Where the wheel and everything that comes up on the way go. It must exist.
    pub scratch: &'a Path,
    /// Whether build environments are made anew.
    pub refresh: bool,
    /// Who is told what is being done.
    pub report: &'a Report,
}

/// The answer of `build_wheel.py`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Wheel(String),
    Needs(Vec<String>),
}

/// Builds the wheels of these directories, one after the other.
pub fn build_wheels(builds: &[Build], workshop: &Workshop) -> Result<Vec<Built>> {
    let build = |build: &Build| {
        workshop.report.doing(&format!("building {}", build.directory.display()));
        build_wheel(build, workshop)
    };
    builds.iter().map(build).collect()
}

/// Builds the wheel of a directory.
pub fn build_wheel(build: &Build, workshop: &Workshop) -> Result<Built> {
    let system = PyProject::find(&build.directory)?.and_then(|page| page.build_system);
    let system =
        system.unwrap_or(BuildSystem { requires: Vec::new(), build_backend: None, backend_path: Vec::new() });
    let (backend, requires) = backend_of(system.clone());
    // Two directories may be built in one scratch directory.
    let place = tempfile::Builder::new().prefix("build-").tempdir_in(workshop.scratch);
    let place = place.context(|| format!("{} cannot be written", workshop.scratch.display()))?.keep();
    let environments = BuildEnvironments { workshop, directory: &build.directory };
    let memory = Memory::of(build, workshop);
    let remembered = memory.recall();
    // A backend in the tree may have changed its mind: it is asked again.
    let ask = remembered.is_none() || !system.backend_path.is_empty();
    let stated = requires.len();
    let mut provided = requires;
    provided.extend(remembered.unwrap_or_default());
    // "The hook get_requires_for_build_wheel ... MUST return an additional list of strings": once is enough,
    // a backend that asks again for something else gets that as well.
    for _ in 0..3 {
        let python = environments.with(&provided)?;
        let order = json!({
            "backend": backend,
            "backend_path": system.backend_path,
            "ask": ask,
            "provided": provided,
            "scratch": place,
            "output": place,
            "answer": place.join("answer.json"),
        });
        match call(&python, build, &place, &order)? {
            Answer::Wheel(name) => {
                if ask {
                    memory.keep(&provided[stated..]);
                }
                return read_built(place.join(name), build);
            }
            Answer::Needs(more) => provided.extend(more),
        }
    }
    Err(Failure::new(format!(
        "the build backend {backend} of {} asks for ever more",
        build.directory.display()
    )))
}

/// The backend and what it needs.
///
/// "If the pyproject.toml file is absent, or the build-backend key is missing, the source tree is not using
/// this specification, and tools should revert to the legacy behaviour of running setup.py ... by invoking
/// setuptools.build_meta:__legacy__"; then setuptools is needed.
fn backend_of(system: BuildSystem) -> (String, Vec<String>) {
    match system.build_backend {
        Some(backend) => (backend, system.requires),
        None => {
            let mut requires = system.requires;
            if requires.is_empty() {
                requires = vec!["setuptools>=40.8.0".to_owned(), "wheel".to_owned()];
            }
            ("setuptools.build_meta:__legacy__".to_owned(), requires)
        }
    }
}

fn call(python: &Path, build: &Build, place: &Path, order: &serde_json::Value) -> Result<Answer> {
    let (script, request) = (place.join("build_wheel.py"), place.join("order.json"));
    let written = std::fs::write(&script, include_str!("../../runtime-templates/build_wheel.py"))
        .and_then(|()| std::fs::write(&request, order.to_string()));
    written.context(|| format!("{} cannot be written", place.display()))?;
    let mut command = Command::new(python);
    command.args(["-B", "-s"]).arg(&script).arg(&request).current_dir(&build.directory);
    clean(&mut command);
    command.env("SOURCE_DATE_EPOCH", source_date(build.date));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONHASHSEED", "0").env("GIT_OPTIONAL_LOCKS", "0");
    command.env_remove("VIRTUAL_ENV").env("PATH", path_with(python));
    run(command, &format!("no wheel can be built of {}", build.directory.display()))?;
    let answer =
        std::fs::read(place.join("answer.json")).context(|| "the build left no answer".to_owned())?;
    serde_json::from_slice(&answer).context(|| "the build's answer cannot be read".to_owned())
}

/// PATH with the build environment's programs (cmake, ninja, cython) in front.
fn path_with(python: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = python.parent().map(Path::to_owned).into_iter().collect();
    directories.extend(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap_or(path)
}

fn read_built(wheel: PathBuf, build: &Build) -> Result<Built> {
    let shown = wheel.display().to_string();
    let text = metadata_of(&wheel).context(|| format!("the wheel {shown}, just built, has no METADATA"))?;
    let field = |name: &str| {
        header(&text, name).map(str::to_owned).ok_or_else(|| {
            Failure::new(format!("the wheel {shown}, just built, has no {name} in its METADATA"))
        })
    };
    let (name, version) = (field("Name")?, field("Version")?);
    for extra in &build.extras {
        let known: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("Provides-Extra:")).map(str::trim).collect();
        if !known.iter().any(|known| normal_name(known) == normal_name(extra)) {
            return Err(Failure::new(format!("{name} has no extra called {extra:?}"))
                .hint(format!("its extras are: {}", known.join(", "))));
        }
    }
    Ok(Built {
        directory: build.directory.clone(),
        wheel,
        name,
        version,
        extras: build.extras.clone(),
        metadata: essential(&text),
    })
}

/// The text of the METADATA in a wheel.
pub fn metadata_of(wheel: &Path) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(wheel)?)?;
    let is_metadata = |name: &String| name.ends_with(".dist-info/METADATA") && name.matches('/').count() == 1;
    let mut names = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned()));
    let name = names.find(is_metadata).ok_or("it has no METADATA")?;
    drop(names);
    let mut text = String::new();
    archive.by_name(&name)?.read_to_string(&mut text)?;
    Ok(text)
}

impl Workshop<'_> {
    pub(super) fn tools(&self) -> Result<Tools> {
        Tools::find(self.interpreter, self.options)
    }
}
