//! A file that grows at its end, in the way that its file system is quickest at.
//!
//! ext4 keeps what is written in folios, which are as large as what is written at once and as its offset is aligned. Layers begin
//! and end anywhere: with copy_file_range(2), which goes through a pipe of 16 pages besides, 42 MB cost 15.9 ms and giving their
//! memory back 5.2 ms; in megabytes that begin at multiples of a megabyte 8.9 and 2.6. A piece of a
//! single layer is written from where the system has it in memory already. Other file systems copy by reference (XFS, Btrfs), on the
//! server (NFS), or have folios of one size in any case (tmpfs): there the kernel copies.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use memmap2::MmapOptions;

/// What is written at once, in bytes.
const PIECE: usize = 1 << 20;

/// What is mapped into memory at once, in bytes: a whole number of pieces.
const WINDOW: u64 = 16 << 20;

/// What statfs(2) calls the type of ext4, and of ext2 and ext3, which are read by the same code.
const EXT4: u64 = 0xef53;

/// The end of a file, by the methods of which it grows. Nothing else may change its length.
pub struct Growing {
    /// Where in the file begins what is held: all before it is written.
    written: u64,
    /// How many bytes of `piece` are to be written.
    held: usize,
    /// Room for a piece; none where the kernel copies.
    piece: Vec<u8>,
}

impl Growing {
    /// The end of `file`, which is empty.
    pub fn new(file: &File) -> Self {
        let is_ext4 = rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type as u64 == EXT4);
        if is_ext4 { Growing::in_pieces() } else { Growing::by_the_kernel() }
    }

    fn in_pieces() -> Self {
        Growing { written: 0, held: 0, piece: vec![0; PIECE] }
    }

    fn by_the_kernel() -> Self {
        Growing { written: 0, held: 0, piece: Vec::new() }
    }

    /// How long the file is, in bytes.
    pub fn length(&self) -> u64 {
        self.written + self.held as u64
    }

    /// Adds `bytes`.
    pub fn add(&mut self, file: &File, bytes: &[u8]) -> io::Result<()> {
        if self.piece.is_empty() {
            file.write_all_at(bytes, self.written)?;
            self.written += bytes.len() as u64;
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.room(rest.len() as u64);
            let (now, later) = rest.split_at(room.len());
            room.copy_from_slice(now);
            self.hold(file, now.len())?;
            rest = later;
        }
        Ok(())
    }

    /// Adds the `size` bytes of `blob` from `offset` on. Fails with [`ErrorKind::UnexpectedEof`] if it has not as many.
    pub fn copy(&mut self, file: &mut File, blob: &mut File, offset: u64, size: u64) -> io::Result<()> {
        if self.piece.is_empty() {
            file.seek(SeekFrom::Start(self.written))?;
            blob.seek(SeekFrom::Start(offset))?;
            let copied = io::copy(&mut blob.take(size), file)?;
            self.written += copied;
            return if copied == size { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        let end = offset + size;
        let mut from = offset;
        while from < end {
            let whole = (end - from) / PIECE as u64 * PIECE as u64;
            let is_aligned = self.held == 0 && self.written.is_multiple_of(PIECE as u64);
            let window = if is_aligned { whole.min(WINDOW) } else { 0 };
            if window > 0 && self.copy_mapped(file, blob, from, window).is_ok() {
                from += window;
                continue;
            }
            // This also says what is wrong where mapping has failed.
            let room = self.room(end - from);
            let count = room.len();
            blob.read_exact_at(room, from)?;
            self.hold(file, count)?;
            from += count as u64;
        }
        Ok(())
    }

    /// Writes `size` bytes of `blob` from `offset` on without having them in memory of our own.
    fn copy_mapped(&mut self, file: &File, blob: &File, offset: u64, size: u64) -> io::Result<()> {
        // SAFETY: what is mapped is read by the kernel alone, in pwrite(2): should the file be cut off meanwhile, that call
        // fails, and no byte is looked at here.
        let map = unsafe { MmapOptions::new().offset(offset).len(size as usize).populate().map(blob)? };
        file.write_all_at(&map, self.written)?;
        self.written += size;
        Ok(())
    }

    /// Goes on at `end`, with zeros up to it or with less than there is.
    pub fn set_length(&mut self, file: &File, end: u64) -> io::Result<()> {
        if let Some(more) = end.checked_sub(self.length()) {
            return self.add(file, &vec![0; more as usize]);
        }
        match end.checked_sub(self.written) {
            Some(held) => self.held = held as usize,
            None => {
                file.set_len(end)?;
                (self.written, self.held) = (end, 0);
            }
        }
        Ok(())
    }

    /// Writes what is held.
    pub fn flush(&mut self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.piece[..self.held], self.written)?;
        self.written += self.held as u64;
        self.held = 0;
        Ok(())
    }

    /// Room for what comes next: for `size` bytes, or up to where the next piece begins.
    fn room(&mut self, size: u64) -> &mut [u8] {
        let room = PIECE - (self.length() % PIECE as u64) as usize;
        let count = usize::try_from(size).map_or(room, |size| size.min(room));
        &mut self.piece[self.held..self.held + count]
    }

    /// Counts `count` bytes that were put into the room, and writes the piece if it is full.
    fn hold(&mut self, file: &File, count: usize) -> io::Result<()> {
        self.held += count;
        if self.length().is_multiple_of(PIECE as u64) { self.flush(file) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_was_added_however_it_grows() {
        let directory = tempfile::tempdir().unwrap();
        let noise: Vec<u8> =
            (0..3 * PIECE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let source = directory.path().join("source");
        std::fs::write(&source, &noise).unwrap();
        for (number, begin) in [Growing::in_pieces, Growing::by_the_kernel].into_iter().enumerate() {
            let path = directory.path().join(number.to_string());
            let mut file = File::create_new(&path).unwrap();
            let mut blob = File::open(&source).unwrap();
            let (mut growing, mut expected) = (begin(), Vec::new());
            // What is copied, and how long the file is made afterwards: ends before and behind the beginning of a piece.
            let steps = [
                (0, 10, 4096),
                (5, PIECE - 5000, PIECE + 1),
                (7, 2 * PIECE, 2 * PIECE + 9),
                (1, PIECE + 77, 3 * PIECE),
                (9, PIECE, PIECE - 3),
                (2, 0, PIECE - 3),
                (3, 3 * PIECE - 3, 4 * PIECE + 4096),
            ];
            for (from, size, length) in steps {
                growing.copy(&mut file, &mut blob, from as u64, size as u64).unwrap();
                growing.set_length(&file, length as u64).unwrap();
                expected.extend(&noise[from..from + size]);
                expected.resize(length, 0);
                assert_eq!(growing.length(), length as u64);
            }
            growing.add(&file, b"the end").unwrap();
            expected.extend(b"the end");
            growing.flush(&file).unwrap();
            assert!(std::fs::read(&path).unwrap() == expected);

            // Long enough to be mapped, from an odd place on, to where a piece begins.
            let end = growing.length().next_multiple_of(PIECE as u64) as usize;
            growing.set_length(&file, end as u64).unwrap();
            growing.copy(&mut file, &mut blob, 77, 2 * PIECE as u64 + 5).unwrap();
            growing.flush(&file).unwrap();
            expected.resize(end, 0);
            expected.extend(&noise[77..][..2 * PIECE + 5]);
            assert!(std::fs::read(&path).unwrap() == expected);

            let more = growing.copy(&mut file, &mut blob, 9, noise.len() as u64);
            assert_eq!(more.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }
}
