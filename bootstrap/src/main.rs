//! The launcher: the static executable in front of every bundle.
fn main() {}
