//! Promise: whatever system call of a first start fails, or is the last one before the process is killed, the next
//! start works and nothing is left lying about.
//!
//! Every call of a start that touches files is a point. At each, the start is killed before it and after it, the call
//! fails with EIO (and one that writes with ENOSPC and EDQUOT), or moves half of the bytes it should. All points are
//! gone through with `COIL_TEST_FAULTS=1`; without it, some of them are, a different part for each kind of fault.
//! `COIL_TEST_FAULTS_REAL=COUNT` tries so many points, spread evenly, of a first start with a real CPython.

mod kit;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use kit::faults::{Call, Fault, cannot_trace, run_with};
use kit::{Bench, Packed, Ran, scratch, skip, small, snapshot};

/// Without the whole sweep, one point in so many.
const PART: usize = 41;

fn whole() -> bool {
    std::env::var("COIL_TEST_FAULTS").as_deref() == Ok("1")
}

fn new() -> &'static Packed {
    static NEW: OnceLock<Packed> = OnceLock::new();
    NEW.get_or_init(|| small("new"))
}

fn old() -> &'static Packed {
    static OLD: OnceLock<Packed> = OnceLock::new();
    OLD.get_or_init(|| small("old"))
}

/// A start of the newer bundle with this cache.
fn start(cache: &Path) -> Command {
    new().start().cache(cache).command()
}

/// What a cache holds, whatever is there besides: launch records and layers, each file of them.
fn state(cache: &Path) -> Vec<String> {
    let mut state = snapshot(cache);
    // The lock and the note of the last clean-up may be there or not.
    state.retain(|line| !line.starts_with("lock ") && !line.starts_with("cleaned "));
    state
}

/// What a fault may do to the start it happens in.
fn check_faulted(ran: &Ran, fault: Fault, expected: Option<&str>) -> Result<(), String> {
    let printed = expected.is_none_or(|expected| ran.stdout == expected);
    let well = ran.code() == Some(0) && printed && ran.stderr.is_empty();
    let refused = ran.code().is_some_and(|code| (125..=127).contains(&code))
        && ran.stdout.is_empty()
        && ran.stderr.lines().count() == 1
        && ran.stderr.starts_with("small: ");
    let allowed = match fault {
        Fault::KillBefore | Fault::KillAfter => ran.signal() == Some(libc::SIGKILL),
        Fault::Fails(_) => well || refused,
        Fault::Short => well,
    };
    if allowed { Ok(()) } else { Err(format!("the start itself: {ran}")) }
}

/// Something that is done over and over, and what is there before it.
struct Scenario<'a> {
    name: &'a str,
    /// What is started; it prints what [`new`] prints and has its name.
    packed: &'a Packed,
    one_core: bool,
    /// Makes the cache, which does not exist, what it is before.
    before: &'a dyn Fn(&Path),
    /// How many points are tried, if not as many as usual.
    points: Option<usize>,
    /// One of the launcher's own commands in place of a start. After a fault it is given again.
    builtin: Option<&'a str>,
}

/// How many points there were, and what became of them.
#[derive(Default)]
struct Tally {
    calls: usize,
    faults: usize,
    /// The start got over it.
    unharmed: usize,
    /// What was left of it was still there after the next start, a warm one, and went with the clean-up.
    left_to_clean_up: usize,
    wrong: Vec<String>,
}

