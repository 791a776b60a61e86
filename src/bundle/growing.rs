//! A file that grows at its end, in the way that its file system is quickest at.
//!
//! ext4 keeps what is written in folios, which are as large as what is written at once and as its offset is aligned. Layers begin
//! and end anywhere, and copy_file_range(2) goes through a pipe of 16 pages: with it, 42 MB cost 15.9 ms and giving their
//! memory back 5.2; in megabytes that begin at multiples of a megabyte 8.5 and 2.6. So the pipe is one of our own that holds a
//! megabyte: splice(2) puts pages of the layers' files into it, none of which is copied, and empties it into the file. Other file systems
//! copy by reference (XFS, Btrfs), on the server (NFS), or have folios of one size in any case (tmpfs): there the kernel copies by itself.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use rustix::io::{Errno, retry_on_intr, write};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What is written begins and ends at multiples of this, in bytes: what a pipe may hold at most where nobody has said
/// otherwise. It is written in one call, and the kernel lets others in between two calls and hardly within one.
const PIECE: u64 = 1 << 20;

/// What is in memory and not shorter than this goes into the file without the pipe, in bytes.
const LONG: usize = 64 << 10;

/// A page of memory in bytes, or a part of one where pages are larger.
const PAGE: usize = 4096;

/// What statfs(2) calls the type of ext4, and of ext2 and ext3, which are read by the same code.
const EXT4: u64 = 0xef53;

/// The end of a file, by the methods of which it grows. Nothing else may change its length.
pub struct Growing {
    /// Where in the file begins what is held: all before it is written.
    written: u64,
    /// Where the file is written in pieces.
    pipe: Option<Pipe>,
}

/// What is held until a piece is full.
struct Pipe {
    from: OwnedFd,
    into: OwnedFd,
    /// How much is in it, in bytes.
    held: u64,
}

