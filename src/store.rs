//! The packer's own cache: what was made once from the same inputs is not made again.
//!
//! ```text
//! ROOT/pack/blobs/HEX        a layer's blob, named by its digest
//! ROOT/pack/made/HEX.json    what is known of something made, named by the digest of its inputs
//! ROOT/pack/wheels/HEX/      a wheel that was fetched or built, under its own name, named by its digest
//! ROOT/pack/bundles/HEX/     what `coil run` made, named by its manifest's digest
//! ROOT/pack/runtimes/        runtimes that came as files, unpacked as the launcher does
//! ROOT/pack/work/            directories for the tools that resolve and build
//! ```
//!
//! Entries appear by a rename and are never changed. An entry that cannot be read counts as missing.
//! Everything may be deleted at any time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::path::TreePath;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Failure, Result};
use crate::layer::{self, Blob, BlobPlace};
use crate::plan::Listing;
use crate::tree::{Content, Tree};

/// The inputs of something made, boiled down to a digest. The version of coil's own code is one of them.
#[derive(Debug, Clone, Copy)]
pub struct Key(Digest);

impl Key {
    /// The key of what `step` makes of `inputs`.
    pub fn new(step: &str, inputs: &[&dyn AsRef<[u8]>]) -> Self {
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        add(env!("COIL_CODE").as_bytes());
        add(step.as_bytes());
        inputs.iter().for_each(|input| add((*input).as_ref()));
        Key(Digest::from_bytes(hasher.finalize().into()))
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
}

impl Store {
    /// Opens the store below the cache directory `cache`, creating it where it is missing.
    pub fn open(cache: &Path) -> Result<Self> {
        let root = cache.join("pack");
        for name in ["blobs", "made", "wheels", "bundles", "runtimes", "work"] {
            let directory = root.join(name);
            fs::create_dir_all(&directory).map_err(|error| {
                Failure::new(format!("cannot create the cache {}", directory.display()))
                    .because(error)
                    .hint("set COIL_CACHE to a directory you can write to")
            })?;
        }
        Ok(Store { root })
    }

    /// A directory that tools may fill and that outlives this run.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Where `coil run` keeps its bundles.
    pub fn bundles(&self) -> PathBuf {
        self.root.join("bundles")
    }

    /// A cache, as the launcher keeps one, for runtimes that are run here.
    pub fn runtimes(&self) -> PathBuf {
        self.root.join("runtimes")
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
            let mut file = tempfile::NamedTempFile::new_in(&directory)?;
            io::copy(&mut File::open(path)?, file.as_file_mut())?;
            file.persist(&place)?;
            Ok(())
        };
        if !place.exists() {
            keep().context(|| format!("cannot write {}", place.display()))?;
        }
        Ok(digest)
    }

    /// Where the blob with this digest is.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    /// Copies a blob into the store, whose digest the caller has checked, and says where it is now.
    pub fn keep_blob(&self, blob: &Blob, place: &BlobPlace) -> Result<BlobPlace> {
        let path = self.blob(&blob.digest);
        let keep = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.root.join("blobs"))?;
            let mut from = File::open(&place.file)?;
            from.seek(SeekFrom::Start(place.offset))?;
            io::copy(&mut from.take(blob.size), file.as_file_mut())?;
            file.persist(&path)?;
            Ok(())
        };
        if !self.has(blob) {
            keep().context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path.into())
    }

    /// What was stored under `key`.
    pub fn get<T: DeserializeOwned>(&self, key: Key) -> Option<T> {
        serde_json::from_slice(&fs::read(self.made(key)).ok()?).ok()
    }

    /// Stores `value` under `key`.
    pub fn put<T: Serialize>(&self, key: Key, value: &T) -> Result<()> {
        let path = self.made(key);
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.root.join("made"))?;
            serde_json::to_writer(io::BufWriter::new(&mut file), value)?;
            file.persist(&path)?;
            Ok(())
        };
        write().context(|| format!("cannot write {}", path.display()))
    }

    /// The layer made from the inputs of `key`: from the store, or made now by `make`.
    pub fn layer<T, F>(&self, key: Key, level: i32, make: F) -> Result<StoredLayer<T>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<Made<T>>,
    {
        let stored = self.get::<StoredLayer<T>>(key).filter(|stored| self.has(&stored.blob));
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let Made { tree, origin, scripts, reaching, facts } = make()?;
        let mut file = tempfile::NamedTempFile::new_in(self.root.join("blobs"))
            .context(|| format!("cannot write to {}", self.root.display()))?;
        let blob = layer::write(&tree, level, &mut file)
            .and_then(|blob| file.flush().map(|()| blob))
            .context(|| format!("cannot make a layer of {origin}"))?;
        let place = self.blob(&blob.digest);
        file.persist(&place)
            .map_err(|error| error.error)
            .context(|| format!("cannot write {}", place.display()))?;
        let files = digests(&tree).context(|| format!("cannot read what {origin} is made of"))?;
        let stored = StoredLayer { blob, listing: Listing { origin, files, scripts, reaching }, facts };
        self.put(key, &stored)?;
        Ok(stored)
    }

    fn has(&self, blob: &Blob) -> bool {
        fs::metadata(self.blob(&blob.digest)).is_ok_and(|file| file.len() == blob.size)
    }

    fn made(&self, key: Key) -> PathBuf {
        self.root.join("made").join(format!("{}.json", key.0.hex()))
    }
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
    /// What else is known of it.
    pub facts: T,
}

fn digests(tree: &Tree) -> io::Result<BTreeMap<TreePath, Digest>> {
    let digest = |content: &Content| match content {
        Content::Symlink(target) => Ok(Digest::of(format!("link to {target}").as_bytes())),
        other => digest_of(other),
    };
    tree.iter().map(|(path, node)| Ok((path.clone(), digest(&node.content)?))).collect()
}

/// The SHA-256 of a content, which need not fit into memory; of nothing for a link.
pub fn digest_of(content: &Content) -> io::Result<Digest> {
    match content.open()? {
        Some((_, mut reader)) => digest_of_reader(&mut reader),
        None => Ok(Digest::of(b"")),
    }
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
