//! Resolution: from what is needed to exact pins, to wheels on disk, to a lock.
//!
//! coil decides nothing about versions. A lock does where there is one, else `uv` where it is installed, else
//! `pip`, so that the user's indexes, proxies, certificates and credentials keep working; `pip` fetches and
//! builds. Credentials stay in the scratch directory: none reaches the lock.

pub mod again;
pub mod build;
mod build_environment;
mod build_memory;
mod check;
mod complaint;
mod export;
mod fetch;
pub mod includes;
mod key;
mod locked;
pub mod pin;
mod pip;
mod project_indexes;
mod requirement_file;
mod settings;
pub mod shelf;
mod stand_in;
pub(crate) mod tags;
mod tool;
mod uv;
pub mod watch;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use build::Built;
use build::Workshop;
pub use check::check;
use pin::{FetchedWheel, Pin, Source};
use requirement_file::RequirementFiles;
use serde::{Deserialize, Serialize};
use settings::Indexes;
use shelf::Shelf;
use tool::Tools;
pub use written::{lock_beside, lock_of};

use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;
use crate::lock::{normal_name, url};
use crate::project::lock_file::LockFile;
use crate::project::requirement::Requirement;

/// What is to be resolved, all of it together.
#[derive(Debug, Default, Clone)]
pub struct Request {
    /// Requirements, one by one.
    pub requirements: Vec<Requirement>,
    /// Files of requirements in pip's format.
    pub requirement_files: Vec<PathBuf>,
    /// Files of constraints in pip's format.
    pub constraint_files: Vec<PathBuf>,
    /// Wheel files (absolute), and the extras wanted of each.
    pub wheels: Vec<(PathBuf, Vec<String>)>,
    /// Wheels that were built of directories: only what they need is resolved.
    pub built: Vec<Built>,
    /// Files that lock what is needed: what else is asked for must be in them.
    pub locks: Vec<LockFile>,
    /// The extras that are wanted of locks and of `uv_projects`, in normal form.
    pub extras: BTreeSet<String>,
    /// The dependency groups that are wanted of locks and of `uv_projects`, in normal form.
    pub groups: BTreeSet<String>,
    /// Directories that tell uv where to find what they need, where no lock says it.
    pub uv_projects: Vec<PathBuf>,
    /// Source trees that are packed as they are, whatever a lock says of them.
    pub trees: Vec<PathBuf>,
    /// How to resolve.
    pub options: Options,
}

/// How to resolve: what the user says on coil's own command line.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Which tool; the best that is there without one.
    pub resolver: Option<Resolver>,
    /// The index to use instead of the configured one.
    pub index_url: Option<String>,
    /// Indexes to use as well.
    pub extra_index_urls: Vec<String>,
    /// Directories or pages of files to use as well.
    pub find_links: Vec<String>,
    /// Use no index at all, only `find_links`.
    pub no_index: bool,
    /// Whether source distributions are built; without a word they are, but not with `no_index`.
    pub build: Option<bool>,
}

impl Options {
    /// Whether source distributions are built.
    pub fn builds(&self) -> bool {
        self.build.unwrap_or(!self.no_index)
    }
}

/// A tool that resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    /// `uv`.
    Uv,
    /// The interpreter's `pip`.
    Pip,
}

impl std::str::FromStr for Resolver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uv" => Ok(Resolver::Uv),
            "pip" => Ok(Resolver::Pip),
            _ => Err(format!("{text:?} is not a resolver; there are uv and pip")),
        }
    }
}

/// What is decided for a request, before anything is fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decision {
    /// Every distribution that is needed, sorted by name.
    pub pins: Vec<Pin>,
    /// Whether it was a lock that decided.
    pub is_locked: bool,
}

/// Decides what the request comes to for `interpreter`. Files that are made for it go to `scratch`, which
/// must exist.
pub fn decide(request: &Request, interpreter: &Interpreter, scratch: &Path) -> Result<Decision> {
    let files = RequirementFiles::read(&request.requirement_files, &request.constraint_files)?;
    let is_locked = request.is_locked_with(&files)?;
    let work = Work::prepare(request, interpreter, files, is_locked, scratch)?;
    let mut pins = locked::pins(&work)?;
    let resolves = !is_locked && !request.is_empty() || !request.requirement_files.is_empty();
    if resolves {
        let tools = Tools::find(interpreter, &request.options)?;
        let more = match tools.uv {
            Some(_) => uv::pins(&work, &tools)?,
            None => pip::pins(&work, &tools)?,
        };
        if tools.uv.is_some() {
            work.files.check_hashes(&more)?;
        }
        pins.extend(more);
    }
    // What the user gives is part of it, whether a lock lists it or not.
    for (index, built) in request.built.iter().enumerate() {
        let name = normal_name(&built.name);
        pins.retain(|pin| pin.name != name);
        pins.push(Pin { name, version: Some(built.version.clone()), source: Source::Built(index) });
    }
    for (path, _) in request.wheels.iter().filter(|_| is_locked) {
        let pin = Pin::of_wheel(path)?;
        pins.retain(|other| other.name != pin.name);
        pins.push(pin);
    }
    pins.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(Decision { pins, is_locked })
}

/// Brings the wheels of the pins to disk, in their order: from the shelf where it has them. Source trees are
/// built each time.
pub fn fetch(
    pins: &[Pin],
    request: &Request,
    workshop: &Workshop,
    shelf: &dyn Shelf,
) -> Result<Vec<FetchedWheel>> {
    let files = RequirementFiles::read(&request.requirement_files, &request.constraint_files)?;
    let work = Work::prepare(request, workshop.interpreter, files, true, workshop.scratch)?;
    fetch::wheels(&work, pins, workshop, shelf)
}

