//! What the end-to-end tests are written with: a [`Bench`] where projects lie and are packed by the real
//! `coil`, a [`Packed`] bundle, a [`Start`] of it, and what became of that, [`Ran`].
//!
//! Everything lies below cargo's directory for tests: on a disk that can execute, and `cargo clean` takes
//! it away. There is one packer cache for all tests, so that the runtime is harvested once, and one cache
//! of bundles, so that it is unpacked once; a test about caches brings its own.

#![allow(dead_code, unused_imports, reason = "each test file uses its part of the kit")]

mod arrivals;
mod bench;
pub mod docker;
pub mod empty_root;
pub mod faults;
#[path = "../../src/wheel/fixture.rs"]
mod fixture;
pub mod hostile;
pub mod hostile_packer;
pub mod index;
mod lean;
pub mod mounts;
pub mod oci;
pub mod outcomes;
mod packed;
mod probe;
pub mod production;
mod ran;
pub mod registry;
mod runtime;
mod small;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

pub use arrivals::Arrivals;
pub use bench::Bench;
pub use empty_root::EmptyRoot;
pub use fixture::WheelBuilder;
pub use index::{Behaviour, Index};
pub use lean::lean_path;
pub use packed::{Packed, Start};
pub use probe::{lean_probe, probe};
pub use ran::Ran;
pub use runtime::{QUICK, cache_with_lean_runtime, cache_with_runtime, lean_runtime_file, runtime_file};
pub use small::{bundle_of, heavy, noise, on_a_server, small, snapshot};

/// Where all tests keep what they make.
pub fn ground() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The resolvers on this machine: pip, and uv where it is installed.
pub fn resolvers() -> Vec<&'static str> {
    let uv = Command::new("uv").arg("--version").output();
    if uv.is_ok_and(|output| output.status.success()) { vec!["uv", "pip"] } else { vec!["pip"] }
}

/// A fresh directory, on the same file system as everything else, removed with the value.
pub fn scratch() -> TempDir {
    TempDir::new_in(ground()).expect("cargo's directory for tests can be written")
}

/// The packer's cache.
pub fn packer_cache() -> PathBuf {
    ground().join("packer")
}

/// The cache of bundles whose test does not bring one.
pub fn machine_cache() -> PathBuf {
    ground().join("machine")
}

/// Says why a test cannot say anything here.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// A place for what is made once in each test program: remade when the program starts anew, so that
/// nothing piles up.
pub fn standing(name: &str) -> PathBuf {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().expect("a test knows itself");
        own.file_stem().expect("a program has a name").to_string_lossy().split('-').next().unwrap().to_owned()
    });
    let place = ground().join("standing").join(program).join(name);
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).expect("cargo's directory for tests can be written");
    place
}
