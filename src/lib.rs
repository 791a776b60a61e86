//! coil packs a Python application, its wheels and a relocatable CPython into one executable.

pub mod elf;
pub mod error;
pub mod interpreter;
pub mod runtime;
pub mod tree;
