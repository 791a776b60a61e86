//! The files of an rpm: a cpio archive (newc, cpio(5)) in gzip that stores (RFC 1951, 3.2.4; RFC 1952).

use flate2::Crc;
use sha2::{Digest as _, Sha256};

use super::super::stream::Part;
use super::super::{Entry, Kind};
use super::hex;
use crate::error::Result;

/// The length of a stored block of deflate, in bytes.
const BLOCK: usize = 0xFFFF;

/// The header of a stream that has no name, no time and no system in it.
const GZIP: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];

/// The archive, part by part.
pub struct Payload(Vec<(Part, Role)>);

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A header, or what fills up to the next multiple of four.
    Frame,
    /// The whole content of an entry; a header wants its digest where it is a file's.
    Content { digest: bool },
}

/// What is known of a payload that was gone through.
#[derive(Debug, PartialEq, Eq)]
pub struct Summed {
    /// The SHA-256 of each file, in order; empty for what is none.
    pub digests: Vec<String>,
    /// The length of the payload, in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub digest: String,
    /// The length of the archive in it, in bytes.
    pub plain_length: u64,
    /// The archive's SHA-256.
    pub plain_digest: String,
}

/// The mode of an entry, with its kind.
pub fn mode(entry: &Entry) -> u32 {
    match &entry.kind {
        Kind::Directory { .. } => 0o040_755,
        Kind::File { mode, .. } => 0o100_000 | mode,
        Kind::Link(_) => 0o120_777,
    }
}

/// The length of an entry's content, in bytes.
pub fn length(entry: &Entry) -> u64 {
    match &entry.kind {
        Kind::Directory { .. } => 0,
        Kind::File { content, .. } => content.length(),
        Kind::Link(target) => target.len() as u64,
    }
}

impl Payload {
    /// The archive of these entries.
    pub fn of(entries: &[&Entry], time: u64) -> Payload {
        let mut parts = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let (number, length) = (number as u64 + 1, length(entry));
            let links = if matches!(entry.kind, Kind::Directory { .. }) { 2 } else { 1 };
            let numbers = [number, mode(entry).into(), 0, 0, links, time, length];
            parts.push((frame(&format!("./{}", entry.path), numbers), Role::Frame));
            let content = match &entry.kind {
                Kind::Directory { .. } => Part::Bytes(Vec::new()),
                Kind::Link(target) => Part::Bytes(target.clone().into_bytes()),
                Kind::File { content, .. } => Part::of(content),
            };
            parts.push((content, Role::Content { digest: matches!(entry.kind, Kind::File { .. }) }));
            parts.push((Part::Bytes(vec![0; (4 - (length % 4) as usize) % 4]), Role::Frame));
        }
        parts.push((frame("TRAILER!!!", [0, 0, 0, 0, 1, 0, 0]), Role::Frame));
        Payload(parts)
    }

    /// Goes through it, and keeps nothing but sums.
    pub fn sum(&self) -> Result<Summed> {
        self.write(&mut |_| Ok(()))
    }

    /// Gives its bytes to `sink`, piece by piece.
    pub fn write(&self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Summed> {
        let mut gzip = Gzip::begin(sink)?;
        let (mut plain, mut plain_length) = (Sha256::new(), 0);
        let mut digests = Vec::new();
        for (part, role) in &self.0 {
            let mut own = (*role == Role::Content { digest: true }).then(Sha256::new);
            part.each(&mut |bytes| {
                plain.update(bytes);
                plain_length += bytes.len() as u64;
                if let Some(own) = &mut own {
                    own.update(bytes);
                }
                gzip.put(bytes)
            })?;
            if let Role::Content { .. } = role {
                digests.push(own.map(|own| hex(&own.finalize())).unwrap_or_default());
            }
        }
        let (length, digest) = gzip.end()?;
        Ok(Summed { digests, length, digest, plain_length, plain_digest: hex(&plain.finalize()) })
    }
}

/// The header of an entry: inode, mode, owner, group, links, time, length, four numbers of devices, the name's length, no sum.
fn frame(name: &str, numbers: [u64; 7]) -> Part {
    let rest = [0, 0, 0, 0, name.len() as u64 + 1, 0];
    let numbers = numbers.into_iter().chain(rest).map(|number| format!("{:08x}", number & 0xFFFF_FFFF));
    let mut bytes = format!("070701{}{name}\0", numbers.collect::<String>()).into_bytes();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Part::Bytes(bytes)
}

/// A stream of gzip that stores what it is given.
struct Gzip<'a> {
    sink: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    pending: Vec<u8>,
    crc: Crc,
    sum: Sha256,
    length: u64,
}

impl<'a> Gzip<'a> {
    fn begin(sink: &'a mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Gzip<'a>> {
        let mut gzip = Gzip { sink, pending: Vec::new(), crc: Crc::new(), sum: Sha256::new(), length: 0 };
        gzip.pass(&GZIP)?;
        Ok(gzip)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.crc.update(bytes);
        self.pending.extend(bytes);
        // The last block says so: one is always kept.
        let mut done = 0;
        while self.pending.len() - done > BLOCK {
            let block = self.pending[done..done + BLOCK].to_vec();
            self.block(&block, false)?;
            done += BLOCK;
        }
        self.pending.drain(..done);
        Ok(())
    }

    fn end(mut self) -> Result<(u64, String)> {
        let last = std::mem::take(&mut self.pending);
        self.block(&last, true)?;
        let (sum, amount) = (self.crc.sum().to_le_bytes(), self.crc.amount().to_le_bytes());
        self.pass(&sum)?;
        self.pass(&amount)?;
        Ok((self.length, hex(&self.sum.finalize())))
    }

    fn block(&mut self, bytes: &[u8], last: bool) -> Result<()> {
        let length = bytes.len() as u16;
        let [low, high] = length.to_le_bytes();
        self.pass(&[last.into(), low, high, !low, !high])?;
        self.pass(bytes)
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<()> {
        self.sum.update(bytes);
        self.length += bytes.len() as u64;
        (self.sink)(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_stored_is_read_by_any_gzip() {
        for length in [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut stream = Vec::new();
            let mut sink = |bytes: &[u8]| {
                stream.extend(bytes);
                Ok(())
            };
            let mut gzip = Gzip::begin(&mut sink).unwrap();
            for piece in bytes.chunks(1000) {
                gzip.put(piece).unwrap();
            }
            let (told, digest) = gzip.end().unwrap();
            assert_eq!((told, digest), (stream.len() as u64, hex(&Sha256::digest(&stream))));
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(stream.as_slice()).read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
    }
}
