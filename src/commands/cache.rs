//! `coil cache`: where the cache is, what it holds, and the removal of what is no longer used.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::cache_directory;
use super::inspect::size;
use crate::cli::{Cache, CacheAction, Prune};
use crate::error::{Failure, Result};
use crate::report::{Loudness, Report};
use crate::store::{Census, Kind};

/// Does what is asked for.
pub fn run(options: &Cache) -> Result<()> {
    let cache = cache_directory()?;
    let text = match &options.action {
        None | Some(CacheAction::Size) => table(&cache, &Census::of(&cache)),
        Some(CacheAction::Dir) => format!("{}\n", cache.display()),
        Some(CacheAction::Prune(prune)) => pruned(&cache, prune)?,
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(()),
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

fn pruned(cache: &Path, options: &Prune) -> Result<String> {
    if !cache.join("pack").is_dir() {
        return Ok("nothing to remove: there is no cache yet\n".into());
    }
    let unused = if options.all { Duration::ZERO } else { options.older_than };
    let report = Report::new(Loudness::Normal);
    let gone = Census::prune(cache, unused, || report.note("waiting for the packs that are running"))?;
    let sums = Kind::ALL.map(|kind| (kind, gone.sum(kind)));
    let sums: Vec<_> = sums.into_iter().filter(|(_, (_, bytes))| *bytes > 0).collect();
    if sums.is_empty() {
        return Ok("nothing to remove: everything was used lately\n".into());
    }
    let mut text = String::new();
    for (kind, (count, bytes)) in &sums {
        text += &format!("  {:<22}{count:>6}  {:>10}\n", kind.name(), size(*bytes));
    }
    let all: u64 = sums.iter().map(|(_, (_, bytes))| bytes).sum();
    Ok(format!("{text}freed {}\n", size(all)))
}
