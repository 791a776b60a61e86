//! A blob that is made for an image and is in no bundle: the base, the environment, small wheels joined.
//!
//! It has the form of a bundle's layers: frames, the end-of-archive mark in a frame of its own, and a frame index.

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::frames::{self, MAX_FRAME};
use coil_bootstrap::format::tar;
use sha2::{Digest as _, Sha256};
use std::io;
use zstd::bulk::Compressor;

use crate::layer::DEFAULT_LEVEL;

/// A blob in memory, and what an image says of it.
#[derive(Debug, Clone)]
pub struct Made {
    /// The zstd stream.
    pub bytes: Vec<u8>,
    /// The SHA-256 of the tar archive in it.
    pub diff_id: Digest,
    /// The length of the tar archive in bytes.
    pub unpacked_size: u64,
}

/// Puts frames together to a blob.
#[derive(Default)]
pub struct Blob {
    bytes: Vec<u8>,
    frames: Vec<(u32, u32)>,
    diff_id: Sha256,
    unpacked_size: u64,
}

impl Blob {
    /// The blob of a whole tar archive, given without its end mark.
    pub fn of(archive: &[u8]) -> io::Result<Made> {
        let mut blob = Blob::default();
        for piece in archive.chunks(MAX_FRAME as usize) {
            blob.compress(piece)?;
        }
        blob.finish()
    }

    /// Adds a frame as it is; `decoded` is what is in it.
    pub fn copy(&mut self, compressed: &[u8], decoded: &[u8]) {
        self.bytes.extend(compressed);
        self.frames.push((compressed.len() as u32, decoded.len() as u32));
        self.diff_id.update(decoded);
        self.unpacked_size += decoded.len() as u64;
    }

    /// Adds a frame of these bytes, at most [`MAX_FRAME`].
    pub fn compress(&mut self, decoded: &[u8]) -> io::Result<()> {
        if !decoded.is_empty() {
            let compressed = Compressor::new(DEFAULT_LEVEL)?.compress(decoded)?;
            self.copy(&compressed, decoded);
        }
        Ok(())
    }

    /// Ends the archive and adds the index.
    pub fn finish(mut self) -> io::Result<Made> {
        self.compress(&tar::END)?;
        self.bytes.extend(frames::encode(&self.frames));
        let diff_id = Digest::from_bytes(self.diff_id.finalize().into());
        Ok(Made { bytes: self.bytes, diff_id, unpacked_size: self.unpacked_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_begins_with_a_data_frame_and_is_one_stream_to_any_decoder() {
        let archive = vec![7; MAX_FRAME as usize + 512];
        let made = Blob::of(&archive).unwrap();
        assert_eq!(&made.bytes[..4], &0xFD2F_B528_u32.to_le_bytes());
        let decoded = zstd::decode_all(made.bytes.as_slice()).unwrap();
        assert_eq!(decoded, [archive.as_slice(), &tar::END].concat());
        assert_eq!((Digest::of(&decoded), decoded.len() as u64), (made.diff_id, made.unpacked_size));
    }
}
