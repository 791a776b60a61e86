//! SHA-256 digests, the names of layers, manifests and environments.

use sha2::{Digest as _, Sha256};

use super::hash_text::hash_text;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits, as in the OCI image
/// specification ("Digests").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest whose 32 bytes are given.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

hash_text!(Digest, "sha256:", "digest");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest = Digest::of(b"coil");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn upper_case_short_and_foreign_digests_are_refused() {
        let hex = Digest::of(b"coil").hex();
        assert!(Digest::from_hex(&hex.to_uppercase()).is_none());
        assert!(Digest::from_hex(&hex[1..]).is_none());
        assert!(format!("sha512:{hex}").parse::<Digest>().is_err());
    }
}
