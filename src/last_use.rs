//! When something in the cache was used last: its time of change, renewed at most once a day.
//!
//! So a use costs nothing but a look at a file that is looked at anyway. It only ever decides what
//! `coil cache prune` removes, never what is packed.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Uses within this time of each other are one.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Notes that the file or directory at `path` is used now. Whether that works is of no importance.
pub fn mark(path: &Path) {
    if let Ok(there) = fs::metadata(path) {
        mark_seen(path, &there);
    }
}

/// The same, for one whose metadata has been read just now.
pub fn mark_seen(path: &Path, there: &fs::Metadata) {
    if age(there) > DAY
        && let Ok(file) = File::open(path)
    {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// How long ago it was used last; nothing for what was used in the future.
pub fn age(there: &fs::Metadata) -> Duration {
    let used = there.modified().ok();
    used.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_noted_once_a_day() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let before = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
        let modified = || fs::metadata(file.path()).unwrap().modified().unwrap();
        for (hours, renewed) in [(1, false), (23, false), (25, true), (1000, true)] {
            let then = before(hours);
            file.as_file().set_modified(then).unwrap();
            mark(file.path());
            assert_eq!(modified() != then, renewed, "{hours} hours");
        }
    }
}
