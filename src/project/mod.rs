//! The project: what the user handed in, made into one value.
//!
//! Several words of the command line (directories, scripts, wheels, requirements, files of
//! requirements) become one [`Project`]. Nothing is fetched, built or run here.

mod about;
pub mod argument;
pub mod choice;
pub mod declared;
pub mod default_command;
pub mod directory;
pub mod entry;
pub mod git;
mod glob;
pub mod image;
pub mod lock_file;
mod naming;
pub mod nearest;
pub mod procfile;
pub mod production;
pub mod pyproject;
mod reader;
pub mod requirement;
pub mod requires_python;
pub mod script;
pub mod settings;
pub mod sources;
pub mod starter;
pub mod survey;
pub mod walk;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use coil_bootstrap::format::image::ImageSettings;
use coil_bootstrap::format::manifest::Revision;
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::production::Production;
use tempfile::TempDir;

pub use choice::Choice;

use entry::EntryPoint;
use lock_file::LockFile;
use requirement::Requirement;
use settings::check_command_name;
use sources::Wanted;

use crate::error::Result;
use crate::tree::Tree;

/// The words of the command line that say what is packed.
#[derive(Debug, Default, Clone)]
pub struct Words {
    /// `PROJECT...`
    pub projects: Vec<String>,
    /// `-r FILE`
    pub requirement_files: Vec<PathBuf>,
    /// `-c FILE`
    pub constraint_files: Vec<PathBuf>,
    /// What of it is wanted.
    pub choice: Choice,
    /// Whether what it needs is known from elsewhere, to the file: then no lock and no file of requirements
    /// beside a project has anything to say.
    pub is_decided: bool,
    /// `-e SPEC`
    pub entry: Option<String>,
    /// `--command NAME=SPEC`, split at the first `=`.
    pub commands: Vec<(String, String)>,
    /// `--app DIR`
    pub app: Option<PathBuf>,
    /// `--name NAME`
    pub name: Option<String>,
    /// Files that are never packed, such as the output; they need not exist.
    pub never: Vec<PathBuf>,
    /// What the project is called where nothing else says it; then there need not be anything else.
    pub otherwise: Option<String>,
    /// `--rev REV`, `--require-clean`
    pub git: Wanted,
}

/// What is packed.
#[derive(Clone)]
pub struct Project {
    /// Its name, as its author writes it.
    pub name: String,
    /// Its version, where it says one without being built.
    pub version: Option<String>,
    /// What it needs, in the order it was written.
    pub requirements: Vec<Requirement>,
    /// Files of requirements, in pip's format.
    pub requirement_files: Vec<PathBuf>,
    /// Files of constraints, in pip's format.
    pub constraint_files: Vec<PathBuf>,
    /// Wheel files, and the extras wanted of each.
    pub wheels: Vec<(PathBuf, Vec<String>)>,
    /// Directories that a wheel is built of; where the project is one, it is the first.
    pub builds: Vec<Build>,
    /// The files that lock what it needs; what they lock is taken as it is.
    pub locks: Vec<LockFile>,
    /// The extras that are wanted of its directories and its locks, in normal form.
    pub extras: BTreeSet<String>,
    /// The dependency groups that are wanted, in normal form.
    pub groups: BTreeSet<String>,
    /// Directories whose pyproject.toml says where uv finds what they need.
    pub uv_sources: Vec<PathBuf>,
    /// Source trees that are packed as they are: a lock that lists them means no wheel.
    pub trees: Vec<PathBuf>,
    /// `app/...`: the source tree that is not a wheel.
    pub app: Option<Tree>,
    /// The script, where the project is one.
    pub script: Option<TreePath>,
    /// The commands that are stated, by name.
    pub commands: BTreeMap<String, EntryPoint>,
    /// The name of the default command, where it is stated. It may name a console script.
    pub default: Option<String>,
    /// The interpreter to pack, as `--python` takes it, where the project says one.
    pub python: Option<String>,
    /// What is kept of that Python that is left out otherwise.
    pub keep: Vec<String>,
    /// Who states which versions of Python, for what has no wheel that says so.
    pub requires_python: Vec<(String, String)>,
    /// Variables that are set for the app where the user has not set them.
    pub variables: BTreeMap<String, String>,
    /// What is said of images that are made of it.
    pub image: ImageSettings,
    /// What a server runs of it.
    pub production: Production,
    /// Libraries that the host is to provide.
    pub host_libraries: Vec<String>,
    /// Libraries to bring from the machine that packs.
    pub bring_libraries: Vec<String>,
    /// What the user should know: files that were left out.
    pub notes: Vec<String>,
    /// What may be wrong.
    pub warnings: Vec<String>,
    /// The commit it is of.
    pub source: Option<Revision>,
    /// When that was made, in seconds since 1970; asked for where there are steps, which get to see it.
    pub date: Option<u64>,
    /// Commands that change the app's tree before it is packed.
    pub steps: Vec<String>,
    /// Patterns of what is not packed of that, either.
    pub exclude: Vec<String>,
    /// Where files of this project lie that are removed with the last of these values.
    pub check_outs: Vec<Arc<TempDir>>,
}

/// A directory that a wheel is built of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The directory, absolute.
    pub directory: PathBuf,
    /// The extras that are wanted.
    pub extras: Vec<String>,
    /// The date that the build gets to see where the user states none, in seconds since 1970.
    pub date: Option<u64>,
}

impl Project {
    /// Puts together what the words say.
    pub fn read(words: &Words) -> Result<Project> {
        reader::read(words)
    }

    fn empty() -> Project {
        Project {
            name: String::new(),
            version: None,
            requirements: Vec::new(),
            requirement_files: Vec::new(),
            constraint_files: Vec::new(),
            wheels: Vec::new(),
            builds: Vec::new(),
            locks: Vec::new(),
            extras: BTreeSet::new(),
            groups: BTreeSet::new(),
            uv_sources: Vec::new(),
            trees: Vec::new(),
            app: None,
            script: None,
            commands: BTreeMap::new(),
            default: None,
            python: None,
            keep: Vec::new(),
            requires_python: Vec::new(),
            variables: BTreeMap::new(),
            image: ImageSettings::default(),
            production: Production::default(),
            host_libraries: Vec::new(),
            bring_libraries: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
            source: None,
            date: None,
            steps: Vec::new(),
            exclude: Vec::new(),
            check_outs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
