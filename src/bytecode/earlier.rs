//! Byte code that was compiled earlier: of one app, file by file.
//!
//! It is in two files, so that whoever packs again and again does not write down again and again what has not changed. What is compiled goes
//! into `latest`, which is written anew every time and stays small; when that has no room, all of it goes into `rest`. A key says everything
//! that byte code depends on, so what is found is right, whoever wrote it; what is damaged is not found, and compiled again. Losing it costs
//! time and nothing else.

mod records;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::checksum::{Checksum, Summing};

use self::records::{Records, Written};
use crate::tree::Content;

/// The most byte code in `latest`, in bytes. On average half of it is written again with every pack.
const LATEST: u64 = 128 << 10;

/// How much of what the last pack did not use is kept in any case when `rest` is written, in bytes; of a large app a quarter of its
/// byte code. So nothing is compiled again after going to another branch and back.
const UNUSED: u64 = 1 << 20;

/// Everything that the byte code of a file depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(Checksum);

/// The byte code of an app's earlier packs.
#[derive(Debug)]
pub struct Earlier {
    directory: PathBuf,
    scratch: PathBuf,
    state: Checksum,
    latest: Records,
    rest: Records,
}

impl Earlier {
    /// What is in `directory`: nothing, if it is not there or cannot be understood. `compiler` says what compiles. `scratch` is
    /// a directory on the same file system, for what is being written.
    pub fn open(directory: PathBuf, scratch: &Path, compiler: &str) -> Self {
        let mut state = Summing::default();
        // The version of coil's own code is a part of every key.
        state.update(Checksum::of(env!("COIL_CODE").as_bytes()).as_bytes());
        state.update(compiler.as_bytes());
        let (latest, rest) = (Records::open(&latest(&directory)), Records::open(&rest(&directory)));
        Earlier { directory, scratch: scratch.to_owned(), state: state.finish(), latest, rest }
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
        self.latest.has(key) || self.rest.has(key)
    }

    /// The byte code for `key`, where it is there and undamaged.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        self.latest.get(key).or_else(|| self.rest.get(key))
    }

    /// Writes down what a pack `used`, for the next one.
    pub fn keep(&self, used: &[(Key, Content)]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // What is damaged goes when all of it is written anew.
        if !self.rest.are_damaged()
            && let Some(written) = self.with_latest(used)?
        {
            return written.finish(&latest(&self.directory));
        }
        self.with_all(used)?.finish(&rest(&self.directory))?;
        let _ = fs::remove_file(latest(&self.directory));
        Ok(())
    }

    /// What `rest` has not: of what was `used`, and of `latest`. `None` if there is no room for it.
    fn with_latest(&self, used: &[(Key, Content)]) -> io::Result<Option<Written>> {
        let mut written = Written::begin(&self.scratch)?;
        let mut now = HashSet::new();
        for (key, content) in used.iter().filter(|(key, _)| !self.rest.has(key)) {
            written.add(*key, &content.read()?)?;
            now.insert(*key);
            if written.length() > LATEST {
                return Ok(None);
            }
        }
        for record in
            self.latest.iter().filter(|record| !now.contains(&record.key) && !self.rest.has(&record.key))
        {
            if written.length() + record.length > LATEST {
                return Ok(None);
            }
            if let Some(bytes) = self.latest.get(&record.key) {
                written.add_checked(record, &bytes)?;
            }
        }
        Ok(Some(written))
    }

    /// What was `used`, and then what is kept of what was not.
    fn with_all(&self, used: &[(Key, Content)]) -> io::Result<Written> {
        let mut written = Written::begin(&self.scratch)?;
        for (key, content) in used {
            written.add(*key, &content.read()?)?;
        }
        let mut room = UNUSED.max(written.length() / 4);
        let mut now: HashSet<Key> = used.iter().map(|(key, _)| *key).collect();
        for (record, records) in [&self.latest, &self.rest]
            .into_iter()
            .flat_map(|records| records.iter().map(move |record| (record, records)))
        {
            if !now.insert(record.key) {
                continue;
            }
            let Some(left) = room.checked_sub(record.length) else { break };
            if let Some(bytes) = records.get(&record.key) {
                written.add_checked(record, &bytes)?;
                room = left;
            }
        }
        Ok(written)
    }
}

fn latest(directory: &Path) -> PathBuf {
    directory.join("latest")
}

