//! The bytes that are sent, as they come out of the messages that carry them.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use zstd::bulk::Decompressor;

use super::wire::{self, Kind, MAX_DATA};
use crate::error::{Error, Result};

/// The data that follows a question.
pub struct Sent<'a, R> {
    input: &'a mut R,
    message: Vec<u8>,
    data: Vec<u8>,
    /// How much of `data` is used.
    used: usize,
    decompressor: Decompressor<'static>,
}

impl<'a, R: Read> Sent<'a, R> {
    /// Data from `input`.
    pub fn from(input: &'a mut R) -> Result<Self> {
        let decompressor = Decompressor::new().map_err(|_| nonsense())?;
        Ok(Sent { input, message: Vec::new(), data: Vec::with_capacity(MAX_DATA), used: 0, decompressor })
    }

    /// Writes what comes next to this range of `file`, which is at `path`.
    pub fn write_to(&mut self, file: &File, range: Range<u64>, path: &Path) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            if self.used == self.data.len() {
                self.next()?;
            }
            let step = (range.end - at).min((self.data.len() - self.used) as u64) as usize;
            let bytes = &self.data[self.used..self.used + step];
            file.write_all_at(bytes, at).map_err(Error::at("write", path))?;
            (self.used, at) = (self.used + step, at + step as u64);
        }
        Ok(())
    }

    /// Whether nothing is left of what was sent.
    pub fn is_used_up(&self) -> bool {
        self.used == self.data.len()
    }

    /// Takes the next message.
    fn next(&mut self) -> Result<()> {
        let kind = wire::read(self.input, &mut self.message).map_err(broken)?.ok_or_else(ended)?;
        self.data.clear();
        self.used = 0;
        match kind {
            Kind::Raw if self.message.len() <= MAX_DATA => self.data.extend_from_slice(&self.message),
            Kind::Packed => {
                let unpacked = self.decompressor.decompress_to_buffer(&self.message, &mut self.data);
                unpacked.map_err(|_| nonsense())?;
            }
            _ => return Err(nonsense()),
        }
        if self.data.is_empty() { Err(nonsense()) } else { Ok(()) }
    }
}

/// The error for a message that could not be read.
pub fn broken(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ended(),
        io::ErrorKind::InvalidData => nonsense(),
        io::ErrorKind::TimedOut => Error::Release("nothing came for five minutes".into()),
        _ => Error::at("read from", "standard input")(error),
    }
}

/// The error that the other side is gone.
pub fn ended() -> Error {
    Error::Release(
        "the connection ended before the bundle was complete; what arrived is kept for the next deploy"
            .into(),
    )
}

/// The error that the other side is not `coil deploy`.
pub fn nonsense() -> Error {
    Error::Release("what was sent is not what `coil deploy` sends".into())
}
