//! `coil cache`: where the cache is, what it holds, and the removal of what is no longer used.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::cache::{self, SYSTEM_STORE};
use coil_bootstrap::clean_up::{self, Removed, Rules};
use coil_bootstrap::first_start::{self, install_into};
use coil_bootstrap::host::Host;
use coil_bootstrap::verify::check_stamp;

use super::inspect::size;
use super::{cache_directory, runs_here};
use crate::cli::{Add, Cache, CacheAction, Prune};
use crate::error::{Failure, Result};
use crate::report::{Loudness, Report};
use crate::store::{Census, Kind};

/// Does what is asked for.
pub fn run(options: &Cache) -> Result<()> {
    let text = match &options.action {
        // What is unpacked for others needs no cache of one's own.
        Some(CacheAction::Add(add)) => format!("{}\n", added(add)?.display()),
        other => in_cache(&cache_directory()?, other.as_ref())?,
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

fn in_cache(cache: &Path, action: Option<&CacheAction>) -> Result<String> {
    match action {
        Some(CacheAction::Dir) => Ok(format!("{}\n", cache.display())),
        Some(CacheAction::Prune(prune)) => pruned(cache, prune),
        _ => Ok(table(cache, &Census::of(cache))),
    }
}

fn table(cache: &Path, census: &Census) -> String {
    let mut text = format!("{}\n", cache.display());
    let mut part = |title: &str, ours: bool| {
        text += &format!("\n{title}\n");
        let mut all = 0;
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_ours() == ours) {
            let (count, bytes) = census.sum(kind);
            text += &format!("  {:<22}{count:>6}  {:>10}\n", kind.name(), size(bytes));
            all += bytes;
        }
        text += &format!("  {:<28}  {:>10}\n", "together", size(all));
    };
    part("made by packing (`coil cache prune` removes what is not used)", true);
    part("unpacked by apps", false);
    text
}

/// Does for the bundle what its first start would do, and returns the environment's directory.
fn added(options: &Add) -> Result<PathBuf> {
    let path = &options.bundle;
    let bundle = Bundle::open(path).and_then(|bundle| check_stamp(&bundle).map(|()| bundle));
    let bundle = bundle.map_err(|error| Failure::new(error.to_string()))?;
    runs_here(&bundle)?;
    let host = Host::observe();
    let system = options.system.then_some(Path::new(SYSTEM_STORE));
    let place = match system.or(options.store.as_deref()) {
        Some(store) => install_into(&bundle, &host, store),
        None => first_start::prepare(&bundle, &host, false),
    };
    place.map_err(|error| {
        let failure = Failure::new(format!("cannot unpack {}", path.display())).because(error);
        if options.system {
            failure.hint("run it as root, or name another store with --store")
        } else {
            failure
        }
    })
}

fn pruned(cache: &Path, options: &Prune) -> Result<String> {
    if !cache.join("pack").is_dir() && !cache.join("envs").is_dir() {
        return Ok("nothing to remove: there is no cache yet\n".into());
    }
    let unused = if options.all { Duration::ZERO } else { options.older_than };
    let report = Report::new(Loudness::Normal);
    let gone = Census::prune(cache, unused, || report.note("waiting for the packs that are running"))?;
    let sums = Kind::ALL.map(|kind| (kind, gone.sum(kind)));
    let sums: Vec<_> = sums.into_iter().filter(|(_, (_, bytes))| *bytes > 0).collect();
    let unpacked = clean_up_unpacked(cache, unused)?;
    if sums.is_empty() && unpacked == Removed::default() {
        return Ok("nothing to remove: everything was used lately\n".into());
    }
    let mut text = String::new();
    for (kind, (count, bytes)) in &sums {
        text += &format!("  {:<22}{count:>6}  {:>10}\n", kind.name(), size(*bytes));
    }
    let count = unpacked.environments + unpacked.layers;
    if count > 0 {
        text += &format!("  {:<22}{count:>6}  {:>10}\n", "unpacked by apps", size(unpacked.bytes));
    }
    let all: u64 = unpacked.bytes + sums.iter().map(|(_, (_, bytes))| bytes).sum::<u64>();
    Ok(format!("{text}freed {}\n", size(all)))
}

/// Removes what apps have unpacked here and not used for a while, as their launchers do; nothing that runs.
fn clean_up_unpacked(cache: &Path, keep: Duration) -> Result<Removed> {
    let Ok(cache) = cache::Cache::there(&fs::canonicalize(cache).unwrap_or_else(|_| cache.to_owned())) else {
        return Ok(Removed::default());
    };
    let _lock = cache.lock(0);
    cache.sweep(None);
    let rules = Rules { keep, app: "", own: Path::new(""), gone: &[], until: None };
    clean_up::clean_up(cache.root(), &rules)
        .map_err(|error| Failure::new("cannot remove what apps have unpacked").because(error))
}
