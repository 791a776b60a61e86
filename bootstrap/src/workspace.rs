//! Workspaces: where a process makes what it then renames to its place.
//!
//! The owner of a workspace holds a lock on it. One that somebody else can lock was left behind by a process that was
//! killed, and is swept away by the next that looks.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};

/// A directory nobody can lock is taken for abandoned when it has not changed for this long.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A directory of our own inside the cache, on the same file system as what will be renamed out of it.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    _lock: File,
}

impl Workspace {
    /// A fresh directory in `tmp`, which others sweep at the same time.
    pub fn create_in(tmp: &Path) -> Result<Workspace> {
        for number in 0..10_000 {
            let path = tmp.join(format!("{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::at("create", &path)(error)),
            }
            // Until the lock is ours a sweeping process may take the directory for abandoned.
            match File::open(&path) {
                Ok(directory) => match directory.try_lock() {
                    Err(TryLockError::WouldBlock) => continue,
                    _ if path.exists() => return Ok(Workspace { path, _lock: directory }),
                    _ => continue,
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::at("open", &path)(error)),
            }
        }
        Err(Error::at("create a directory in", tmp)(io::ErrorKind::AlreadyExists.into()))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new empty directory in it.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(Error::at("create", &path))?;
        Ok(path)
    }

    /// Leaves what is in it to the next sweep, when this process is gone or has become another program.
    pub fn abandon(self) {
        // The lock ends with the process, or with its `execve`.
        std::mem::forget(self);
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the workspaces in `tmp` that killed processes left behind, until the time is up. Whatever cannot be removed
/// is left alone.
pub fn sweep(tmp: &Path, until: Option<Instant>) {
    let Ok(entries) = fs::read_dir(tmp) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(directory) = File::open(&path) else { continue };
        let abandoned = match directory.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => is_old(&directory),
        };
        if abandoned {
            remove_tree(&path, until);
        }
    }
}

/// Removes a tree, until the time is up. Says whether all of it went, and the room it took in bytes. Links are never
/// followed.
pub fn remove_tree(path: &Path, until: Option<Instant>) -> (bool, u64) {
    if until.is_some_and(|until| Instant::now() > until) {
        return (false, 0);
    }
    let Ok(there) = fs::symlink_metadata(path) else { return (true, 0) };
    let mut bytes = there.blocks() * 512;
    if !there.is_dir() {
        return (fs::remove_file(path).is_ok(), bytes);
    }
    let mut all = true;
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let (gone, freed) = remove_tree(&entry.path(), until);
        (all, bytes) = (all && gone, bytes + freed);
    }
    (all && fs::remove_dir(path).is_ok(), bytes)
}

fn is_old(directory: &File) -> bool {
    let modified = directory.metadata().and_then(|metadata| metadata.modified()).ok();
    let age = modified.and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > ABANDONED)
}
