//! What a bundle is made of, as bytes. Nothing here touches a file system, the environment or a clock.
//!
//! `docs/FORMAT.md` tells the same to somebody who writes a reader in another language.

use std::fmt;

pub mod checksum;
pub mod digest;
pub mod frames;
mod hash_text;
pub mod image;
pub mod manifest;
pub mod path;
pub mod production;
pub mod recipe;
pub mod sections;
pub mod stamp;
pub mod tar;
pub mod template;
pub mod time;

/// What is wrong with bytes that should have been part of a bundle: the end of a sentence that begins
/// with the name of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage(String);

impl Damage {
    /// A damage told by `what`, without a full stop: "its manifest is cut short".
    pub fn new(what: impl Into<String>) -> Self {
        Damage(what.into())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damage {}
