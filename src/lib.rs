//! coil packs a Python application, its wheels and a relocatable CPython into one executable.

pub mod bundle;
pub mod error;
pub mod interpreter;
pub mod launcher;
pub mod layer;
pub mod plan;
pub mod store;
pub mod tree;
