//! coil packs a Python application, its wheels and a relocatable CPython into one executable.

pub mod bytecode;
pub mod elf;
pub mod error;
pub mod interpreter;
pub mod tree;
pub mod wheel;
