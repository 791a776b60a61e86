//! A header of an rpm: values by their tags.
//!
//! ```text
//! 8E AD E8 01  00 00 00 00    magic
//! count  length               of entries; of the store, in bytes
//! tag  type  offset  count    an entry, 16 bytes; the first is the region, which says that all entries belong together
//! ...
//! the store                   the values; the region's own is an entry of its own, at the end
//! ```
//! All numbers are big-endian. Texts end with a NUL; numbers begin at a multiple of their size.

use std::collections::BTreeMap;

pub const SIGNATURES: u32 = 62;
pub const IMMUTABLE: u32 = 63;
pub const LOCALES: u32 = 100;
pub const SIG_SHA256: u32 = 273;
pub const SIG_SIZE: u32 = 1000;
pub const SIG_PAYLOAD_SIZE: u32 = 1007;
pub const NAME: u32 = 1000;
pub const VERSION: u32 = 1001;
pub const RELEASE: u32 = 1002;
pub const EPOCH: u32 = 1003;
pub const SUMMARY: u32 = 1004;
pub const DESCRIPTION: u32 = 1005;
pub const BUILD_TIME: u32 = 1006;
pub const BUILD_HOST: u32 = 1007;
pub const SIZE: u32 = 1009;
pub const LICENSE: u32 = 1014;
pub const PACKAGER: u32 = 1015;
pub const GROUP: u32 = 1016;
pub const URL: u32 = 1020;
pub const SYSTEM: u32 = 1021;
pub const ARCHITECTURE: u32 = 1022;
pub const POST: u32 = 1024;
pub const PREUN: u32 = 1025;
pub const POSTUN: u32 = 1026;
pub const FILE_SIZES: u32 = 1028;
pub const FILE_MODES: u32 = 1030;
pub const FILE_SPECIAL: u32 = 1033;
pub const FILE_TIMES: u32 = 1034;
pub const FILE_DIGESTS: u32 = 1035;
pub const FILE_TARGETS: u32 = 1036;
pub const FILE_FLAGS: u32 = 1037;
pub const FILE_USERS: u32 = 1039;
pub const FILE_GROUPS: u32 = 1040;
pub const SOURCE_PACKAGE: u32 = 1044;
pub const FILE_VERIFY: u32 = 1045;
pub const PROVIDES: u32 = 1047;
pub const REQUIRE_FLAGS: u32 = 1048;
pub const REQUIRES: u32 = 1049;
pub const REQUIRE_VERSIONS: u32 = 1050;
pub const RPM_VERSION: u32 = 1064;
pub const POST_PROGRAM: u32 = 1086;
pub const PREUN_PROGRAM: u32 = 1087;
pub const POSTUN_PROGRAM: u32 = 1088;
pub const FILE_DEVICES: u32 = 1095;
pub const FILE_INODES: u32 = 1096;
pub const FILE_LANGUAGES: u32 = 1097;
pub const PROVIDE_FLAGS: u32 = 1112;
pub const PROVIDE_VERSIONS: u32 = 1113;
pub const DIRECTORY_INDEXES: u32 = 1116;
pub const BASE_NAMES: u32 = 1117;
pub const DIRECTORIES: u32 = 1118;
pub const PAYLOAD_FORMAT: u32 = 1124;
pub const PAYLOAD_COMPRESSOR: u32 = 1125;
pub const PAYLOAD_FLAGS: u32 = 1126;
pub const FILE_DIGEST_ALGORITHM: u32 = 5011;
pub const RECOMMENDS: u32 = 5046;
pub const RECOMMEND_VERSIONS: u32 = 5047;
pub const RECOMMEND_FLAGS: u32 = 5048;
pub const ENCODING: u32 = 5062;
pub const PAYLOAD_DIGEST: u32 = 5092;
pub const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;
pub const PAYLOAD_DIGEST_PLAIN: u32 = 5097;

/// Types of values (rpmtag.h).
const INT16: u32 = 3;
const INT32: u32 = 4;
const STRING: u32 = 6;
const BINARY: u32 = 7;
const STRINGS: u32 = 8;
const TRANSLATED: u32 = 9;

/// The length of an entry, in bytes.
const ENTRY: usize = 16;

/// A header in the making.
#[derive(Debug, Default)]
pub struct Header(BTreeMap<u32, Value>);

#[derive(Debug)]
struct Value {
    kind: u32,
    count: usize,
    bytes: Vec<u8>,
}

impl Header {
    /// One text.
    pub fn text(&mut self, tag: u32, text: &str) {
        self.0.insert(tag, Value { kind: STRING, count: 1, bytes: terminated([text]) });
    }

    /// A text that could have translations.
    pub fn translated(&mut self, tag: u32, text: &str) {
        self.0.insert(tag, Value { kind: TRANSLATED, count: 1, bytes: terminated([text]) });
    }

    /// Texts.
    pub fn texts(&mut self, tag: u32, texts: &[String]) {
        let bytes = terminated(texts.iter().map(String::as_str));
        self.0.insert(tag, Value { kind: STRINGS, count: texts.len(), bytes });
    }

    /// Numbers of 32 bits.
    pub fn numbers(&mut self, tag: u32, numbers: &[u32]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.0.insert(tag, Value { kind: INT32, count: numbers.len(), bytes });
    }

    /// Numbers of which the lower 16 bits are written.
    pub fn shorts(&mut self, tag: u32, numbers: &[u32]) {
        let bytes = numbers.iter().flat_map(|number| (*number as u16).to_be_bytes()).collect();
        self.0.insert(tag, Value { kind: INT16, count: numbers.len(), bytes });
    }

    /// Its bytes, as one region with this tag.
    pub fn encode(&self, region: u32) -> Vec<u8> {
        let (mut entries, mut store) = (Vec::new(), Vec::new());
        for (tag, value) in &self.0 {
            let unit = match value.kind {
                INT16 => 2,
                INT32 => 4,
                _ => 1,
            };
            store.resize(store.len().next_multiple_of(unit), 0);
            entries.extend(entry(*tag, value.kind, store.len() as u32, value.count as u32));
            store.extend(&value.bytes);
        }
        let count = self.0.len() + 1;
        let first = entry(region, BINARY, store.len() as u32, ENTRY as u32);
        // How far back the entries begin.
        store.extend(entry(region, BINARY, ((count * ENTRY) as u32).wrapping_neg(), ENTRY as u32));
        let mut bytes = vec![0x8E, 0xAD, 0xE8, 1, 0, 0, 0, 0];
        bytes.extend((count as u32).to_be_bytes());
        bytes.extend((store.len() as u32).to_be_bytes());
        bytes.extend(first);
        bytes.extend(entries);
        bytes.extend(store);
        bytes
    }
}

fn entry(tag: u32, kind: u32, offset: u32, count: u32) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    for (at, number) in [tag, kind, offset, count].into_iter().enumerate() {
        bytes[4 * at..4 * at + 4].copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

fn terminated<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    // A NUL would end the text.
    texts.into_iter().flat_map(|text| text.bytes().filter(|byte| *byte != 0).chain([0])).collect()
}
