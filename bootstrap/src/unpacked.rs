//! Comparing what is unpacked with the bundle: every byte, kind, mode and link.
//!
//! A layer's directory is compared with the layer's archive, with the paths of this machine in it where it was settled;
//! an environment with one that was assembled a moment ago. Nothing is changed here, and what cannot be read differs.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::archive::Archive;
use crate::bundle::Bundle;
use crate::cache::Cache;
use crate::error::{Result, reason};
use crate::format::Damage;
use crate::format::manifest::Layer;
use crate::format::tar::Kind;
use crate::settle::{Settlement, settlements};

/// So many differences are told one by one; more are counted.
const SHOWN: usize = 20;

/// How much of a file is compared at once, in bytes.
const STEP: usize = 256 << 10;

/// What differs.
#[derive(Debug, Default)]
pub struct Differences {
    told: Vec<String>,
    /// How many there are.
    pub count: usize,
}

impl Differences {
    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One line for each, with its end, up to a bound.
    pub fn lines(&self) -> String {
        let mut text: String = self.told.iter().map(|line| format!("{line}\n")).collect();
        if self.count > self.told.len() {
            text += &format!("and {} more\n", self.count - self.told.len());
        }
        text
    }

    /// Adds those of another part.
    pub fn extend(&mut self, more: Differences) {
        self.count += more.count;
        let room = SHOWN.saturating_sub(self.told.len());
        self.told.extend(more.told.into_iter().take(room));
    }

    /// Adds one; `None` is none.
    pub fn add(&mut self, path: &Path, what: Option<String>) {
        let Some(what) = what else { return };
        self.count += 1;
        if self.told.len() < SHOWN {
            let path = path.to_string_lossy().replace(['\n', '\r'], "?");
            self.told.push(format!("{path}: {what}"));
        }
    }
}

/// Compares the directory of `layer` in `cache` with the bundle. The error is that the bundle itself is damaged.
pub fn compare_layer(bundle: &Bundle, layer: &Layer, cache: &Cache) -> Result<Differences> {
    let place = cache.layer(bundle.manifest(), layer);
    let settlements = settlements(bundle.manifest(), layer, cache);
    let left = cache.libc().left_packed(bundle.manifest(), layer);
    let mut differences = Differences::default();
    differences.add(&place, check_directory(&place));
    if !place.is_dir() {
        return Ok(differences);
    }
    let mut archive = Archive::open(bundle, layer)?;
    let mut known = BTreeSet::new();
    while let Some(entry) = archive.entry()? {
        if left.iter().any(|(left, _)| entry.path == **left || entry.path.below(left).is_some()) {
            continue;
        }
        let path = place.join(&entry.path);
        let what = match &entry.kind {
            Kind::Directory => check_directory(&path),
            Kind::Symlink(target) => check_link(&path, Path::new(target)),
            Kind::File { size, executable } => {
                let settlement = settlements.iter().find(|one| *one.path == entry.path);
                let expected = Expected { archive: &mut archive, settlement, offset: 0 };
                check_file(&path, *size, if *executable { 0o755 } else { 0o644 }, expected)?
            }
        };
        differences.add(&path, what);
        known.insert(path.to_string_lossy().into_owned());
    }
    if archive.finish()? != layer.diff_id {
        let what = format!("the layer {} unpacks to another archive than it should", layer.name);
        return Err(bundle.damaged(Damage::new(what)));
    }
    find_others(&place, &known, &mut differences);
    Ok(differences)
}

/// Compares the tree at `there` with the one at `expected`, which is small.
pub fn compare_trees(expected: &Path, there: &Path) -> Differences {
    let mut differences = Differences::default();
    let mut known = BTreeSet::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(name) = pending.pop() {
        // A path that ends with a slash would be followed.
        let at = |root: &Path| if name.as_os_str().is_empty() { root.to_owned() } else { root.join(&name) };
        let (model, path) = (at(expected), at(there));
        let what = match fs::symlink_metadata(&model) {
            Ok(found) if found.is_dir() => {
                let entries = fs::read_dir(&model).into_iter().flatten().flatten();
                pending.extend(entries.map(|entry| name.join(entry.file_name())));
                check_directory(&path)
            }
            Ok(found) if found.is_symlink() => fs::read_link(&model)
                .map_or_else(|error| Some(reason(&error)), |target| check_link(&path, &target)),
            Ok(found) => check_small_file(&path, &model, &found),
            Err(error) => Some(reason(&error)),
        };
        differences.add(&path, what);
        known.insert(path.to_string_lossy().into_owned());
    }
    find_others(there, &known, &mut differences);
    differences
}

