//! Sums up what is read: a digest and a length of what passes through.

use std::io::{self, Read};

use coil_bootstrap::format::digest::Digest;
use sha2::{Digest as _, Sha256};

/// A reader that knows what was read through it.
pub struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R: Read> Hashing<R> {
    /// Sums up what is read of `inner` from now on.
    pub fn new(inner: R) -> Self {
        Hashing { inner, hasher: Sha256::new(), size: 0 }
    }

    /// The digest and the length in bytes of what was read.
    pub fn sum(self) -> (Digest, u64) {
        (Digest::from_bytes(self.hasher.finalize().into()), self.size)
    }

    /// Reads to the end, and returns the same.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.sum())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}
