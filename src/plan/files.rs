//! The files of a listing: as one text, in memory as they are stored.
//!
//! A pack reads tens of thousands of them every time, and looks at the few whose directories several layers share. So the text stays
//! what it is, and only where each file stands in it is found out at once. It holds nothing that JSON would write in
//! another way.
//!
//! ```text
//! LENGTH CHECKSUM PATH;      the length of the path in bytes, because a path may hold anything; 128 bits of the checksum as
//!                            hexadecimal digits, enough to tell that two contents are the same; in the order of the paths
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::path::TreePath;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many hexadecimal digits of a checksum there are. A third less has to be read than with all 64.
const DIGITS: usize = 32;

/// Every file and link of a layer by its path, with the checksum of its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    text: String,
    /// In the order of the paths.
    places: Vec<Place>,
}

/// Where in the text a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    checksum: usize,
    path: usize,
    end: usize,
}

/// A file or link of a layer.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its path in the layer. What was damaged in the cache may be none.
    pub path: &'a str,
    digits: &'a str,
}

impl Files {
    /// All paths, in their order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| self.file(place).path)
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<File<'_>> {
        let place = self.places.binary_search_by(|place| self.file(place).path.cmp(path)).ok()?;
        Some(self.file(&self.places[place]))
    }

    /// The first file whose path is `path` or comes after it, and all that follow.
    pub fn from<'a>(&'a self, path: &str) -> impl Iterator<Item = File<'a>> + use<'a> {
        let first = self.places.partition_point(|place| self.file(place).path < path);
        self.places[first..].iter().map(|place| self.file(place))
    }

    /// Reads where each file stands; `None` if the text is not one that was written here.
    fn of(text: String) -> Option<Files> {
        let mut places: Vec<Place> = Vec::with_capacity(text.len() / 128);
        let (mut at, mut last) = (0, "");
        while at < text.len() {
            let (length, _) = text[at..].split_once(' ')?;
            let checksum = at + length.len() + 1;
            let path = checksum.checked_add(DIGITS + 1)?;
            let end = path.checked_add(length.parse().ok()?)?;
            let (digits, name) = (text.get(checksum..path)?, text.get(path..end)?);
            let follows = places.is_empty() || last < name;
            if !follows || !digits.ends_with(' ') || text.get(end..=end) != Some(";") {
                return None;
            }
            places.push(Place { checksum, path, end });
            (at, last) = (end + 1, name);
        }
        Some(Files { text, places })
    }

    fn file(&self, place: &Place) -> File<'_> {
        let Place { checksum, path, end } = *place;
        File { path: &self.text[path..end], digits: &self.text[checksum..path - 1] }
    }
}

impl<'a> File<'a> {
    /// Whether both have the same content.
    pub fn is_like(&self, other: &File) -> bool {
        self.digits == other.digits
    }

    /// What tells its content from others: the first half of its checksum, as hexadecimal digits.
    pub fn checksum(&self) -> &'a str {
        self.digits
    }
}

/// As much of a checksum as is kept of a file's.
pub fn digits(checksum: &Checksum) -> String {
    let mut digits = checksum.hex();
    digits.truncate(DIGITS);
    digits
}

impl FromIterator<(TreePath, Checksum)> for Files {
    fn from_iter<I: IntoIterator<Item = (TreePath, Checksum)>>(files: I) -> Self {
        let sorted: BTreeMap<TreePath, Checksum> = files.into_iter().collect();
        let mut files = Files::default();
        for (path, checksum) in &sorted {
            // Writing to a string cannot fail.
            let _ = write!(files.text, "{} {} {path};", path.len(), digits(checksum));
            let end = files.text.len() - 1;
            let start = end - path.len();
            files.places.push(Place { checksum: start - 1 - DIGITS, path: start, end });
        }
        files
    }
}

impl Serialize for Files {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Files;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files with their checksums")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Files, E> {
        Files::of(text.to_owned()).ok_or_else(|| E::custom("a file of the listing is damaged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["venv/a", "venv/b c", "venv/new\nline", "venv/semi;colon", "venv/ü"];

    fn files() -> Files {
        NAMES.iter().map(|name| (TreePath::new(*name).unwrap(), Checksum::of(name.as_bytes()))).collect()
    }

    #[test]
    fn a_listing_reads_back_what_was_written_and_refuses_what_was_cut() {
        let text = serde_json::to_string(&files()).unwrap();
        let again: Files = serde_json::from_str(&text).unwrap();
        assert_eq!(again, files());
        assert!(again.paths().eq(NAMES));
        for name in NAMES {
            assert_eq!(again.get(name).unwrap().checksum(), digits(&Checksum::of(name.as_bytes())));
        }
        assert!(again.get("venv").is_none() && again.get("venv/b").is_none());
        let from = |path| again.from(path).map(|file| file.path).collect::<Vec<_>>();
        assert_eq!(from("venv/b"), NAMES[1..]);
        assert_eq!(from("venv/semi;colon"), NAMES[3..]);
        let whole = files().text;
        for (end, _) in whole.char_indices().skip(1) {
            let complete = whole[..end].ends_with(';') && Files::of(whole[..end].to_owned()).is_some();
            let cut = Files::of(whole[..end].to_owned());
            assert_eq!(cut.is_some(), complete);
            assert!(cut.is_none_or(|files| files.paths().eq(NAMES.into_iter().take(files.places.len()))));
        }
    }

    #[test]
    fn no_damaged_text_makes_a_listing_panic_or_lose_its_order() {
        let whole = files().text.into_bytes();
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bad = whole.clone();
            bad[at] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bad) else { continue };
            if let Some(files) = Files::of(text) {
                assert!(files.paths().is_sorted() && files.from("venv/b").count() <= NAMES.len());
            }
        }
    }
}
