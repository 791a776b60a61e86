//! Which repository of a registry has which blob, as far as earlier pushes from here know.
//!
//! So that a layer that one app brought to a registry is taken over from there for the next. It is a memory and nothing
//! more: what it says may be wrong, and then the layer is sent.
//!
//! ```text
//! ROOT/pushed/HOST/HEX    a file for every blob: the repository
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::digest::Digest;

/// The memory for one registry.
pub struct Pushed {
    directory: PathBuf,
}

impl Pushed {
    /// What is known of `host`, below the cache directory `cache`.
    pub fn open(cache: &Path, host: &str) -> Pushed {
        Pushed { directory: cache.join("pushed").join(host.replace(['/', ':'], "_")) }
    }

    /// A repository that had this blob once.
    pub fn repository(&self, digest: &Digest) -> Option<String> {
        let text = fs::read_to_string(self.directory.join(digest.hex())).ok()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
        Some(text).filter(|text| !text.is_empty() && text.chars().all(plain))
    }

    /// Remembers that `repository` has this blob. That it cannot be written down costs the next push time.
    pub fn remember(&self, digest: &Digest, repository: &str) {
        let _ = fs::create_dir_all(&self.directory);
        let _ = fs::write(self.directory.join(digest.hex()), repository);
    }
}
