//! The format of a bundle and everything the launcher does with one.
//!
//! `format` is pure: bytes in, values out. Above it come the machine (`host`), the cache, unpacking,
//! assembling an environment, and `launch`, which decides and then acts. The packer uses this crate's
//! types; this crate knows nothing of the packer.

pub mod format;
