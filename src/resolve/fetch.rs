//! Brings the chosen distributions to disk as wheels: `pip wheel --no-deps --require-hashes`.
//!
//! What is on the shelf already is neither fetched nor built again. pip fetches the rest from its own cache
//! where it can, and builds wheels of source distributions; several pips run side by side, because each
//! fetches one file after the other. Every wheel with a known digest is checked again here.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::digest::Digest;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Work;
use super::build::{Workshop, build_wheel};
use super::key::interpreter_essence;
use super::pin::{FetchedWheel, Pin, Source};
use super::shelf::Shelf;
use super::tool::{Tools, run_and_hear};
use super::watch::Watch;
use crate::error::{Context, Failure, Result};
use crate::lock::{normal_name, url};
use crate::project::Build;
use crate::report::Task;

/// How many pips fetch at once.
const SIDE_BY_SIDE: usize = 4;

/// A wheel for each pin, in their order.
pub fn wheels(
    work: &Work,
    pins: &[Pin],
    workshop: &Workshop,
    shelf: &dyn Shelf,
) -> Result<Vec<FetchedWheel>> {
    let at_hand: Vec<Option<FetchedWheel>> =
        pins.iter().map(|pin| at_hand(work, pin, workshop, shelf)).collect::<Result<_>>()?;
    let missing = || pins.iter().zip(&at_hand).filter(|(_, wheel)| wheel.is_none()).map(|(pin, _)| pin);
    let lines: Vec<Line> = missing().map(|pin| line(work, pin)).collect::<Result<_>>()?;
    if lines.is_empty() {
        return Ok(at_hand.into_iter().flatten().collect());
    }
    let directory = work.scratch.join("wheels");
    std::fs::create_dir_all(&directory).context(|| format!("{} cannot be made", directory.display()))?;
    let tools = Tools::find(work.interpreter, &work.request.options)?;
    let task = workshop.report.counted("fetching wheels", lines.len());
    fetch_all(work, (&tools, &task), &lines, &directory)?;
    let fetched = fetched_wheels(&directory)?;
    let take = |(pin, wheel): (&Pin, Option<FetchedWheel>)| match wheel {
        Some(wheel) => Ok(wheel),
        None => fetched_wheel(work, pin, &fetched, shelf),
    };
    pins.iter().zip(at_hand).map(take).collect()
}

/// The SHA-256 of a file.
pub fn digest(path: &Path) -> Result<Digest> {
    measure(path).map(|(digest, _)| digest)
}

fn measure(path: &Path) -> Result<(Digest, u64)> {
    let unreadable = || format!("{} cannot be read", path.display());
    let mut file = File::open(path).context(unreadable)?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let length = file.read(&mut buffer).context(unreadable)?;
        if length == 0 {
            return Ok((Digest::from_bytes(hasher.finalize().into()), size));
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
    }
}

/// The wheel of a pin that needs no fetching: one from the shelf, one on this machine, or one that is built
/// of a source tree.
fn at_hand(work: &Work, pin: &Pin, workshop: &Workshop, shelf: &dyn Shelf) -> Result<Option<FetchedWheel>> {
    match &pin.source {
        Source::Built(index) => {
            let built = work.request.built.get(*index);
            let built = built.ok_or_else(|| Failure::new(format!("nothing was built of {}", pin.name)))?;
            return shelf.keep(&built.wheel, None).map(Some);
        }
        Source::Directory(directory) => {
            let build = Build { directory: directory.clone(), extras: Vec::new(), date: None };
            let _task = workshop.report.task(&format!("building {}", directory.display()));
            return shelf.keep(&build_wheel(&build, workshop)?.wheel, None).map(Some);
        }
        Source::File { address, sha256: Some(sha256), .. } => {
            if let Some(wheel) = shelf.wheel(sha256, &url::file_name(address)) {
                return Ok(Some(wheel));
            }
        }
        _ => {}
    }
    if let Some(path) = pin.local_wheel() {
        let (sha256, size) = measure(&path)?;
        check(pin, &FetchedWheel { path: path.clone(), sha256, size }, "fetch or lock it again")?;
        return shelf.keep(&path, None).map(Some);
    }
    Ok(made_of(work, pin).and_then(|source| shelf.made_of(&source)))
}

