//! The first start: from a bundle to an environment in the cache.
//!
//! It can be killed at any byte. Everything is made in a workspace of its own and comes to its place
//! by a rename; a workspace whose owner is gone is swept away by the next first start.

use std::path::PathBuf;
use std::time::Instant;

use crate::bundle::Bundle;
use crate::c_library::{self, Choice};
use crate::cache::{Cache, OpenUmask};
use crate::clean_up;
use crate::environment::{self, Assembly};
use crate::error::{Error, Result};
use crate::format::manifest::{Layer, Manifest};
use crate::host::Host;
use crate::progress::Progress;
use crate::settle::{is_settled, settle};
use crate::unpack::unpack;
use crate::workspace::Workspace;

/// Makes sure that the environment of `bundle` is in the cache, and returns its directory.
///
/// With `repair` an environment that is there already is made again: the caller has found it broken.
pub fn prepare(bundle: &Bundle, host: &Host, repair: bool) -> Result<PathBuf> {
    let _umask = OpenUmask::new();
    let manifest = bundle.manifest();
    let order = host.order()?;
    let libc = c_library::choose(manifest, order)?;
    let made_for = c_library::made_for(manifest, order);
    let cache = choose_cache(manifest, host, libc)?;
    let _lock = cache.lock(manifest.unpacked_size());
    let place = cache.environment(&bundle.digest());
    if !repair && environment::is_usable(&place, &made_for) {
        // Somebody else was first while we waited.
        return Ok(place);
    }
    cache.sweep(Some(Instant::now() + clean_up::BUDGET));
    let workspace = cache.workspace()?;
    unpack_missing(bundle, &cache, &workspace)?;
    let made = workspace.directory("environment")?;
    Assembly { cache: &cache, manifest, digest: bundle.digest(), host: &made_for }.assemble(&made)?;
    cache.publish(&made, &place, &workspace, repair || !environment::is_usable(&place, &made_for))?;
    clean_up::now_and_then(cache.root(), &manifest.name, &place, host.keep.as_deref());
    Ok(place)
}

fn choose_cache(manifest: &Manifest, host: &Host, libc: Choice) -> Result<Cache> {
    let mut passed_over = Vec::new();
    for candidate in &host.candidates {
        match candidate.prepare(host.uid, manifest, libc) {
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
            wanted.push((layer, workspace.directory(&cache.directory(manifest, layer))?));
        }
    }
    let total = wanted.iter().map(|(layer, _)| layer.unpacked_size).sum();
    let progress = Progress::new(&manifest.name, total);
    unpack(bundle, &wanted, &|done| progress.show(done))?;
    for (layer, made) in &wanted {
        settle(manifest, layer, cache, made)?;
        let place = cache.layer(manifest, layer);
        // What is there by now may be somebody else's work, just as good, and in use.
        cache.publish(made, &place, workspace, !is_ready(manifest, layer, cache))?;
    }
    Ok(())
}

fn is_ready(manifest: &Manifest, layer: &Layer, cache: &Cache) -> bool {
    cache.layer(manifest, layer).is_dir() && is_settled(manifest, layer, cache)
}
