//! The packer's own cache: what was made once from the same inputs is not made again.
//!
//! ```text
//! ROOT/pack/blobs/HEX        a layer's blob, named by its digest
//! ROOT/pack/made/STEP-HEX    what is known of something made, in JSON, named by the checksum of its inputs
//! ROOT/pack/made/compiler-HEX    the program that compiles, as an interpreter has compiled it itself
//! ROOT/pack/made/interpreter-HEX     what an interpreter said of itself, with what that follows from
//! ROOT/pack/made/tracked-HEX     what git listed of a project, with the checksum of what it follows from
//! ROOT/pack/compiled/HEX/    the byte code of an app's files, by what each is compiled of
//! ROOT/pack/wheels/HEX/      a wheel that was fetched or built, under its own name, named by its digest
//! ROOT/pack/bundles/HEX/     what `coil run` made, named by its manifest's digest
//! ROOT/pack/runtimes/        runtimes that came as files, unpacked as the launcher does
//! ROOT/pack/pythons/HEX/     a Python that came as an archive, named by its digest
//! ROOT/pack/work/            build environments
//! ROOT/pack/tmp/PID-N/       what a pack is working on; its owner holds a lock on the directory
//! ROOT/pack/lock             held by every pack, together; `coil cache prune` holds it alone
//! ```
//!
//! Entries appear by a rename out of `tmp` and are never changed; where the name is not that of the content, a newer one may
//! take the place. Their time of change says when they were used last. What is in `made` ends with its checksum; an
//! entry that is damaged counts as missing. Everything may be deleted at any time, and a pack makes it again; what
//! it is about to use is safe from `coil cache prune`. Locks guard clean-up alone: two packs that make the same
//! thing at once both make it, and one of the two stays.

mod census;

pub use self::census::{Census, Kind};

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coil_bootstrap::format::checksum::{Checksum, Summing};
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::Program;
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::workspace::{self, Workspace};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::checksums::checksum_of;
use crate::error::{Context, ELSEWHERE, Failure, Result, Writing};
use crate::last_use;
use crate::layer::{self, Blob, BlobPlace};
use crate::meanwhile::both;
use crate::needs;
use crate::plan::{Files, Listing};
use crate::pool::Pool;
use crate::probes::Probes;
use crate::project::git::Listings;
use crate::sealed::{Directory, Sealed};
use crate::tree::{Content, Tree};
use crate::wheel::namespace::initials;

/// The inputs of something made, boiled down to a checksum. The version of coil's own code is one of them.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    step: &'static str,
    checksum: Checksum,
}

impl Key {
    /// The key of what `step` makes of `inputs`.
    pub fn new(step: &'static str, inputs: &[&dyn AsRef<[u8]>]) -> Self {
        let mut sum = Summing::default();
        let mut add = |bytes: &[u8]| {
            sum.update(&(bytes.len() as u64).to_le_bytes());
            sum.update(bytes);
        };
        add(env!("COIL_CODE").as_bytes());
        add(step.as_bytes());
        inputs.iter().for_each(|input| add((*input).as_ref()));
        Key { step, checksum: sum.finish() }
    }
}

/// A layer that lies in the store, with what else was found out when it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredLayer<T> {
    /// The blob.
    pub blob: Blob,
    /// What it holds.
    pub listing: Listing,
    /// What else is known of it.
    pub facts: T,
}

/// The packer's cache.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    work: PathBuf,
    pool: Arc<Pool>,
    workspace: Workspace,
    _lock: Option<File>,
}

