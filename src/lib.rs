//! coil packs a Python application, its wheels and a relocatable CPython into one executable.

pub mod error;
pub mod find_python;
pub mod interpreter;
pub mod lock;
pub mod project;
pub mod resolve;
pub mod tree;
