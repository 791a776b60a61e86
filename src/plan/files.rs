//! How the files of a listing are stored: as one text, because a pack reads thousands of them every time. It is read
//! where it lies, for which it holds nothing that JSON would write in another way.
//!
//! ```text
//! LENGTH CHECKSUM PATH;      the length of the path in bytes, because a path may hold anything; the checksum as
//!                            64 hexadecimal digits
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::path::TreePath;
use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

pub fn serialize<S: Serializer>(
    files: &BTreeMap<TreePath, Checksum>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut text = String::new();
    for (path, checksum) in files {
        // Writing to a string cannot fail.
        let _ = write!(text, "{} {} {path};", path.len(), checksum.hex());
    }
    serializer.serialize_str(&text)
}

pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<TreePath, Checksum>, D::Error> {
    deserializer.deserialize_str(Text)
}

struct Text;

impl Visitor<'_> for Text {
    type Value = BTreeMap<TreePath, Checksum>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files with their checksums")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let mut files = Vec::with_capacity(text.len() / 128);
        let mut rest = text;
        while !rest.is_empty() {
            let (file, more) = first(rest).ok_or_else(|| E::custom("a file of the listing is damaged"))?;
            files.push(file);
            rest = more;
        }
        // Sorted as they are, this is quick.
        Ok(files.into_iter().collect())
    }
}

fn first(text: &str) -> Option<((TreePath, Checksum), &str)> {
    let (length, rest) = text.split_once(' ')?;
    let (checksum, rest) = (rest.get(..64)?, rest.get(65..)?);
    let length = length.parse().ok()?;
    let (path, rest) = (rest.get(..length)?, rest.get(length..)?.strip_prefix(';')?);
    Some(((TreePath::new(path).ok()?, Checksum::from_hex(checksum)?), rest))
}

#[cfg(test)]
mod tests {
    use super::super::Listing;
    use super::*;

    #[test]
    fn a_listing_reads_back_what_was_written_and_refuses_what_was_cut() {
        let names = ["venv/a", "venv/b c", "venv/new\nline", "venv/semi;colon", "venv/ü"];
        let files = names.map(|name| (TreePath::new(name).unwrap(), Checksum::of(name.as_bytes())));
        let listing = Listing { files: files.into_iter().collect(), ..Listing::default() };
        let text = serde_json::to_string(&listing).unwrap();
        let again: Listing = serde_json::from_str(&text).unwrap();
        assert_eq!(again.files, listing.files);
        let cut = text.replace("\u{fc}", "");
        assert_ne!(cut, text);
        assert!(serde_json::from_str::<Listing>(&cut).is_err());
    }
}
