//! BLAKE3 checksums: what a first start compares blobs with.
//!
//! They say the same as a SHA-256 digest and take a tenth of the time on a CPU without instructions for that one,
//! where it would be a third of all that a first start does.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;

const PREFIX: &str = "blake3:";

/// A BLAKE3 hash of 32 bytes, written `blake3:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Checksum(blake3::hash(bytes).into())
    }

    /// The 64 hexadecimal digits, without the algorithm: a file name that is safe everywhere.
    pub fn hex(&self) -> String {
        Digest::from_bytes(self.0).hex()
    }
}

/// A checksum in the making.
#[derive(Debug, Default, Clone)]
pub struct Summing(blake3::Hasher);

impl Summing {
    /// Adds what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything that was added.
    pub fn finish(&self) -> Checksum {
        Checksum(self.0.finalize().into())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix(PREFIX).and_then(Digest::from_hex);
        digits
            .map(|digits| Checksum(*digits.as_bytes()))
            .ok_or_else(|| format!("{text:?} is not a checksum (blake3: and 64 hexadecimal digits)"))
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_blake3_and_reads_back_what_it_prints() {
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Checksum::of(b"").hex(), empty, "the first of the official test vectors");
        let mut summing = Summing::default();
        [b"co", b"il"].iter().for_each(|part| summing.update(*part));
        let sum = summing.finish();
        assert_eq!(sum, Checksum::of(b"coil"));
        assert_eq!(sum.to_string().parse(), Ok(sum));
        assert!(format!("sha256:{}", sum.hex()).parse::<Checksum>().is_err());
    }
}
