//! What git knows of a source tree: which files are the project's, which commit they are, and whether they
//! have been changed since.
//!
//! The program `git` is asked, not the files below `.git`: so the user's configuration, filters, `safe.directory`
//! and every form of repository work as they do for the user. Those files only tell whether it would say the same again
//! (`listings.rs`). Nothing here writes into a work tree, an index or a ref of the user.

pub mod lfs;
mod listings;
mod revision;
mod state;
mod tracked;

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Context, Failure, Result};

pub use listings::Listings;
pub use revision::CheckOut;
pub use state::{Commit, State};
pub use tracked::{Listed, Tracked};

/// Variables that git sets for its hooks and that speak of another repository, or that change what names mean.
const OF_HOOKS: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// What git says of a directory or a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It is part of a work tree, of which this is known.
    Here(T),
    /// Nothing that git would know.
    Nothing,
    /// There is a repository, and no program that could read it.
    NotInstalled,
}

impl<T> Found<T> {
    /// The same, with what `change` makes of what is known.
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Found::Here(known) => Found::Here(change(known)),
            Found::Nothing => Found::Nothing,
            Found::NotInstalled => Found::NotInstalled,
        }
    }
}

/// A directory or a file in what seems to be a work tree of git: whether it is one turns out when git is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkTree {
    /// The nearest directory above with a `.git`, without symbolic links: the top, unless the repository says otherwise.
    likely_top: PathBuf,
    /// The directory, or the directory of the file.
    directory: PathBuf,
    /// The file; `.` for the directory.
    part: String,
}

impl WorkTree {
    /// What seems to be the work tree that `path`, which exists, is in: something above it is called `.git`.
    ///
    /// So most directories in no repository are told apart without starting a program.
    pub fn near(path: &Path) -> Result<Option<WorkTree>> {
        let path = path.canonicalize().context(|| format!("{} cannot be read", path.display()))?;
        let name = || path.file_name().and_then(OsStr::to_str);
        let (directory, part) = match (path.parent(), name()) {
            (Some(parent), Some(name)) if !path.is_dir() => (parent.to_owned(), name.to_owned()),
            _ => (path.clone(), ".".to_owned()),
        };
        let top = directory.ancestors().find(|above| above.join(".git").symlink_metadata().is_ok());
        let likely_top = top.map(Path::to_owned);
        Ok(likely_top.map(|likely_top| WorkTree { likely_top, directory, part }))
    }

    /// The top of the work tree, without symbolic links.
    pub fn top(&self) -> Result<Found<PathBuf>> {
        let line = self.ask(&["rev-parse", "--show-toplevel"])?;
        Ok(line.map(|line| PathBuf::from(OsStr::from_bytes(line.strip_suffix(b"\n").unwrap_or(&line)))))
    }

    /// Whether git ignores the whole of it.
    pub fn is_ignored(&self) -> Result<bool> {
        let output = start(&self.directory, &["check-ignore", "--quiet", &self.part])?;
        Ok(output.is_some_and(|output| output.status.success()))
    }

    /// What git prints, asked something that it only answers in a work tree.
    fn ask(&self, words: &[&str]) -> Result<Found<Vec<u8>>> {
        let Some(output) = start(&self.directory, words)? else { return Ok(Found::NotInstalled) };
        if output.status.success() {
            return Ok(Found::Here(output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        // A `.git` that is no repository, a bare repository, the inside of `.git`.
        let none = ["not a git repository (or any", "must be run in a work tree"];
        match none.iter().any(|none| said.contains(none)) {
            true => Ok(Found::Nothing),
            false => Err(refused(&self.directory, &output)),
        }
    }
}

/// Runs git in `directory` and returns what it prints.
fn git(directory: &Path, words: &[&str]) -> Result<Vec<u8>> {
    match start(directory, words)? {
        Some(output) if output.status.success() => Ok(output.stdout),
        Some(output) => Err(refused(directory, &output)),
        None => Err(Failure::new("git is not installed").hint("install git")),
    }
}

/// The same, as text without the last line's end.
fn git_text(directory: &Path, words: &[&str]) -> Result<String> {
    git(directory, words).map(|text| String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned())
}

/// Starts git and waits for it; `None` where there is no such program.
fn start(directory: &Path, words: &[&str]) -> Result<Option<Output>> {
    let mut command = command(directory);
    match command.args(words).output() {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new("git cannot be started").because(error)),
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    OF_HOOKS.iter().for_each(|name| {
        command.env_remove(name);
    });
    // Looking must not write the index.
    command.env("GIT_OPTIONAL_LOCKS", "0");
    // Sentences are compared in English, and a repository of ours has its refs in files.
    command.env("LANGUAGE", "C").env("GIT_DEFAULT_REF_FORMAT", "files");
    command.current_dir(directory).stdin(Stdio::null());
    command
}

fn refused(directory: &Path, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = if said.is_empty() { format!("it ended with {}", output.status) } else { said };
    let failure =
        Failure::new(format!("git refuses to work in {}", directory.display())).because(said.clone());
    match said.contains("safe.directory") {
        true => failure.hint("tell git that you trust the directory, as it says, or pack as its owner"),
        false => failure,
    }
}

#[cfg(test)]
mod tests;
