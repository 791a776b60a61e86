//! The offer: what the file that is to be sent is made of, so that the receiver can say what it lacks.
//!
//! ```text
//! size      u64    of the file
//! checksum  32     BLAKE3 of the file
//! release   12     the first digits of the manifest's digest
//! items:    u8     0: changes with every bundle, always sent unless it arrived before
//!                  1: a piece that other bundles have as well
//!                  2: a layer that the following items make up
//!           u64    its length
//!           32     BLAKE3 of it (1 and 2)
//!           u32    of how many items (2)
//! ```
//!
//! Integers are little-endian; the items of kind 0 and 1 fill the file in order. A layer of more than one frame is
//! offered whole and in frames: the receiver that has another state of it often has most of its frames. Pure bytes.

use std::ops::Range;

use super::wire::le64;
use crate::format::checksum::Checksum;

/// How many digits of the manifest's digest name a release.
pub const RELEASE_DIGITS: usize = 12;

/// What a file is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The file's length in bytes.
    pub size: u64,
    /// Its checksum.
    pub checksum: Checksum,
    /// The name of the release: [`RELEASE_DIGITS`] hexadecimal digits.
    pub release: String,
    /// What fills the file, in order.
    pub items: Vec<Item>,
    /// Which of these together are a layer.
    pub layers: Vec<Group>,
}

/// A piece of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where in the file it is.
    pub range: Range<u64>,
    /// Its checksum; `None` for what no other file has.
    pub checksum: Option<Checksum>,
}

/// Several items that are known by one checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which items.
    pub items: Range<usize>,
    /// Where in the file they are.
    pub range: Range<u64>,
    /// The checksum of all that.
    pub checksum: Checksum,
}

impl Offer {
    /// The bytes that say this.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_le_bytes().to_vec();
        bytes.extend(self.checksum.as_bytes());
        bytes.extend(self.release.bytes());
        let mut layers = self.layers.iter().peekable();
        for (index, item) in self.items.iter().enumerate() {
            if let Some(layer) = layers.next_if(|layer| layer.items.start == index) {
                put(&mut bytes, 2, &layer.range, Some(&layer.checksum));
                bytes.extend((layer.items.len() as u32).to_le_bytes());
            }
            put(&mut bytes, u8::from(item.checksum.is_some()), &item.range, item.checksum.as_ref());
        }
        bytes
    }

    /// Reads an offer and checks that its items fill the file, and its layers their items.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let size = number(&mut rest)?;
        let checksum = checksum(&mut rest)?;
        let release = String::from_utf8(take(&mut rest, RELEASE_DIGITS)?.to_vec()).ok()?;
        if !is_release(&release) {
            return None;
        }
        let mut offer = Offer { size, checksum, release, items: Vec::new(), layers: Vec::new() };
        let mut end = 0u64;
        while let Some(kind) = rest.split_off_first() {
            let length = number(&mut rest).filter(|length| *length > 0)?;
            let range = end..end.checked_add(length)?;
            match kind {
                0 | 1 => {
                    let checksum = if *kind == 1 { Some(self::checksum(&mut rest)?) } else { None };
                    end = range.end;
                    offer.items.push(Item { range, checksum });
                }
                2 => {
                    let checksum = self::checksum(&mut rest)?;
                    let count = take(&mut rest, 4)?.first_chunk().map(|count| u32::from_le_bytes(*count))?;
                    let first = offer.items.len();
                    let items = first..first.checked_add(count as usize)?;
                    offer.layers.push(Group { items, range, checksum });
                }
                _ => return None,
            }
        }
        (end == size && offer.layers_fit()).then_some(offer)
    }

    /// Whether every layer is made up of its items, and no two share one.
    fn layers_fit(&self) -> bool {
        let mut end = 0;
        self.layers.iter().all(|layer| {
            let items = self.items.get(layer.items.clone()).unwrap_or_default();
            let ends = items.first().zip(items.last());
            let fits = ends.is_some_and(|(first, last)| (first.range.start..last.range.end) == layer.range);
            let apart = layer.items.start >= end;
            end = layer.items.end;
            fits && apart
        })
    }
}

/// Whether this can be the name of a release.
pub fn is_release(text: &str) -> bool {
    text.len() == RELEASE_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn put(bytes: &mut Vec<u8>, kind: u8, range: &Range<u64>, checksum: Option<&Checksum>) {
    bytes.push(kind);
    bytes.extend((range.end - range.start).to_le_bytes());
    bytes.extend(checksum.into_iter().flat_map(Checksum::as_bytes));
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    rest.split_off(..count)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    le64(take(rest, 8)?)
}

fn checksum(rest: &mut &[u8]) -> Option<Checksum> {
    take(rest, 32)?.first_chunk().map(|bytes| Checksum::from_bytes(*bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An offer with every kind of item.
    pub fn some() -> Offer {
        let item = |range, text: Option<&str>| Item {
            range,
            checksum: text.map(|text| Checksum::of(text.as_bytes())),
        };
        Offer {
            size: 400,
            checksum: Checksum::of(b"whole"),
            release: "0123456789ab".into(),
            items: vec![
                item(0..64, None),
                item(64..100, Some("launcher")),
                item(100..200, Some("frame")),
                item(200..201, None),
                item(201..400, Some("app")),
            ],
            layers: vec![Group { items: 2..4, range: 100..201, checksum: Checksum::of(b"layer") }],
        }
    }

    #[test]
    fn an_offer_reads_back_and_a_cut_one_is_none() {
        let bytes = some().encode();
        assert_eq!(Offer::parse(&bytes), Some(some()));
        for cut in 0..bytes.len() {
            assert_eq!(Offer::parse(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn items_that_do_not_fill_the_file_and_layers_that_are_not_their_items_are_refused() {
        let changed = |change: fn(&mut Offer)| {
            let mut offer = some();
            change(&mut offer);
            Offer::parse(&offer.encode())
        };
        assert_eq!(changed(|offer| offer.size = 399), None);
        assert_eq!(changed(|offer| offer.release = "0123456789aB".into()), None);
        assert_eq!(changed(|offer| offer.release = "../456789abc".into()), None);
        assert_eq!(changed(|offer| offer.layers[0].range = 100..202), None);
        assert_eq!(changed(|offer| offer.layers[0].items = 2..9), None);
        assert_eq!(changed(|offer| offer.items[3].range = 200..200), None);
        assert_eq!(changed(|offer| offer.items[4].range = 201..u64::MAX), None);
    }
}
