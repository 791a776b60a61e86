//! The log of activations: one line for each, the last at the end, read by people and by `status`.
//!
//! ```text
//! 2026-11-21T18:03:42Z activated 81911d155e14 (1.4.0, commit 3f2a91c) after 0c77b1aa9012
//! 2026-11-21T18:09:10Z refused 5d1e0f3a77b2: it did not come up; 81911d155e14 serves
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::app::App;
use crate::error::{Error, Result};
use crate::format::time::rfc3339;

const FILE: &str = "activations.log";

/// Adds a line.
pub fn note(app: &App, what: &str) -> Result<()> {
    let path = app.home().join(FILE);
    let line = format!("{} {}\n", rfc3339(now()), what.replace(['\n', '\r'], " "));
    let file = File::options().create(true).append(true).open(&path);
    // One write: lines of two processes never mix.
    file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::at("write", &path))
}

/// When the release that serves became active, as the log tells it.
pub fn active_since(app: &App, id: &str) -> Option<String> {
    let text = fs::read_to_string(app.home().join(FILE)).ok()?;
    let times = text.lines().rev().filter_map(|line| {
        let mut words = line.split(' ');
        let (time, what, whom) = (words.next()?, words.next()?, words.next()?);
        (matches!(what, "activated" | "rolled-back-to") && whom == id).then(|| time.to_owned())
    });
    times.into_iter().next()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
