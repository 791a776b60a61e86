//! A file that grows at its end, in the way that its file system is quickest at.
//!
//! ext4 keeps what is written in folios, which are as large as what is written at once and as its offset is aligned. Layers begin
//! and end anywhere: with copy_file_range(2), which goes through a pipe of 16 pages besides, 42 MB cost 15.9 ms and giving their
//! memory back 5.2 ms; in megabytes that begin at multiples of a megabyte 8.9 and 2.6. A megabyte is put together by the kernel
//! (pwritev(2)) of where the system has each layer's file in memory already, so that each byte is copied once. Other file systems copy by
//! reference (XFS, Btrfs), on the server (NFS), or have folios of one size in any case (tmpfs): there the kernel copies by itself.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use memmap2::{Mmap, MmapOptions};
use rustix::io::{Errno, pwritev, retry_on_intr};

/// What is written begins and ends at multiples of this, in bytes.
const PIECE: u64 = 1 << 20;

/// What is mapped into memory at once, in bytes.
const WINDOW: u64 = 16 << 20;

/// What is shorter is sooner read than mapped, in bytes.
const SHORT: u64 = 64 << 10;

/// A page, or less: each holds a byte of every page.
const PAGE: usize = 4096;

/// How many places in memory pwritev(2) takes what it writes of, at most: IOV_MAX.
const PLACES: usize = 1024;

/// What statfs(2) calls the type of ext4, and of ext2 and ext3, which are read by the same code.
const EXT4: u64 = 0xef53;

/// The end of a file, by the methods of which it grows. Nothing else may change its length.
pub struct Growing {
    /// Where in the file begins what is held: all before it is written.
    written: u64,
    /// What is held until a piece is full.
    parts: VecDeque<Part>,
    /// How long that is, in bytes.
    held: u64,
    in_pieces: bool,
}

/// Something that is to be written.
struct Part {
    bytes: Bytes,
    /// Which of them.
    start: usize,
    end: usize,
}

enum Bytes {
    Own(Cow<'static, [u8]>),
    Mapped(Mmap),
}

impl Part {
    fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// What is mapped may not be looked at: see [`Growing::map`].
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Own(bytes) => &bytes[self.start..self.end],
            Bytes::Mapped(map) => &map[self.start..self.end],
        }
    }
}