impl Scenario<'_> {
    fn sweep(&self) -> Tally {
        let place = scratch();
        let cache = place.path().join("cache");
        let (calls, expected, clean) = self.undisturbed(&cache);
        let mut tally = Tally { calls: calls.len(), ..Tally::default() };
        let points = calls.iter().enumerate();
        let points: Vec<_> = points
            .flat_map(|(at, call)| faults_of(call).into_iter().map(move |fault| (at, call, fault)))
            .collect();
        let step = match self.points {
            Some(count) => points.len().div_ceil(count),
            None if whole() || points.len() < 2 * PART => 1,
            None => PART,
        };
        for (at, call, fault) in points.into_iter().step_by(step) {
            if let Err(what) = self.disturbed(&cache, at, fault, &expected, &clean, &mut tally) {
                let (name, path) = (&call.name, &call.path);
                tally.wrong.push(format!("{}: {fault:?} at {at}, {name} {path}: {what}", self.name));
            }
        }
        tally
    }

    /// The calls of a start that nothing happens to, its output, and the cache after it.
    fn undisturbed(&self, cache: &Path) -> (Vec<Call>, String, Vec<String>) {
        self.make(cache);
        let mut calls = Vec::new();
        let ran = run_with(self.command(cache), self.one_core, |_, call| {
            calls.push(call.clone());
            None
        });
        assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""), "{ran}");
        let started = Ran::of(self.packed.start().cache(cache).command(), b"");
        assert_eq!(started.printed(), "started new");
        (calls, ran.stdout, state(cache))
    }

    fn command(&self, cache: &Path) -> Command {
        match self.builtin {
            None => self.packed.start().cache(cache).command(),
            Some(name) => self.packed.start().cache(cache).env("COIL", name).command(),
        }
    }

    fn make(&self, cache: &Path) {
        let _ = fs::remove_dir_all(cache);
        (self.before)(cache);
    }

    fn disturbed(
        &self,
        cache: &Path,
        number: usize,
        fault: Fault,
        expected: &str,
        clean: &[String],
        tally: &mut Tally,
    ) -> Result<(), String> {
        self.make(cache);
        let mut happened = false;
        let ran = run_with(self.command(cache), self.one_core, |at, call| {
            // With several cores another call may be the one with this number.
            let fits = at == number && faults_of(call).contains(&fault);
            happened |= fits;
            fits.then_some(fault)
        });
        if !happened {
            return Ok(());
        }
        tally.faults += 1;
        tally.unharmed += usize::from(ran.code() == Some(0));
        check_faulted(&ran, fault, self.builtin.is_none().then_some(expected))?;
        if self.builtin.is_some() {
            let again = Ran::of(self.command(cache), b"");
            if again.code() != Some(0) {
                return Err(format!("the same again: {again}"));
            }
        }
        let next = Ran::of(self.packed.start().cache(cache).command(), b"");
        if next.code() != Some(0) || next.stdout != "started new\n" || !next.stderr.is_empty() {
            return Err(format!("the next start: {next}"));
        }
        if state(cache) == *clean {
            return Ok(());
        }
        tally.left_to_clean_up += 1;
        let cleaned = Ran::of(self.packed.start().cache(cache).env("COIL", "gc").command(), b"");
        let now = state(cache);
        if cleaned.code() == Some(0) && now == *clean {
            return Ok(());
        }
        let more = now.iter().filter(|line| !clean.contains(line)).map(|line| format!("\n+ {line}"));
        let less = clean.iter().filter(|line| !now.contains(line)).map(|line| format!("\n- {line}"));
        Err(format!("the cache differs:{}", more.chain(less).take(20).collect::<String>()))
    }
}

fn faults_of(call: &Call) -> Vec<Fault> {
    let mut faults = vec![Fault::Fails(libc::EIO)];
    if call.writes {
        faults.extend([Fault::KillBefore, Fault::KillAfter]);
        faults.extend([Fault::Fails(libc::ENOSPC), Fault::Fails(libc::EDQUOT)]);
    }
    if call.counts {
        faults.push(Fault::Short);
    }
    faults
}

#[track_caller]
fn insist(tally: &Tally, name: &str) {
    eprintln!(
        "{name}: {} calls, {} faults, {} starts got over theirs, {} recovered; the rest of {} went with a clean-up",
        tally.calls,
        tally.faults,
        tally.unharmed,
        tally.faults - tally.wrong.len(),
        tally.left_to_clean_up,
    );
    assert!(tally.faults > 0);
    assert!(tally.wrong.is_empty(), "{} of {}:\n{}", tally.wrong.len(), tally.faults, tally.wrong.join("\n"));
}

fn sweep(scenario: &Scenario) {
    if let Some(reason) = cannot_trace() {
        return skip(&reason);
    }
    insist(&scenario.sweep(), scenario.name);
}

