//! The stamp: the digest of the manifest, inside the launcher's own memory.
//!
//! A warm start must know which environment is its own without opening the bundle. So the launcher
//! has 64 bytes in a section of its own, `.coil.stamp`, that are loaded with it and that the packer
//! fills in:
//!
//! ```text
//!  0  16  "coil bundle 1\0\0\0"
//! 16  32  SHA-256 of the manifest
//! 48  16  zero
//! ```

use super::digest::Digest;

/// The name of the section.
pub const SECTION: &str = ".coil.stamp";

/// How long a stamp is, in bytes.
pub const SIZE: usize = 64;

const MAGIC: &[u8; 16] = b"coil bundle 1\0\0\0";

/// The stamp of a launcher that no bundle has been made of yet.
pub const BLANK: [u8; SIZE] = stamp([0; 32]);

/// The stamp that names the manifest with this digest.
pub const fn of(manifest: &Digest) -> [u8; SIZE] {
    stamp(*manifest.as_bytes())
}

const fn stamp(digest: [u8; 32]) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let mut i = 0;
    while i < 16 {
        bytes[i] = MAGIC[i];
        i += 1;
    }
    while i < 48 {
        bytes[i] = digest[i - 16];
        i += 1;
    }
    bytes
}

/// The digest in a stamp; `None` for a blank one and for anything that is not a stamp.
pub fn read(bytes: &[u8]) -> Option<Digest> {
    let digest: [u8; 32] = bytes.get(16..48)?.try_into().ok()?;
    let stamped = bytes.len() == SIZE && bytes.starts_with(MAGIC) && digest != [0; 32];
    stamped.then_some(Digest::from_bytes(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_and_a_blank_one_names_nothing() {
        let digest = Digest::of(b"manifest");
        assert_eq!(read(&of(&digest)), Some(digest));
        assert_eq!(read(&BLANK), None);
        assert_eq!(read(&of(&digest)[..63]), None);
        assert_eq!(read(b"ELF"), None);
    }
}
