//! The cache: where layers and environments live on the machine that runs a bundle.
//!
//! ```text
//! ROOT/layers/HEX/     an unpacked layer, named by its checksum; HEX-host for a runtime that uses the host's libc
//! ROOT/layers/HEX-HEX/ one with programs: for the runtime whose checksum's beginning comes second; or HEX-HEX-host
//!                      and with the beginning of one more behind it where there is a layer of libraries to be searched
//! ROOT/envs/HEX/       an assembled environment, named by its manifest's digest; HEX-host with such a runtime
//! ROOT/tmp/PID-N/      what a start is working on; its owner holds a lock on the directory
//! ROOT/cleaned         says when the last clean-up was
//! ROOT/lock            held while unpacking, so that many first starts unpack once
//! ```
//!
//! What the cache promises: a directory under `layers` or `envs` is complete, because it came there by
//! one rename. Locks save work and guard clean-up; correctness never rests on one, so a file system
//! that cannot lock costs speed only. Nothing here is valuable: the whole may be deleted at any time
//! and the next start makes it again.

use std::fs::{self, File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, StatVfsMountFlags, renameat_with};
use rustix::io::Errno;

use crate::c_library::Choice;
use crate::error::{Error, Result, reason};
use crate::format::digest::Digest;
use crate::format::manifest::{Layer, LayerKind, Manifest};
use crate::workspace::{Workspace, remove_tree, sweep};

/// How long a start waits for another to finish unpacking before it does the work itself, and how many
/// bytes are worth one more second. A process that was stopped, not killed, keeps its lock.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOW_DISK: u64 = 20 << 20;

/// A place where the cache could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The cache's own directory.
    pub root: PathBuf,
    /// The nearest directory that must be there already: without it the candidate is none. A home
    /// directory is never created.
    pub needs: Option<PathBuf>,
    /// Whether it holds what was prepared, and is never written by a start.
    pub prepared: bool,
    /// Whether the machine removes old files there, one by one and without asking.
    pub swept: bool,
}

/// The store that an administrator prepares for all users of a machine (`COIL=install`).
pub const SYSTEM_STORE: &str = "/var/lib/coil";

/// A cache that can be written.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    libc: Choice,
    swept: bool,
}

/// The candidates for user `uid`, best first, judged by environment variables alone.
///
/// `COIL_CACHE` is an order and stands alone. Relative values are ignored, as the XDG Base Directory
/// Specification asks.
pub fn candidates(variable: impl Fn(&str) -> Option<PathBuf>, uid: u32) -> Vec<Candidate> {
    if let Some(root) = variable("COIL_CACHE").filter(|root| !root.as_os_str().is_empty()) {
        return vec![Candidate::at(root)];
    }
    let absolute = |name| variable(name).filter(|path: &PathBuf| path.is_absolute());
    let mut list = Vec::with_capacity(6);
    list.push(Candidate { prepared: true, ..Candidate::at(SYSTEM_STORE.into()) });
    if let Some(base) = absolute("XDG_CACHE_HOME") {
        list.push(Candidate::at(base.join("coil")));
    }
    if let Some(home) = absolute("HOME") {
        list.push(Candidate { needs: Some(home.clone()), ..Candidate::at(home.join(".cache/coil")) });
    }
    for shared in ["/var/tmp", "/tmp", "/dev/shm"] {
        let root = Path::new(shared).join(format!("coil-{uid}"));
        let swept = shared != "/dev/shm";
        list.push(Candidate { needs: Some(shared.into()), swept, ..Candidate::at(root) });
    }
    list
}

impl Candidate {
    /// The cache at `root`, which is created where it is missing.
    pub fn at(root: PathBuf) -> Self {
        Candidate { root, needs: None, prepared: false, swept: false }
    }

    /// The environment's directory, if this candidate became the cache.
    pub fn environment(&self, digest: &Digest, libc: Choice) -> PathBuf {
        self.root.join("envs").join(digest.hex() + libc.suffix())
    }

