//! Builds the launcher, a static executable, with a nested cargo; `src/launcher.rs` takes it in.
//!
//! A build script and not an artifact dependency, because those need a nightly toolchain; the gnu target
//! with `crt-static` and not musl, so that the toolchain everybody has is enough. The nested build has a
//! target directory of its own: the outer cargo holds the lock of the usual one.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let sources = [
        "bootstrap/src",
        "bootstrap/Cargo.toml",
        "bootstrap/launcher.ld",
        "src",
        "runtime-templates",
        "Cargo.toml",
        "Cargo.lock",
    ];
    let mut code = DefaultHasher::new();
    for path in sources {
        println!("cargo::rerun-if-changed={path}");
        add_source(Path::new(path), &mut code);
    }
    // What coil has cached is good for the code that made it and for no other.
    println!("cargo::rustc-env=COIL_CODE={:016x}", code.finish());
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = variable("TARGET");
    let build = out.join("launcher");
    let script = Path::new(&variable("CARGO_MANIFEST_DIR")).join("bootstrap/launcher.ld");
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Crelocation-model=static".to_owned(),
        "-Clink-arg=-Wl,--no-eh-frame-hdr".to_owned(),
        format!("-Clink-arg=-Wl,-T,{}", script.display()),
    ];
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["build", "--package", "coil-bootstrap", "--bin", "coil-launcher", "--profile", "launcher"])
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&build)
        .arg("--manifest-path")
        .arg(Path::new(&variable("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        // With an explicit --target these flags reach the launcher's crates and not its build scripts and
        // proc macros, which cannot be static.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // What the outer cargo, or clippy as its wrapper, says of the outer build is not meant for this one.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_BUILD_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    // What cargo tells of the outer build, as that it has a fuzzer's sanitizer, which no static program can have.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_CFG_")) {
        cargo.env_remove(name);
    }
    // `cargo install` of a package brings its Cargo.lock along; the nested build must not write it.
    if Path::new("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    let status = cargo.status().unwrap_or_else(|error| panic!("cargo cannot be started: {error}"));
    assert!(status.success(), "the launcher could not be built");
    let built = build.join(target).join("launcher").join("coil-launcher");
    fs::copy(&built, out.join("coil-launcher"))
        .unwrap_or_else(|error| panic!("{} cannot be copied: {error}", built.display()));
}

fn add_source(path: &Path, code: &mut DefaultHasher) {
    if let Ok(entries) = fs::read_dir(path) {
        let mut below: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        below.sort();
        below.iter().for_each(|path| add_source(path, code));
    } else if let Ok(bytes) = fs::read(path) {
        code.write(path.to_string_lossy().as_bytes());
        code.write(&bytes);
    }
}