/// What the wheels that were built of source trees say they need. Where that changes, a decision of before
/// does not hold any more.
pub fn needs_of_sources(pins: &[Pin], wheels: &[FetchedWheel]) -> Vec<String> {
    let sources = pins.iter().zip(wheels).filter(|(pin, _)| matches!(pin.source, Source::Directory(_)));
    let essence =
        |wheel: &FetchedWheel| build::metadata_of(&wheel.path).map(|text| stand_in::essential(&text));
    sources.map(|(_, wheel)| essence(wheel).unwrap_or_default()).collect()
}

/// One resolution under way: what the steps share.
struct Work<'a> {
    request: &'a Request,
    interpreter: &'a Interpreter,
    /// Whether nothing may be added to what is listed.
    exact: bool,
    files: RequirementFiles,
    indexes: Indexes,
    scratch: &'a Path,
    /// The stand-ins of `request.built`, in the same order.
    stand_ins: Vec<PathBuf>,
    /// What is not in the user's own files, in pip's format.
    lines: String,
    /// The file in `scratch` with these lines.
    list: PathBuf,
}

impl Request {
    /// Whether nothing is needed at all.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
            && self.requirement_files.is_empty()
            && self.wheels.is_empty()
            && self.built.is_empty()
            && self.uv_projects.is_empty()
    }

    /// What was built of it, and where distributions come from: all that matters once the pins are known.
    pub fn only_built(&self) -> Request {
        Request {
            built: self.built.clone(),
            uv_projects: self.uv_projects.clone(),
            options: self.options.clone(),
            ..Request::default()
        }
    }

    /// Whether everything is decided by locks, and nothing is left to resolve.
    pub fn is_locked(&self) -> Result<bool> {
        let files = RequirementFiles::read(&self.requirement_files, &self.constraint_files)?;
        self.is_locked_with(&files)
    }

    fn is_locked_with(&self, files: &RequirementFiles) -> Result<bool> {
        match (self.locks.first(), files.first_loose()) {
            (Some(lock), Some(loose)) => Err(Failure::new(format!(
                "the requirement {loose:?} is not exact, and nothing is resolved beside the lock {}",
                lock.path.display()
            ))
            .hint("leave the file of requirements out, or give it hashes: uv pip compile --generate-hashes")),
            (Some(_), None) => Ok(true),
            (None, _) => Ok(files.are_exact()),
        }
    }

    /// The directories that may name indexes of their own.
    fn places(&self) -> Vec<PathBuf> {
        let locked = self.locks.iter().filter_map(|lock| lock.project.clone());
        let mut places: Vec<PathBuf> = self.uv_projects.iter().cloned().chain(locked).collect();
        places.extend(self.built.iter().map(|built| built.directory.clone()));
        places.retain(|place| place.is_dir());
        places.sort();
        places.dedup();
        places
    }

    /// The lock, as messages call it.
    fn locked_by(&self) -> String {
        let lock = self.locks.first().map(|lock| &lock.path).or(self.requirement_files.first());
        lock.map(|path| path.display().to_string()).unwrap_or_default()
    }
}

impl<'a> Work<'a> {
    fn prepare(
        request: &'a Request,
        interpreter: &'a Interpreter,
        files: RequirementFiles,
        exact: bool,
        scratch: &'a Path,
    ) -> Result<Self> {
        let mut indexes = Indexes::collect(&request.options, files.names_index);
        indexes.learn(&request.places());
        let list = scratch.join("requirements.in");
        let mut work = Work {
            request,
            interpreter,
            exact,
            files,
            indexes,
            scratch,
            stand_ins: Vec::new(),
            lines: String::new(),
            list,
        };
        if !exact {
            work.write_list()?;
        }
        // uv wants a file where there is nothing but those of the user.
        std::fs::write(&work.list, &work.lines)
            .context(|| format!("{} cannot be written", work.list.display()))?;
        Ok(work)
    }

    /// What is not in the user's own files. A project that uv reads itself needs no stand-in.
    fn write_list(&mut self) -> Result<()> {
        let request = self.request;
        let read_by_uv = |built: &Built| request.uv_projects.contains(&built.directory);
        for built in &request.built {
            self.stand_ins.push(stand_in::write(built, self.scratch)?);
        }
        for requirement in &request.requirements {
            self.lines.push_str(&requirement.text);
            self.lines.push('\n');
        }
        // pip wants a hash for everything as soon as one requirement has one.
        let hashed = self.files.has_hashes();
        for (path, built) in self.stand_ins.iter().zip(&request.built).filter(|(_, built)| !read_by_uv(built))
        {
            self.lines.push_str(&local_line(&built.name, &built.extras, path, hashed)?);
        }
        for (path, extras) in &request.wheels {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            self.lines.push_str(&local_line(
                name.split('-').next().unwrap_or_default(),
                extras,
                path,
                hashed,
            )?);
        }
        Ok(())
    }
}

fn local_line(name: &str, extras: &[String], path: &Path, hashed: bool) -> Result<String> {
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let hash = if hashed { format!(" --hash=sha256:{}", fetch::digest(path)?.hex()) } else { String::new() };
    Ok(format!("{name}{extras} @ {}{hash}\n", url::of_path(path)))
}

/// What the user can do when there is neither uv nor a pip that works.
fn no_tool(interpreter: &Interpreter) -> Failure {
    let (python, (major, minor)) = (interpreter.executable.display(), tool::FOR_OTHERS);
    Failure::new(format!(
        "wheels cannot be found: {python} has no pip, python3 has none that works for others ({major}.{minor} or newer), \
         and uv is not installed"
    ))
        .hint("install uv (https://docs.astral.sh/uv/), or pip (`python3 -m ensurepip`; on Debian the package python3-pip)")
}
