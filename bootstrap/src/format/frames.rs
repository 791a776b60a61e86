//! The frame index of a layer: zstd's seekable format, version 0.1.0.
//!
//! A layer's blob is a row of independent zstd frames, each at most [`MAX_FRAME`] bytes when
//! unpacked, and then one skippable frame that lists them:
//!
//! ```text
//! 0x184D2A5E  u32  magic of a skippable frame
//! size        u32  length of what follows
//! per frame:  u32  compressed size
//!             u32  decompressed size
//! count       u32  how many frames are listed
//! 0x00        u8   descriptor: no checksums (the blob's SHA-256 covers everything)
//! 0x8F92EAB1  u32  magic of the seekable format
//! ```
//!
//! All integers are little-endian. The listed frames fill the blob up to the index without a gap.

use serde::{Deserialize, Serialize};

use super::Damage;

/// The largest frame, in bytes when unpacked. Frames end where a tar entry ends, except inside an
/// entry that is itself larger than this.
pub const MAX_FRAME: u64 = 4 << 20;

/// How long the fixed part at the end of the index is, in bytes.
pub const FOOTER_SIZE: usize = 9;

/// The longest a frame can be in a blob, in bytes: what zstd adds at most to what does not compress.
const MAX_COMPRESSED: u64 = MAX_FRAME + (MAX_FRAME >> 7);

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
const HEADER_SIZE: usize = 8;
const ENTRY_SIZE: usize = 8;

/// One zstd frame of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins, in bytes from the start of the blob.
    pub offset: u64,
    /// Its length in the blob, in bytes.
    pub compressed: u32,
    /// Its length when unpacked, in bytes.
    pub decompressed: u32,
}

/// Some frames of a layer, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameRange {
    /// The first of them, counted from 0.
    pub first: u32,
    /// How many they are.
    pub count: u32,
}

impl FrameRange {
    /// Whether the frame at this place in the index is one of them.
    pub fn contains(self, place: usize) -> bool {
        let (first, count) = (self.first as usize, self.count as usize);
        place >= first && place - first < count
    }
}

/// How many bytes at the end of the blob the index takes, judged by the blob's last nine bytes.
pub fn index_size(footer: &[u8; FOOTER_SIZE], blob_size: u64) -> Result<usize, Damage> {
    if le32(&footer[5..]) != SEEKABLE_MAGIC {
        return Err(Damage::new("a layer does not end with a frame index"));
    }
    if footer[4] != 0 {
        return Err(Damage::new("a layer's frame index is of a kind that coil does not write"));
    }
    let size = HEADER_SIZE + le32(footer) as usize * ENTRY_SIZE + FOOTER_SIZE;
    if size as u64 > blob_size {
        return Err(Damage::new("a layer's frame index is longer than the layer"));
    }
    Ok(size)
}

/// Reads the index of a blob of `blob_size` bytes, that unpacks to `unpacked_size`.
///
/// Every claim is checked: the frames fill the blob, none is larger than [`MAX_FRAME`], and together
/// they unpack to exactly what the manifest says.
pub fn parse(index: &[u8], blob_size: u64, unpacked_size: u64) -> Result<Vec<Frame>, Damage> {
    let malformed = || Damage::new("a layer's frame index is malformed");
    let footer = index.last_chunk::<FOOTER_SIZE>().ok_or_else(malformed)?;
    if index_size(footer, blob_size)? != index.len()
        || le32(index) != SKIPPABLE_MAGIC
        || le32(&index[4..]) as usize != index.len() - HEADER_SIZE
    {
        return Err(malformed());
    }
    let entries = &index[HEADER_SIZE..index.len() - FOOTER_SIZE];
    let mut frames = Vec::with_capacity(entries.len() / ENTRY_SIZE);
    let mut offset = 0;
    let mut unpacked = 0;
    for entry in entries.chunks_exact(ENTRY_SIZE) {
        let frame = Frame { offset, compressed: le32(entry), decompressed: le32(&entry[4..]) };
        let too_large =
            u64::from(frame.decompressed) > MAX_FRAME || u64::from(frame.compressed) > MAX_COMPRESSED;
        if too_large || frame.decompressed == 0 {
            return Err(Damage::new("a layer's frame index claims a frame that is too large or empty"));
        }
        offset += u64::from(frame.compressed);
        unpacked += u64::from(frame.decompressed);
        frames.push(frame);
    }
    if offset.checked_add(index.len() as u64) != Some(blob_size) {
        return Err(Damage::new("a layer's frames do not fill it"));
    }
    if unpacked != unpacked_size {
        return Err(Damage::new("a layer's frames do not unpack to the size in the manifest"));
    }
    Ok(frames)
}

/// Writes the index for frames of these compressed and decompressed sizes.
pub fn encode(frames: &[(u32, u32)]) -> Vec<u8> {
    let size = frames.len() * ENTRY_SIZE + FOOTER_SIZE;
    let mut index = Vec::with_capacity(HEADER_SIZE + size);
    index.extend(SKIPPABLE_MAGIC.to_le_bytes());
    index.extend((size as u32).to_le_bytes());
    for (compressed, decompressed) in frames {
        index.extend(compressed.to_le_bytes());
        index.extend(decompressed.to_le_bytes());
    }
    index.extend((frames.len() as u32).to_le_bytes());
    index.push(0);
    index.extend(SEEKABLE_MAGIC.to_le_bytes());
    index
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Vec<u8> {
        encode(&[(100, 4096), (50, 512), (20, 1024)])
    }

    fn blob_size() -> u64 {
        170 + index().len() as u64
    }

    #[test]
    fn an_index_reads_back_what_was_written() {
        let frames = parse(&index(), blob_size(), 5632).unwrap();
        assert_eq!(frames[1], Frame { offset: 100, compressed: 50, decompressed: 512 });
        let footer = index()[index().len() - FOOTER_SIZE..].try_into().unwrap();
        assert_eq!(index_size(&footer, blob_size()), Ok(index().len()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_an_index_is_noticed() {
        let good = index();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bad, blob_size(), 5632).is_err(), "bit {bit} went unnoticed");
        }
        for length in 0..good.len() {
            assert!(parse(&good[..length], blob_size(), 5632).is_err());
        }
    }

    #[test]
    fn an_index_longer_than_its_blob_is_refused_before_anything_is_allocated() {
        let mut footer = [0xff; FOOTER_SIZE];
        footer[4] = 0;
        footer[5..].copy_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
        assert!(index_size(&footer, 1 << 20).is_err());
    }

    #[test]
    fn a_frame_that_claims_to_be_huge_is_refused() {
        for (compressed, decompressed) in [(100, u32::MAX), (u32::MAX, 100)] {
            let index = encode(&[(compressed, decompressed)]);
            let size = u64::from(compressed) + index.len() as u64;
            assert!(parse(&index, size, u64::from(decompressed)).is_err());
        }
    }
}
