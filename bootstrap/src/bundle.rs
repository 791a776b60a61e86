//! A bundle that has been opened: its manifest, and the bytes of its layers.
//!
//! Reading here means positioned reads, never a memory map: a file that is cut short while it is read
//! gives an error and not a SIGBUS.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::read::ReadCache;

use crate::error::{Error, Result};
use crate::format::Damage;
use crate::format::digest::Digest;
use crate::format::frames::{self, Frame};
use crate::format::manifest::{self, Layer, Manifest};
use crate::format::sections::{self, Payload};
use crate::format::stamp;

/// A bundle whose manifest has been read and checked.
pub struct Bundle {
    path: PathBuf,
    file: File,
    size: u64,
    payload: Payload,
    digest: Digest,
    manifest: Manifest,
}

impl Bundle {
    /// Opens the bundle at `path` and reads its manifest.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::at("open", path))?;
        let size = file.metadata().map_err(Error::at("read", path))?.len();
        let damaged = |damage| Error::Damaged { bundle: path.to_owned(), damage };
        let payload = sections::locate(&ReadCache::new(&file), size).map_err(damaged)?;
        let length = payload.manifest.end - payload.manifest.start;
        if length > manifest::MAX_SIZE {
            return Err(damaged(Damage::new("its manifest is larger than any manifest can be")));
        }
        let mut json = vec![0; length as usize];
        file.read_exact_at(&mut json, payload.manifest.start).map_err(Error::at("read", path))?;
        let manifest = Manifest::parse(&json, payload.layers.end - payload.layers.start).map_err(damaged)?;
        Ok(Bundle { path: path.to_owned(), file, size, payload, digest: Digest::of(&json), manifest })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where in the file the payload is.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// What it is made of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of the manifest: the name of the environment.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of the manifest as the stamp says it; `None` where there is no stamp to be read.
    pub fn stamped(&self) -> Result<Option<Digest>> {
        let mut bytes = [0; stamp::SIZE];
        let place = &self.payload.stamp;
        if place.end - place.start != bytes.len() as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, place.start).map_err(Error::at("read", &self.path))?;
        Ok(stamp::read(&bytes))
    }

    /// Where in the file the blob of `layer` begins, in bytes.
    pub fn layer_offset(&self, layer: &Layer) -> u64 {
        self.payload.layers.start + layer.offset
    }

    /// Fills `buffer` from the blob of `layer`, starting at `offset` in it.
    pub fn read_layer(&self, layer: &Layer, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buffer, self.layer_offset(layer) + offset)
            .map_err(Error::at("read", &self.path))
    }

    /// The frames of `layer`.
    pub fn frames(&self, layer: &Layer) -> Result<Vec<Frame>> {
        let mut footer = [0; frames::FOOTER_SIZE];
        let footer_at = layer.size.checked_sub(frames::FOOTER_SIZE as u64);
        let footer_at = footer_at.ok_or_else(|| self.damaged(Damage::new("a layer is cut short")))?;
        self.read_layer(layer, footer_at, &mut footer)?;
        let size = frames::index_size(&footer, layer.size).map_err(|damage| self.damaged(damage))?;
        let mut index = vec![0; size];
        self.read_layer(layer, layer.size - size as u64, &mut index)?;
        frames::parse(&index, layer.size, layer.unpacked_size).map_err(|damage| self.damaged(damage))
    }

    /// The error that this bundle is damaged.
    pub fn damaged(&self, damage: Damage) -> Error {
        Error::Damaged { bundle: self.path.clone(), damage }
    }
}
