//! A manifest with the bytes that stand for it.

use std::ops::Deref;

use coil_bootstrap::format::manifest::Manifest;

/// A manifest that is not changed any more, and its bytes in the section `.coil.manifest`: encoded once, because large
/// environments have megabytes of them.
#[derive(Debug, Clone)]
pub struct Encoded {
    manifest: Manifest,
    bytes: Vec<u8>,
}

impl Encoded {
    /// This manifest, encoded.
    pub fn of(manifest: Manifest) -> Self {
        Encoded { bytes: manifest.encode(), manifest }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Encoded {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}
