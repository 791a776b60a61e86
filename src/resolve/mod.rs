//! Resolution: from what is needed to a lock and the wheels on disk.
//!
//! coil decides nothing about versions. `uv` does where it is installed, else `pip`, so that the user's
//! indexes, proxies, certificates and credentials keep working; `pip` fetches and builds. Credentials
//! stay in the scratch directory: none reaches the lock.

pub mod again;
pub mod build;
mod build_environment;
mod build_memory;
mod complaint;
mod fetch;
mod key;
mod pin;
mod pip;
mod requirement_file;
mod settings;
mod stand_in;
mod tags;
mod tool;
mod uv;

use std::path::{Path, PathBuf};

pub use build::Built;
use requirement_file::RequirementFiles;
use settings::Indexes;
use tool::Tools;

use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;
use crate::lock::{Lock, url};
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

/// What came of it.
#[derive(Debug, Default, Clone)]
pub struct Resolution {
    /// The exact set of distributions.
    pub lock: Lock,
    /// A wheel for each of the lock's packages, in its order.
    pub wheels: Vec<PathBuf>,
}

/// Resolves the request for `interpreter`. Files that are made for it go to `scratch`, which must exist
/// and must outlive the use of the wheels.
pub fn resolve(request: &Request, interpreter: &Interpreter, scratch: &Path) -> Result<Resolution> {
    let requires_python = Some(format!("=={}.{}.*", interpreter.version.0, interpreter.version.1));
    if request.is_empty() {
        return Ok(Resolution { lock: Lock::new(requires_python, Vec::new()), wheels: Vec::new() });
    }
    let files = RequirementFiles::read(&request.requirement_files, &request.constraint_files)?;
    let tools = Tools::find(interpreter, &request.options)?;
    let work = Work::prepare(request, interpreter, &tools, files, scratch)?;
    let mut pins = match tools.uv {
        Some(_) => uv::pins(&work)?,
        None => pip::pins(&work)?,
    };
    pins.sort_by(|one, two| one.name.cmp(&two.name));
    if tools.uv.is_some() {
        work.files.check_hashes(&pins)?;
    }
    let wheels = fetch::wheels(&work, &pins)?;
    let packages = pins.into_iter().zip(&wheels).map(|(pin, wheel)| pin.into_package(wheel)).collect();
    let paths = wheels.into_iter().map(|wheel| wheel.path).collect();
    Ok(Resolution { lock: Lock::new(requires_python, packages), wheels: paths })
}

/// One resolution under way: what the steps share.
struct Work<'a> {
    request: &'a Request,
    interpreter: &'a Interpreter,
    tools: &'a Tools,
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
    fn is_empty(&self) -> bool {
        self.requirements.is_empty()
            && self.requirement_files.is_empty()
            && self.wheels.is_empty()
            && self.built.is_empty()
    }
}

impl<'a> Work<'a> {
    fn prepare(
        request: &'a Request,
        interpreter: &'a Interpreter,
        tools: &'a Tools,
        files: RequirementFiles,
        scratch: &'a Path,
    ) -> Result<Self> {
        let indexes = Indexes::collect(&request.options, files.names_index);
        let stand_ins: Vec<PathBuf> =
            request.built.iter().map(|built| stand_in::write(built, scratch)).collect::<Result<_>>()?;
        let list = scratch.join("requirements.in");
        let mut text = String::new();
        for requirement in &request.requirements {
            text.push_str(&requirement.text);
            text.push('\n');
        }
        // pip wants a hash for everything as soon as one requirement has one.
        let hashed = tools.uv.is_none() && files.has_hashes();
        for (path, built) in stand_ins.iter().zip(&request.built) {
            text.push_str(&local_line(&built.name, &built.extras, path, hashed)?);
        }
        for (path, extras) in &request.wheels {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            text.push_str(&local_line(name.split('-').next().unwrap_or_default(), extras, path, hashed)?);
        }
        std::fs::write(&list, &text).context(|| format!("{} cannot be written", list.display()))?;
        Ok(Work { request, interpreter, tools, files, indexes, scratch, stand_ins, lines: text, list })
    }
}

fn local_line(name: &str, extras: &[String], path: &Path, hashed: bool) -> Result<String> {
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let hash = if hashed { format!(" --hash=sha256:{}", fetch::digest(path)?.hex()) } else { String::new() };
    Ok(format!("{name}{extras} @ {}{hash}\n", url::of_path(path)))
}

/// What the user can do when there is neither uv nor pip.
fn no_tool(interpreter: &Interpreter) -> Failure {
    let python = interpreter.executable.display();
    Failure::new(format!("{python} has no pip, and uv is not installed, so wheels cannot be found"))
        .hint(format!("run `{python} -m ensurepip`, or install uv (https://docs.astral.sh/uv/)"))
}
