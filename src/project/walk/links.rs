//! Symbolic links of a source tree: kept as links where they stay inside, and refused where they would lead
//! nowhere in the bundle.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use coil_bootstrap::format::path::TreePath;

use super::{Walk, not_utf8};
use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node};

impl Walk<'_> {
    /// A link is kept as a link, with a relative target, when it stays inside.
    pub(super) fn take_link(&mut self, path: &Path, place: TreePath) -> Result<()> {
        let cannot = || format!("the link {} cannot be packed", path.display());
        let target = fs::read_link(path).context(cannot)?;
        let outside = || {
            let reason =
                format!("{}: it leads out of {}, to {}", cannot(), self.root.display(), target.display());
            Failure::new(reason).hint("copy what it leads to, or leave it out with exclude in [tool.coil]")
        };
        let real = path.canonicalize().map_err(|error| {
            Failure::new(format!("{}: it leads to {}", cannot(), target.display())).because(error)
        })?;
        if !real.starts_with(&self.root) {
            return Err(outside());
        }
        let text = match target.strip_prefix(&self.root) {
            Ok(inner) => format!("{}{}", "../".repeat(place.matches('/').count() - 1), inner.display()),
            Err(_) => target.to_str().ok_or_else(|| not_utf8(path))?.to_owned(),
        };
        if !place.follow(&text).is_some_and(|there| &*there == "app" || there.below("app").is_some()) {
            return Err(outside());
        }
        self.links.push((path.to_owned(), place.clone()));
        let node =
            Node { content: Content::Symlink(text), executable: false, origin: Arc::clone(&self.origin) };
        self.tree.insert(place, node).context(cannot)
    }

    /// A link to something that was left out would lead nowhere in the bundle.
    pub(super) fn check_links(&self) -> Result<()> {
        for (path, place) in &self.links {
            let Some(Node { content: Content::Symlink(target), .. }) = self.tree.get(place) else { continue };
            let Some(there) = place.follow(target) else { continue };
            // It is there itself, or something below it, or a link above it.
            let mut above = std::iter::successors(Some(there.clone()), TreePath::parent);
            let packed = self.tree.has_directory(&there) || above.any(|name| self.tree.get(&name).is_some());
            if !packed {
                let failure = Failure::new(format!(
                    "the link {} cannot be packed: what it leads to, {target}, is left out",
                    path.display()
                ));
                return Err(failure.hint("leave the link out as well, with exclude in [tool.coil]"));
            }
        }
        Ok(())
    }
}
