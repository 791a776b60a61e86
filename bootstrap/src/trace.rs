//! What the launcher tells of itself where somebody asks for it: `COIL_DEBUG`.
//!
//! ```text
//! coil debug: 0.081 ms, +0.012 ms, cache: /home/me/.cache/coil has this bundle's environment
//! ```
//! One line a decision: when it was made, counted from the start of the launcher, how long that took since the line
//! before, what it is about (one word), and a sentence. `1` sends the lines to standard error, an absolute path to the
//! end of that file. Without the variable nothing is put together and no clock is read; whether it works is never of
//! any importance to the start.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The variable that asks for it.
pub const VARIABLE: &str = "COIL_DEBUG";

/// What every line begins with.
pub const PREFIX: &str = "coil debug: ";

static TRACE: OnceLock<Trace> = OnceLock::new();

struct Trace {
    start: Instant,
    last: Mutex<Duration>,
    file: Option<File>,
}

/// Listens to what the variable's value asks for. Nothing, and `0`, ask for nothing.
pub fn begin(asked: Option<OsString>) {
    let Some(asked) = asked.filter(|value| !value.is_empty() && value != "0") else { return };
    let file = Path::new(&asked)
        .is_absolute()
        .then(|| File::options().append(true).create(true).mode(0o600).open(&asked).map_err(|_| asked));
    let file = match file {
        None => None,
        Some(Ok(file)) => Some(file),
        Some(Err(_)) => return,
    };
    let _ = TRACE.set(Trace { start: Instant::now(), last: Mutex::default(), file });
}

/// Whether anybody listens.
pub fn is_on() -> bool {
    TRACE.get().is_some()
}

/// The time, where anybody wants to know how long something takes.
pub fn clock() -> Option<Instant> {
    is_on().then(Instant::now)
}

/// Tells a decision about `subject`, one word. The sentence is put together only where somebody listens.
pub fn say(subject: &str, sentence: impl FnOnce() -> String) {
    if let Some(trace) = TRACE.get() {
        tell(trace, subject, &sentence());
    }
}

fn tell(trace: &Trace, subject: &str, sentence: &str) {
    let mut last = trace.last.lock().unwrap_or_else(PoisonError::into_inner);
    let now = trace.start.elapsed();
    let step = now.saturating_sub(*last);
    *last = now;
    let line = line(now, step, subject, sentence);
    let _ = match &trace.file {
        Some(file) => (&*file).write_all(line.as_bytes()),
        None => io::stderr().write_all(line.as_bytes()),
    };
}

/// A duration in milliseconds, to the microsecond.
pub fn milliseconds(time: Duration) -> String {
    let microseconds = time.as_micros();
    format!("{}.{:03} ms", microseconds / 1000, microseconds % 1000)
}

fn line(now: Duration, step: Duration, subject: &str, sentence: &str) -> String {
    // One decision is one line, whatever is in a path.
    let sentence = sentence.replace('\n', "\\n");
    format!("{PREFIX}{}, +{}, {subject}: {sentence}\n", milliseconds(now), milliseconds(step))
}

/// A line as it can be read again.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// When, since the start of the launcher.
    pub at: Duration,
    /// Since the line before.
    pub step: Duration,
    /// What it is about.
    pub subject: String,
    /// What was decided.
    pub sentence: String,
}

impl Told {
    /// Reads a line; `None` for one that is not of this kind.
    pub fn parse(line: &str) -> Option<Told> {
        let mut parts = line.strip_prefix(PREFIX)?.splitn(3, ", ");
        let time = |text: &str| {
            let number: f64 = text.strip_suffix(" ms")?.parse().ok()?;
            Duration::try_from_secs_f64(number / 1e3).ok()
        };
        let at = time(parts.next()?)?;
        let step = time(parts.next()?.strip_prefix('+')?)?;
        let (subject, sentence) = parts.next()?.split_once(": ")?;
        Some(Told { at, step, subject: subject.to_owned(), sentence: sentence.to_owned() })
    }
}

/// A size in megabytes, to the tenth. (Numbers with a point would bring 20 kB of code into every bundle.)
pub fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// A path in a sentence.
pub fn shown(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_a_newline_in_a_path_does_not_make_two() {
        let text = line(Duration::from_micros(1234), Duration::from_micros(7), "cache", "/a\nb: taken, now");
        assert_eq!(text, "coil debug: 1.234 ms, +0.007 ms, cache: /a\\nb: taken, now\n");
        let told = Told::parse(text.trim_end()).unwrap();
        assert_eq!((told.at.as_micros(), told.step.as_micros()), (1234, 7));
        assert_eq!((told.subject.as_str(), told.sentence.as_str()), ("cache", "/a\\nb: taken, now"));
        for other in ["", "coil debug: ", "coil debug: 1 ms, 2 ms, x: y", "hello: 1 ms, +2 ms, x: y"] {
            assert_eq!(Told::parse(other), None, "{other}");
        }
    }

    #[test]
    fn without_a_listener_nothing_is_put_together() {
        begin(None);
        begin(Some("0".into()));
        begin(Some("".into()));
        assert!(!is_on() && clock().is_none());
        say("cache", || unreachable!("nobody listens"));
    }
}
