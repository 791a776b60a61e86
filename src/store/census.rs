//! What is in the cache: how much of each kind, when it was used last, and the removal of what was not used.
//!
//! Only what packing has made is removed. What the bundles on this machine have unpacked lies beside it
//! and is counted, but belongs to their launchers.

use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coil_bootstrap::workspace;

use super::lock_file;
use crate::error::{Context, Result};
use crate::last_use;

/// A kind of thing in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Layers, with what is known of them.
    Layers,
    /// Byte code of apps, file by file.
    ByteCode,
    /// Wheels that were fetched or built.
    Wheels,
    /// What was resolved.
    Resolutions,
    /// What interpreters said of themselves, and the program that compiles with them.
    Interpreters,
    /// Virtualenvs that wheels are built in.
    BuildEnvironments,
    /// Runtimes that came as files, unpacked to pack with them.
    Runtimes,
    /// What `coil run` packed.
    Bundles,
    /// What is known of the layers that registries have.
    Pushed,
    /// Layers that bundles have unpacked.
    Unpacked,
    /// Environments that bundles have assembled.
    Environments,
}

impl Kind {
    /// All kinds, in the order people read them in.
    pub const ALL: [Kind; 11] = [
        Kind::Layers,
        Kind::ByteCode,
        Kind::Wheels,
        Kind::Resolutions,
        Kind::Interpreters,
        Kind::BuildEnvironments,
        Kind::Runtimes,
        Kind::Bundles,
        Kind::Pushed,
        Kind::Unpacked,
        Kind::Environments,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Layers => "layers",
            Kind::ByteCode => "byte code of apps",
            Kind::Wheels => "wheels",
            Kind::Resolutions => "resolutions",
            Kind::Interpreters => "interpreters",
            Kind::BuildEnvironments => "build environments",
            Kind::Runtimes => "runtimes from files",
            Kind::Bundles => "bundles of coil run",
            Kind::Pushed => "registries",
            Kind::Unpacked => "unpacked layers",
            Kind::Environments => "environments of apps",
        }
    }

    /// Whether packing made it, and can make it again.
    pub fn is_ours(self) -> bool {
        !matches!(self, Kind::Unpacked | Kind::Environments)
    }
}

/// One thing in the cache.
#[derive(Debug)]
struct Entry {
    kind: Kind,
    path: PathBuf,
    /// Bytes on the disk.
    size: u64,
    /// How long ago it was used last.
    age: Duration,
    /// Whether it goes along with another and is not counted by itself.
    beside: bool,
}

/// Everything in a cache, at one time.
#[derive(Debug, Default)]
pub struct Census {
    entries: Vec<Entry>,
}

impl Census {
    /// Counts what is in the cache directory `cache`. What is missing or cannot be read counts for nothing.
    pub fn of(cache: &Path) -> Census {
        let mut census = Census::default();
        for path in entries(&cache.join("pack/blobs")) {
            census.add(Kind::Layers, path, false);
        }
        for path in entries(&cache.join("pack/made")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match name.split_once('-').map_or("", |(step, _)| step) {
                "resolution" => census.add(Kind::Resolutions, path, false),
                "interpreter" => census.add(Kind::Interpreters, path, false),
                "compiler" => census.add(Kind::Interpreters, path, true),
                _ => census.add(Kind::Layers, path, true),
            }
        }
        for path in entries(&cache.join("pack/work")) {
            let beside = !path.is_dir();
            census.add(Kind::BuildEnvironments, path, beside);
        }
        for path in entries(&cache.join("pack/runtimes/envs")) {
            census.add(Kind::Runtimes, path, true);
        }
        for (name, kind) in [
            ("pack/runtimes/layers", Kind::Runtimes),
            ("pack/compiled", Kind::ByteCode),
            ("pack/wheels", Kind::Wheels),
            ("pack/bundles", Kind::Bundles),
            ("pushed", Kind::Pushed),
            ("layers", Kind::Unpacked),
            ("envs", Kind::Environments),
        ] {
            entries(&cache.join(name)).into_iter().for_each(|path| census.add(kind, path, false));
        }
        census
    }

    /// How many things of this kind there are, and their size in bytes on the disk.
    pub fn sum(&self, kind: Kind) -> (usize, u64) {
        let these = || self.entries.iter().filter(|entry| entry.kind == kind);
        (these().filter(|entry| !entry.beside).count(), these().map(|entry| entry.size).sum())
    }

    /// Removes what packing made and has not used for `unused`, and returns what that was.
    ///
    /// Waits until no pack is running, after calling `wait`; where files cannot be locked, a pack that misses
    /// something fails or makes it again. Fails where something cannot be removed.
    pub fn prune(cache: &Path, unused: Duration, wait: impl FnOnce()) -> Result<Census> {
        let root = cache.join("pack");
        let lock = lock_file(&root);
        if let Some(lock) = &lock
            && matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
        {
            wait();
            lock.lock().context(|| format!("cannot lock {}", root.display()))?;
        }
        workspace::sweep(&root.join("tmp"), None);
        let (old, _): (Vec<_>, Vec<_>) = Census::of(cache)
            .entries
            .into_iter()
            .filter(|entry| entry.kind.is_ours())
            .partition(|entry| entry.age >= unused);
        for entry in &old {
            remove(&entry.path).context(|| format!("cannot remove {}", entry.path.display()))?;
        }
        Ok(Census { entries: old })
    }

