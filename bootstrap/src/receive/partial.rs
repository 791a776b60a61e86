//! What has arrived of a file, kept so that a transfer that broke off goes on where it ended.
//!
//! ```text
//! coil/incoming/SUM/part    the file up to where it has come: written from its beginning to its end
//! coil/incoming/SUM/offer   what it is made of
//! coil/incoming/SUM/APP     the whole file, while it is being installed
//! ```
//!
//! It is in the system's store and not beside the app's releases: there, a directory of something else that has the app's
//! name is left alone. `SUM` is the beginning of the file's checksum. Its directory is locked by the process that receives, and by the
//! installation after it; a second one that receives the same file at the same time works in `SUM-PID`. What nobody has
//! locked is swept when it is old, or when the installation is over.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::found::sum;
use super::offer::Offer;
use crate::error::{Error, Result};
use crate::workspace::remove_tree;

/// What has arrived of the file.
pub const PART: &str = "part";

/// The offer that it was received for.
pub const OFFER: &str = "offer";

/// How many digits of the checksum the directory is called by.
const DIGITS: usize = 32;

/// What broke off so long ago is not gone on with.
const KEPT: Duration = Duration::from_secs(3 * 24 * 3600);

/// A file on its way.
pub struct Partial {
    directory: PathBuf,
    app: String,
    lock: File,
    /// The file, open for reading and writing.
    pub file: File,
    /// How much of its beginning is as it should be, in bytes.
    pub good: u64,
}

impl Partial {
    /// Where files arrive.
    pub fn place(state: &Path) -> PathBuf {
        state.join("coil").join("incoming")
    }

    /// Opens what there is of the offered file, or begins it.
    pub fn open(incoming: &Path, app: &str, offer: &Offer) -> Result<Self> {
        let create = |path: &Path, mode| fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        let above = incoming.parent().unwrap_or(incoming);
        create(above, 0o755).map_err(Error::at("create", above))?;
        create(incoming, 0o700).map_err(Error::at("create", incoming))?;
        let name = offer.checksum.hex()[..DIGITS].to_owned();
        let mut directory = incoming.join(&name);
        create(&directory, 0o700).map_err(Error::at("create", &directory))?;
        let mut lock = File::open(&directory).map_err(Error::at("open", &directory))?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            directory = incoming.join(format!("{name}-{}", std::process::id()));
            create(&directory, 0o700).map_err(Error::at("create", &directory))?;
            lock = File::open(&directory).map_err(Error::at("open", &directory))?;
            // Nobody else comes here, and the sweep spares what is new.
            let _ = lock.try_lock();
        }
        // An installation that failed has left the whole file.
        let _ = fs::rename(directory.join(app), directory.join(PART));
        let path = directory.join(PART);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(Error::at("create", &path))?;
        let path = directory.join(OFFER);
        fs::write(&path, offer.encode()).map_err(Error::at("write", &path))?;
        let mut partial = Partial { directory, app: app.to_owned(), lock, file, good: 0 };
        partial.good = partial.proven(offer);
        partial.file.set_len(partial.good).map_err(Error::at("write", partial.path()))?;
        Ok(partial)
    }

    /// The directory that is only for this transfer.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that arrives.
    pub fn path(&self) -> PathBuf {
        self.directory.join(PART)
    }

    /// How much of the beginning can be gone on from: pieces that are whole have the checksums they should have; the last
    /// one is compared when it is whole.
    fn proven(&self, offer: &Offer) -> u64 {
        let length = self.file.metadata().map_or(0, |there| there.len()).min(offer.size);
        let whole = offer.items.iter().take_while(|item| item.range.end <= length);
        let mut wrong = whole.filter_map(|item| {
            let found = sum(&self.file, item.range.start, item.range.end - item.range.start);
            (item.checksum.is_some() && found != item.checksum).then_some(item.range.start)
        });
        wrong.next().unwrap_or(length)
    }

    /// Throws away what has arrived.
    pub fn discard(self) {
        remove_tree(&self.directory, None);
    }

    /// Names the whole file, once it is on the disk, and returns its path. The lock goes on to the program that this process
    /// becomes.
    pub fn complete(self) -> Result<PathBuf> {
        let part = self.path();
        let whole = self.directory.join(&self.app);
        self.file.set_permissions(fs::Permissions::from_mode(0o755)).map_err(Error::at("write", &part))?;
        self.file.sync_all().map_err(Error::at("write", &part))?;
        fs::rename(&part, &whole).map_err(Error::at("create", &whole))?;
        let _ = fs::remove_file(self.directory.join(OFFER));
        self.lock.sync_all().map_err(Error::at("write", &self.directory))?;
        // Unlike its original, a duplicate stays open across `execve`.
        let kept = rustix::io::dup(&self.lock).map_err(io::Error::from);
        std::mem::forget(kept.map_err(Error::at("lock", &self.directory))?);
        Ok(whole)
    }
}

/// Removes below `incoming` what is of no use any more: installed files, old transfers, launchers that were sent alone.
pub fn sweep(incoming: &Path, offer: &Offer) {
    let own = &offer.checksum.hex()[..DIGITS];
    for entry in fs::read_dir(incoming).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(directory) = File::open(&path) else { continue };
        let locked = matches!(directory.try_lock(), Err(fs::TryLockError::WouldBlock));
        let is_own = entry.file_name().to_string_lossy() == *own;
        let is_over =
            is_old(&path.join(PART)).unwrap_or_else(|| holds_more(&path) || is_old(&path) == Some(true));
        if !locked && !is_own && is_over {
            remove_tree(&path, None);
        }
    }
}

/// Whether there is the file of an installation in the directory.
fn holds_more(directory: &Path) -> bool {
    let mut entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name() != OFFER && entry.file_name() != PART)
}

/// Whether what is at `path` has not changed for as long as transfers are kept; `None` where it cannot be said.
fn is_old(path: &Path) -> Option<bool> {
    let changed = fs::metadata(path).and_then(|there| there.modified()).ok()?;
    Some(SystemTime::now().duration_since(changed).is_ok_and(|since| since > KEPT))
}
