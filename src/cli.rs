//! The command line: the user's words, and nothing of what they lead to.

mod cache;
mod deploy;
mod image;
mod later;
mod package;
mod release;
mod shape;
mod units;

pub use self::cache::{Add, Cache, CacheAction, Prune};
pub use self::deploy::{Containers, Deploy, Rollback};
pub use self::image::{Image, ImageStart};
pub use self::later::Later;
pub use self::package::Package;
pub use self::release::Release;
pub use self::shape::Shape;
pub use self::units::Units;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::report::{Color, Loudness};

/// Pack a Python application, its wheels and a relocatable CPython into one executable.
#[derive(Debug, Parser)]
#[command(name = "coil", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to use colours.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub color: Color,
}

/// What coil can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make one executable of a project.
    Pack(Later<Pack>),
    /// Pack a project into the cache and start it.
    Run(Later<Run>),
    /// Write a starting point for a project's settings, after a look at it.
    Init(Later<Init>),
    /// Show what is inside a bundle.
    Inspect(Later<Inspect>),
    /// Write down exactly what would be packed, as pylock.toml beside the project.
    Lock(Later<Lock>),
    /// Show what coil's cache holds, or remove what is no longer used.
    Cache(Later<Cache>),
    /// Write all files inside a bundle into a directory, to look at them.
    Unpack(Later<Unpack>),
    /// Check every byte of a bundle, and whether packing again gives the same.
    Verify(Later<Verify>),
    /// Put another runtime under an app: nothing else of the bundle changes.
    Rebase(Later<Rebase>),
    /// Make a container image of a bundle or a project: the same layers, from scratch.
    Image(Later<Image>),
    /// Bring a bundle to hosts over ssh, and activate it there once it is on all of them.
    Deploy(Later<Deploy>),
    /// Put the previous release back on hosts.
    Rollback(Later<Rollback>),
    /// Make a package of a bundle for Debian, Ubuntu and others with dpkg.
    #[command(disable_version_flag = true)]
    Deb(Later<Package>),
    /// Make a package of a bundle for Fedora, RHEL, SUSE and others with rpm.
    #[command(disable_version_flag = true)]
    Rpm(Later<Package>),
    /// Print what systemd, another supervisor or a proxy is told about a bundle's services.
    Units(Later<Units>),
    /// Install, activate or roll back a bundle's services on this machine.
    #[command(subcommand)]
    Release(Release),
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
    /// The file to write; a console script that it is called like is what it starts
    /// [default: the project's name, in the current directory].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How much to say.
    #[command(flatten)]
    pub volume: Volume,
}

/// `coil run`
#[derive(Debug, Args)]
pub struct Run {
    /// What to pack, and how.
    #[command(flatten)]
    pub project: Project,
    /// Show where the time of the start went when the app has ended: launcher, Python, app.
    #[arg(long)]
    pub timing: bool,
    /// How much to say.
    #[command(flatten)]
    pub volume: Volume,
    /// Arguments of the app.
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<std::ffi::OsString>,
}

/// `coil init`
#[derive(Debug, Args)]
pub struct Init {
    /// The project's directory.
    #[arg(value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
}

/// `coil lock`
#[derive(Debug, Args)]
pub struct Lock {
    /// What to lock.
    #[command(flatten)]
    pub project: Project,
    /// The file to write, called pylock.toml or pylock.NAME.toml [default: pylock.toml beside the project,
    /// pylock.NAME.toml beside a script or for requirements].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `coil inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// The bundle.
    pub bundle: PathBuf,
    /// Print the manifest, or what is asked for, as JSON.
    #[arg(long, conflicts_with = "lock")]
    pub json: bool,
    /// Read the files inside and tell where they run: processor, kernel, C library, libraries of the host.
    #[arg(long, conflicts_with_all = ["lock", "sizes"])]
    pub portability: bool,
    /// Show what each part takes, packed and unpacked.
    #[arg(long, conflicts_with = "lock")]
    pub sizes: bool,
    /// Print the lock, as pylock.toml (PEP 751).
    #[arg(long)]
    pub lock: bool,
}

/// How much a command that packs says.
#[derive(Debug, Clone, Copy, Args)]
pub struct Volume {
    /// Say nothing but warnings and errors, and show no progress.
    #[arg(short, long)]
    pub quiet: bool,
    /// Say also what was left out of the runtime, and which files have no byte code.
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
}

impl Volume {
    /// How much to say, where the command says `usual` if nothing is asked for.
    pub fn or(self, usual: Loudness) -> Loudness {
        match self {
            Volume { quiet: true, .. } => Loudness::Quiet,
            Volume { verbose: true, .. } => Loudness::Verbose,
            _ => usual,
        }
    }
}

