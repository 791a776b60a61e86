//! The command line: the user's words, and nothing of what they lead to.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Pack a Python application, its wheels and a relocatable CPython into one executable.
#[derive(Debug, Parser)]
#[command(name = "coil", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What coil can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make one executable of a project.
    Pack(Pack),
    /// Pack a project into the cache and start it.
    Run(Run),
    /// Show what is inside a bundle.
    Inspect(Inspect),
    /// Check every byte of a bundle, and whether packing again gives the same.
    Verify(Verify),
    /// Put another runtime under an app: nothing else of the bundle changes.
    Rebase(Rebase),
    /// Make a runtime as a file of its own, or show what is in one.
    #[command(subcommand)]
    Runtime(Runtime),
}

/// `coil pack`
#[derive(Debug, Args)]
pub struct Pack {
    /// What to pack, and how.
    #[command(flatten)]
    pub project: Project,
    /// The file to write [default: the project's name, in the current directory].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Say nothing but warnings and errors.
    #[arg(short, long)]
    pub quiet: bool,
    /// Say also what was left out of the runtime, and which files have no byte code.
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// `coil run`
#[derive(Debug, Args)]
pub struct Run {
    /// What to pack, and how.
    #[command(flatten)]
    pub project: Project,
    /// Arguments of the app.
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<std::ffi::OsString>,
}

/// `coil inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// The bundle.
    pub bundle: PathBuf,
    /// Print the manifest, as JSON.
    #[arg(long, conflicts_with = "lock")]
    pub json: bool,
    /// Print the lock, as pylock.toml (PEP 751).
    #[arg(long)]
    pub lock: bool,
}

/// `coil verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The bundle.
    pub bundle: PathBuf,
    /// Pack again, from what the bundle says it was made of, and name the first layer and entry that differ.
    #[arg(long)]
    pub rebuild: bool,
    /// Where the sources are, in the order they were packed in [default: the current directory].
    #[arg(value_name = "PROJECT", requires = "rebuild")]
    pub projects: Vec<String>,
    /// The Python to pack again [default: one of the bundle's version].
    #[arg(long, value_name = "PYTHON", requires = "rebuild")]
    pub python: Option<String>,
    /// The runtime to pack again, from a file that `coil runtime build` made.
    #[arg(long, value_name = "FILE", requires = "rebuild", conflicts_with = "python")]
    pub runtime: Option<PathBuf>,
    /// Say nothing but warnings and errors.
    #[arg(short, long)]
    pub quiet: bool,
    /// Where distributions come from that are not on this machine.
    #[command(flatten)]
    pub index: Index,
}

/// `coil rebase`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("other").required(true))]
pub struct Rebase {
    /// The bundle that is there.
    pub bundle: PathBuf,
    /// The runtime to put under it, from a file that `coil runtime build` made, or that of a bundle.
    #[arg(long, value_name = "FILE", group = "other")]
    pub runtime: Option<PathBuf>,
    /// The Python to harvest and put under it: an interpreter, a version such as 3.12, or a directory.
    #[arg(long, value_name = "PYTHON", group = "other")]
    pub python: Option<String>,
    /// The bundle with the app to put onto this bundle's runtime.
    #[arg(long, value_name = "BUNDLE", group = "other")]
    pub app: Option<PathBuf>,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How hard to compress a runtime that is harvested, from 1 (fast) to 22 (small).
    #[arg(long, value_name = "LEVEL", default_value_t = crate::layer::DEFAULT_LEVEL,
          value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
}

/// `coil runtime`
#[derive(Debug, Subcommand)]
pub enum Runtime {
    /// Make a runtime of a Python: a file that many bundles can be packed with.
    Build(RuntimeBuild),
    /// Show what a runtime is, what it carries and where that came from.
    Inspect(RuntimeInspect),
}

/// `coil runtime build`
#[derive(Debug, Args)]
pub struct RuntimeBuild {
    /// An interpreter, a version such as 3.12, or a directory
    /// [default: the active virtualenv's, else python3 on PATH].
    #[arg(value_name = "PYTHON")]
    pub python: Option<String>,
    /// The file to write [default: cpython-VERSION.rt, in the current directory].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How hard to compress, from 1 (fast) to 22 (small).
    #[arg(long, value_name = "LEVEL", default_value_t = crate::layer::DEFAULT_LEVEL,
          value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
}

/// `coil runtime inspect`
#[derive(Debug, Args)]
pub struct RuntimeInspect {
    /// A runtime file, or a bundle.
    pub file: PathBuf,
    /// Print what is known of it, as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is packed, and how: the same for every command that packs.
#[derive(Debug, Args)]
pub struct Project {
    /// A directory, a script, a wheel, or requirements such as httpie or "flask>=3" (PEP 508).
    #[arg(value_name = "PROJECT")]
    pub projects: Vec<String>,
    /// Requirements from a file, as pip reads it.
    #[arg(short, long = "requirement", value_name = "FILE")]
    pub requirements: Vec<PathBuf>,
    /// What to start by default: pkg.mod:func, -m pkg.mod, a console script or a file; arguments may follow.
    #[arg(short, long, value_name = "ENTRY", allow_hyphen_values = true)]
    pub entry: Option<String>,
    /// A named way to start it, started by COIL_RUN=NAME or through a symbolic link called NAME.
    #[arg(long = "command", value_name = "NAME=ENTRY")]
    pub commands: Vec<String>,
    /// A source tree to pack beside the requirements; its modules can be imported.
    #[arg(long, value_name = "DIR")]
    pub app: Option<PathBuf>,
    /// The app's name [default: the project's].
    #[arg(long)]
    pub name: Option<String>,
    /// The Python to pack: an interpreter, a version such as 3.12, or a directory
    /// [default: the active virtualenv's, else python3 on PATH].
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<String>,
    /// The runtime to pack, from a file that `coil runtime build` made, or that of a bundle.
    #[arg(long, value_name = "FILE", conflicts_with = "python")]
    pub runtime: Option<PathBuf>,
    /// How hard to compress, from 1 (fast) to 22 (small).
    #[arg(long, value_name = "LEVEL", default_value_t = crate::layer::DEFAULT_LEVEL,
          value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Resolve anew, even if the same requirements were resolved within the last hour.
    #[arg(long)]
    pub refresh: bool,
    /// Where distributions come from.
    #[command(flatten)]
    pub index: Index,
}

/// Where distributions come from. What is not said here is as configured for pip or uv.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Index options")]
pub struct Index {
    /// The package index to use.
    #[arg(long, value_name = "URL")]
    pub index_url: Option<String>,
    /// Another package index.
    #[arg(long, value_name = "URL")]
    pub extra_index_url: Vec<String>,
    /// A directory or a page with distributions.
    #[arg(long, value_name = "PATH_OR_URL")]
    pub find_links: Vec<String>,
    /// Use no index, only --find-links.
    #[arg(long)]
    pub no_index: bool,
    /// The tool that resolves [default: uv where it is installed, else pip].
    #[arg(long, env = "COIL_RESOLVER")]
    pub resolver: Option<Resolver>,
}

/// The tools that can resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resolver {
    /// uv.
    Uv,
    /// The interpreter's pip.
    Pip,
}
