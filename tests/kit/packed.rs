//! A bundle, and starts of it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Ran, machine_cache};

/// A bundle on disk.
#[derive(Debug, Clone)]
pub struct Packed {
    path: PathBuf,
}

impl Packed {
    /// The bundle at `path`.
    pub fn at(path: PathBuf) -> Packed {
        Packed { path }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A start by its absolute path, with nothing in the environment but PATH and the common cache.
    pub fn start(&self) -> Start {
        self.start_as(&self.path)
    }

    /// A start by another name: a link, a relative path, the name of a program on PATH.
    pub fn start_as(&self, name: impl AsRef<OsStr>) -> Start {
        let mut command = Command::new(name);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("COIL_CACHE", machine_cache());
        Start { command, stdin: Vec::new() }
    }

    /// A start of the interpreter inside, which runs `code`.
    pub fn python(&self, code: &str) -> Start {
        self.start().env("COIL", "python").args(&["-c", code])
    }

    /// A hard link to it in `directory`.
    pub fn linked_into(&self, directory: &Path, name: &str) -> Packed {
        let path = directory.join(name);
        std::fs::hard_link(&self.path, &path).expect("links are on one file system");
        Packed { path }
    }
}

/// A start of a bundle in the making.
pub struct Start {
    command: Command,
    stdin: Vec<u8>,
}

impl Start {
    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Start {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: &[S]) -> Start {
        self.command.args(arguments);
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Start {
        self.command.env(name, value);
        self
    }

    /// No such variable.
    pub fn without(mut self, name: &str) -> Start {
        self.command.env_remove(name);
        self
    }

    /// Another cache than the common one.
    pub fn cache(self, directory: &Path) -> Start {
        self.env("COIL_CACHE", directory)
    }

    /// The working directory.
    pub fn within(mut self, directory: &Path) -> Start {
        self.command.current_dir(directory);
        self
    }

    /// What it is called (`argv[0]`), whatever its file is.
    pub fn called(mut self, name: impl AsRef<OsStr>) -> Start {
        self.command.arg0(name);
        self
    }

    /// What it reads from standard input; without it, nothing.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Start {
        self.stdin = bytes.into();
        self
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Ran {
        Ran::of(self.command, &self.stdin)
    }

    /// Starts it, with three pipes.
    pub fn spawn(mut self) -> Child {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().unwrap_or_else(|error| panic!("{:?} cannot be started: {error}", self.command))
    }

    /// The command, for whatever else has to be arranged.
    pub fn command(self) -> Command {
        self.command
    }
}
