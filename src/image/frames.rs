//! A layer of a bundle read frame by frame, with what is in each: enough to list it, to take single files out of
//! it, and to join it with others without compressing anew what need not change.
//!
//! The layer's digest is not checked here: whoever copies the blob as a whole does that.

use std::fs::File;
use std::io::{self, Cursor};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use coil_bootstrap::format::frames::{self, FOOTER_SIZE, Frame};
use coil_bootstrap::format::manifest::Layer;
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::{self, Entry, Kind};
use zstd::bulk::Decompressor;

use crate::layer::BlobPlace;

/// The frames of one layer's blob.
pub struct Frames {
    file: File,
    offset: u64,
    frames: Vec<Frame>,
    decompressor: Decompressor<'static>,
}

/// An entry, and where its blocks are in the frame that it begins in.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The entry.
    pub entry: Entry,
    /// Its header, content and padding in the decoded frame. For a file that goes on in further frames, up to the end.
    pub range: Range<usize>,
}

/// What one frame holds.
pub struct Content {
    /// The frame as it is in the blob.
    pub compressed: Vec<u8>,
    /// The same, decoded: a piece of a tar archive.
    pub decoded: Vec<u8>,
    /// The entries that begin in it; none in one that only continues a large file, or that ends the archive.
    pub entries: Vec<Placed>,
    /// Whether this is the frame with the end-of-archive mark.
    pub is_end: bool,
}

impl Frames {
    /// Opens the blob of `layer`, which lies at `place`, and reads its index.
    pub fn open(place: &BlobPlace, layer: &Layer) -> io::Result<Self> {
        let file = File::open(&place.file)?;
        let mut footer = [0; FOOTER_SIZE];
        let cut_short = || io::Error::other("a layer is cut short");
        let footer_at = layer.size.checked_sub(FOOTER_SIZE as u64).ok_or_else(cut_short)?;
        file.read_exact_at(&mut footer, place.offset + footer_at)?;
        let size = frames::index_size(&footer, layer.size).map_err(io::Error::other)?;
        let mut index = vec![0; size];
        file.read_exact_at(&mut index, place.offset + layer.size - size as u64)?;
        let frames = frames::parse(&index, layer.size, layer.unpacked_size).map_err(io::Error::other)?;
        Ok(Frames { file, offset: place.offset, frames, decompressor: Decompressor::new()? })
    }

    /// Calls `with` for every frame in order, until that says that it has enough (`false`).
    pub fn each(&mut self, mut with: impl FnMut(Content) -> io::Result<bool>) -> io::Result<()> {
        let mut rest_of_file = 0u64;
        for index in 0..self.frames.len() {
            let (compressed, decoded) = self.decode(index)?;
            let is_end = index + 1 == self.frames.len();
            let mut entries = Vec::new();
            if rest_of_file > 0 {
                rest_of_file = rest_of_file.saturating_sub(decoded.len() as u64);
            } else if !is_end {
                (entries, rest_of_file) = placed(&decoded)?;
            }
            if !with(Content { compressed, decoded, entries, is_end })? {
                break;
            }
        }
        Ok(())
    }

    /// The content of the file at `path`; `None` where there is no such file.
    pub fn file(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mut found: Option<(Vec<u8>, u64)> = None;
        self.each(|frame| {
            if let Some((bytes, size)) = &mut found {
                bytes.extend(&frame.decoded);
                return Ok((bytes.len() as u64) < *size);
            }
            for Placed { entry, range } in &frame.entries {
                let Kind::File { size, .. } = entry.kind else { continue };
                if &*entry.path == path {
                    let header = entry.encode().len();
                    found = Some((frame.decoded[range.start + header..range.end].to_vec(), size));
                }
            }
            Ok(found.as_ref().is_none_or(|(bytes, size)| (bytes.len() as u64) < *size))
        })?;
        Ok(found.map(|(mut bytes, size)| {
            bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
            bytes
        }))
    }

    /// Every entry's path and what it is.
    pub fn list(&mut self) -> io::Result<Vec<Entry>> {
        let mut all = Vec::new();
        self.each(|frame| {
            all.extend(frame.entries.into_iter().map(|placed| placed.entry));
            Ok(true)
        })?;
        Ok(all)
    }

    /// The entry at `path` with its content (empty for what is no file); `None` where there is none.
    pub fn entry(&mut self, path: &TreePath) -> io::Result<Option<(Entry, Vec<u8>)>> {
        let Some(entry) = self.list()?.into_iter().find(|entry| entry.path == *path) else { return Ok(None) };
        let content = self.file(path)?.unwrap_or_default();
        Ok(Some((entry, content)))
    }

    fn decode(&mut self, index: usize) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let frame = self.frames[index];
        let mut compressed = vec![0; frame.compressed as usize];
        self.file.read_exact_at(&mut compressed, self.offset + frame.offset)?;
        let decoded = self.decompressor.decompress(&compressed, frame.decompressed as usize)?;
        if decoded.len() != frame.decompressed as usize {
            return Err(io::Error::other("a frame of a layer has another length than its index says"));
        }
        Ok((compressed, decoded))
    }
}

/// The entries that begin in a frame, and how many bytes of the last one are in the frames after it.
fn placed(decoded: &[u8]) -> io::Result<(Vec<Placed>, u64)> {
    let mut cursor = Cursor::new(decoded);
    let mut entries = Vec::new();
    while (cursor.position() as usize) < decoded.len() {
        let start = cursor.position() as usize;
        let Some(entry) = Entry::read(&mut cursor)? else {
            return Err(io::Error::other("a layer ends before its last frame"));
        };
        let length = match entry.kind {
            Kind::File { size, .. } => size + tar::padding(size) as u64,
            _ => 0,
        };
        let end = cursor.position() + length;
        let here = end.min(decoded.len() as u64);
        entries.push(Placed { entry, range: start..here as usize });
        cursor.set_position(here);
        if end > here {
            return Ok((entries, end - here));
        }
    }
    Ok((entries, 0))
}
