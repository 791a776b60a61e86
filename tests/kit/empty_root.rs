//! A machine with nothing on it: a root directory that holds the files a test puts there, one writable
//! directory, and nothing else. No `/bin`, `/lib`, `/proc`, `/dev`, `/tmp`, and an empty environment.
//!
//! Root enters it with `chroot(2)`, anybody else through a user namespace; util-linux's `unshare` does
//! both, before it starts the program. A machine may forbid it: ask [`EmptyRoot::unavailable`] and say so,
//! rather than pass in silence.
#![allow(dead_code, reason = "each test uses a part of the kit")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Ran, scratch};

/// The writable directory, as the program sees it.
pub const WRITABLE: &str = "/data";

/// A root directory with next to nothing in it, and the environment of what is started there.
///
/// ```ignore
/// let ran = EmptyRoot::new().with_file("app", &bundle).env("COIL_CACHE", WRITABLE).run(&["/app", "--help"]);
/// assert!(ran.status.success(), "{ran}");
/// ```
pub struct EmptyRoot {
    root: TempDir,
    files: Vec<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
}

impl EmptyRoot {
    /// Why this machine cannot enter another root, in the words of the tool that tried; `None` if it can.
    pub fn unavailable() -> Option<String> {
        let root = scratch();
        // A directory is not a program: a machine that refuses to execute it has let us in before.
        let tried = Command::new("unshare").args(enter(root.path())).arg("/").output();
        match tried {
            Err(error) => Some(format!("cannot start unshare (util-linux): {error}")),
            Ok(tried) if tried.status.code() == Some(126) => None,
            Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        }
    }

    /// A root with the writable directory [`WRITABLE`] and nothing else.
    pub fn new() -> Self {
        let root = scratch();
        fs::create_dir(root.path().join(&WRITABLE[1..])).expect("a writable directory");
        EmptyRoot { root, files: Vec::new(), variables: Vec::new(), stdin: Vec::new() }
    }

    /// Puts a copy of the file `source`, with its mode, at `name` (relative to the root).
    pub fn with_file(mut self, name: &str, source: &Path) -> Self {
        let target = self.root.path().join(name);
        fs::create_dir_all(target.parent().expect("a name below the root")).expect("its directory");
        // A hard link costs nothing, where both are on one file system.
        if fs::hard_link(source, &target).is_err() {
            // By another process: what one of ours has open for writing, even for a moment in a fork of
            // another thread, cannot be executed.
            let copied = Command::new("cp").arg("-p").arg(source).arg(&target).status();
            assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", source.display());
        }
        self.files.push(PathBuf::from(name));
        self
    }

    /// Sets a variable; without any, the environment is empty.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What the program reads from standard input; without it, nothing.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Starts `argv[0]`, a path in the root, in the root directory, and waits for its end.
    pub fn run<S: AsRef<OsStr>>(&self, argv: &[S]) -> Ran {
        let mut command = Command::new(find_on_path("unshare"));
        command.args(enter(self.root.path())).args(argv).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ran::of(command, &self.stdin)
    }

    /// The root directory, as the test sees it.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The writable directory, as the test sees it.
    pub fn writable(&self) -> PathBuf {
        self.root.path().join(&WRITABLE[1..])
    }

    /// Everything that programs have left outside the writable directory, relative to the root. As the
    /// programs may write anywhere here, an empty list is what a read-only root would have proved.
    pub fn strays(&self) -> Vec<PathBuf> {
        let mut strays = Vec::new();
        let mut pending = vec![self.root.path().to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).expect("a directory of the root") {
                let path = entry.expect("an entry of the root").path();
                let name = path.strip_prefix(self.root.path()).expect("a path below the root");
                if self.files.iter().any(|file| file != name && file.starts_with(name)) {
                    pending.push(path);
                } else if name != Path::new(&WRITABLE[1..]) && !self.files.iter().any(|file| file == name) {
                    strays.push(name.to_owned());
                }
            }
        }
        strays
    }
}

/// The arguments of `unshare` up to the program.
fn enter(root: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    if !is_root() {
        arguments.extend(["--user", "--map-root-user"].map(OsString::from));
    }
    let mut root_option = OsString::from("--root=");
    root_option.push(root);
    arguments.extend([root_option, "--wd=/".into(), "--".into()]);
    arguments
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    let identity = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = identity.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

/// The program `name` by its whole path: with an empty environment there is no PATH to find it through.
fn find_on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| PathBuf::from("/usr/bin").join(name))
}