impl Default for Scenario<'_> {
    fn default() -> Self {
        Scenario { name: "", packed: new(), one_core: true, before: &|_| (), points: None, builtin: None }
    }
}

#[test]
fn a_first_start_survives_every_fault() {
    sweep(&Scenario { name: "first start", ..Scenario::default() });
}

#[test]
fn a_first_start_on_several_cores_survives_every_fault() {
    sweep(&Scenario { name: "first start on several cores", one_core: false, ..Scenario::default() });
}

#[test]
fn a_first_start_of_a_real_python_survives_faults() {
    let count = std::env::var("COIL_TEST_FAULTS_REAL").ok().and_then(|count| count.parse().ok());
    if count.is_none() {
        return skip("it takes minutes: set COIL_TEST_FAULTS_REAL to a number of points");
    }
    let bench = Bench::new().file("main.py", "print('started new')\n");
    let packed = bench.pack_to("small", &["main.py", "--name", "small"]);
    for one_core in [true, false] {
        let name = if one_core { "real first start" } else { "real first start on several cores" };
        sweep(&Scenario { name, packed: &packed, one_core, points: count, ..Scenario::default() });
    }
}

/// A cache that has seen better days: what a killed start has left, a version that nobody used for long, and a runtime
/// whose interpreter is cut short.
fn worn(cache: &Path) {
    Ran::of(old().start().cache(cache).command(), b"").succeeded();
    let _ = fs::remove_file(cache.join("cleaned"));
    fs::create_dir_all(cache.join("tmp/1-0/layer/python")).unwrap();
    fs::write(cache.join("tmp/1-0/layer/python/half"), "half").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(40 * 24 * 3600);
    for entry in fs::read_dir(cache.join("envs")).unwrap().flatten() {
        File::open(entry.path().join(".launch")).unwrap().set_modified(long_ago).unwrap();
    }
    for entry in fs::read_dir(cache.join("layers")).unwrap().flatten() {
        let interpreter = entry.path().join("python/bin/python3.12");
        if interpreter.exists() {
            File::options().write(true).open(interpreter).unwrap().set_len(100).unwrap();
        }
    }
}

#[test]
fn a_first_start_that_sweeps_and_mends_and_cleans_up_survives_every_fault() {
    sweep(&Scenario { name: "start in a worn cache", before: &worn, ..Scenario::default() });
}

#[test]
fn a_warm_start_survives_every_fault() {
    let before = |cache: &Path| drop(Ran::of(start(cache), b"").succeeded());
    sweep(&Scenario { name: "warm start", before: &before, ..Scenario::default() });
}

#[test]
fn a_repair_survives_every_fault() {
    let before = |cache: &Path| {
        Ran::of(start(cache), b"").succeeded();
        for entry in fs::read_dir(cache.join("layers")).unwrap().flatten() {
            fs::write(entry.path().join("more"), "than there was").unwrap();
        }
        for entry in fs::read_dir(cache.join("envs")).unwrap().flatten() {
            fs::remove_file(entry.path().join("pyvenv.cfg")).unwrap();
        }
    };
    sweep(&Scenario { name: "repair", before: &before, builtin: Some("repair"), ..Scenario::default() });
}

#[test]
fn starts_that_get_no_lock_at_all_succeed_side_by_side() {
    if let Some(reason) = cannot_trace() {
        return skip(&reason);
    }
    let cache = scratch();
    let cache = cache.path();
    let start_without = || {
        run_with(start(cache), false, |_, call| (call.name == "flock").then_some(Fault::Fails(libc::ENOLCK)))
    };
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..6).map(|_| scope.spawn(start_without)).collect();
        for start in starts {
            assert_eq!(start.join().unwrap().printed(), "started new");
        }
    });
    let left = fs::read_dir(cache.join("tmp")).unwrap().count();
    assert_eq!(left, 0, "nothing lies about");
    let clean = state(cache);
    assert_eq!(start_without().printed(), "started new");
    assert_eq!(state(cache), clean);
}
