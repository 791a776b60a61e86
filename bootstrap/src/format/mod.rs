//! What a bundle is made of, as bytes. Nothing here touches a file system, the environment or a clock.

pub mod digest;
pub mod manifest;
pub mod path;
