//! Comparing a bundle with what it says of itself.
//!
//! The stamp vouches for the manifest, the manifest for every byte of the layers. What a layer holds is
//! looked into only after its digest is found right, so a fault told here is the packer's or the disk's.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::archive::Archive;
use crate::bundle::Bundle;
use crate::error::Result;
use crate::format::Damage;
use crate::format::checksum::{Checksum, Summing};
use crate::format::digest::Digest;
use crate::format::manifest::Layer;

/// Checks everything and stops at the first fault.
pub fn verify(bundle: &Bundle) -> Result<()> {
    check_stamp(bundle)?;
    (0..bundle.manifest().layers.len()).try_for_each(|index| check_layer(bundle, index))
}

/// Compares the manifest's digest with the stamp.
pub fn check_stamp(bundle: &Bundle) -> Result<()> {
    if bundle.stamped()? != Some(bundle.digest()) {
        return Err(bundle.damaged(Damage::new("its manifest has another digest than its stamp")));
    }
    Ok(())
}

/// Compares a layer, by its place in the manifest, with its digest, its checksum, its frame index and its diff_id, and
/// looks for everything the manifest names in it. At most a frame is in memory at a time.
pub fn check_layer(bundle: &Bundle, index: usize) -> Result<()> {
    let layer = &bundle.manifest().layers[index];
    let damaged = |what: String| bundle.damaged(Damage::new(format!("the layer {} {what}", layer.name)));
    let (digest, checksum) = sums(bundle, layer)?;
    if digest != layer.digest {
        return Err(damaged("has another digest than it should".into()));
    }
    if checksum != layer.checksum {
        return Err(damaged("has another checksum than it should".into()));
    }
    let mut archive = Archive::open(bundle, layer)?;
    let mut named = named(bundle, index);
    let mut last = None;
    while let Some(entry) = archive.entry()? {
        if last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(damaged(format!("has {} out of order", entry.path)));
        }
        named.remove(entry.path.as_str());
        last = Some(entry.path);
    }
    if archive.finish()? != layer.diff_id {
        return Err(damaged("unpacks to another archive than it should".into()));
    }
    match named.first() {
        None => Ok(()),
        Some(path) => Err(damaged(format!("has no {path}, which the manifest names"))),
    }
}

fn sums(bundle: &Bundle, layer: &Layer) -> Result<(Digest, Checksum)> {
    let mut hasher = Sha256::new();
    let mut sum = Summing::default();
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < layer.size {
        let step = (layer.size - offset).min(buffer.len() as u64) as usize;
        bundle.read_layer(layer, offset, &mut buffer[..step])?;
        hasher.update(&buffer[..step]);
        sum.update(&buffer[..step]);
        offset += step as u64;
    }
    Ok((Digest::from_bytes(hasher.finalize().into()), sum.finish()))
}

/// The paths in a layer that the manifest relies on.
fn named(bundle: &Bundle, index: usize) -> BTreeSet<&str> {
    let manifest = bundle.manifest();
    let plan = &manifest.environment;
    let sources = plan.links.values().chain(plan.scripts.values());
    let mut named: BTreeSet<&str> =
        sources.filter(|source| source.layer == index).map(|source| source.path.as_str()).collect();
    if index == 0 {
        named.extend([manifest.python.executable.as_str(), manifest.python.loader.as_str()]);
    }
    named
}
