//! Clean-up: what has not been used for a while leaves the cache without anybody asking for it.
//!
//! A start that unpacks looks around when it has done its own work, at most once a day and for a fraction of a
//! second; warm starts never do. An environment goes when its last use is long ago; one of an app that was unpacked
//! anew, an old version, goes sooner. A layer goes when no environment has it any more. Nothing goes that a running
//! process uses, and where that cannot be known nothing goes at all.
//!
//! An environment that may go is closed first, so that no further start can take it, and only then it is looked whether
//! somebody uses it or is on the way to: there is no moment between that look and the end of the environment in which it
//! could be started. What goes is moved out of sight by one rename, so that a start finds all of it or nothing. Whoever
//! calls holds the cache's lock where there is one: a start that is assembling an environment has its layers.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};
use crate::in_use::InUse;
use crate::unused::{Environment, age};
use crate::workspace::{Workspace, remove_tree};

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Unused for so many days, an environment goes.
const KEEP: u32 = 30;

/// A layer without an environment stays for this long: somebody may be about to make one with it.
const KEEP_LAYER: Duration = Duration::from_secs(3600);

/// A clean-up, or a sweep, that nobody asked for takes no longer than this.
pub const BUDGET: Duration = Duration::from_millis(200);

/// The file that says, by its time of change, when the last clean-up was.
const STAMP: &str = "cleaned";

/// How long what is not used stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many days.
    Days(u32),
    /// For ever.
    All,
}

impl Keep {
    /// The user's word (`COIL_KEEP`): a number of days, or `never`. Without one it is so many `days`.
    pub fn of(word: Option<&str>, days: u32) -> Result<Keep> {
        match word {
            None => Ok(Keep::Days(days)),
            Some("never") => Ok(Keep::All),
            Some(word) => word.parse().map(Keep::Days).map_err(|_| Error::NoDays(word.into())),
        }
    }
}

/// What goes.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Environments that have not been used for this long.
    pub keep: Duration,
    /// The app whose old versions go sooner.
    pub app: &'a str,
    /// The environment that stays whatever its age: the one that was just made.
    pub own: &'a Path,
    /// The beginnings of the names of environments that go whatever their age: nobody is to start them any more.
    pub gone: &'a [String],
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
/// `keep` is the user's word on how long (`COIL_KEEP`); one that means nothing keeps everything.
pub fn now_and_then(root: &Path, app: &str, own: &Path, keep: Option<&str>) {
    let Ok(Keep::Days(days)) = Keep::of(keep, KEEP) else { return };
    let keep = DAY * days;
    let stamp = root.join(STAMP);
    if fs::metadata(&stamp).is_ok_and(|there| age(&there) < DAY) {
        return;
    }
    // Whether it works or not: once a day is enough.
    let marked = File::options().create(true).append(true).open(&stamp);
    if marked.and_then(|file| file.set_modified(SystemTime::now())).is_ok() {
        let _ = clean_up(root, &Rules { keep, app, own, gone: &[], until: Some(Instant::now() + BUDGET) });
    }
}

/// Removes environments whose names begin with one of `gone` from the cache `root`, as far as nobody uses them, and every
/// layer that only they had. All others stay. The caller holds the cache's lock.
pub fn remove(root: &Path, gone: &[String]) -> Result<Removed> {
    let rules = Rules { keep: Duration::MAX, app: "", own: Path::new(""), gone, until: None };
    let environments = Environment::all(root);
    let (go, mut stay): (Vec<_>, Vec<_>) = environments.iter().partition(|one| one.may_go(&rules));
    if go.is_empty() {
        return Ok(Removed::default());
    }
    let mut work = Work::begin(root, None)?;
    stay.extend(work.remove_environments(root, &go, &rules));
    // What an unreadable record needs nobody knows. Other layers without an environment may be of one that is being made.
    if let (Some(needed), Some(had)) = (needed(&stay), needed(&go)) {
        for name in had.difference(&needed) {
            work.removed.layers += usize::from(work.remove(&root.join("layers").join(name)));
        }
    }
    Ok(work.end())
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
    let goes = |one: &&Environment| one.may_go(rules) && !one.is_used(&used);
    let (go, mut stay): (Vec<_>, Vec<_>) = all.into_iter().partition(goes);
    let mut work = Work::begin(root, rules.until)?;
    stay.extend(work.remove_environments(root, &go, rules));
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

/// The layers of these environments; `None` where that of one cannot be known.
fn needed(environments: &[&Environment]) -> Option<BTreeSet<String>> {
    let layers: Option<Vec<&[String]>> = environments.iter().map(|one| one.layers()).collect();
    layers.map(|layers| layers.into_iter().flatten().cloned().collect())
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

    /// Removes those of these environments that nobody uses, and returns the others.
    fn remove_environments<'a>(
        &mut self,
        root: &Path,
        environments: &[&'a Environment],
        rules: &Rules,
    ) -> Vec<&'a Environment> {
        let (closed, mut stay): (Vec<&Environment>, Vec<&Environment>) =
            environments.iter().partition(|one| one.close());
        let used = if closed.is_empty() { None } else { InUse::or_started(root) };
        for one in closed {
            // Starts that cannot be seen, in another container, still note that they use it.
            let unused = used.as_ref().is_some_and(|used| !one.is_used(used)) && one.is_still_unused(rules);
            if unused && self.remove(one.path()) {
                self.removed.environments += 1;
            } else {
                one.open();
                stay.push(one);
            }
        }
        stay
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

/// What is in a directory, as far as it has names that are text.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// How long ago a directory came to its place: a rename changes the time of its inode.
fn came(there: &fs::Metadata) -> Duration {
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(there.ctime().max(0) as u64);
    SystemTime::now().duration_since(changed).unwrap_or_default()
}
