//! Progress of a long first start, on a terminal and nowhere else.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A start shorter than this stays silent.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the line is drawn anew.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error that says how far unpacking has come.
pub struct Progress<'a> {
    name: &'a str,
    total: u64,
    start: Instant,
    /// When the line is due next, in milliseconds since the start; `u64::MAX` if never.
    due: AtomicU64,
}

impl<'a> Progress<'a> {
    /// Progress of unpacking `total` bytes for `name`.
    pub fn new(name: &'a str, total: u64) -> Self {
        let first = if io::stderr().is_terminal() { PATIENCE.as_millis() as u64 } else { u64::MAX };
        Progress { name, total, start: Instant::now(), due: AtomicU64::new(first) }
    }

    /// Draws the line if it is due.
    pub fn show(&self, done: u64) {
        let due = self.due.load(Ordering::Relaxed);
        if due == u64::MAX {
            return;
        }
        let now = self.start.elapsed().as_millis() as u64;
        let next = now + INTERVAL.as_millis() as u64;
        let ours =
            now >= due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if ours {
            let percent = done.saturating_mul(100) / self.total.max(1);
            let _ = write!(io::stderr(), "\r{}: unpacking, {percent} %", self.name);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        let drawn = self.due.load(Ordering::Relaxed);
        if drawn != u64::MAX && drawn > PATIENCE.as_millis() as u64 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
