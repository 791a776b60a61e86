//! Where the content of a member goes while it is read: memory first, a temporary file when it grows.

use std::io::{self, Write};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::record::{Algorithm, Hash, Hasher};
use crate::tree::Content;

/// The longest content that is kept in memory, in bytes.
pub const IN_MEMORY: usize = 8 << 20;

/// Content that is being written, counted and hashed on its way.
pub struct Spill {
    store: Store,
    hasher: Hasher,
    length: u64,
    in_memory: usize,
}

enum Store {
    Memory(Vec<u8>),
    Disk(NamedTempFile),
}

/// What was written.
pub struct Spilled {
    /// The content.
    pub content: Content,
    /// Its hash.
    pub hash: Hash,
    /// Its length in bytes.
    pub length: u64,
}

impl Spill {
    /// Nothing yet; hashed with `algorithm`, kept in memory up to `in_memory` bytes.
    pub fn new(algorithm: Algorithm, in_memory: usize) -> Self {
        Spill { store: Store::Memory(Vec::new()), hasher: Hasher::new(algorithm), length: 0, in_memory }
    }

    /// All that was written.
    pub fn finish(self) -> io::Result<Spilled> {
        let content = match self.store {
            Store::Memory(bytes) => Content::bytes(bytes),
            Store::Disk(mut file) => {
                file.flush()?;
                Content::Temporary(Arc::new(file.into_temp_path()))
            }
        };
        Ok(Spilled { content, hash: self.hasher.finish(), length: self.length })
    }
}

impl Write for Spill {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Store::Memory(kept) = &self.store
            && kept.len() + bytes.len() > self.in_memory
        {
            let mut file = NamedTempFile::with_prefix("coil-")?;
            file.write_all(kept)?;
            self.store = Store::Disk(file);
        }
        match &mut self.store {
            Store::Memory(kept) => kept.extend_from_slice(bytes),
            Store::Disk(file) => file.write_all(bytes)?,
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_moves_to_a_file_when_it_grows_and_stays_the_same() {
        let mut small = Spill::new(Algorithm::Sha256, 10);
        let mut large = Spill::new(Algorithm::Sha256, 9);
        for part in [b"01234".as_slice(), b"56789"] {
            small.write_all(part).unwrap();
            large.write_all(part).unwrap();
        }
        let (small, large) = (small.finish().unwrap(), large.finish().unwrap());
        assert!(matches!(small.content, Content::Bytes(_)));
        let Content::Temporary(path) = &large.content else { panic!("ten bytes are more than nine") };
        let path = path.to_path_buf();
        assert_eq!(small.content.read().unwrap(), large.content.read().unwrap());
        assert_eq!((small.hash, small.length), (large.hash.clone(), large.length));
        drop(large);
        assert!(!path.exists());
    }
}