/// Everything that a wheel depends on which is built of sources, or fetched without a known digest; `None`
/// where the wheel is known by its own.
fn made_of(work: &Work, pin: &Pin) -> Option<String> {
    let source = match &pin.source {
        Source::File { address, sha256: Some(_), .. } if url::file_name(address).ends_with(".whl") => {
            return None;
        }
        Source::File { address, sha256: Some(sha256), .. } => {
            json!([sha256.hex(), address.split_once('#').map(|(_, below)| below)])
        }
        Source::File { address, sha256: None, .. } => json!(url::without_credentials(address)),
        Source::Vcs(vcs) => {
            let address = vcs.url.as_deref().map(url::without_credentials);
            json!([vcs.kind, address, vcs.commit_id, vcs.subdirectory])
        }
        Source::Built(_) | Source::Directory(_) => return None,
    };
    Some(json!([source, interpreter_essence(work.interpreter)]).to_string())
}

/// A line of requirements for pip.
struct Line {
    text: String,
    hashed: bool,
}

/// How pip is told to get the pin.
fn line(work: &Work, pin: &Pin) -> Result<Line> {
    let name = &pin.name;
    let unhashed = |text: String| Ok(Line { text, hashed: false });
    match &pin.source {
        Source::Vcs(vcs) => {
            let address = with_login(work, vcs.url.as_deref().unwrap_or_default());
            let below = vcs.subdirectory.as_ref().map(|path| format!("#subdirectory={path}"));
            let below = below.unwrap_or_default();
            let line = format!("{name} @ {}+{address}@{}{below}", vcs.kind, vcs.commit_id);
            unhashed(without_at(&line).unwrap_or(line))
        }
        Source::File { address, sha256: Some(sha256), .. } => {
            let address = with_login(work, address);
            Ok(Line { text: format!("{name} @ {address} --hash=sha256:{}", sha256.hex()), hashed: true })
        }
        Source::File { address, .. } if url::file_name(address).ends_with(".whl") => {
            unhashed(format!("{name} @ {}", with_login(work, address)))
        }
        _ => Err(Failure::new(format!("the index tells no SHA-256 for {}", pin.file_name()))
            .hint("build a wheel of it (pip wheel) and give that with --find-links")),
    }
}

/// The line in pip's own old form, `ADDRESS#egg=NAME`, where the address is that of a local repository: pip
/// before 24 takes it for none in a dependency specifier. `None` for every other line.
pub fn without_at(line: &str) -> Option<String> {
    let (name, address) = line.split_once('@')?;
    let (kind, _) = address.trim_start().split_once("+file:///")?;
    if line.contains(" ;") || !kind.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let (address, below) = address.trim().split_once('#').unwrap_or((address.trim(), ""));
    let below = if below.is_empty() { String::new() } else { format!("&{below}") };
    Some(format!("{address}#egg={}{below}", name.trim()))
}

/// The address with the credentials that are configured for its host: resolvers leave them out.
fn with_login(work: &Work, address: &str) -> String {
    let login = work.indexes.logins(&work.files.indexes).find(|(host, _)| Some(*host) == url::host(address));
    login.map_or_else(|| address.to_owned(), |(_, login)| url::with_credentials(address, login))
}