impl Growing {
    /// The end of `file`, which is empty.
    pub fn new(file: &File) -> Self {
        let is_ext4 = rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type as u64 == EXT4);
        Growing::by(is_ext4)
    }

    fn by(in_pieces: bool) -> Self {
        Growing { written: 0, parts: VecDeque::new(), held: 0, in_pieces }
    }

    /// How long the file is, in bytes.
    pub fn length(&self) -> u64 {
        self.written + self.held
    }

    /// Adds `bytes`.
    pub fn add(&mut self, file: &File, bytes: impl Into<Cow<'static, [u8]>>) -> io::Result<()> {
        let bytes = bytes.into();
        if !self.in_pieces {
            file.write_all_at(&bytes, self.written)?;
            self.written += bytes.len() as u64;
            return Ok(());
        }
        // Of what was never looked at no page is there, and writing would stop at each.
        bytes.chunks(PAGE).for_each(|page| {
            black_box(page[0]);
        });
        self.hold(file, Bytes::Own(bytes))
    }

    /// Adds the `size` bytes of `blob` from `offset` on. Fails with [`ErrorKind::UnexpectedEof`] if it has not as many.
    pub fn copy(&mut self, file: &mut File, blob: &mut File, offset: u64, size: u64) -> io::Result<()> {
        if !self.in_pieces {
            file.seek(SeekFrom::Start(self.written))?;
            blob.seek(SeekFrom::Start(offset))?;
            let copied = io::copy(&mut blob.take(size), file)?;
            self.written += copied;
            return if copied == size { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        let end = offset + size;
        if blob.metadata()?.len() < end {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut from = offset;
        while from < end {
            let window = (end - from).min(WINDOW);
            let mapped = if window < SHORT { None } else { Growing::map(blob, from, window) };
            let bytes = match mapped {
                Some(map) => Bytes::Mapped(map),
                None => {
                    let mut bytes = vec![0; window.min(PIECE) as usize];
                    blob.read_exact_at(&mut bytes, from)?;
                    Bytes::Own(bytes.into())
                }
            };
            from += bytes.len();
            self.hold(file, bytes)?;
        }
        Ok(())
    }

    /// Where the system has these bytes of `blob` in memory, all of them found by now; `None` where it cannot be said.
    fn map(blob: &File, offset: u64, size: u64) -> Option<Mmap> {
        // SAFETY: what is mapped is read by the kernel alone, in pwritev(2): should the file be cut off meanwhile, that call
        // fails, and no byte is looked at here.
        unsafe { MmapOptions::new().offset(offset).len(size as usize).populate().map(blob).ok() }
    }

    /// Goes on at `end`, with zeros up to it or with less than there is.
    pub fn set_length(&mut self, file: &File, end: u64) -> io::Result<()> {
        if let Some(more) = end.checked_sub(self.length()).filter(|more| *more > 0) {
            return self.add(file, vec![0; more as usize]);
        }
        if end < self.written {
            file.set_len(end)?;
            self.written = end;
        }
        while let Some(over) = self.length().checked_sub(end).filter(|over| *over > 0)
            && let Some(last) = self.parts.back_mut()
        {
            let gone = over.min(last.len());
            last.end -= gone as usize;
            if last.len() == 0 {
                self.parts.pop_back();
            }
            self.held -= gone;
        }
        Ok(())
    }

    /// Writes what is held.
    pub fn flush(&mut self, file: &File) -> io::Result<()> {
        self.write_up_to(file, self.length())
    }

    /// Holds `bytes`, and writes the pieces that are full.
    fn hold(&mut self, file: &File, bytes: Bytes) -> io::Result<()> {
        let part = Part { start: 0, end: bytes.len() as usize, bytes };
        self.held += part.len();
        self.parts.push_back(part);
        self.write_up_to(file, self.length() / PIECE * PIECE)
    }

    fn write_up_to(&mut self, file: &File, end: u64) -> io::Result<()> {
        while self.written < end {
            // One piece a call: the kernel lets others in between two calls, and hardly within one.
            let mut room = (end - self.written).min(PIECE - self.written % PIECE);
            let mut places = Vec::new();
            for part in self.parts.iter().take(PLACES) {
                let count = part.len().min(room);
                places.push(IoSlice::new(&part.bytes()[..count as usize]));
                room -= count;
                if room == 0 {
                    break;
                }
            }
            let count = match retry_on_intr(|| pwritev(file, &places, self.written)) {
                // What was mapped is not there any more.
                Err(Errno::FAULT) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                count => count? as u64,
            };
            self.written += count;
            self.let_go(count);
        }
        Ok(())
    }

    /// Forgets the first `count` bytes of what is held.
    fn let_go(&mut self, mut count: u64) {
        self.held -= count;
        while let Some(first) = self.parts.front_mut() {
            let gone = count.min(first.len());
            first.start += gone as usize;
            count -= gone;
            if first.len() > 0 {
                break;
            }
            self.parts.pop_front();
        }
    }
}

impl Bytes {
    fn len(&self) -> u64 {
        match self {
            Bytes::Own(bytes) => bytes.len() as u64,
            Bytes::Mapped(map) => map.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = super::PIECE as usize;

    #[test]
    fn a_file_holds_what_was_added_however_it_grows() {
        let directory = tempfile::tempdir().unwrap();
        let noise: Vec<u8> =
            (0..3 * PIECE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let source = directory.path().join("source");
        std::fs::write(&source, &noise).unwrap();
        for (number, in_pieces) in [true, false].into_iter().enumerate() {
            let path = directory.path().join(number.to_string());
            let mut file = File::create_new(&path).unwrap();
            let mut blob = File::open(&source).unwrap();
            let (mut growing, mut expected) = (Growing::by(in_pieces), Vec::new());
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
            growing.add(&file, b"the end".as_slice()).unwrap();
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