    /// Why `uid` must not use what is in this directory; `None` where it may.
    ///
    /// Somebody else who could write here could have planted anything.
    pub fn distrust(&self, uid: u32) -> Option<String> {
        match fs::metadata(&self.root) {
            Ok(root) if root.uid() != uid && root.uid() != 0 => {
                Some(format!("it belongs to user {}, not to user {uid}", root.uid()))
            }
            Ok(root) if root.mode() & 0o022 != 0 => Some("other users can write to it".into()),
            Ok(_) => None,
            Err(error) => Some(reason(&error)),
        }
    }

    /// Makes this candidate the cache, creating it where it is missing; the error says why it cannot be.
    pub fn prepare(&self, uid: u32, manifest: &Manifest, libc: Choice) -> Result<Cache, String> {
        if self.prepared {
            return Err("only `COIL=install` writes there".into());
        }
        self.check_name(manifest)?;
        if let Some(needs) = &self.needs
            && !needs.is_dir()
        {
            return Err(format!("{} does not exist", needs.display()));
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.root).map_err(|error| reason(&error))?;
        if let Some(why) = self.distrust(uid) {
            return Err(why);
        }
        self.check_file_system(manifest, libc)?;
        for name in ["layers", "envs", "tmp"] {
            let path = self.root.join(name);
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|error| reason(&error))?;
        }
        Ok(self.as_it_is(libc))
    }

    /// The cache here, whatever is in it, for environments with this C library. Creates nothing.
    pub fn as_it_is(&self, libc: Choice) -> Cache {
        let root = fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        Cache { root, libc, swept: self.swept }
    }

    /// The path goes into a search path, a PT_INTERP and a `pyvenv.cfg`: not every path can.
    fn check_name(&self, manifest: &Manifest) -> Result<(), String> {
        let bytes = self.root.as_os_str().as_bytes();
        if !self.root.is_absolute() {
            return Err("it is not an absolute path".into());
        }
        if let Some(byte) = bytes.iter().find(|byte| matches!(byte, b':' | b'$' | b'\n' | b'\r')) {
            return Err(format!("a cache's path cannot contain {:?}", char::from(*byte)));
        }
        // Python reads its own place from `pyvenv.cfg`, as UTF-8.
        if std::str::from_utf8(bytes).is_err() {
            return Err("a cache's path must be valid UTF-8".into());
        }
        // "/layers/", 64 digits, the choice of a C library and "/" before the path of the loader, and a final NUL.
        let loader =
            bytes.len() + 74 + Choice::HostWithCompiler.suffix().len() + manifest.python.loader.len();
        if loader as u64 > manifest.python.loader_slot.size {
            return Err("its path is too long".into());
        }
        Ok(())
    }

    fn check_file_system(&self, manifest: &Manifest, libc: Choice) -> Result<(), String> {
        let Ok(system) = rustix::fs::statvfs(&self.root) else { return Ok(()) };
        if system.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err("it is on a read-only file system".into());
        }
        if system.f_flag.contains(StatVfsMountFlags::NOEXEC) {
            return Err("programs cannot be executed there (it is mounted noexec)".into());
        }
        let layers = self.root.join("layers");
        let there =
            |layer: &Layer| fs::symlink_metadata(layers.join(directory(manifest, layer, libc))).is_ok();
        let missing = manifest.layers.iter().filter(|layer| !there(layer));
        let needed: u64 = missing.map(|layer| layer.unpacked_size).sum();
        let room = system.f_bavail.saturating_mul(system.f_frsize);
        // Some file systems do not say (0 blocks in all); then writing has to find out.
        if system.f_blocks > 0 && room < needed {
            return Err(format!("{} MB are free and {} MB are needed", room >> 20, (needed >> 20) + 1));
        }
        Ok(())
    }
}

impl Cache {
    /// The cache that is at `root` already.
    pub fn there(root: &Path) -> Result<Cache> {
        let there = ["layers", "envs", "tmp"].iter().all(|name| root.join(name).is_dir());
        let missing = || Error::at("use", root)(std::io::ErrorKind::NotFound.into());
        there
            .then(|| Cache { root: root.to_owned(), libc: Choice::Carried, swept: false })
            .ok_or_else(missing)
    }

