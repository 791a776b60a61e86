//! Byte code that was compiled earlier: of one app, file by file, all of it in one file of the cache.
//!
//! ```text
//! records                   `.pyc` files, one behind the other, those of the last pack first
//! table                     of each record: key (32 bytes), checksum of key and record (32), length (8)
//! number of records         8 bytes
//! "coil byte code 1"        16 bytes
//! ```
//!
//! Numbers have their least significant byte first. A key says everything that byte code depends on, so what is found
//! is right, whoever wrote it; what is damaged is not found, and compiled again. The file is written
//! anew whenever something was compiled. Losing it costs time and nothing else.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::checksum::{Checksum, Summing};

use crate::last_use;
use crate::tree::Content;

const END: &[u8; 16] = b"coil byte code 1";

/// The number of records, and the words at the end.
const FOOT: u64 = 8 + END.len() as u64;

/// One record's line in the table, in bytes.
const LINE: usize = 32 + 32 + 8;

/// How much of what the last pack did not use is kept in any case, in bytes; of a large app a quarter of its byte code.
/// So nothing is compiled again after going to another branch and back.
const UNUSED: u64 = 1 << 20;

/// Everything that the byte code of a file depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(Checksum);

/// The byte code of an app's earlier packs.
#[derive(Debug)]
pub struct Earlier {
    path: PathBuf,
    scratch: PathBuf,
    state: Checksum,
    file: Option<File>,
    records: Vec<Record>,
    places: HashMap<Key, usize>,
}

#[derive(Debug)]
struct Record {
    key: Key,
    checksum: Checksum,
    offset: u64,
    length: u64,
}

impl Earlier {
    /// What is in the file at `path`: nothing, if it is not there or cannot be understood. `compiler` says what
    /// compiles. `scratch` is a directory on the same file system, for what is being written.
    pub fn open(path: PathBuf, scratch: &Path, compiler: &str) -> Self {
        let mut state = Summing::default();
        // The version of coil's own code is a part of every key.
        state.update(Checksum::of(env!("COIL_CODE").as_bytes()).as_bytes());
        state.update(compiler.as_bytes());
        let file = File::open(&path).ok();
        let records = file.as_ref().and_then(|file| table(file).ok()).unwrap_or_default();
        if !records.is_empty() {
            last_use::mark(&path);
        }
        let places = records.iter().enumerate().map(|(place, record)| (record.key, place)).collect();
        Earlier { path, scratch: scratch.to_owned(), state: state.finish(), file, records, places }
    }

    /// The key of a file at `path` with this content.
    pub fn key(&self, path: &str, content: &Checksum) -> Key {
        let mut key = Summing::default();
        key.update(self.state.as_bytes());
        key.update(content.as_bytes());
        key.update(path.as_bytes());
        Key(key.finish())
    }

    /// Whether there seems to be byte code for `key`.
    pub fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// The byte code for `key`, where it is there and undamaged.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let record = self.records.get(*self.places.get(key)?)?;
        let mut bytes = vec![0; usize::try_from(record.length).ok()?];
        self.file.as_ref()?.read_exact_at(&mut bytes, record.offset).ok()?;
        (checksum(key, &bytes) == record.checksum).then_some(bytes)
    }

    /// Writes down what a pack `used`, for the next one. What is already in the file and was not used follows,
    /// as far as there is room.
    pub fn keep(&self, used: &[(Key, Content)]) -> io::Result<()> {
        let mut written = Written::begin(&self.scratch)?;
        for (key, content) in used {
            written.add(*key, &content.read()?)?;
        }
        let mut room = UNUSED.max(written.length / 4);
        let now: HashSet<&Key> = used.iter().map(|(key, _)| key).collect();
        for record in self.records.iter().filter(|record| !now.contains(&record.key)) {
            let Some(left) = room.checked_sub(record.length) else { break };
            if let Some(bytes) = self.get(&record.key) {
                written.add_checked(record.key, record.checksum, &bytes)?;
                room = left;
            }
        }
        written.finish(&self.path)
    }
}

/// A file in the making.
struct Written {
    out: BufWriter<tempfile::NamedTempFile>,
    table: Vec<u8>,
    count: u64,
    length: u64,
}

impl Written {
    fn begin(scratch: &Path) -> io::Result<Self> {
        let out = BufWriter::new(tempfile::NamedTempFile::new_in(scratch)?);
        Ok(Written { out, table: Vec::new(), count: 0, length: 0 })
    }

