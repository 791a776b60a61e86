//! Locking: what a pack would resolve, written down as `pylock.toml` for the next packs.
//!
//! The file is for one interpreter, and says so: `requires-python` names its minor version, `environments` its
//! platform. It lists the one file that was taken for each distribution, so that a pack that uses it makes
//! the same bytes as the one before.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::resolution::fetched;
use super::{Asked, Packing, words};
use crate::cli;
use crate::error::{Context, Failure, Result};
use crate::find_python;
use crate::project::Project;
use crate::project::lock_file::{LockFile, is_pylock_name, pylock_name};
use crate::report::Report;
use crate::resolve::lock_beside;
use crate::store::Store;

/// A lock that was written.
pub struct Locked {
    /// The file.
    pub path: PathBuf,
    /// How many distributions it lists.
    pub count: usize,
    /// The interpreter it is for: `3.12`.
    pub python: String,
}

/// Locks what the words of the user come to, in the file `output` or beside the project.
pub fn lock(options: &cli::Project, output: Option<&Path>, store: &Store, report: &Report) -> Result<Locked> {
    let mut words = words(options, None, store)?;
    words.choice.relocks = true;
    if let Some(named) = words.requirement_files.iter().find(|file| LockFile::named(file).is_some()) {
        return Err(Failure::new(format!("{} is a lock already", named.display()))
            .hint("give what it was made of, or pack with it"));
    }
    let project = Project::read(&words)?;
    let path = match output {
        Some(path) => checked(path)?,
        None => place(options, &project)?,
    };
    let python = options.python.as_deref().or(project.python.as_deref());
    let asked = Asked { runtime: options.runtime.as_deref(), python, ..Asked::default() };
    let interpreter = match asked.runtime {
        Some(_) => asked.find(store, report)?.0,
        None => find_python::find(asked.python, store.probes(), report)?,
    };
    let packing = Packing::new(&interpreter, options.shape.level(), store, report);
    let fetched = fetched(&packing, &project, options, None)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let lock = lock_beside(&fetched.decision.pins, &fetched.wheels, &fetched.built, &interpreter, directory);
    write(&path, &lock.to_toml()).context(|| format!("{} cannot be written", path.display()))?;
    Ok(Locked { path, count: lock.packages.len(), python: interpreter.minor_version() })
}

fn checked(path: &Path) -> Result<PathBuf> {
    if !path.file_name().and_then(|name| name.to_str()).is_some_and(is_pylock_name) {
        return Err(Failure::new(format!("{} cannot be the name of a lock", path.display()))
            .hint("call it pylock.toml or pylock.NAME.toml, without more dots"));
    }
    absolute(path)
}

/// Where the lock of a project is looked for later.
fn place(options: &cli::Project, project: &Project) -> Result<PathBuf> {
    let first =
        options.projects.first().map(|text| text.rsplit_once('[').map_or(text.as_str(), |(path, _)| path));
    match first.map(Path::new) {
        Some(directory) if directory.is_dir() => {
            let directory =
                directory.canonicalize().context(|| format!("{} cannot be read", directory.display()))?;
            refuse_second(&directory)?;
            Ok(directory.join("pylock.toml"))
        }
        Some(script) if script.is_file() && project.script.is_some() => {
            let stem = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            absolute(&script.with_file_name(pylock_name(&stem)))
        }
        Some(_) => absolute(Path::new(&pylock_name(&project.name))),
        None => absolute(Path::new("pylock.toml")),
    }
}

/// A pylock.toml would win over the lock that the project has, without a word to those who keep that.
fn refuse_second(directory: &Path) -> Result<()> {
    match LockFile::of_directory(directory, true) {
        Some((lock, _)) => Err(Failure::new(format!("{} locks this project already", lock.path.display()))
            .hint(format!("renew it with `{}`, or name another file with -o", lock.relock()))),
        None => Ok(()),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let shown = || format!("{} cannot be written", path.display());
    let absolute = std::path::absolute(path).context(shown)?;
    let directory = absolute.parent().unwrap_or(Path::new("/")).canonicalize().context(shown)?;
    Ok(directory.join(absolute.file_name().unwrap_or_default()))
}

/// The file appears whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let readable = std::fs::Permissions::from_mode(0o666);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
