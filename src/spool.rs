//! Where the contents of a tree go when there are too many for memory.
//!
//! One temporary file without a name, written at its end only: it is gone when the last content in it is,
//! however the process ends. A tree of ten files never makes one.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes of its files' contents a tree keeps in memory.
pub const IN_MEMORY: u64 = 32 << 20;

/// Contents up to this length stay in memory in any case, in bytes: a piece would hardly be smaller.
const SMALL: usize = 128;

/// Counts what is kept in memory, and holds the file for the rest.
#[derive(Default, Clone)]
pub struct Spool {
    kept: u64,
    written: Option<Arc<Written>>,
}

/// The file, and how long it is: clones of a spool share both.
struct Written {
    file: File,
    end: AtomicU64,
}

impl Spool {
    /// Whether these bytes may stay in memory; they are counted if so.
    pub fn has_room_for(&mut self, bytes: &[u8]) -> bool {
        let room = bytes.len() <= SMALL || self.kept + bytes.len() as u64 <= IN_MEMORY;
        if room {
            self.kept += bytes.len() as u64;
        }
        room
    }

    /// Writes the bytes to the file.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<Piece> {
        let written = match &self.written {
            Some(written) => written,
            None => {
                let file = tempfile::tempfile()?;
                self.written.insert(Arc::new(Written { file, end: AtomicU64::new(0) }))
            }
        };
        let length = bytes.len() as u64;
        let offset = written.end.fetch_add(length, Ordering::Relaxed);
        written.file.write_all_at(bytes, offset)?;
        Ok(Piece { written: Arc::clone(written), offset, length })
    }
}

/// A content in a spool's file.
#[derive(Clone)]
pub struct Piece {
    written: Arc<Written>,
    offset: u64,
    length: u64,
}

impl Piece {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// Reads on where it stopped, and never past the end of the piece.
impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.written.file.read_at(&mut buffer[..length], self.offset)?;
        if count == 0 && length > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a temporary file was cut short"));
        }
        self.offset += count as u64;
        self.length -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_file_do_not_mix() {
        let mut spool = Spool::default();
        let mut pieces: Vec<Piece> =
            [b"one".as_slice(), b"", b"three"].map(|bytes| spool.put(bytes).unwrap()).into();
        pieces.push(spool.clone().put(b"four").unwrap());
        pieces.push(spool.put(b"five").unwrap());
        let texts: Vec<String> = pieces.iter_mut().map(|piece| io::read_to_string(piece).unwrap()).collect();
        assert_eq!(texts, ["one", "", "three", "four", "five"]);
    }

    #[test]
    fn memory_is_counted_and_the_smallest_always_fit() {
        let mut spool = Spool::default();
        let large = vec![0; IN_MEMORY as usize];
        assert!(spool.has_room_for(&large) && !spool.has_room_for(&large[..SMALL + 1]));
        assert!(spool.has_room_for(&large[..SMALL]));
    }
}