    fn add(&mut self, key: Key, bytes: &[u8]) -> io::Result<()> {
        self.add_checked(key, checksum(&key, bytes), bytes)
    }

    /// The same with the checksum, which is known to be right.
    fn add_checked(&mut self, key: Key, checksum: Checksum, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.table.extend(key.0.as_bytes());
        self.table.extend(checksum.as_bytes());
        self.table.extend((bytes.len() as u64).to_le_bytes());
        self.length += bytes.len() as u64;
        self.count += 1;
        Ok(())
    }

    fn finish(mut self, path: &Path) -> io::Result<()> {
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

    /// A directory with the byte code of as many files, each of this length.
    fn kept(count: usize, length: usize) -> (tempfile::TempDir, PathBuf, Vec<(Key, Content)>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept");
        let earlier = open(&path);
        let used: Vec<_> = (0..count).map(|number| record(&earlier, number, length)).collect();
        earlier.keep(&used).unwrap();
        (directory, path, used)
    }

    fn open(path: &Path) -> Earlier {
        Earlier::open(path.to_owned(), path.parent().unwrap(), "Python 3")
    }

    fn record(earlier: &Earlier, number: usize, length: usize) -> (Key, Content) {
        let key = earlier.key("app/a.py", &Checksum::of(&number.to_le_bytes()));
        (key, Content::bytes(vec![number as u8; length]))
    }

    fn found(path: &Path, used: &[(Key, Content)]) -> usize {
        let earlier = open(path);
        let same = |(key, content): &&(Key, Content)| {
            let bytes = earlier.get(key);
            assert!(bytes.is_none() || bytes == Some(content.read().unwrap()), "never anything wrong");
            bytes.is_some()
        };
        used.iter().filter(same).count()
    }

    #[test]
    fn what_is_kept_is_found_by_its_key_alone() {
        let (_directory, path, used) = kept(5, 300);
        assert_eq!(found(&path, &used), 5);
        let content = Checksum::of(&0_usize.to_le_bytes());
        let earlier = open(&path);
        assert!(earlier.has(&earlier.key("app/a.py", &content)));
        assert!(!earlier.has(&earlier.key("app/b.py", &content)), "another path");
        assert!(!earlier.has(&earlier.key("app/a.py", &Checksum::of(b"5"))), "another content");
        let other = Earlier::open(path.clone(), path.parent().unwrap(), "Python 4");
        assert!(!other.has(&other.key("app/a.py", &content)), "another compiler");
    }

    #[test]
    fn no_damage_is_ever_believed_and_the_rest_is_found() {
        let (_directory, path, used) = kept(4, 50);
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let left = found(&path, &used);
            assert!(left < 4, "byte {index}");
            assert!(left == 3 || index >= 200, "byte {index} is one record's, {left} are left");
            fs::write(&path, &whole[..index]).unwrap();
            assert_eq!(found(&path, &used), 0, "cut off at {index}");
        }
        let huge = [&u64::MAX.to_le_bytes(), END.as_slice()].concat();
        fs::write(&path, huge).unwrap();
        assert_eq!(found(&path, &used), 0);
    }

    #[test]
    fn what_was_not_used_stays_for_a_while() {
        let (_directory, path, used) = kept(20, 100_000);
        let next = |number: usize| {
            let earlier = open(&path);
            earlier.keep(&[record(&earlier, 100 + number, 100_000)]).unwrap();
        };
        next(0);
        assert_eq!(found(&path, &used), 10, "a megabyte");
        assert_eq!(found(&path, &used[..10]), 10, "the first ones");
        next(1);
        assert_eq!(found(&path, &used), 9);
        assert!(open(&path).has(&record(&open(&path), 100, 0).0), "the latest stay");

        let large = kept(20, 1_000_000);
        let earlier = open(&large.1);
        let most: Vec<_> = (0..12).map(|number| record(&earlier, 100 + number, 1_000_000)).collect();
        earlier.keep(&most).unwrap();
        assert_eq!(found(&large.1, &large.2), 3, "a quarter of what is used");
    }

    #[test]
    fn a_damaged_record_does_not_live_on() {
        let (_directory, path, used) = kept(3, 50);
        let mut bytes = fs::read(&path).unwrap();
        bytes[60] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let earlier = open(&path);
        earlier.keep(&used[..1]).unwrap();
        assert_eq!(open(&path).records.len(), 2);
        assert_eq!(found(&path, &used), 2);
    }
}
