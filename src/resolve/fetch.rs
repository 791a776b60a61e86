//! Brings the chosen distributions to disk as wheels: `pip wheel --no-deps --require-hashes`.
//!
//! pip fetches from its own cache where it can and builds wheels of source distributions. What is on this
//! machine already is used where it is. Every wheel with a known digest is checked again here.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::Work;
use super::pin::{FetchedWheel, Pin, Source};
use super::tool::run;
use crate::error::{Context, Failure, Result};
use crate::lock::{normal_name, url};

/// A wheel for each pin, in their order.
pub fn wheels(work: &Work, pins: &[Pin]) -> Result<Vec<FetchedWheel>> {
    let directory = work.scratch.join("wheels");
    std::fs::create_dir_all(&directory).context(|| format!("{} cannot be made", directory.display()))?;
    let lines: Vec<Line> =
        pins.iter().filter_map(|pin| line(work, pin).transpose()).collect::<Result<_>>()?;
    // "--require-hashes": "all requirements must have one", so what has none goes by itself.
    for hashed in [true, false] {
        let texts: Vec<&str> =
            lines.iter().filter(|line| line.hashed == hashed).map(|line| line.text.as_str()).collect();
        if !texts.is_empty() {
            fetch(work, &texts, hashed, &directory)?;
        }
    }
    let fetched = fetched_wheels(&directory)?;
    pins.iter().map(|pin| wheel_of(work, pin, &fetched)).collect()
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

/// A line of requirements for pip.
struct Line {
    text: String,
    hashed: bool,
}

/// How pip is told to get the pin; `None` for what is a wheel on this machine.
fn line(work: &Work, pin: &Pin) -> Result<Option<Line>> {
    let name = &pin.name;
    let unhashed = |text: String| Some(Line { text, hashed: false });
    Ok(match &pin.source {
        Source::Built(_) => None,
        Source::Directory(path) => unhashed(format!("{name} @ {}", url::of_path(path))),
        Source::Vcs(vcs) => {
            let address = vcs.url.as_deref().unwrap_or_default();
            let below = vcs.subdirectory.as_ref().map(|path| format!("#subdirectory={path}"));
            let address = with_login(work, address);
            unhashed(format!(
                "{name} @ {}+{address}@{}{}",
                vcs.kind,
                vcs.commit_id,
                below.unwrap_or_default()
            ))
        }
        Source::File { .. } if pin.local_wheel().is_some() => None,
        Source::File { address, sha256, .. } => {
            let address = with_login(work, address);
            match sha256 {
                Some(sha256) => {
                    let text = format!("{name} @ {address} --hash=sha256:{}", sha256.hex());
                    Some(Line { text, hashed: true })
                }
                None if url::file_name(&address).ends_with(".whl") => unhashed(format!("{name} @ {address}")),
                None => {
                    return Err(Failure::new(format!("the index tells no SHA-256 for {}", pin.file_name()))
                        .hint("build a wheel of it (pip wheel) and give that with --find-links"));
                }
            }
        }
    })
}

/// The address with the credentials that are configured for its host: resolvers leave them out.
fn with_login(work: &Work, address: &str) -> String {
    let login = work.indexes.logins(&work.files.indexes).find(|(host, _)| Some(*host) == url::host(address));
    login.map_or_else(|| address.to_owned(), |(_, login)| url::with_credentials(address, login))
}

fn fetch(work: &Work, lines: &[&str], hashed: bool, directory: &Path) -> Result<()> {
    let list = work.scratch.join(if hashed { "pinned.txt" } else { "unhashed.txt" });
    std::fs::write(&list, lines.join("\n") + "\n")
        .context(|| format!("{} cannot be written", list.display()))?;
    let mut command = work.tools.pip(work.interpreter)?;
    command.args(["wheel", "--quiet", "--no-deps", "--wheel-dir"]).arg(directory);
    if hashed {
        command.arg("--require-hashes");
    } else {
        command.env_remove("PIP_REQUIRE_HASHES");
    }
    // The pins are exact; the user's own constraints are for the resolution.
    command.env_remove("PIP_CONSTRAINT").env_remove("PIP_REQUIREMENT");
    let (words, variables) = work.indexes.for_pip();
    command.args(words).envs(variables).arg("-r").arg(&list);
    run(command, "the wheels cannot be fetched")?;
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

fn wheel_of(work: &Work, pin: &Pin, fetched: &[(String, PathBuf)]) -> Result<FetchedWheel> {
    let path = match &pin.source {
        Source::Built(index) => work.request.built[*index].wheel.clone(),
        _ => match pin.local_wheel() {
            Some(path) => path,
            None => fetched
                .iter()
                .find(|(name, _)| *name == pin.name)
                .map(|(_, path)| path.clone())
                .ok_or_else(|| Failure::new(format!("pip made no wheel of {}", pin.file_name())))?,
        },
    };
    let (sha256, size) = measure(&path)?;
    if let Source::File { address, sha256: Some(wanted), .. } = &pin.source
        && url::file_name(address).ends_with(".whl")
        && *wanted != sha256
    {
        let message = format!("{} has the digest {sha256}, and {wanted} is expected", path.display());
        return Err(Failure::new(message).hint("fetch it again: pip cache purge"));
    }
    Ok(FetchedWheel { path, sha256, size })
}