/// Fetches all lines, in several batches side by side; the first failure counts.
fn fetch_all(work: &Work, tools: (&Tools, &Task), lines: &[Line], directory: &Path) -> Result<()> {
    let mut batches: Vec<(bool, Vec<&str>)> = Vec::new();
    // "--require-hashes": "all requirements must have one", so what has none goes by itself.
    for hashed in [true, false] {
        let texts: Vec<&str> =
            lines.iter().filter(|line| line.hashed == hashed).map(|line| line.text.as_str()).collect();
        // A pip takes half a second to start: a batch must be worth it.
        let count = texts.len().div_ceil(3).min(SIDE_BY_SIDE);
        let nth = |first: usize| texts.iter().skip(first).step_by(count).copied().collect();
        batches.extend((0..count).map(|first| (hashed, nth(first))));
    }
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let started: Vec<_> = batches
            .iter()
            .enumerate()
            .map(|(number, (hashed, texts))| {
                scope.spawn(move || fetch(work, tools, texts, *hashed, (number, directory)))
            })
            .collect();
        let stopped = |_| Err(Failure::new("the wheels cannot be fetched: a thread stopped"));
        started.into_iter().map(|thread| thread.join().unwrap_or_else(stopped)).collect()
    });
    results.into_iter().collect()
}

fn fetch(
    work: &Work,
    (tools, task): (&Tools, &Task),
    lines: &[&str],
    hashed: bool,
    (number, directory): (usize, &Path),
) -> Result<()> {
    let list = work.scratch.join(format!("pinned-{number}.txt"));
    std::fs::write(&list, lines.join("\n") + "\n")
        .context(|| format!("{} cannot be written", list.display()))?;
    let mut command = tools.pip(work.interpreter)?;
    command.args(["wheel", "--progress-bar", "off", "--no-deps", "--wheel-dir"]).arg(directory);
    if hashed {
        command.arg("--require-hashes");
    } else {
        command.env_remove("PIP_REQUIRE_HASHES");
    }
    // The pins are exact; the user's own constraints are for the resolution.
    for name in ["CONSTRAINT", "REQUIREMENT", "ONLY_BINARY", "NO_BINARY", "PRE"] {
        command.env_remove(format!("PIP_{name}"));
    }
    let (words, variables) = work.indexes.for_pip();
    command.args(words).envs(variables).arg("-r").arg(&list);
    let mut watch = Watch::new(task);
    run_and_hear(command, "the wheels cannot be fetched", &mut |line| watch.hear(line))?;
    watch.end();
    Ok(())
}

/// The wheels in a directory, by the normal form of their names.
fn fetched_wheels(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries =
        std::fs::read_dir(directory).context(|| format!("{} cannot be read", directory.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".whl")?.split('-').next()?;
        Some((normal_name(name), path))
    });
    Ok(named.collect())
}

fn fetched_wheel(
    work: &Work,
    pin: &Pin,
    fetched: &[(String, PathBuf)],
    shelf: &dyn Shelf,
) -> Result<FetchedWheel> {
    let path = fetched.iter().find(|(name, _)| *name == pin.name).map(|(_, path)| path);
    let path = path.ok_or_else(|| Failure::new(format!("pip made no wheel of {}", pin.file_name())))?;
    let wheel = shelf.keep(path, made_of(work, pin).as_deref())?;
    check(pin, &wheel, "fetch it again: pip cache purge")?;
    Ok(wheel)
}

fn check(pin: &Pin, wheel: &FetchedWheel, hint: &str) -> Result<()> {
    let Source::File { address, sha256: Some(wanted), .. } = &pin.source else { return Ok(()) };
    if !url::file_name(address).ends_with(".whl") || *wanted == wheel.sha256 {
        return Ok(());
    }
    let message =
        format!("{} has the digest {}, and {wanted} is expected", wheel.path.display(), wheel.sha256);
    Err(Failure::new(message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::without_at;

    #[test]
    fn local_repositories_are_written_as_every_pip_reads_them() {
        let old = without_at("x[y] @ git+file:///r@main#subdirectory=z");
        assert_eq!(old.as_deref(), Some("git+file:///r@main#egg=x[y]&subdirectory=z"));
        for line in
            ["x @ git+https://h/r", "x>=1", "x @ file:///w.whl", "x @ git+file:///r ; os_name == 'nt'"]
        {
            assert_eq!(without_at(line), None, "{line}");
        }
    }
}
