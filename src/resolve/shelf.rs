//! Wheels that are at hand already, so that nothing is fetched or built twice.

use std::path::Path;

use coil_bootstrap::format::digest::Digest;

use super::pin::FetchedWheel;
use crate::error::Result;

/// A place where wheels are kept from one pack to the next.
pub trait Shelf {
    /// The wheel with this digest that is called like this.
    fn wheel(&self, sha256: &Digest, name: &str) -> Option<FetchedWheel>;

    /// The wheel that was made of `source`, a text that says everything it depends on.
    fn made_of(&self, source: &str) -> Option<FetchedWheel>;

    /// Keeps a wheel, and remembers what it was made of where that is said.
    fn keep(&self, wheel: &Path, source: Option<&str>) -> Result<FetchedWheel>;
}