fn rest(directory: &Path) -> PathBuf {
    directory.join("rest")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place for byte code.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Place(tempfile::tempdir().unwrap())
        }

        fn directory(&self) -> PathBuf {
            self.0.path().join("kept")
        }

        fn open(&self) -> Earlier {
            Earlier::open(self.directory(), self.0.path(), "Python 3")
        }

        /// Writes down that a pack has used these files of this length.
        fn keep(&self, numbers: impl IntoIterator<Item = usize>, length: usize) {
            let used: Vec<_> = numbers.into_iter().map(|number| self.record(number, length)).collect();
            self.open().keep(&used).unwrap();
        }

        fn record(&self, number: usize, length: usize) -> (Key, Content) {
            let key = self.open().key("app/a.py", &Checksum::of(&number.to_le_bytes()));
            (key, Content::bytes(vec![number as u8; length]))
        }

        /// Which of these are found; never anything wrong.
        fn found(&self, numbers: impl IntoIterator<Item = usize>, length: usize) -> Vec<usize> {
            let earlier = self.open();
            let is_found = |number: &usize| {
                let (key, content) = self.record(*number, length);
                let bytes = earlier.get(&key);
                assert!(bytes.is_none() || bytes == Some(content.read().unwrap()));
                bytes.is_some()
            };
            numbers.into_iter().filter(is_found).collect()
        }

        /// The lengths of both files, if they are there.
        fn lengths(&self) -> [Option<u64>; 2] {
            [latest, rest].map(|of| fs::metadata(of(&self.directory())).ok().map(|there| there.len()))
        }
    }

    #[test]
    fn what_is_kept_is_found_by_its_key_alone() {
        let place = Place::new();
        place.keep(0..5, 300);
        assert_eq!(place.found(0..6, 300), [0, 1, 2, 3, 4]);
        let content = Checksum::of(&0_usize.to_le_bytes());
        let earlier = place.open();
        assert!(earlier.has(&earlier.key("app/a.py", &content)));
        assert!(!earlier.has(&earlier.key("app/b.py", &content)), "another path");
        assert!(!earlier.has(&earlier.key("app/a.py", &Checksum::of(b"5"))), "another content");
        let other = Earlier::open(place.directory(), place.0.path(), "Python 4");
        assert!(!other.has(&other.key("app/a.py", &content)), "another compiler");
    }

    #[test]
    fn what_has_not_changed_is_not_written_again() {
        let place = Place::new();
        place.keep(0..20, 100_000);
        let [none, all] = place.lengths();
        assert!(none.is_none() && all > Some(2_000_000));
        for changed in 0..10 {
            place.keep((1..20).chain([100 + changed]), 100_000 / 8);
            let [latest, rest] = place.lengths();
            assert!(latest < Some(LATEST + 10_000) && rest == all);
        }
        assert_eq!(place.found(1..20, 100_000).len(), 19);
        assert_eq!(place.found(100..110, 100_000 / 8).len(), 10);
        place.keep([110], 100_000 / 8);
        assert_eq!(place.lengths()[0], None, "all of it is in the other one");
        assert_eq!(place.found(100..111, 100_000 / 8).len(), 11);
        assert_eq!(place.found(0..20, 100_000), (0..9).collect::<Vec<_>>(), "what there was room for");
    }

    #[test]
    fn what_was_not_used_stays_for_a_while() {
        let place = Place::new();
        place.keep(0..20, 100_000);
        place.keep([100], 100_000);
        assert_eq!(place.found(0..20, 100_000).len(), 20);
        place.keep([101], 100_000);
        assert_eq!(
            place.found(0..20, 100_000),
            (0..9).collect::<Vec<_>>(),
            "a megabyte with the latest, the first ones"
        );
        assert_eq!(place.found(100..102, 100_000), [100, 101], "the latest stay");

        let place = Place::new();
        place.keep(0..20, 1_000_000);
        place.keep(100..112, 1_000_000);
        assert_eq!(place.found(0..20, 1_000_000), [0, 1, 2], "a quarter of what is used");
    }

    #[test]
    fn what_is_damaged_does_not_live_on() {
        for (length, file) in [(50, latest as fn(&Path) -> PathBuf), (100_000, rest)] {
            let place = Place::new();
            place.keep(0..3, length);
            let path = file(&place.directory());
            let mut bytes = fs::read(&path).unwrap();
            bytes[length + 10] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let earlier = place.open();
            let used = [0, 1].map(|number| place.record(number, length));
            assert_eq!(used.iter().filter(|(key, _)| earlier.get(key).is_some()).count(), 1);
            // The second one has been compiled again.
            earlier.keep(&used).unwrap();
            assert_eq!(place.found(0..3, length), [0, 1, 2]);
            let earlier = place.open();
            assert_eq!(earlier.latest.iter().chain(earlier.rest.iter()).count(), 3);
        }
    }

    #[test]
    fn packs_at_the_same_time_lose_nothing_but_time() {
        for length in [50, 100_000] {
            let place = Place::new();
            place.keep(0..3, length);
            let both = [place.open(), place.open()];
            for (number, earlier) in both.iter().enumerate() {
                earlier.keep(&[place.record(10 + number, length)]).unwrap();
            }
            let last = place.found([11], length);
            assert_eq!(last, [11]);
            place.found((0..3).chain(10..12), length);
            assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 1, "nothing half-written is left");
        }
    }

    #[test]
    fn after_any_packs_what_the_last_one_used_is_found() {
        let mut number = 1_u32;
        let mut random = |below: u32| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((number >> 8) % below) as usize
        };
        let place = Place::new();
        for _ in 0..150 {
            let first = random(60);
            let used: Vec<_> = (first..first + 1 + random(12)).collect();
            place.keep(used.iter().copied(), 20_000);
            assert_eq!(place.found(used.iter().copied(), 20_000), used);
            place.found(0..80, 20_000);
            assert!(place.lengths()[0] < Some(LATEST + 10_000));
            assert!(place.lengths()[1] < Some(2 * UNUSED), "no more than there is room for");
        }
    }
}
