//! coil packs a Python application, its wheels and a relocatable CPython into one executable.
//!
//! The `coil` command is a thin layer over this library. ARCHITECTURE.md says in which order to read it.

pub mod bundle;
pub mod bytecode;
pub mod checksums;
pub mod cli;
pub mod columns;
pub mod commands;
pub mod compare;
pub mod deploy;
pub mod elf;
pub mod error;
pub mod find_python;
pub mod image;
pub mod installed;
pub mod interpreter;
pub mod last_use;
pub mod launcher;
pub mod layer;
pub mod lock;
pub mod meanwhile;
pub mod needs;
pub mod pack;
pub mod package;
pub mod plan;
pub mod pool;
pub mod portability;
pub mod probes;
pub mod project;
pub mod python_archive;
pub mod rebase;
pub mod report;
pub mod resolve;
pub mod runtime;
pub mod runtime_file;
pub mod sealed;
pub mod sizes;
pub mod spool;
pub mod store;
pub mod tree;
pub mod unfinished;
pub mod units;
pub mod wheel;
