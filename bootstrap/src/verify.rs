//! Comparing a bundle with what it says of itself.

use sha2::{Digest as _, Sha256};

use crate::bundle::Bundle;
use crate::error::Result;
use crate::format::Damage;
use crate::format::digest::Digest;

/// Reads every layer and compares its digest and its frame index with the manifest.
pub fn verify(bundle: &Bundle) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for layer in &bundle.manifest().layers {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        while offset < layer.size {
            let step = (layer.size - offset).min(buffer.len() as u64) as usize;
            bundle.read_layer(layer, offset, &mut buffer[..step])?;
            hasher.update(&buffer[..step]);
            offset += step as u64;
        }
        if Digest::from_bytes(hasher.finalize().into()) != layer.digest {
            let what = format!("the layer {} has another digest than it should", layer.name);
            return Err(bundle.damaged(Damage::new(what)));
        }
        bundle.frames(layer)?;
    }
    Ok(())
}
