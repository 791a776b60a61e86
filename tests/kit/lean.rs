//! A CPython with a tenth of the standard library, for tests that make or unpack a runtime over and over and are not
//! about what is in it: it takes a fifth of the time.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use coil_bootstrap::format::digest::Digest;

use super::{ground, resolvers, scratch};

/// Copies what is wanted of the interpreter that runs it.
const COPY: &str = include_str!("lean.py");

/// A `PATH` with the lean CPython in front; `None` where there is none to be had: the machine's is a part of the system,
/// or pip has to run in it.
pub fn lean_path() -> Option<OsString> {
    static BIN: OnceLock<Option<PathBuf>> = OnceLock::new();
    let bin = BIN.get_or_init(|| (resolvers()[0] == "uv").then(make).flatten()).as_ref()?;
    let known = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([bin.clone()].into_iter().chain(std::env::split_paths(&known))).ok()
}

/// Makes it, once for all test programs and for as long as the machine's Python stays the same.
fn make() -> Option<PathBuf> {
    let told = "import sys; print(sys.base_prefix, sys.version)";
    let told = Command::new("python3").args(["-c", told]).output().ok()?.stdout;
    let place =
        ground().join(format!("lean-{}", &Digest::of(&[&told, COPY.as_bytes()].concat()).hex()[..16]));
    if !place.exists() {
        let made = scratch();
        // A virtualenv's base: what is copied starts by itself.
        let copied =
            Command::new("python3").args(["-c", COPY]).arg(made.path().join("python")).output().ok()?;
        if !copied.status.success() {
            return None;
        }
        // Another test program may have been quicker.
        let _ = fs::rename(made.path().join("python"), &place);
    }
    Some(place.join("bin")).filter(|bin| bin.join("python3").exists())
}