impl Growing {
    /// The end of `file`, which is empty.
    pub fn new(file: &File) -> Self {
        let is_ext4 = rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type as u64 == EXT4);
        Growing::by(is_ext4)
    }

    fn by(in_pieces: bool) -> Self {
        // Without a pipe it only takes longer.
        Growing { written: 0, pipe: in_pieces.then(Pipe::new).and_then(Result::ok) }
    }

    /// How long the file is, in bytes.
    pub fn length(&self) -> u64 {
        self.written + self.pipe.as_ref().map_or(0, |pipe| pipe.held)
    }

    /// Adds `bytes`.
    pub fn add(&mut self, file: &File, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let part = &rest[..self.room().min(rest.len() as u64) as usize];
            let count = match &self.pipe {
                Some(pipe) if part.len() < LONG => {
                    let put = pipe.put(part)?;
                    self.took(file, put)?
                }
                _ => {
                    self.flush(file)?;
                    // Of what lies in our own program and was never looked at no page is there, and writing would stop at each.
                    part.chunks(PAGE).for_each(|page| {
                        black_box(page[0]);
                    });
                    file.write_all_at(part, self.written)?;
                    self.written += part.len() as u64;
                    part.len()
                }
            };
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Adds the `size` bytes of `blob` from `offset` on. Fails with [`ErrorKind::UnexpectedEof`] if it has not as many.
    pub fn copy(&mut self, file: &mut File, blob: &mut File, offset: u64, size: u64) -> io::Result<()> {
        let (mut from, end) = (offset, offset + size);
        while from < end {
            let room = self.room().min(end - from);
            let put = match &self.pipe {
                Some(pipe) => pipe.put_of(blob, from, room),
                None => return self.copy_at_once(file, blob, from, end - from),
            };
            match put {
                Ok(Some(0)) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(put) => from += self.took(file, put)? as u64,
                // Its file system knows no pipes, or whoever confines us does not.
                Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
                    self.flush(file)?;
                    self.pipe = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn copy_at_once(&mut self, file: &mut File, blob: &mut File, offset: u64, size: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.written))?;
        blob.seek(SeekFrom::Start(offset))?;
        let copied = io::copy(&mut blob.take(size), file)?;
        self.written += copied;
        if copied == size { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Goes on at `end`, with zeros up to it or with less than there is.
    pub fn set_length(&mut self, file: &File, end: u64) -> io::Result<()> {
        if end < self.length() {
            self.flush(file)?;
            file.set_len(end)?;
            self.written = end;
        }
        while self.length() < end {
            let zeros = [0; PAGE];
            let count = (end - self.length()).min(PAGE as u64);
            self.add(file, &zeros[..count as usize])?;
        }
        Ok(())
    }

    /// Writes what is held.
    pub fn flush(&mut self, file: &File) -> io::Result<()> {
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held > 0) {
            let count = pipe.empty(file, self.written)?;
            self.written += count;
            pipe.held -= count;
        }
        Ok(())
    }

    /// How much belongs to the piece that the file ends in, in bytes.
    fn room(&self) -> u64 {
        PIECE - self.length() % PIECE
    }

    /// Notes how much the pipe took, and writes what it holds where it is full or has a whole piece.
    fn took(&mut self, file: &File, put: Option<usize>) -> io::Result<usize> {
        let count = put.unwrap_or_default();
        if let Some(pipe) = &mut self.pipe {
            pipe.held += count as u64;
            if put.is_none() && pipe.held == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        if put.is_none() || self.length().is_multiple_of(PIECE) {
            self.flush(file)?;
        }
        Ok(count)
    }
}

impl Pipe {
    fn new() -> rustix::io::Result<Pipe> {
        let (from, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Who has many pipes gets none as large.
        let _ = fcntl_setpipe_size(&into, PIECE as usize);
        Ok(Pipe { from, into, held: 0 })
    }

    /// Puts a copy of the first of `bytes` into it, and says of how many; `None` where it is full.
    fn put(&self, bytes: &[u8]) -> rustix::io::Result<Option<usize>> {
        unless_full(retry_on_intr(|| write(&self.into, bytes)))
    }

    /// Puts at most `size` bytes of `blob` from `offset` on into it, and says how many; `None` where it is full.
    fn put_of(&self, blob: &File, mut offset: u64, size: u64) -> rustix::io::Result<Option<usize>> {
        let flags = SpliceFlags::NONBLOCK;
        unless_full(retry_on_intr(|| splice(blob, Some(&mut offset), &self.into, None, size as usize, flags)))
    }

    /// Writes what is in it, or the first of it, at `offset`, and says how much.
    fn empty(&self, file: &File, mut offset: u64) -> io::Result<u64> {
        let (held, flags) = (self.held as usize, SpliceFlags::empty());
        match retry_on_intr(|| splice(&self.from, None, file, Some(&mut offset), held, flags))? {
            0 => Err(ErrorKind::WriteZero.into()),
            count => Ok(count as u64),
        }
    }
}

fn unless_full(put: rustix::io::Result<usize>) -> rustix::io::Result<Option<usize>> {
    match put {
        Err(Errno::AGAIN) => Ok(None),
        put => put.map(Some),
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
        let narrow = |growing: Growing| {
            fcntl_setpipe_size(&growing.pipe.as_ref().unwrap().into, PAGE).unwrap();
            growing
        };
        let ways = [Growing::by(true), narrow(Growing::by(true)), Growing::by(false)];
        for (number, mut growing) in ways.into_iter().enumerate() {
            let path = directory.path().join(number.to_string());
            let mut file = File::create_new(&path).unwrap();
            let mut blob = File::open(&source).unwrap();
            let mut expected = Vec::new();
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
            growing.add(&file, &noise).unwrap();
            expected.extend(&noise);
            growing.flush(&file).unwrap();
            assert!(std::fs::read(&path).unwrap() == expected);

            // From an odd place on, to where a piece begins.
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

    #[test]
    fn a_blob_that_no_pipe_takes_is_copied_by_the_kernel() {
        let directory = tempfile::tempdir().unwrap();
        let noise: Vec<u8> = (0..2 * PIECE).map(|n| (n / 7) as u8).collect();
        // Our own memory as a file: it can be read at any offset, and splice(2) is refused.
        let mut blob = File::open("/proc/self/mem").unwrap();
        let offset = noise.as_ptr() as u64;
        let mut file = File::create_new(directory.path().join("grown")).unwrap();
        let mut growing = Growing::by(true);
        growing.add(&file, b"held before").unwrap();
        growing.copy(&mut file, &mut blob, offset, noise.len() as u64).unwrap();
        assert!(growing.pipe.is_none());
        growing.add(&file, b"and after").unwrap();
        growing.flush(&file).unwrap();
        let expected = [b"held before", &noise[..], b"and after"].concat();
        assert!(std::fs::read(directory.path().join("grown")).unwrap() == expected);
    }
}