fn check_directory(path: &Path) -> Option<String> {
    check_kind(path, "a directory", Metadata::is_dir, Some(0o755)).err()
}

fn check_link(path: &Path, target: &Path) -> Option<String> {
    if let Err(what) = check_kind(path, "a symbolic link", Metadata::is_symlink, None) {
        return Some(what);
    }
    match fs::read_link(path) {
        Ok(found) if found == target => None,
        Ok(found) => Some(format!("leads to {} and not to {}", found.display(), target.display())),
        Err(error) => Some(unreadable(&error)),
    }
}

fn check_small_file(path: &Path, model: &Path, expected: &Metadata) -> Option<String> {
    if let Err(what) = check_kind(path, "a file", Metadata::is_file, Some(expected.mode() & 0o7777)) {
        return Some(what);
    }
    match (fs::read(path), fs::read(model)) {
        (Ok(found), Ok(expected)) => (found != expected).then(|| "has another content".into()),
        (Err(error), _) | (_, Err(error)) => Some(unreadable(&error)),
    }
}

/// The content a file should have, as it comes.
struct Expected<'x, 'a> {
    archive: &'x mut Archive<'a>,
    settlement: Option<&'x Settlement<'x>>,
    offset: u64,
}

impl Expected<'_, '_> {
    /// More of it; nothing at its end.
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = self.archive.content(buffer)?;
        if let Some(settlement) = self.settlement {
            settlement.apply(self.offset, &mut buffer[..length]);
        }
        self.offset += length as u64;
        Ok(length)
    }
}

fn check_file(path: &Path, size: u64, mode: u32, mut expected: Expected) -> Result<Option<String>> {
    let length = match check_kind(path, "a file", Metadata::is_file, Some(mode)) {
        Ok(there) => there.len(),
        Err(what) => return Ok(Some(what)),
    };
    if length != size {
        return Ok(Some(format!("is {length} bytes long and not {size}")));
    }
    // Whatever it has become meanwhile: a pipe would not be waited for.
    let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(Some(unreadable(&error))),
    };
    let step = STEP.min(usize::try_from(size).unwrap_or(STEP));
    let (mut should, mut is) = (vec![0; step], vec![0; step]);
    loop {
        let at = expected.offset;
        let length = expected.next(&mut should)?;
        if length == 0 {
            return Ok(None);
        }
        if let Err(error) = file.read_exact(&mut is[..length]) {
            return Ok(Some(unreadable(&error)));
        }
        if let Some(first) = (0..length).find(|byte| should[*byte] != is[*byte]) {
            return Ok(Some(format!("has another content, from byte {} on", at + first as u64)));
        }
    }
}

fn check_kind(
    path: &Path,
    kind: &str,
    is_kind: impl Fn(&Metadata) -> bool,
    mode: Option<u32>,
) -> Result<Metadata, String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("is missing".into()),
        Err(error) => Err(unreadable(&error)),
        Ok(there) if !is_kind(&there) => Err(format!("is not {kind}")),
        Ok(there) => match mode {
            Some(mode) if there.mode() & 0o7777 != mode => {
                Err(format!("has the mode {:04o} and not {mode:04o}", there.mode() & 0o7777))
            }
            _ => Ok(there),
        },
    }
}

/// What is below `place` and not among the known paths.
fn find_others(place: &Path, known: &BTreeSet<String>, differences: &mut Differences) {
    let mut pending = vec![place.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if !known.contains(&*path.to_string_lossy()) {
                differences.add(&path, Some("is not in the bundle".into()));
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path);
            }
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {}", reason(error))
}
