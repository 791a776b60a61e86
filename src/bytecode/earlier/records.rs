//! A file of byte code.
//!
//! ```text
//! records                   `.pyc` files, one behind the other, those of the last pack first
//! table                     of each record: key (32 bytes), checksum of key and record (32), length (8)
//! number of records         8 bytes
//! "coil byte code 1"        16 bytes
//! ```
//!
//! Numbers have their least significant byte first.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coil_bootstrap::format::checksum::{Checksum, Summing};

use super::Key;
use crate::last_use;

const END: &[u8; 16] = b"coil byte code 1";

/// The number of records, and the words at the end.
const FOOT: u64 = 8 + END.len() as u64;

/// One record's line in the table, in bytes.
const LINE: usize = 32 + 32 + 8;

/// What is in such a file.
#[derive(Debug, Default)]
pub struct Records {
    file: Option<File>,
    records: Vec<Record>,
    places: HashMap<Key, usize>,
    damaged: AtomicBool,
}

#[derive(Debug)]
pub struct Record {
    pub key: Key,
    pub length: u64,
    checksum: Checksum,
    offset: u64,
}

impl Records {
    /// What is in the file at `path`, which is used now: nothing, if it is not there or cannot be understood.
    pub fn open(path: &Path) -> Self {
        let Ok(file) = File::open(path) else { return Records::default() };
        let records = table(&file).unwrap_or_default();
        if !records.is_empty() {
            last_use::mark(path);
        }
        let places = records.iter().enumerate().map(|(place, record)| (record.key, place)).collect();
        Records { file: Some(file), records, places, damaged: AtomicBool::default() }
    }

    /// All of them, those of the last pack first.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Whether there seems to be one for `key`.
    pub fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// The byte code for `key`, where it is there and undamaged.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let record = &self.records[*self.places.get(key)?];
        let read = || {
            let mut bytes = vec![0; usize::try_from(record.length).ok()?];
            self.file.as_ref()?.read_exact_at(&mut bytes, record.offset).ok()?;
            (checksum(key, &bytes) == record.checksum).then_some(bytes)
        };
        let bytes = read();
        if bytes.is_none() {
            self.damaged.store(true, Ordering::Relaxed);
        }
        bytes
    }

    /// Whether somebody has asked for what is damaged.
    pub fn are_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// A file in the making.
pub struct Written {
    out: BufWriter<tempfile::NamedTempFile>,
    table: Vec<u8>,
    count: u64,
    length: u64,
}

impl Written {
    /// Begins one in the directory `scratch`.
    pub fn begin(scratch: &Path) -> io::Result<Self> {
        let out = BufWriter::new(tempfile::NamedTempFile::new_in(scratch)?);
        Ok(Written { out, table: Vec::new(), count: 0, length: 0 })
    }

    /// How much byte code there is in it, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds the byte code for `key`.
    pub fn add(&mut self, key: Key, bytes: &[u8]) -> io::Result<()> {
        self.append(key, checksum(&key, bytes), bytes)
    }

    /// Adds a record of another file, whose bytes are known to be right.
    pub fn add_checked(&mut self, record: &Record, bytes: &[u8]) -> io::Result<()> {
        self.append(record.key, record.checksum, bytes)
    }

    fn append(&mut self, key: Key, checksum: Checksum, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.table.extend(key.0.as_bytes());
        self.table.extend(checksum.as_bytes());
        self.table.extend((bytes.len() as u64).to_le_bytes());
        self.length += bytes.len() as u64;
        self.count += 1;
        Ok(())
    }

    /// Puts it in place of the file at `path`.
    pub fn finish(mut self, path: &Path) -> io::Result<()> {
        self.out.write_all(&self.table)?;
        self.out.write_all(&self.count.to_le_bytes())?;
        self.out.write_all(END)?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        // ext4 writes a file to the disk before it replaces another: a pack would wait for what need not last.
        let _ = fs::remove_file(path);
        file.persist(path)?;
        Ok(())
    }
}

fn checksum(key: &Key, bytes: &[u8]) -> Checksum {
    let mut sum = Summing::default();
    sum.update(key.0.as_bytes());
    sum.update(bytes);
    sum.finish()
}

/// Reads the table at the end of `file`; fails where it does not fit the file.
fn table(file: &File) -> io::Result<Vec<Record>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let length = file.metadata()?.len();
    let mut foot = [0; FOOT as usize];
    let before_foot = length.checked_sub(FOOT).ok_or_else(wrong)?;
    file.read_exact_at(&mut foot, before_foot)?;
    let (count, end) = foot.split_first_chunk::<8>().ok_or_else(wrong)?;
    let size = u64::from_le_bytes(*count).checked_mul(LINE as u64).ok_or_else(wrong)?;
    let start = before_foot.checked_sub(size).filter(|_| end == END).ok_or_else(wrong)?;
    let mut lines = vec![0; usize::try_from(size).map_err(|_| wrong())?];
    file.read_exact_at(&mut lines, start)?;
    let mut offset = 0_u64;
    let record = |line: &[u8]| {
        let (key, rest) = line.split_first_chunk::<32>()?;
        let (checksum, rest) = rest.split_first_chunk::<32>()?;
        let length = u64::from_le_bytes(*rest.first_chunk::<8>()?);
        let (key, checksum) = (Key(Checksum::from_bytes(*key)), Checksum::from_bytes(*checksum));
        let record = Record { key, checksum, offset, length };
        offset = offset.checked_add(length).filter(|end| *end <= start)?;
        Some(record)
    };
    lines.chunks_exact(LINE).map(record).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key(Checksum::of(&[number]))
    }

    fn found(path: &Path) -> usize {
        let records = Records::open(path);
        let is_found = |number: &u8| {
            let bytes = records.get(&key(*number));
            assert!(bytes.is_none() || bytes == Some(vec![*number; 50]), "never anything wrong");
            bytes.is_some()
        };
        (0..4).filter(is_found).count()
    }

    #[test]
    fn no_damage_is_ever_believed_and_the_rest_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept");
        let mut written = Written::begin(directory.path()).unwrap();
        for number in 0..4 {
            written.add(key(number), &[number; 50]).unwrap();
        }
        assert_eq!(written.length(), 200);
        written.finish(&path).unwrap();
        assert_eq!(found(&path), 4);
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let left = found(&path);
            assert!(left < 4, "byte {index}");
            assert!(left == 3 || index >= 200, "byte {index} is one record's, {left} are left");
            fs::write(&path, &whole[..index]).unwrap();
            assert_eq!(found(&path), 0, "cut off at {index}");
        }
        let huge = [&u64::MAX.to_le_bytes(), END.as_slice()].concat();
        fs::write(&path, huge).unwrap();
        assert_eq!(found(&path), 0);
    }
}
