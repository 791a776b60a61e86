//! An environment of a cache, as clean-up sees it: how long nobody has used it, what it needs, and how it is closed.
//!
//! A start opens the launch record and keeps it open until it has become the app. A closed environment is one whose
//! record has another name: no start finds it, and who opened it before still holds it. Closing and opening are
//! one rename each and change nothing that a running process uses; a clean-up that is killed in between leaves a closed
//! environment, which the next start of its app makes anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::clean_up::{Rules, names};
use crate::environment::RECORD;
use crate::in_use::InUse;
use crate::record::Record;

/// The launch record of a closed environment.
const CLOSED: &str = ".launch-closed";

/// Unused for this long, an environment of an app that has a newer one goes.
const KEEP_OLD_VERSION: Duration = Duration::from_secs(7 * 24 * 3600);

/// An environment of the cache.
pub struct Environment {
    path: PathBuf,
    name: String,
    age: Duration,
    /// App and layers; `None` where another version of the launcher wrote the record.
    record: Option<(String, Vec<String>)>,
}

impl Environment {
    /// All of the cache at `root`.
    pub fn all(root: &Path) -> Vec<Environment> {
        let directory = root.join("envs");
        let read = |name: String| {
            let path = directory.join(&name);
            let age = age(&last_use(&path)?);
            let bytes =
                fs::read(path.join(RECORD)).or_else(|_| fs::read(path.join(CLOSED))).unwrap_or_default();
            let layers = |record: &Record| record.layers.iter().map(|&layer| layer.to_owned()).collect();
            let record = Record::parse(&bytes).map(|record| (record.app.to_owned(), layers(&record)));
            Some(Environment { path, name, age, record })
        };
        names(&directory).into_iter().filter_map(read).collect()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of its directory, which begins with its manifest's digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The app it is of; `None` where that cannot be known.
    pub fn app(&self) -> Option<&str> {
        self.record.as_ref().map(|(app, _)| app.as_str())
    }

    /// The layers it links to; `None` where that cannot be known.
    pub fn layers(&self) -> Option<&[String]> {
        self.record.as_ref().map(|(_, layers)| layers.as_slice())
    }

    /// Whether it has not been used for as long as the rules say.
    pub fn may_go(&self, rules: &Rules) -> bool {
        let old_version = self.record.as_ref().is_some_and(|(app, _)| app == rules.app);
        let keep = if old_version { rules.keep.min(KEEP_OLD_VERSION) } else { rules.keep };
        self.path != rules.own && (self.age >= keep || self.is_gone(rules))
    }

    /// Whether nobody has noted a use since its age was read.
    pub fn is_still_unused(&self, rules: &Rules) -> bool {
        self.is_gone(rules)
            || last_use(&self.path).is_some_and(|there| age(&there) >= self.age.min(rules.keep))
    }

    fn is_gone(&self, rules: &Rules) -> bool {
        rules.gone.iter().any(|beginning| self.name.starts_with(beginning.as_str()))
    }

    /// Whether running processes use it.
    pub fn is_used(&self, used: &InUse) -> bool {
        let layers = || self.layers().unwrap_or_default().iter();
        used.environments.contains(&self.name) || layers().any(|layer| used.layers.contains(layer))
    }

    /// Takes it from all further starts. Says whether it worked; one without a record is closed anyhow.
    pub fn close(&self) -> bool {
        let (open, closed) = (self.path.join(RECORD), self.path.join(CLOSED));
        fs::rename(&open, closed).is_ok() || !open.exists()
    }

    /// Gives it back to them.
    pub fn open(&self) {
        let _ = fs::rename(self.path.join(CLOSED), self.path.join(RECORD));
    }
}

/// How long ago something was changed.
pub fn age(there: &fs::Metadata) -> Duration {
    let used = there.modified().ok();
    used.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default()
}

/// What has the time of an environment's last use: its record, or where there is none, the directory.
fn last_use(path: &Path) -> Option<fs::Metadata> {
    let record = fs::metadata(path.join(RECORD)).or_else(|_| fs::metadata(path.join(CLOSED)));
    record.or_else(|_| fs::metadata(path)).ok()
}
