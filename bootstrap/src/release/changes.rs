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

const FILE: &str = "activations.log";

/// Adds a line.
pub fn note(app: &App, what: &str) -> Result<()> {
    let path = app.home().join(FILE);
    let line = format!("{} {}\n", spelled(now()), what.replace(['\n', '\r'], " "));
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

/// A time as RFC 3339 has it, in UTC.
pub fn spelled(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that comes and goes is the last (proleptic Gregorian calendar).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + turn;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_as_everybody_does() {
        // Of `date -u -d @N`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_732_212_222, "2024-11-21T18:03:42Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(spelled(seconds), text);
        }
    }
}
