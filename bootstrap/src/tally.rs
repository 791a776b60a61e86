//! Where the time of unpacking a layer goes, for `COIL_DEBUG`: summed over all threads, so that it can be compared with
//! what a machine is able to do.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::trace;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Reading and decompressing frames.
    Decode,
    /// Creating files and directories.
    Create,
    /// Writing into files.
    Write,
    /// Making symbolic links.
    Link,
    /// Summing up the blob.
    Verify,
}

const PARTS: [(Part, &str); 5] = [
    (Part::Decode, "decode"),
    (Part::Create, "create"),
    (Part::Write, "write"),
    (Part::Link, "link"),
    (Part::Verify, "verify"),
];

/// The times of one layer. Nothing is counted unless somebody listens.
#[derive(Debug, Default)]
pub struct Tally {
    nanoseconds: [AtomicU64; PARTS.len()],
    files: AtomicU64,
}

impl Tally {
    /// Counts the time until the value is dropped.
    pub fn time(&self, part: Part) -> Timing<'_> {
        Timing { tally: self, part, since: trace::clock() }
    }

    fn add(&self, part: Part, time: Duration) {
        let nanoseconds = time.as_nanos() as u64;
        self.nanoseconds[part as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        self.files.fetch_add(u64::from(part == Part::Create), Ordering::Relaxed);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files and directories", self.files.load(Ordering::Relaxed))?;
        for (part, name) in PARTS {
            let time = Duration::from_nanos(self.nanoseconds[part as usize].load(Ordering::Relaxed));
            write!(f, ", {name} {}", trace::milliseconds(time))?;
        }
        f.write_str(", summed over threads")
    }
}

/// A part of the work that is going on.
pub struct Timing<'a> {
    tally: &'a Tally,
    part: Part,
    since: Option<Instant>,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        if let Some(since) = self.since {
            self.tally.add(self.part, since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_by_its_name() {
        let tally = Tally::default();
        tally.add(Part::Create, Duration::from_micros(1500));
        tally.add(Part::Verify, Duration::from_micros(2));
        drop(tally.time(Part::Write));
        let parts = "decode 0.000 ms, create 1.500 ms, write 0.000 ms, link 0.000 ms, verify 0.002 ms";
        assert_eq!(tally.to_string(), format!("1 files and directories, {parts}, summed over threads"));
    }
}