impl Store {
    /// Opens the store below the cache directory `cache` for one pack, creating it where it is missing. Waits
    /// for a `coil cache prune` that is at work, and removes what killed packs left behind.
    pub fn open(cache: &Path) -> Result<Self> {
        let root = cache.join("pack");
        let cannot = |path: &Path, error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::new(format!("cannot create the cache {}", path.display()))
                .because(error)
                .hint("set COIL_CACHE to a directory you can write to")
        };
        for name in ["blobs", "made", "compiled", "wheels", "bundles", "runtimes", "pythons", "work", "tmp"] {
            let directory = root.join(name);
            fs::create_dir_all(&directory).map_err(|error| cannot(&directory, error.into()))?;
        }
        let lock = lock_file(&root).filter(|file| file.lock_shared().is_ok());
        let tmp = root.join("tmp");
        workspace::sweep(&tmp, None);
        let workspace = Workspace::create_in(&tmp).map_err(|error| cannot(&tmp, error.into()))?;
        let work = root.join("work");
        Ok(Store { root, work, pool: Arc::new(Pool::for_this_machine()), workspace, _lock: lock })
    }

    /// Removes the blob called by this digest from the cache directory `cache` if it has another one; says whether it did.
    pub fn forget_damaged(cache: &Path, digest: &Digest) -> bool {
        let blob = cache.join("pack/blobs").join(digest.hex());
        digest_of_file(&blob).is_ok_and(|is| is != *digest) && fs::remove_file(&blob).is_ok()
    }

    /// A directory for what this pack alone works on, gone with the store.
    pub fn scratch(&self) -> &Path {
        self.workspace.path()
    }

    /// What interpreters said of themselves.
    pub fn probes(&self) -> Probes {
        Probes::kept_in(self.known())
    }

    /// What git said of the files of projects.
    pub fn listings(&self) -> Listings {
        Listings::kept_in(self.known())
    }

    /// The threads that compress, and compile, what goes into the store.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Where build environments are kept.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Where `coil run` keeps its bundles.
    pub fn bundles(&self) -> PathBuf {
        self.root.join("bundles")
    }

    /// A cache, as the launcher keeps one, for runtimes that are run here.
    pub fn runtimes(&self) -> PathBuf {
        self.root.join("runtimes")
    }

    /// Where the Python in the archive with this digest is unpacked, if it is there.
    pub fn python(&self, archive: &Digest) -> PathBuf {
        self.root.join("pythons").join(archive.hex())
    }

    /// The program that an interpreter runs to compile, if it is there.
    pub fn program(&self, key: Key) -> Sealed {
        self.made(key)
    }

    /// The directory where the byte code of an app is, if it is there.
    pub fn compiled(&self, key: Key) -> PathBuf {
        self.root.join("compiled").join(key.checksum.hex())
    }

    /// Where the wheel called `name` with this digest is, if it is there.
    pub fn wheel(&self, digest: &Digest, name: &str) -> PathBuf {
        self.root.join("wheels").join(digest.hex()).join(name)
    }

    /// Copies a wheel into the store and returns its digest.
    pub fn keep_wheel(&self, path: &Path) -> Result<Digest> {
        let digest = digest_of_file(path).context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let place = self.wheel(&digest, &name);
        let keep = || -> io::Result<()> {
            let directory = self.root.join("wheels").join(digest.hex());
            fs::create_dir_all(&directory)?;
            let mut file = tempfile::NamedTempFile::new_in(self.scratch())?;
            io::copy(&mut File::open(path)?, file.as_file_mut())?;
            file.persist(&place)?;
            Ok(())
        };
        if !place.exists() {
            keep().writing(&self.root, ELSEWHERE, || format!("cannot write {}", place.display()))?;
        }
        Ok(digest)
    }

    /// Whether that wheel is there; it is about to be used if so.
    pub fn has_wheel(&self, digest: &Digest, name: &str) -> bool {
        let place = self.wheel(digest, name);
        let there = fs::metadata(&place);
        there.is_ok_and(|there| {
            last_use::mark_seen(&place, &there);
            true
        })
    }

    /// Where the blob with this digest is.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    /// Copies a blob into the store, whose digest the caller has checked, and says where it is now.
    pub fn keep_blob(&self, blob: &Blob, place: &BlobPlace) -> Result<BlobPlace> {
        let path = self.blob(&blob.digest);
        let keep = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.scratch())?;
            let mut from = File::open(&place.file)?;
            from.seek(SeekFrom::Start(place.offset))?;
            io::copy(&mut from.take(blob.size), file.as_file_mut())?;
            file.persist(&path)?;
            Ok(())
        };
        if !self.has(blob) {
            keep().writing(&self.root, ELSEWHERE, || format!("cannot write {}", path.display()))?;
        }
        Ok(path.into())
    }

    /// What was stored under `key`.
    pub fn get<T: DeserializeOwned>(&self, key: Key) -> Option<T> {
        serde_json::from_slice(&self.made(key).read()?).ok()
    }

    /// Stores `value` under `key`.
    pub fn put<T: Serialize>(&self, key: Key, value: &T) -> Result<()> {
        let made = self.made(key);
        let write = || made.write(&[&serde_json::to_vec(value)?]);
        write().writing(&self.root, ELSEWHERE, || format!("cannot write {}", made.file.display()))
    }

    /// The layer made from the inputs of `key`, if it is in the store.
    pub fn stored<T: DeserializeOwned>(&self, key: Key) -> Option<StoredLayer<T>> {
        self.get::<StoredLayer<T>>(key).filter(|stored| self.has(&stored.blob))
    }

    /// The layer made from the inputs of `key`: from the store, or made now by `make`.
    pub fn layer<T, F>(&self, key: Key, level: i32, make: F) -> Result<StoredLayer<T>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<Made<T>>,
    {
        if let Some(stored) = self.stored(key) {
            return Ok(stored);
        }
        let Made { tree, origin, scripts, reaching, programs, facts } = make()?;
        let mut file =
            tempfile::NamedTempFile::new_in(self.scratch())
                .writing(&self.root, ELSEWHERE, || "cannot write to the cache".to_owned())?;
        let write = || {
            let blob = layer::write(&tree, level, &self.pool, &mut file)?;
            file.flush().map(|()| blob)
        };
        // Writing takes longer, and does not wait for a thread to start.
        let look = || -> io::Result<_> { Ok((checksums(&tree)?, needs::of_tree(&tree)?, initials(&tree)?)) };
        let (known, blob) = both(look, write);
        let blob = blob.writing(&self.root, ELSEWHERE, || format!("cannot make a layer of {origin}"))?;
        let (files, needs, initials) = known.context(|| format!("cannot read what {origin} is made of"))?;
        let place = self.blob(&blob.digest);
        file.persist(&place)
            .map_err(|error| error.error)
            .writing(&self.root, ELSEWHERE, || format!("cannot write {}", place.display()))?;
        let listing = Listing { origin, files, scripts, reaching, programs, needs, initials };
        let stored = StoredLayer { blob, listing, facts };
        self.put(key, &stored)?;
        Ok(stored)
    }

    fn has(&self, blob: &Blob) -> bool {
        self.has_blob(&blob.digest, blob.size)
    }

    /// Whether the blob with this digest and this size in bytes is there; it is about to be used if so.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        let place = self.blob(digest);
        let there = fs::metadata(&place);
        there.is_ok_and(|there| {
            last_use::mark_seen(&place, &there);
            there.len() == size
        })
    }

    fn made(&self, Key { step, checksum }: Key) -> Sealed {
        self.known().file(&format!("{step}-{}", checksum.hex()))
    }

    fn known(&self) -> Directory {
        Directory { path: self.root.join("made"), scratch: self.scratch().to_owned() }
    }
}

