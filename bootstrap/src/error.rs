//! What can stop a start, in one sentence each.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::format::Damage;

/// The result of everything in this crate that touches the machine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a bundle could not be started, or not be read.
#[derive(Debug)]
pub enum Error {
    /// The bundle's bytes are not what was packed.
    Damaged {
        /// The bundle.
        bundle: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The system refused something.
    System {
        /// What was tried, to be followed by the path: "create", "read".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// There is nowhere to unpack: every candidate and why it was passed over.
    NoCache(Vec<(PathBuf, String)>),
    /// Its own file cannot be found.
    NoBundle,
    /// The launcher was started without a payload.
    NoPayload,
    /// No such command.
    NoCommand {
        /// What was asked for; `None` where nothing was and there is no default.
        asked: Option<String>,
        /// The names that exist.
        known: Vec<String>,
    },
    /// `COIL_LIBC` names no rule.
    NoRule(String),
    /// `COIL_KEEP` is neither a number of days nor `never`.
    NoDays(String),
    /// `COIL=unpack` without a directory.
    NoDirectory,
    /// The host's C library is ordered, and the host has none.
    NoHostLibrary,
    /// `COIL` names something else than one of the launcher's own commands.
    NoBuiltin(String),
    /// What is unpacked is not what is in the bundle.
    Changed {
        /// The environment.
        place: PathBuf,
        /// In how many places, in it and in its layers.
        count: usize,
    },
    /// A release could not be installed or made active: the whole sentence, with what to do.
    Release(String),
    /// The interpreter could not be started.
    Exec {
        /// What was executed.
        program: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl Error {
    /// The launcher's exit code for this error, after the custom of `env` and `docker run`: 127 where a
    /// command does not exist, 126 where it exists and cannot be started, 125 for everything before that.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::NoCommand { .. } | Error::NoBuiltin(_) => 127,
            Error::Exec { .. } => 126,
            _ => 125,
        }
    }

    /// Whether something was not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::System { source, .. } | Error::Exec { source, .. }
            if source.kind() == io::ErrorKind::NotFound)
    }

    /// An error about `path`, for use with `map_err`.
    pub fn at(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |source| Error::System { action, path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Damaged { bundle, damage } => {
                write!(f, "{} is damaged: {damage}; copy the file again", bundle.display())
            }
            Error::System { action, path, source } => {
                write!(f, "cannot {action} {}: {}", path.display(), reason(source))
            }
            Error::NoCache(candidates) => {
                f.write_str("there is no directory to unpack into (set COIL_CACHE to one):")?;
                let mut separator = " ";
                for (path, why) in candidates {
                    write!(f, "{separator}{}: {why}", path.display())?;
                    separator = "; ";
                }
                Ok(())
            }
            Error::NoBundle => f.write_str(
                "the launcher cannot find its own file: mount /proc, or start it by its absolute path",
            ),
            Error::NoPayload => f.write_str("this launcher has no payload: `coil pack` makes a bundle of it"),
            Error::NoCommand { asked: None, known } => {
                write!(f, "which command? name one as the first argument: {}", known.join(", "))
            }
            Error::NoCommand { asked: Some(name), known } => {
                write!(f, "there is no command {name:?} in this bundle; it has {}", known.join(", "))?;
                let interpreter = name.starts_with("python");
                f.write_str(if interpreter { "; COIL=python starts its interpreter" } else { "" })
            }
            Error::NoRule(text) => {
                write!(f, "COIL_LIBC={text:?} means nothing here; it can be auto, bundled or host")
            }
            Error::NoDays(text) => {
                write!(f, "COIL_KEEP={text:?} means nothing here; it can be a number of days or never")
            }
            Error::NoDirectory => {
                f.write_str("where to? COIL=unpack takes a directory, which is made or is empty")
            }
            Error::NoHostLibrary => write!(
                f,
                "the host's C library is to be used, and this host has no glibc; start it with COIL_LIBC=bundled"
            ),
            Error::NoBuiltin(name) => {
                write!(f, "COIL={name:?} means nothing here; COIL=help lists what does")
            }
            Error::Changed { place, count } => {
                let places = if *count == 1 { "one place".into() } else { format!("{count} places") };
                write!(f, "{} differs from the bundle in {places}; COIL=repair mends it", place.display())
            }
            Error::Release(what) => f.write_str(what),
            Error::Exec { program, source } => {
                write!(f, "cannot start {}: {}", program.display(), reason(source))
            }
        }
    }
}

impl std::error::Error for Error {}

/// What the system answered, without Rust's "(os error N)".
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
