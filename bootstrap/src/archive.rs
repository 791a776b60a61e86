//! A layer read as the tar archive it is, one frame in memory at a time.
//!
//! For comparing and checking, in order and on one core; [`crate::unpack`] is the way to directories. It
//! vouches for nothing: whoever reads to the end may compare [`Archive::finish`] with the diff_id.

use std::io::{self, Read};
use std::vec;

use sha2::{Digest as _, Sha256};
use zstd::bulk::Decompressor;

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::format::Damage;
use crate::format::digest::Digest;
use crate::format::frames::Frame;
use crate::format::manifest::Layer;
use crate::format::tar::{self, Entry, Kind};

/// The archive of one layer. Reading gives its bytes; [`Archive::entry`] the next entry.
pub struct Archive<'a> {
    bundle: &'a Bundle,
    layer: &'a Layer,
    frames: vec::IntoIter<Frame>,
    decompressor: Decompressor<'static>,
    compressed: Vec<u8>,
    decoded: Vec<u8>,
    at: usize,
    /// What is left of the last entry's content and its padding, in bytes.
    content: u64,
    padding: u64,
    ended: bool,
    hasher: Sha256,
}

impl<'a> Archive<'a> {
    /// Begins to read `layer`.
    pub fn open(bundle: &'a Bundle, layer: &'a Layer) -> Result<Self> {
        Ok(Archive {
            bundle,
            layer,
            frames: bundle.frames(layer)?.into_iter(),
            decompressor: Decompressor::new().map_err(Error::at("decode", bundle.path()))?,
            compressed: Vec::new(),
            decoded: Vec::new(),
            at: 0,
            content: 0,
            padding: 0,
            ended: false,
            hasher: Sha256::new(),
        })
    }

    /// The next entry, `None` at the end. What was not read of the last one's content is passed over.
    pub fn entry(&mut self) -> Result<Option<Entry>> {
        if self.ended {
            return Ok(None);
        }
        self.pass(self.content + self.padding)?;
        (self.content, self.padding) = (0, 0);
        let entry = Entry::read(&mut Bytes(self)).map_err(|error| self.told(error))?;
        if let Some(Entry { kind: Kind::File { size, .. }, .. }) = &entry {
            (self.content, self.padding) = (*size, tar::padding(*size) as u64);
        }
        self.ended = entry.is_none();
        Ok(entry)
    }

    /// More of the last entry's content: as many bytes as there are, and fit; none at its end.
    pub fn content(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        Bytes(self).read_exact(&mut buffer[..length]).map_err(|error| self.told(error))?;
        self.content -= length as u64;
        Ok(length)
    }

    /// Reads to the end and returns the digest of the whole archive. After the end mark nothing may follow.
    pub fn finish(mut self) -> Result<Digest> {
        while self.entry()?.is_some() {}
        let mut rest = [1; tar::BLOCK];
        let mark = Bytes(&mut self).read_exact(&mut rest);
        let more = Bytes(&mut self).read(&mut [0]).map_err(|error| self.told(error))?;
        if mark.is_err() || rest != [0; tar::BLOCK] || more > 0 {
            return Err(self.damaged("does not end where its archive ends"));
        }
        Ok(Digest::from_bytes(self.hasher.finalize().into()))
    }

    fn pass(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let passed = Bytes(self).some(length).map(<[u8]>::len).map_err(|error| self.told(error))?;
            if passed == 0 {
                return Err(self.damaged("ends inside an entry"));
            }
            length -= passed as u64;
        }
        Ok(())
    }

    fn decode_next(&mut self) -> Result<bool> {
        let Some(frame) = self.frames.next() else { return Ok(false) };
        self.compressed.resize(frame.compressed as usize, 0);
        self.bundle.read_layer(self.layer, frame.offset, &mut self.compressed)?;
        self.decoded.clear();
        self.decoded.reserve(frame.decompressed as usize);
        match self.decompressor.decompress_to_buffer(&self.compressed, &mut self.decoded) {
            Ok(length) if length == frame.decompressed as usize => {}
            _ => return Err(self.damaged("cannot be decoded")),
        }
        self.hasher.update(&self.decoded);
        self.at = 0;
        Ok(true)
    }

    fn damaged(&self, what: &str) -> Error {
        self.bundle.damaged(Damage::new(format!("the layer {} {what}", self.layer.name)))
    }

    fn told(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => match error.downcast::<Damage>() {
                Ok(damage) => self.bundle.damaged(damage),
                Err(_) => self.damaged("ends inside an entry"),
            },
        }
    }
}

/// The bytes of the archive as they come, headers and all.
struct Bytes<'b, 'a>(&'b mut Archive<'a>);

impl<'b> Bytes<'b, '_> {
    /// The next bytes, at most `limit`; none at the end.
    fn some(self, limit: u64) -> io::Result<&'b [u8]> {
        let archive = self.0;
        if archive.at == archive.decoded.len() && !archive.decode_next().map_err(io::Error::other)? {
            return Ok(&[]);
        }
        let rest = &archive.decoded[archive.at..];
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(rest.len());
        archive.at += length;
        Ok(&rest[..length])
    }
}

impl Read for Bytes<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = Bytes(&mut *self.0).some(buffer.len() as u64)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}
