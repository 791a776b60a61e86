//! A program with file systems of its own: small, read-only or without permission to execute. They are
//! mounted in a namespace that ends with the program.

use std::ffi::OsStr;
use std::process::Command;

use super::{Ran, empty_root::is_root};

/// Runs `script` in a shell that may mount; `arguments` are its `$0`, `$1` and so on. The environment is
/// empty but for PATH.
pub fn mounting<S: AsRef<OsStr>>(script: &str, arguments: &[S]) -> Ran {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--", "/bin/sh", "-ec", script]).args(arguments);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path);
    Ran::of(command, b"")
}

/// Why this machine cannot do that; `None` if it can.
pub fn cannot_mount() -> Option<String> {
    let tried = mounting("mount -t tmpfs tmpfs \"$0\"", &[super::scratch().path()]);
    (!tried.status.success()).then(|| format!("nothing can be mounted here: {}", tried.stderr.trim()))
}
