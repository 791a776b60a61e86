//! What the user named as a base: a directory or an archive with images, or a name in a registry.

use std::path::Path;

use super::archive::Files;
use crate::error::{Failure, Result};
use crate::image::Reference;

/// Where a base is.
pub enum Place {
    /// A layout or an archive on this machine, and the tag of the image in it, where one was named.
    Files(Files, Option<String>),
    /// In a registry.
    Registry(Reference),
}

impl Place {
    /// Finds out what `text` names: something on this machine before a registry, `PATH:TAG` before `NAME:TAG`.
    pub fn find(text: &str) -> Result<Place> {
        if Path::new(text).exists() {
            return Ok(Place::Files(Files::open(Path::new(text))?, None));
        }
        for (at, _) in text.match_indices(':') {
            let (path, tag) = (Path::new(&text[..at]), &text[at + 1..]);
            if path.exists() {
                return Ok(Place::Files(Files::open(path)?, Some(tag.to_owned())));
            }
        }
        let like_a_path = text.starts_with(['/', '.']) || text.ends_with(".tar");
        if like_a_path {
            return Err(Failure::new(format!("there is no base {text}")).hint(
                "name an image layout, an archive that `docker save` wrote, or an image in a registry",
            ));
        }
        Reference::parse(text).map(Place::Registry)
    }
}
