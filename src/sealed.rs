//! A small file of the cache that ends with its checksum. What is damaged counts as missing; losing it costs time and nothing
//! else.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use coil_bootstrap::format::checksum::{Checksum, Summing};

use crate::last_use;

/// The length of a checksum in bytes.
const CHECKSUM: usize = 32;

/// A directory of such files.
#[derive(Debug, Clone)]
pub struct Directory {
    /// The directory.
    pub path: PathBuf,
    /// Another one on the same file system, for what is being written.
    pub scratch: PathBuf,
}

impl Directory {
    /// The file called `name`.
    pub fn file(&self, name: &str) -> Sealed {
        Sealed { file: self.path.join(name), scratch: self.scratch.clone() }
    }
}

/// Where such a file is, if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The file.
    pub file: PathBuf,
    /// A directory on the same file system, for what is being written.
    pub scratch: PathBuf,
}

impl Sealed {
    /// What it holds, without the checksum, if it is there as it was written: it is used now.
    pub fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = fs::read(&self.file).ok()?;
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
        if Checksum::of(content).as_bytes() != checksum {
            return None;
        }
        bytes.truncate(content.len());
        last_use::mark(&self.file);
        Some(bytes)
    }

    /// Puts these bytes, one behind the other, in place of what it holds. At no time is there nothing.
    pub fn write(&self, content: &[&[u8]]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.scratch)?;
        let mut sum = Summing::default();
        for bytes in content {
            sum.update(bytes);
            file.write_all(bytes)?;
        }
        file.write_all(sum.finish().as_bytes())?;
        file.persist(&self.file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_until_any_byte_of_it_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let sealed = Sealed { file: directory.path().join("kept"), scratch: directory.path().to_owned() };
        assert_eq!(sealed.read(), None);
        for content in [&[&b"one"[..], b"", b" two"][..], &[b""], &[]] {
            sealed.write(content).unwrap();
            assert_eq!(sealed.read(), Some(content.concat()));
            let whole = fs::read(&sealed.file).unwrap();
            for index in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[index] ^= 1;
                for damaged in [&bytes, &whole[..index]] {
                    fs::write(&sealed.file, damaged).unwrap();
                    assert_eq!(sealed.read(), None, "byte {index}");
                }
            }
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing half-written is left");
    }
}
