//! The launcher that goes in front of every bundle, built by `build.rs` and carried inside coil.

/// The launcher's ELF file, with a blank stamp.
pub static LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/coil-launcher"));