    /// The cache's directory, without symbolic links where they could be resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where this layer of the manifest is, once it has been unpacked.
    pub fn layer(&self, manifest: &Manifest, layer: &Layer) -> PathBuf {
        self.root.join("layers").join(self.directory(manifest, layer))
    }

    /// The name of this layer's directory.
    pub fn directory(&self, manifest: &Manifest, layer: &Layer) -> String {
        directory(manifest, layer, self.libc)
    }

    /// Where the environment of the manifest with this digest is, once it has been assembled.
    pub fn environment(&self, digest: &Digest) -> PathBuf {
        self.root.join("envs").join(digest.hex() + self.libc.suffix())
    }

    /// The C library that runtimes and environments of this cache are settled for.
    pub fn libc(&self) -> Choice {
        self.libc
    }

    /// Whether single files may be missing here, because the machine removes old ones.
    pub fn is_swept(&self) -> bool {
        self.swept
    }

    /// Waits until nobody else unpacks here. `None` after a while, the longer the more `bytes` there are to
    /// unpack, or where locks cannot be had: then the caller does work that somebody else may be doing
    /// too, and no harm comes of it.
    pub fn lock(&self, bytes: u64) -> Option<File> {
        let patience = PATIENCE + Duration::from_secs(bytes / SLOW_DISK);
        let file = File::options().create(true).append(true).open(self.root.join("lock")).ok()?;
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match file.try_lock() {
                Ok(()) => return Some(file),
                Err(TryLockError::Error(_)) => return None,
                Err(TryLockError::WouldBlock) if start.elapsed() > patience => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// A fresh directory of our own, removed with all that is in it when the value is dropped.
    pub fn workspace(&self) -> Result<Workspace> {
        Workspace::create_in(&self.root.join("tmp"))
    }

    /// Removes what killed starts left behind, until the time is up.
    pub fn sweep(&self, until: Option<Instant>) {
        sweep(&self.root.join("tmp"), until);
    }

    /// Moves `made`, complete, to its place under `layers` or `envs` in one step.
    ///
    /// Where somebody else was quicker theirs stays, unless `replace` says that what is there is no good. Then the two
    /// change places, so that a running process finds one or the other at any time.
    pub fn publish(&self, made: &Path, place: &Path, workspace: &Workspace, replace: bool) -> Result<()> {
        let cleared = match replace.then(|| renameat_with(CWD, made, CWD, place, RenameFlags::EXCHANGE)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => error == Errno::NOENT || put_away(place, workspace),
            None => true,
        };
        match fs::rename(made, place) {
            Ok(()) => Ok(()),
            Err(_) if cleared && place.is_dir() => Ok(()),
            Err(error) => Err(Error::at("create", place)(error)),
        }
    }
}

/// Takes away what is at `place`, where it cannot change places with something else: on file systems that do not know
/// how, and where it is part of an image (overlayfs renames nothing of a lower layer, and removes it).
fn put_away(place: &Path, workspace: &Workspace) -> bool {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let away = workspace.path().join(format!("replaced-{name}"));
    fs::rename(place, away).is_ok() || remove_tree(place, None).0
}

/// The name of a layer's directory: runtimes and programs are settled for a C library.
fn directory(manifest: &Manifest, layer: &Layer, libc: Choice) -> String {
    let settled = layer.kind == LayerKind::Runtime || !layer.programs.is_empty();
    manifest.directory_of(layer) + if settled { libc.suffix() } else { "" }
}

/// Gives every directory and file its full mode while it lives, whatever the user's umask; the app
/// gets the user's umask back.
pub struct OpenUmask(rustix::fs::Mode);

impl OpenUmask {
    /// Sets the umask to 022.
    #[allow(clippy::new_without_default, reason = "it acts on the whole process: never by default")]
    pub fn new() -> Self {
        OpenUmask(rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022)))
    }
}

impl Drop for OpenUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}