/// The lock that packs hold together and a clean-up alone; `None` where there cannot be one.
fn lock_file(root: &Path) -> Option<File> {
    File::options().create(true).append(true).open(root.join("lock")).ok()
}

/// What a layer is made of.
pub struct Made<T> {
    /// Its files.
    pub tree: Tree,
    /// Who provides them, in words a user understands.
    pub origin: String,
    /// Those whose first line names the interpreter.
    pub scripts: Vec<TreePath>,
    /// Directories whose libraries look for others outside the layer.
    pub reaching: Vec<TreePath>,
    /// Programs with room for the paths of a runtime.
    pub programs: BTreeMap<TreePath, Program>,
    /// What else is known of it.
    pub facts: T,
}

/// The checksums of what may meet files of other layers in an environment. The runtime meets nobody.
fn checksums(tree: &Tree) -> io::Result<Files> {
    let alone = Checksum::of(b"");
    let checksum = |path: &TreePath, content: &Content| match content {
        _ if path.below("python").is_some() => Ok(alone),
        Content::Symlink(target) => Ok(Checksum::of(format!("link to {target}").as_bytes())),
        other => checksum_of(other),
    };
    tree.iter().map(|(path, node)| Ok((path.clone(), checksum(path, &node.content)?))).collect()
}

/// The SHA-256 of the file at `path`.
pub fn digest_of_file(path: &Path) -> io::Result<Digest> {
    digest_of_reader(&mut File::open(path)?)
}

/// The SHA-256 of all that is left in `reader`.
pub fn digest_of_reader(reader: &mut dyn Read) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(hasher.finalize().into())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
