//! Clean-up: what has not been used for a while leaves the cache without anybody asking for it.
//!
//! A start that unpacks looks around when it has done its own work, at most once a day and for a fraction of a
//! second; warm starts never do. An environment goes when its last use is long ago; one of an app that was unpacked
//! anew, an old version, goes sooner. A layer goes when no environment has it any more. Nothing goes that a running
//! process uses, and where that cannot be known nothing goes at all.
//!
//! What goes is first moved out of sight by one rename, so that a start finds all of it or nothing. Whoever calls
//! holds the cache's lock where there is one: a start that is assembling an environment has its layers.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::environment::RECORD;
use crate::error::{Error, Result};
use crate::in_use::InUse;
use crate::record::Record;
use crate::workspace::{Workspace, remove_tree};

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Unused for this long, an environment goes.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// Unused for this long, an environment of an app that has a newer one goes.
const KEEP_OLD_VERSION: Duration = Duration::from_secs(7 * 24 * 3600);

/// A layer without an environment stays for this long: somebody may be about to make one with it.
const KEEP_LAYER: Duration = Duration::from_secs(3600);

/// A clean-up, or a sweep, that nobody asked for takes no longer than this.
pub const BUDGET: Duration = Duration::from_millis(200);

/// The file that says, by its time of change, when the last clean-up was.
const STAMP: &str = "cleaned";

/// What goes.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Environments that have not been used for this long.
    pub keep: Duration,
    /// The app whose old versions go sooner.
    pub app: &'a str,
    /// The environment that stays whatever its age: the one that was just made.
    pub own: &'a Path,
    /// When to stop, done or not. What is left is removed by a later start.
    pub until: Option<Instant>,
}

/// What went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Environments.
    pub environments: usize,
    /// Layers.
    pub layers: usize,
    /// The room they took, in bytes.
    pub bytes: u64,
}

/// Cleans up at the cache `root` if the last time is a day ago. `own` is the environment of `app` that was just made.
/// `keep` is the user's word on how long, in days (`COIL_KEEP`); one that is no number keeps everything.
pub fn now_and_then(root: &Path, app: &str, own: &Path, keep: Option<&str>) {
    let keep = match keep.map(str::parse::<u32>) {
        None => KEEP,
        Some(Ok(days)) => DAY * days,
        Some(Err(_)) => return,
    };
    let stamp = root.join(STAMP);
    if fs::metadata(&stamp).is_ok_and(|there| age(&there) < DAY) {
        return;
    }
    // Whether it works or not: once a day is enough.
    let marked = File::options().create(true).append(true).open(&stamp);
    if marked.and_then(|file| file.set_modified(SystemTime::now())).is_ok() {
        let _ = clean_up(root, &Rules { keep, app, own, until: Some(Instant::now() + BUDGET) });
    }
}

/// Cleans up at the cache `root`. Fails where it cannot be known what is in use, and where nothing can be moved.
pub fn clean_up(root: &Path, rules: &Rules) -> Result<Removed> {
    let environments = Environment::all(root);
    let layers = names(&root.join("layers"));
    let all: Vec<&Environment> = environments.iter().collect();
    let lonely = needed(&all).is_some_and(|needed| layers.iter().any(|name| !needed.contains(name)));
    if !lonely && !environments.iter().any(|one| one.may_go(rules)) {
        return Ok(Removed::default());
    }
    let used = InUse::of(root).ok_or_else(|| {
        Error::at("see what is in use in", Path::new("/proc"))(io::ErrorKind::NotFound.into())
    })?;
    let goes = |one: &Environment| one.may_go(rules) && !one.is_used(&used);
    let (go, stay): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| goes(one));
    let mut work = Work::begin(root, rules.until)?;
    for one in go {
        // One that was started since its age was read may not have been seen among the processes.
        if one.is_still_unused(rules) {
            work.removed.environments += usize::from(work.remove(&one.path));
        }
    }
    // What an unreadable record needs nobody knows.
    if let Some(mut needed) = needed(&stay) {
        needed.extend(used.layers);
        for name in layers.iter().filter(|name| !needed.contains(*name)) {
            let path = root.join("layers").join(name);
            if fs::symlink_metadata(&path).is_ok_and(|there| came(&there) > KEEP_LAYER) {
                work.removed.layers += usize::from(work.remove(&path));
            }
        }
    }
    Ok(work.end())
}

