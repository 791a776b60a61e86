//! Promise: a clean-up that keeps nothing and a start of the same app may come at any moment of each other. The start
//! works, and what it uses stays.
//!
//! The one of the two is stopped at its system calls (ptrace(2)), and the other is run meanwhile.

mod kit;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use kit::faults::{Call, cannot_trace, run_with};
use kit::{Packed, Ran, scratch, skip, small};

/// How long a start may take before it is taken for one that waits for the clean-up.
const MOMENT: Duration = Duration::from_millis(100);

/// Of the calls that read, most of them `/proc`, and of those that remove what is out of sight, one in so many.
const PART: usize = 40;

fn clean_up(packed: &Packed, cache: &Path) -> Command {
    packed.start().cache(cache).env("COIL", "gc").env("COIL_KEEP", "0").command()
}

/// The calls of `command` that are tried.
fn calls(command: Command) -> Vec<(usize, Call)> {
    let mut calls = Vec::new();
    run_with(command, true, |number, call| {
        calls.push((number, call.clone()));
        None
    })
    .succeeded();
    calls.retain(|(number, call)| (call.writes && call.name != "unlinkat") || number % PART == 0);
    calls
}

/// An app that runs until it is told to look whether its environment is there.
struct Waiting {
    child: Child,
    lines: Receiver<String>,
}

impl Waiting {
    fn start(packed: &Packed, cache: &Path) -> Waiting {
        let mut command = packed.start().cache(cache).arg("wait").command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Waiting { child, lines }
    }

    /// What it says in the end: its first line and the last.
    fn end(mut self, first: Option<String>) -> String {
        let patience = Duration::from_secs(100);
        let first = first.or_else(|| self.lines.recv_timeout(patience).ok()).unwrap_or_default();
        let _ = self.child.stdin.take().unwrap().write_all(b"go\n");
        let last = self.lines.recv_timeout(patience).unwrap_or_default();
        let mut complaint = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        let _ = self.child.wait();
        format!("{first}, {last}{complaint}")
    }
}

#[test]
fn a_start_at_any_moment_of_a_clean_up_keeps_its_environment() {
    if let Some(reason) = cannot_trace() {
        return skip(&reason);
    }
    let packed = small("raced");
    let cache = scratch();
    let cache = cache.path();
    packed.start().cache(cache).run().succeeded();
    let calls = calls(clean_up(&packed, cache));
    let (mut kept, mut made_anew) = (0, 0);
    for (number, call) in calls {
        packed.start().cache(cache).run().succeeded();
        let mut waiting = None;
        let cleaned = run_with(clean_up(&packed, cache), true, |at, _| {
            if at == number {
                // In a thread of its own: this one waits for the calls of all its children.
                let start = || {
                    let waiting = Waiting::start(&packed, cache);
                    let first = waiting.lines.recv_timeout(MOMENT).ok();
                    (waiting, first)
                };
                waiting = thread::scope(|scope| scope.spawn(start).join().ok());
            }
            None
        });
        // Another number of processes, another number of calls.
        let Some((waiting, first)) = waiting else { continue };
        let counter = if cleaned.stdout.contains(": 0 environments") { &mut kept } else { &mut made_anew };
        *counter += 1;
        assert_eq!((cleaned.code(), cleaned.stderr.as_str()), (Some(0), ""), "{cleaned}");
        assert_eq!(waiting.end(first), "started raced, there", "at {number}, {} {}", call.name, call.path);
    }
    eprintln!("{kept} clean-ups saw the start, {made_anew} were quicker");
    assert!(kept > 0 && made_anew > 0);
}

#[test]
fn a_clean_up_at_any_moment_of_a_start_leaves_it_what_it_has_found() {
    if let Some(reason) = cannot_trace() {
        return skip(&reason);
    }
    let packed = small("found");
    let cache = scratch();
    let cache = cache.path();
    packed.start().cache(cache).run().succeeded();
    let start = || packed.start().cache(cache).command();
    let record = packed.start().cache(cache).env("COIL", "where").run().printed() + "/.launch";
    let mut number = 0;
    let mut found = false;
    loop {
        packed.start().cache(cache).run().succeeded();
        let mut cleaned = None;
        let mut opens = false;
        let ran = run_with(start(), true, |at, call| {
            if at == number {
                opens = call.path == record;
                let run = || Ran::of(clean_up(&packed, cache), b"");
                cleaned = thread::scope(|scope| scope.spawn(run).join().ok());
            }
            None
        });
        assert_eq!(ran.printed(), "started found", "cleaned up at call {number}");
        // When the start was over before this call, all have been tried.
        let Some(cleaned) = cleaned else { break };
        let kept = cleaned.printed().contains(": 0 environments");
        assert_eq!(kept, found, "cleaned up at call {number}");
        found |= opens;
        number += 1;
    }
    assert!(found, "the launch record is opened");
}
