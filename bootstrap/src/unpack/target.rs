//! The directory that a layer is unpacked into: everything that is created there.
//!
//! Files are only ever created anew, and below the directory that was opened in the beginning. Symbolic links are made
//! when everything else is there, so that nothing can be written through one.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::{Errno, retry_on_intr};

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::format::Damage;
use crate::format::manifest::Layer;
use crate::format::path::TreePath;
use crate::tally::{Part as Doing, Tally};
use crate::trace;

/// A layer's directory, and how far it is.
pub struct Target<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// The directory's path.
    pub path: &'a Path,
    /// Where the time goes.
    pub tally: Tally,
    /// The directory, opened: the kernel need not walk down to it for every file.
    root: OwnedFd,
    links: Mutex<Vec<(TreePath, String)>>,
}

impl<'a> Target<'a> {
    /// The directory at `path`, which must exist, for this layer.
    pub fn open(layer: &'a Layer, path: &'a Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty());
        let root = root.map_err(|error| Error::at("open", path)(error.into()))?;
        Ok(Target { layer, path, root, tally: Tally::default(), links: Mutex::default() })
    }
}

impl Target<'_> {
    /// Creates a file that is not there yet, with the directories above it where another thread has not come to them.
    pub fn create_file(&self, path: &TreePath, executable: bool) -> Result<File> {
        let _timing = self.tally.time(Doing::Create);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let create = || retry_on_intr(|| openat(&self.root, path.as_str(), flags, mode));
        match create() {
            Err(Errno::NOENT) => {
                self.create_directories_above(path)?;
                create()
            }
            created => created,
        }
        .map(File::from)
        .map_err(|error| Error::at("create", self.path.join(path))(error.into()))
    }

    /// Creates a directory that may be there already.
    pub fn create_directory(&self, path: &TreePath) -> Result<()> {
        let _timing = self.tally.time(Doing::Create);
        match mkdirat(&self.root, path.as_str(), Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(Errno::NOENT) => create_directories(&self.path.join(path)),
            Err(error) => Err(Error::at("create", self.path.join(path))(error.into())),
        }
    }

    fn create_directories_above(&self, path: &TreePath) -> Result<()> {
        self.path.join(path).parent().map_or(Ok(()), create_directories)
    }

    /// Keeps a link for [`make_links`](Target::make_links).
    pub fn add_link(&self, path: TreePath, target: String) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).push((path, target));
    }

    /// Says where the time went.
    pub fn tell(&self) {
        trace::say("layer", || {
            let (unpacked, packed) = (self.layer.unpacked_size, self.layer.size);
            let (unpacked, packed) = (trace::megabytes(unpacked), trace::megabytes(packed));
            format!("{}: {unpacked} of {packed}, {}", self.layer.name, self.tally)
        });
    }

    /// Makes the links that were kept. One that leads through another is damage of the bundle.
    pub fn make_links(&self, bundle: &Bundle) -> Result<()> {
        let _timing = self.tally.time(Doing::Link);
        let mut links = std::mem::take(&mut *self.links.lock().unwrap_or_else(PoisonError::into_inner));
        links.sort_unstable();
        for (path, link) in &links {
            if passes_through_links(path, link, &links) {
                let what = format!("the link {path} in a layer leads through another link");
                return Err(bundle.damaged(Damage::new(what)));
            }
            let target = self.path.join(path);
            let made = symlink(link, &target);
            let missing = matches!(&made, Err(error) if error.kind() == io::ErrorKind::NotFound);
            if missing {
                self.create_directories_above(path)?;
                symlink(link, &target).map_err(Error::at("create", &target))?;
            } else {
                made.map_err(Error::at("create", &target))?;
            }
        }
        Ok(())
    }
}

/// Whether a link lies below another one, or climbs up out of another one.
///
/// The tar reader follows targets by their names alone: `a/..` is no place but its own. Where `a` is a link to somewhere
/// else, the kernel goes elsewhere, perhaps out of the layer, and what lies below such a link, or is settled through
/// it, would be written there.
fn passes_through_links(path: &TreePath, target: &str, links: &[(TreePath, String)]) -> bool {
    let mut place: Vec<&str> = path.split('/').collect();
    place.pop();
    let is_link = |place: &[&str]| {
        let place = place.join("/");
        links.binary_search_by(|(link, _)| link.as_str().cmp(&place)).is_ok()
    };
    if (1..=place.len()).any(|length| is_link(&place[..length])) {
        return true;
    }
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if is_link(&place) => return true,
            ".." => drop(place.pop()),
            name => place.push(name),
        }
    }
    false
}

fn create_directories(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::at("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_could_leave_its_layer_through_another_is_found() {
        let link = |path: &str, target: &str| (TreePath::new(path).unwrap(), target.to_owned());
        let links = [link("app/a/b/s", "../.."), link("app/lib", "lib64"), link("app/lib64/x.so", "x.so.1")];
        let passes =
            |path: &str, target: &str| passes_through_links(&TreePath::new(path).unwrap(), target, &links);
        assert!(passes("app/t", "a/b/s/../.."), "by its names it stays in app; in truth it leaves the layer");
        assert!(passes("app/a/b/s/x", "y"), "it lies below a link");
        assert!(!passes("app/a/b/u", "../../lib/x"));
        assert!(!passes("app/t", "lib/x.so"));
        assert!(!passes("app/t", "a/../a"));
    }
}
