//! The first start: from a bundle to an environment in the cache.
//!
//! It can be killed at any byte. Everything is made in a workspace of its own and comes to its place
//! by a rename; a workspace whose owner is gone is swept away by the next first start.

use std::path::PathBuf;

use crate::bundle::Bundle;
use crate::cache::{Cache, OpenUmask, Workspace};
use crate::environment::{self, Assembly};
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::manifest::{Layer, Manifest};
use crate::host::Host;
use crate::progress::Progress;
use crate::unpack::unpack;

/// Makes sure that the environment of `bundle` is in the cache, and returns its directory.
///
/// With `repair` an environment that is there already is made again: the caller has found it broken.
pub fn prepare(bundle: &Bundle, host: &Host, repair: bool) -> Result<PathBuf> {
    let _umask = OpenUmask::new();
    let cache = choose_cache(bundle.manifest(), host)?;
    let _lock = cache.lock(bundle.manifest().unpacked_size());
    let place = cache.environment(&bundle.digest());
    if !repair && environment::is_usable(&place) {
        // Somebody else was first while we waited.
        return Ok(place);
    }
    cache.sweep();
    let workspace = cache.workspace()?;
    unpack_missing(bundle, &cache, &workspace)?;
    let made = workspace.directory("environment")?;
    Assembly { cache: &cache, manifest: bundle.manifest(), digest: bundle.digest() }.assemble(&made)?;
    cache.publish(&made, &place, &workspace, repair || !environment::is_usable(&place))?;
    Ok(place)
}

fn choose_cache(manifest: &Manifest, host: &Host) -> Result<Cache> {
    let mut passed_over = Vec::new();
    for candidate in &host.candidates {
        match candidate.prepare(host.uid, manifest) {
            Ok(cache) => return Ok(cache),
            Err(why) => passed_over.push((candidate.root.clone(), why)),
        }
    }
    Err(Error::NoCache(passed_over))
}

fn unpack_missing(bundle: &Bundle, cache: &Cache, workspace: &Workspace) -> Result<()> {
    let manifest = bundle.manifest();
    let mut wanted: Vec<(&Layer, PathBuf)> = Vec::new();
    for layer in &manifest.layers {
        let twice = wanted.iter().any(|(other, _)| other.digest == layer.digest);
        if !twice && !is_ready(manifest, layer, cache) {
            wanted.push((layer, workspace.directory(&layer.digest.hex())?));
        }
    }
    let total = wanted.iter().map(|(layer, _)| layer.unpacked_size).sum();
    let progress = Progress::new(&manifest.name, total);
    unpack(bundle, &wanted, &|done| progress.show(done))?;
    for (layer, made) in &wanted {
        let place = cache.layer(&layer.digest);
        if is_runtime(manifest, &layer.digest) {
            environment::settle_runtime(&manifest.python, made, &place)?;
        }
        // What is there by now may be somebody else's work, just as good, and in use.
        cache.publish(made, &place, workspace, !is_ready(manifest, layer, cache))?;
    }
    Ok(())
}

fn is_ready(manifest: &Manifest, layer: &Layer, cache: &Cache) -> bool {
    let place = cache.layer(&layer.digest);
    if is_runtime(manifest, &layer.digest) {
        return environment::is_settled(&manifest.python, &place);
    }
    place.is_dir()
}

fn is_runtime(manifest: &Manifest, digest: &Digest) -> bool {
    manifest.layers.first().is_some_and(|runtime| runtime.digest == *digest)
}