/// `coil unpack`
#[derive(Debug, Args)]
pub struct Unpack {
    /// The bundle, for whatever machine.
    pub bundle: PathBuf,
    /// The directory, which is made, or is empty. It gets what stands at `/` in an image: python, venv, app.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
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
    /// The virtualenv to pack again, for a bundle that was made of one.
    #[arg(long, value_name = "DIR", requires = "rebuild")]
    pub venv: Option<PathBuf>,
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
    /// The bundle that is there; or an image in a registry that `coil image` made, such as r.example/tool:1.4.
    pub bundle: PathBuf,
    /// The runtime to put under it, from a file that `coil runtime build` made, or that of a bundle.
    #[arg(long, value_name = "FILE", group = "other")]
    pub runtime: Option<PathBuf>,
    /// The Python to harvest and put under it: an interpreter, a version such as 3.12, or a directory.
    #[arg(long, value_name = "PYTHON", group = "other")]
    pub python: Option<String>,
    /// Its size.
    #[command(flatten)]
    pub shape: Shape,
    /// The bundle with the app to put onto this bundle's runtime.
    #[arg(long, value_name = "BUNDLE", group = "other")]
    pub app: Option<PathBuf>,
    /// The file to write, where a bundle is rebased.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The tag to give to an image that is rebased in its registry [default: the one it has].
    #[arg(long, value_name = "TAG", conflicts_with = "output")]
    pub tag: Option<String>,
    /// Talk to the registry without TLS. Hosts of this machine are always talked to so.
    #[arg(long, conflicts_with = "output")]
    pub insecure: bool,
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
    /// Its size.
    #[command(flatten)]
    pub shape: Shape,
    /// The file to write [default: cpython-VERSION.rt, in the current directory].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `coil runtime inspect`
#[derive(Debug, Args)]
pub struct RuntimeInspect {
    /// A runtime file, or a bundle.
    pub file: PathBuf,
    /// Print what is known of it, or what is asked for, as JSON.
    #[arg(long)]
    pub json: bool,
    /// Show what each part takes, packed and unpacked.
    #[arg(long)]
    pub sizes: bool,
}

/// What is packed, and how: the same for every command that packs.
#[derive(Debug, Args)]
pub struct Project {
    /// A directory, a script, a wheel, or requirements such as httpie or "flask>=3" (PEP 508).
    #[arg(value_name = "PROJECT")]
    pub projects: Vec<String>,
    /// Requirements from a file as pip reads it, or a lock: pylock.toml, pylock.NAME.toml.
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
    /// A virtualenv whose distributions are packed as they are installed, instead of resolving.
    #[arg(long, value_name = "DIR", conflicts_with = "requirements")]
    pub venv: Option<PathBuf>,
    /// Refuse a virtualenv with files that were changed since installation, are missing, or belong to nothing.
    #[arg(long, requires = "venv")]
    pub strict: bool,
    /// Pack this commit, not what lies in the work tree (which is left alone).
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Refuse to pack files that differ from their commit.
    #[arg(long)]
    pub require_clean: bool,
    /// The app's name [default: the project's].
    #[arg(long)]
    pub name: Option<String>,
    /// The Python to pack: an interpreter, a version such as 3.12, a directory, or an archive such as
    /// python-build-standalone's
    /// [default: the active virtualenv's, else python3 on PATH].
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<String>,
    /// The runtime to pack, from a file that `coil runtime build` made, or that of a bundle.
    #[arg(long, value_name = "FILE", conflicts_with = "python")]
    pub runtime: Option<PathBuf>,
    /// Its size.
    #[command(flatten)]
    pub shape: Shape,
    /// The C library the app runs with: the newer one of the host's and the carried one, always the
    /// carried one, or always the host's.
    #[arg(long, value_enum, default_value_t = Libc::Auto)]
    pub libc: Libc,
    /// Resolve anew, even if the same requirements were resolved within the last hour.
    #[arg(long)]
    pub refresh: bool,
    /// Libraries that no wheel brings.
    #[command(flatten)]
    pub libraries: Libraries,
    /// What of the project is wanted.
    #[command(flatten)]
    pub choice: Choice,
    /// Where distributions come from.
    #[command(flatten)]
    pub index: Index,
}

/// What becomes of libraries that are needed and that neither the runtime nor a wheel has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Library options")]
pub struct Libraries {
    /// Leave this library to the host, such as libGL.so.1 or "libxcb*": without it on the host, what needs it
    /// cannot be loaded there.
    #[arg(long, value_name = "LIBRARY")]
    pub host_library: Vec<String>,
    /// Bring this library, and all that it needs, from this machine, such as libGL.so.1 or libpq.so.5; a pattern
    /// stands for what is needed and missing.
    #[arg(long, value_name = "LIBRARY")]
    pub bring_library: Vec<String>,
}

/// Which parts of a project are packed, and whether a lock must say what they need.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dependency options")]
pub struct Choice {
    /// Pack what this extra of the project needs, too.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub extra: Vec<String>,
    /// Pack what any extra of the project needs.
    #[arg(long)]
    pub all_extras: bool,
    /// Pack what this dependency group of the project needs, too.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub group: Vec<String>,
    /// Pack the group "dev", too.
    #[arg(long, conflicts_with = "no_dev")]
    pub dev: bool,
    /// Leave the group "dev" out, as without this option.
    #[arg(long)]
    pub no_dev: bool,
    /// Refuse to resolve: fail unless a lock says everything that is needed.
    #[arg(long)]
    pub locked: bool,
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
    /// Build wheels of source distributions, with --no-index as well.
    #[arg(long, overrides_with = "no_build")]
    pub build: bool,
    /// Build no wheels of source distributions [default with --no-index].
    #[arg(long, overrides_with = "build")]
    pub no_build: bool,
    /// The tool that resolves [default: uv where it is installed, else pip].
    #[arg(long, env = "COIL_RESOLVER")]
    pub resolver: Option<Resolver>,
}

/// Which C library an app runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Libc {
    /// The newer one.
    Auto,
    /// The carried one.
    Bundled,
    /// The host's.
    Host,
}

/// The tools that can resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resolver {
    /// uv.
    Uv,
    /// The interpreter's pip.
    Pip,
}
