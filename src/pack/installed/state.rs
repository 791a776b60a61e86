//! Whether what is installed is as it was: the files of a distribution by their times, and by their content.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::path::TreePath;
use serde::{Deserialize, Serialize};

use crate::installed::{Distribution, Virtualenv};

/// What is remembered of a distribution while its files stay as they are.
#[derive(Serialize, Deserialize)]
pub struct Seen {
    /// A digest of all its files.
    pub content: Checksum,
    /// What is to be said of it each time.
    pub warnings: Vec<String>,
    /// The files that are not as RECORD says.
    pub changed: Vec<TreePath>,
    /// The files of RECORD that are not there.
    pub missing: Vec<TreePath>,
}

/// A file that was changed this short a time ago may be changed again without a trace in its times.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells whether the files of a distribution may have changed.
pub struct State {
    /// All that would be different.
    pub text: Vec<u8>,
    /// Whether another change would show.
    pub settled: bool,
}

/// How the files of a distribution lie there now.
pub fn state(distribution: &Distribution, venv: &Virtualenv) -> io::Result<State> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let limit = i64::try_from(now.saturating_sub(SETTLED).as_secs()).unwrap_or(i64::MAX);
    // What is made of the files, apart from their content.
    let mut text = format!(
        "{:?} {} {:?} {:?} {:?} {}\n",
        distribution.metadata,
        distribution.directory,
        distribution.entry_points,
        distribution.direct_url,
        venv.names,
        distribution.has_record,
    );
    let mut settled = true;
    for (path, installed) in &distribution.files {
        let claim = installed.claim.hash.as_ref().map(|hash| hash.text.as_str()).unwrap_or_default();
        text.push_str(&format!("{path:?} {:?} {claim} ", installed.file));
        for file in [fs::symlink_metadata(&installed.file), fs::metadata(&installed.file)] {
            match file {
                Ok(file) => {
                    settled &= file.ctime() < limit;
                    let times = (file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec());
                    text.push_str(&format!("{:?} ", (file.size(), times, file.ino(), file.mode())));
                    if !file.is_symlink() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => text.push('-'),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => text.push('-'),
                Err(error) => return Err(error),
            }
        }
        text.push('\n');
    }
    Ok(State { text: text.into_bytes(), settled })
}
