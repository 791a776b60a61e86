//! The first start: from a bundle to an environment in the cache.
//!
//! It can be killed at any byte. Everything is made in a workspace of its own and comes to its place
//! by a rename; a workspace whose owner is gone is swept away by the next first start.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::bundle::Bundle;
use crate::c_library::{self, Choice};
use crate::cache::{Cache, Candidate, OpenUmask};
use crate::clean_up;
use crate::environment::{self, Assembly};
use crate::error::{Error, Result};
use crate::format::manifest::{Layer, Manifest};
use crate::host::Host;
use crate::progress::Progress;
use crate::settle::{is_settled, settle};
use crate::trace::{self, shown};
use crate::unpack::unpack;
use crate::unpacked;
use crate::workspace::Workspace;

/// Makes sure that the environment of `bundle` is in the cache, and returns its directory.
///
/// With `repair` the caller has found it broken: everything of it that is there already is compared with the bundle, and
/// made again where it differs.
pub fn prepare(bundle: &Bundle, host: &Host, repair: bool) -> Result<PathBuf> {
    let _umask = OpenUmask::new();
    let manifest = bundle.manifest();
    let order = host.order()?;
    let libc = c_library::choose(manifest, order)?;
    let made_for = c_library::made_for(manifest, order);
    trace::say("libc", || format!("{}, where {} is carried", libc.told(), manifest.python.libc));
    let cache = choose_cache(manifest, host, libc)?;
    let lock = cache.lock(manifest.unpacked_size());
    trace::say(
        "lock",
        || if lock.is_some() { "held".into() } else { "cannot be had; going on without".into() },
    );
    let place = cache.environment(&bundle.digest());
    if !repair && environment::is_usable(&place, &made_for) {
        // Somebody else was first while we waited.
        trace::say("environment", || format!("another process has made {} by now", shown(&place)));
        return Ok(place);
    }
    cache.sweep(Some(Instant::now() + clean_up::BUDGET));
    trace::say("sweep", || "what killed starts left behind is gone".into());
    make(bundle, &cache, &made_for, repair)?;
    clean_up::now_and_then(cache.root(), &manifest.name, &place, host.keep.as_deref());
    trace::say("clean-up", || "what is not used any more was looked for, unless it was today already".into());
    Ok(place)
}

/// Unpacks into the store `named`, which everybody can read and only its owner can write, and returns the environment
/// there.
pub fn install_into(bundle: &Bundle, host: &Host, named: &Path) -> Result<PathBuf> {
    let root = std::path::absolute(named).map_err(Error::at("find", named))?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&root).map_err(Error::at("create", &root))?;
    let host = Host { candidates: vec![Candidate::at(root)], keep: Some("never".into()), ..host.clone() };
    prepare(bundle, &host, false).map_err(|error| match error {
        // It is the one place that was asked for.
        Error::NoCache(mut places) if places.len() == 1 => {
            let (place, why) = places.remove(0);
            Error::Release(format!("cannot unpack into {}: {why}", place.display()))
        }
        error => error,
    })
}

/// Makes what of the environment is missing in `cache`, with `repair` also what differs from the bundle. Returns what was
/// made. The caller holds the cache's lock, where there is one.
pub fn make(bundle: &Bundle, cache: &Cache, made_for: &str, repair: bool) -> Result<Vec<PathBuf>> {
    let manifest = bundle.manifest();
    let workspace = cache.workspace()?;
    let mut changed = unpack_missing(bundle, cache, &workspace, repair)?;
    let place = cache.environment(&bundle.digest());
    let made = workspace.directory("environment")?;
    Assembly { cache, manifest, digest: bundle.digest(), host: made_for }.assemble(&made)?;
    if repair && unpacked::compare_trees(&made, &place).is_empty() {
        return Ok(changed);
    }
    cache.publish(&made, &place, &workspace, repair || !environment::is_usable(&place, made_for))?;
    trace::say("environment", || {
        format!("{}, with {} links", shown(&place), manifest.environment.links.len())
    });
    changed.push(place);
    Ok(changed)
}

fn choose_cache(manifest: &Manifest, host: &Host, libc: Choice) -> Result<Cache> {
    let mut passed_over = Vec::new();
    for candidate in &host.candidates {
        match candidate.prepare(host.uid, manifest, libc) {
            Ok(cache) => {
                trace::say("cache", || format!("{} is taken", shown(cache.root())));
                return Ok(cache);
            }
            Err(why) => {
                trace::say("cache", || format!("{} is passed over: {why}", shown(&candidate.root)));
                passed_over.push((candidate.root.clone(), why));
            }
        }
    }
    Err(Error::NoCache(passed_over))
}

fn unpack_missing(
    bundle: &Bundle,
    cache: &Cache,
    workspace: &Workspace,
    repair: bool,
) -> Result<Vec<PathBuf>> {
    let manifest = bundle.manifest();
    // Where files vanish one by one, a directory that is there says little of what is in it.
    let compare = repair || cache.is_swept();
    let mut wanted: Vec<(&Layer, PathBuf)> = Vec::new();
    let mut replaced = Vec::new();
    for layer in &manifest.layers {
        let twice = wanted.iter().any(|(other, _)| other.digest == layer.digest);
        if twice {
            continue;
        }
        let ready = is_ready(manifest, layer, cache);
        if ready && compare && !unpacked::compare_layer(bundle, layer, cache)?.is_empty() {
            replaced.push(layer.digest);
        }
        if !ready || replaced.contains(&layer.digest) {
            wanted.push((layer, workspace.directory(&cache.directory(manifest, layer))?));
        }
    }
    let total = wanted.iter().map(|(layer, _)| layer.unpacked_size).sum();
    trace::say("layers", || format!("{} of {} are to be unpacked", wanted.len(), manifest.layers.len()));
    let progress = Progress::new(&manifest.name, total);
    unpack(bundle, &wanted, cache.libc(), &|done| progress.show(done))?;
    trace::say("unpack", || format!("{} are unpacked and verified", trace::megabytes(total)));
    for (layer, made) in &wanted {
        settle(manifest, layer, cache, made)?;
        let place = cache.layer(manifest, layer);
        // What is there by now may be somebody else's work, just as good, and in use.
        let replace = replaced.contains(&layer.digest) || !is_ready(manifest, layer, cache);
        cache.publish(made, &place, workspace, replace)?;
    }
    trace::say("settle", || "paths are written into programs, and the layers are at their places".into());
    Ok(wanted.iter().map(|(layer, _)| cache.layer(manifest, layer)).collect())
}

fn is_ready(manifest: &Manifest, layer: &Layer, cache: &Cache) -> bool {
    cache.layer(manifest, layer).is_dir() && is_settled(manifest, layer, cache)
}