/// Notes that the environment with this open launch record is used. At most once a day, so that a warm start
/// writes nothing; whether it works is of no importance. Says whether it was the first use of the day.
pub fn note_use(record: &File, there: &fs::Metadata) -> bool {
    let first = age(there) > DAY;
    if first {
        let _ = record.set_modified(SystemTime::now());
    }
    first
}

/// An environment of the cache.
struct Environment {
    path: PathBuf,
    name: String,
    age: Duration,
    /// App and layers; `None` where another version of the launcher wrote the record.
    record: Option<(String, Vec<String>)>,
}

impl Environment {
    fn all(root: &Path) -> Vec<Environment> {
        let directory = root.join("envs");
        let read = |name: String| {
            let path = directory.join(&name);
            let there = fs::metadata(path.join(RECORD)).or_else(|_| fs::metadata(&path)).ok()?;
            let bytes = fs::read(path.join(RECORD)).unwrap_or_default();
            let layers = |record: &Record| record.layers.iter().map(|&layer| layer.to_owned()).collect();
            let record = Record::parse(&bytes).map(|record| (record.app.to_owned(), layers(&record)));
            Some(Environment { path, name, age: age(&there), record })
        };
        names(&directory).into_iter().filter_map(read).collect()
    }

    fn may_go(&self, rules: &Rules) -> bool {
        let old_version = self.record.as_ref().is_some_and(|(app, _)| app == rules.app);
        let keep = if old_version { rules.keep.min(KEEP_OLD_VERSION) } else { rules.keep };
        self.path != rules.own && self.age >= keep
    }

    fn is_still_unused(&self, rules: &Rules) -> bool {
        let now = fs::metadata(self.path.join(RECORD)).or_else(|_| fs::metadata(&self.path));
        now.is_ok_and(|there| age(&there) >= self.age.min(rules.keep))
    }

    fn is_used(&self, used: &InUse) -> bool {
        let layers = || self.record.iter().flat_map(|(_, layers)| layers);
        used.environments.contains(&self.name) || layers().any(|layer| used.layers.contains(layer))
    }
}

/// The layers of these environments; `None` where that of one cannot be known.
fn needed(environments: &[&Environment]) -> Option<BTreeSet<String>> {
    let layers = environments.iter().map(|one| one.record.as_ref().map(|(_, layers)| layers.clone()));
    layers.collect::<Option<Vec<_>>>().map(|layers| layers.into_iter().flatten().collect())
}

/// A clean-up that is under way.
struct Work {
    workspace: Workspace,
    until: Option<Instant>,
    count: usize,
    complete: bool,
    removed: Removed,
}

impl Work {
    fn begin(root: &Path, until: Option<Instant>) -> Result<Self> {
        let workspace = Workspace::create_in(&root.join("tmp"))?;
        Ok(Work { workspace, until, count: 0, complete: true, removed: Removed::default() })
    }

    /// Moves `path` out of sight, and removes it as far as time allows.
    fn remove(&mut self, path: &Path) -> bool {
        if self.until.is_some_and(|until| Instant::now() > until) {
            return false;
        }
        self.count += 1;
        let away = self.workspace.path().join(self.count.to_string());
        if fs::rename(path, &away).is_err() {
            return false;
        }
        let (complete, bytes) = remove_tree(&away, self.until);
        self.complete &= complete;
        self.removed.bytes += bytes;
        true
    }

    fn end(self) -> Removed {
        if !self.complete {
            // Left to a later start, which takes it for abandoned.
            self.workspace.abandon();
        }
        self.removed
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn age(there: &fs::Metadata) -> Duration {
    let used = there.modified().ok();
    used.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default()
}

/// How long ago a directory came to its place: a rename changes the time of its inode.
fn came(there: &fs::Metadata) -> Duration {
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(there.ctime().max(0) as u64);
    SystemTime::now().duration_since(changed).unwrap_or_default()
}