    fn add(&mut self, kind: Kind, path: PathBuf, beside: bool) {
        let Ok(there) = fs::symlink_metadata(&path) else { return };
        let (mut size, mut age) = (there.blocks() * 512, last_use::age(&there));
        if there.is_dir() {
            // Of those with contents, the file that is used says when that was.
            for path in entries(&path) {
                if let Ok(file) = fs::symlink_metadata(&path)
                    && file.is_file()
                {
                    age = age.min(last_use::age(&file));
                }
                size += size_of(&path);
            }
        }
        self.entries.push(Entry { kind, path, size, age, beside });
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn size_of(path: &Path) -> u64 {
    let Ok(there) = fs::symlink_metadata(path) else { return 0 };
    let below = if there.is_dir() { entries(path).iter().map(|path| size_of(path)).sum() } else { 0 };
    there.blocks() * 512 + below
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;
    use crate::store::Store;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Makes a file that was used so many days ago.
    fn used(cache: &Path, path: &str, days: u32) {
        let path = cache.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; 5000]).unwrap();
        let then = SystemTime::now() - DAY * days - Duration::from_secs(60);
        File::open(&path).unwrap().set_modified(then).unwrap();
        File::open(path.parent().unwrap()).unwrap().set_modified(then).unwrap();
    }

    fn cache() -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        for (days, name) in [(1, "new"), (40, "old")] {
            for place in ["blobs/", "made/wheel-", "made/resolution-", "made/interpreter-"] {
                used(cache.path(), &format!("pack/{place}{name}"), days);
            }
            for place in [
                "pack/compiled",
                "pack/wheels",
                "pack/bundles",
                "pack/runtimes/layers",
                "pushed",
                "layers",
                "envs",
            ] {
                used(cache.path(), &format!("{place}/{name}/file"), days);
            }
            used(cache.path(), &format!("pack/work/{name}/bin/python"), 50);
            used(cache.path(), &format!("pack/work/{name}/complete"), days);
            used(cache.path(), &format!("pack/work/{name}.lock"), days);
            used(cache.path(), &format!("pack/made/compiler-{name}"), days);
        }
        cache
    }

    #[test]
    fn everything_is_counted_under_its_kind() {
        let cache = cache();
        let census = Census::of(cache.path());
        for kind in Kind::ALL {
            let (count, size) = census.sum(kind);
            assert_eq!(count, 2, "{}", kind.name());
            assert!(size >= 10_000, "{}: {size}", kind.name());
        }
    }

    #[test]
    fn what_was_not_used_goes_and_the_rest_and_what_is_unpacked_stays() {
        let cache = cache();
        let freed = Census::prune(cache.path(), 30 * DAY, || panic!("nobody is packing")).unwrap();
        let left = Census::of(cache.path());
        for kind in Kind::ALL {
            let gone = usize::from(kind.is_ours());
            assert_eq!((freed.sum(kind).0, left.sum(kind).0), (gone, 2 - gone), "{}", kind.name());
        }
        Census::prune(cache.path(), Duration::ZERO, || ()).unwrap();
        let left = Census::of(cache.path());
        assert!(Kind::ALL.iter().all(|kind| kind.is_ours() == (left.sum(*kind).0 == 0)));
        assert_eq!(entries(&cache.path().join("pack/work")), Vec::<PathBuf>::new());
    }

    #[test]
    fn nothing_is_removed_while_somebody_packs() {
        let cache = cache();
        let store = Store::open(cache.path()).unwrap();
        let store = std::sync::Mutex::new(Some(store));
        let count = || Census::of(cache.path()).sum(Kind::Layers).0;
        let before = count();
        let wait = || {
            assert_eq!(count(), before);
            // The pack ends.
            drop(store.lock().unwrap().take());
        };
        Census::prune(cache.path(), Duration::ZERO, wait).unwrap();
        assert!(store.lock().unwrap().is_none(), "it waited");
        assert_eq!(count(), 0);
    }

    #[test]
    fn what_a_killed_pack_left_is_swept_and_what_a_running_one_has_is_not() {
        let cache = tempfile::tempdir().unwrap();
        let running = Store::open(cache.path()).unwrap();
        let tmp = cache.path().join("pack/tmp");
        fs::create_dir(tmp.join("1-0")).unwrap();
        fs::write(tmp.join("1-0/half"), "x").unwrap();
        drop(Store::open(cache.path()).unwrap());
        assert_eq!(entries(&tmp), [running.scratch().to_owned()]);
        drop(running);
        assert_eq!(entries(&tmp), Vec::<PathBuf>::new());
    }
}
