//! The format of a bundle and everything the launcher does with one.
//!
//! `format` is pure: bytes in, values out. Above it come the opened `bundle`, the `cache`, `unpack`,
//! the `environment`, and `launch`, which decides and then acts. The packer uses this crate's types;
//! this crate knows nothing of the packer.

pub mod archive;
pub mod builtins;
pub mod bundle;
pub mod c_library;
pub mod cache;
pub mod clean_up;
pub mod environment;
pub mod error;
pub mod extract;
pub mod first_start;
pub mod format;
pub mod host;
pub mod in_use;
pub mod launch;
pub mod mend;
pub mod progress;
pub mod receive;
pub mod record;
pub mod release;
pub mod settle;
pub mod tally;
pub mod trace;
pub mod unpack;
pub mod unpacked;
pub mod unused;
pub mod verify;
pub mod workspace;
