//! Mending a cache: finding what is not as it was unpacked, and making it again.
//!
//! Nothing is changed in place. What is made anew changes places with what was there, in one step, so that processes
//! that run from it find one or the other.

use std::fs;
use std::io;
use std::path::Path;

use crate::bundle::Bundle;
use crate::c_library::{self, Choice};
use crate::cache::{Cache, Candidate, OpenUmask};
use crate::environment::{Assembly, RECORD};
use crate::error::{Error, Result};
use crate::first_start::{self, make};
use crate::host::Host;
use crate::record::Record;
use crate::unpacked::{Differences, compare_layer, compare_trees};
use crate::workspace::Workspace;

/// An environment of the bundle that is in a cache.
struct Found {
    cache: Cache,
    made_for: String,
}

/// Compares everything of the bundle that is unpacked, in every cache that this user may start it from: what is to be
/// said of it, and how it ends.
pub fn check(bundle: &Bundle, host: &Host) -> Result<(String, Result<i32>)> {
    let _umask = OpenUmask::new();
    let (mut text, mut verdict) = (String::new(), Ok(0));
    for found in found(bundle, host)? {
        let place = found.cache.environment(&bundle.digest());
        let differences = compare(bundle, &found)?;
        if differences.is_empty() {
            text += &format!("{} is as it was unpacked\n", place.display());
        } else {
            text += &differences.lines();
            verdict = Err(Error::Changed { place, count: differences.count });
        }
    }
    Ok((text, verdict))
}

/// Makes everything anew that is not as it was unpacked, in every cache that this user may start the bundle from. Returns
/// what is to be said of it.
pub fn repair(bundle: &Bundle, host: &Host) -> Result<String> {
    let _umask = OpenUmask::new();
    let mut text = String::new();
    for found in found(bundle, host)? {
        let cache = &found.cache;
        let _lock = cache.lock(bundle.manifest().unpacked_size());
        // Part of a cache that somebody else has tidied.
        for name in ["layers", "tmp"] {
            let path = cache.root().join(name);
            fs::create_dir_all(&path).map_err(Error::at("create", &path))?;
        }
        cache.sweep(None);
        let made = make(bundle, cache, &found.made_for, true)?;
        for path in &made {
            text += &format!("{} is made anew\n", path.display());
        }
        if made.is_empty() {
            text += &format!("{} is as it was unpacked\n", cache.environment(&bundle.digest()).display());
        }
    }
    if text.is_empty() {
        text = "nothing is unpacked yet\n".into();
    }
    Ok(text)
}

/// Whether this reason why an environment could not be started may be damage, or a place that can execute nothing any more.
pub fn can_help(reason: &io::Error) -> bool {
    let damage = [libc::ENOENT, libc::ENOTDIR, libc::ELOOP, libc::EACCES, libc::EISDIR, libc::ENOEXEC];
    reason.raw_os_error().is_some_and(|error| damage.contains(&error))
}

/// Compares, and mends, the environment in a place where the machine removes old files one by one. For the first start of
/// a day; whether it works is of no importance, as nothing may be wrong at all.
pub fn look_after(host: &Host, candidate: &Candidate, bundle: impl Fn() -> Result<Bundle>) {
    let host = Host { candidates: vec![candidate.clone()], ..host.clone() };
    let _ = bundle().and_then(|bundle| first_start::prepare(&bundle, &host, true));
}

fn found(bundle: &Bundle, host: &Host) -> Result<Vec<Found>> {
    let ours = c_library::made_for(bundle.manifest(), host.order()?);
    let mut all = Vec::new();
    for candidate in host.candidates.iter().filter(|candidate| candidate.distrust(host.uid).is_none()) {
        for libc in [Choice::HostWithCompiler, Choice::Carried, Choice::Host] {
            let cache = candidate.as_it_is(libc);
            let place = cache.environment(&bundle.digest());
            if fs::symlink_metadata(&place).is_ok() {
                // It may be another host's, where they share a cache.
                let record = fs::read(place.join(RECORD)).unwrap_or_default();
                let theirs = Record::parse(&record).map(|record| record.host.to_owned());
                all.push(Found { cache, made_for: theirs.unwrap_or_else(|| ours.clone()) });
            }
        }
    }
    Ok(all)
}

fn compare(bundle: &Bundle, found: &Found) -> Result<Differences> {
    let (manifest, cache) = (bundle.manifest(), &found.cache);
    let mut differences = Differences::default();
    for (index, layer) in manifest.layers.iter().enumerate() {
        if !manifest.layers[..index].iter().any(|other| other.digest == layer.digest) {
            differences.extend(compare_layer(bundle, layer, cache)?);
        }
    }
    let place = cache.environment(&bundle.digest());
    // One to compare with: beside it, or where temporary files go when the store is not this user's to write.
    let workspace = cache.workspace().or_else(|_| Workspace::create_in(&std::env::temp_dir()));
    let model = workspace.as_ref().ok().map(|workspace| workspace.path().join("environment"));
    let assembled = model.as_deref().map(|model| assemble(bundle, found, model));
    match (assembled, model) {
        (Some(Ok(())), Some(model)) => differences.extend(compare_trees(&model, &place)),
        (Some(Err(error)), _) => differences.add(&place, Some(format!("cannot be compared: {error}"))),
        _ => differences.add(&place, Some("cannot be compared: there is no room for temporary files".into())),
    }
    Ok(differences)
}

fn assemble(bundle: &Bundle, found: &Found, target: &Path) -> Result<()> {
    fs::create_dir(target).map_err(Error::at("create", target))?;
    let (manifest, digest) = (bundle.manifest(), bundle.digest());
    Assembly { cache: &found.cache, manifest, digest, host: &found.made_for }.assemble(target)
}
