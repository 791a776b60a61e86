//! An instance that is about to end takes no connection any more.
//!
//! Only one that is up can be made deaf. Told to end before that, a server may still begin to wait for connections, accept
//! some and drop them (uvicorn does, when it is told while it imports the app). So what is starting is let come up first.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::hush::hush;
use super::listening;
use crate::format::production::START_TIMEOUT;

/// How long a connection that was accepted may take to send its request before its server is told to end.
const HUSH: Duration = Duration::from_millis(100);

/// How often it is looked whether another process of them has begun to wait for connections meanwhile.
const LOOKS: usize = 10;

/// How often it is looked whether what starts is up.
const PAUSE: Duration = Duration::from_millis(20);

/// What starts and has neither computed nor wanted to for so long waits for something that may never come.
const STUCK: Duration = Duration::from_secs(1);

/// Waits until the instance waits for connections at one of these sockets, has ended, or does not get on.
pub fn let_come_up(unit: &str, sockets: &BTreeSet<u64>) {
    let begun = Instant::now();
    let (mut last, mut worked) = (None, begun);
    let patience = Duration::from_secs(START_TIMEOUT.into());
    while begun.elapsed() < patience && worked.elapsed() < STUCK {
        let processes = processes(unit, sockets);
        if processes.is_empty() || listening::is_waited_at(sockets, &processes) {
            return;
        }
        let work = work(&processes);
        if last != Some(work) || work.is_wanted {
            (last, worked) = (Some(work), Instant::now());
        }
        sleep(PAUSE);
    }
}

/// Has these instances take no connection any more at these sockets, and gives them time for those that they have taken.
pub fn deafen(units: &[String], sockets: &BTreeSet<u64>) {
    let mut deaf = Vec::new();
    let mut last = None;
    for look in 0..LOOKS {
        let mut others: Vec<u32> = units.iter().flat_map(|unit| processes(unit, sockets)).collect();
        let hushed = hush(sockets, &others);
        if others.is_empty() || hushed.is_empty() && listening::is_waited_at(sockets, &others) {
            // Nothing can be done about those that wait otherwise, and nothing has to be.
            return;
        }
        deaf.extend_from_slice(&hushed);
        others.retain(|pid| !deaf.contains(pid));
        // A process that computes may be one more that is about to wait.
        let work = work(&others);
        if look > 0 && hushed.is_empty() && last == Some(work) && !work.is_wanted {
            return;
        }
        last = Some(work);
        sleep(HUSH);
    }
}

/// The processes of a unit to which one of these sockets belongs: none if it has nothing to do with them. Those that do not have it
/// yet may get it from another.
fn processes(unit: &str, sockets: &BTreeSet<u64>) -> Vec<u32> {
    let processes = listening::processes(unit);
    if processes.iter().any(|pid| listening::has(*pid, sockets)) { processes } else { Vec::new() }
}

/// What processes compute.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Work {
    /// How long they have been computing, in the kernel's ticks.
    ticks: u64,
    /// Whether one of them would, and may be waiting for a processor for longer than a look takes; or it waits for a disk.
    is_wanted: bool,
}

/// What these processes compute (proc_pid_stat(5)).
fn work(pids: &[u32]) -> Work {
    let add = |sum: Work, pid: &u32| {
        let own = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| work_of(&text));
        let own = own.unwrap_or_default();
        Work { ticks: sum.ticks + own.ticks, is_wanted: sum.is_wanted || own.is_wanted }
    };
    pids.iter().fold(Work::default(), add)
}

fn work_of(text: &str) -> Option<Work> {
    // After the name, which may hold anything: the state is the third field, utime and stime are the 14th and the 15th.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let is_wanted = matches!(fields.next()?, "R" | "D");
    let mut times = fields.skip(10);
    let ticks = times.next()?.parse::<u64>().ok()?.checked_add(times.next()?.parse().ok()?)?;
    Some(Work { ticks, is_wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_computes_is_seen_to() {
        let own = [std::process::id()];
        let before = work(&own);
        let until = Instant::now() + Duration::from_secs(20);
        while work(&own) == before {
            assert!(Instant::now() < until);
        }
        assert_eq!(work(&[u32::MAX]), Work::default());
    }

    #[test]
    fn a_process_that_gets_no_processor_is_not_idle() {
        let stat = |state| format!("12 (a) R (b) {state} 1 2 3 4 5 6 7 8 9 10 300 20 0 0 20 0 1 0 5");
        for (state, is_wanted) in [("R", true), ("D", true), ("S", false), ("Z", false), ("T", false)] {
            assert_eq!(work_of(&stat(state)), Some(Work { ticks: 320, is_wanted }), "{state}");
        }
        for text in ["", "12 (a", "12 (a) R", "12 (a) S 1 2 3", "12 (a) S 1 2 3 4 5 6 7 8 9 10 x 20"] {
            assert_eq!(work_of(text), None, "{text}");
        }
    }
}
