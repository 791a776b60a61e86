//! The order of a deploy: everywhere installed before anywhere activated, then a few hosts, then the rest.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::outcome::{Outcome, State, bytes};
use super::process::Host;
use super::release::{App, Release};
use super::transfer::Transfer;
use crate::error::Failure;
use crate::report::Report;

/// How a deploy goes.
#[derive(Debug, Clone)]
pub struct Course {
    /// How many hosts are served at a time.
    pub parallel: usize,
    /// How many are activated before the others.
    pub canary: usize,
    /// How long those run before they are looked at again and the others follow.
    pub wait: Duration,
    /// Whether the release is activated at all.
    pub activate: bool,
    /// Whether the hosts that have the release go on where others could not be reached.
    pub keep_going: bool,
    /// Whether those that were activated go back where another fails.
    pub roll_back: bool,
}

/// Brings the release to all hosts and activates it, and says for each how that ended.
pub fn roll_out(release: &impl Release, hosts: &[Host], course: &Course, report: &Report) -> Vec<Outcome> {
    let go_on = AtomicBool::new(true);
    let install = |host: &Host| install(release, host, report);
    let mut outcomes: Vec<Outcome> =
        side_by_side(hosts, course.parallel, &go_on, install).into_iter().flatten().collect();
    let failed = outcomes.iter().any(|outcome| outcome.outcome == State::Failed);
    if !course.activate || failed && !course.keep_going {
        return outcomes;
    }
    let ready: Vec<usize> =
        (0..hosts.len()).filter(|index| outcomes[*index].outcome == State::Installed).collect();
    let (canaries, rest) = ready.split_at(course.canary.min(ready.len()));
    let activate = |wave: &[usize], outcomes: &mut Vec<Outcome>| {
        let activate = |index: &usize| {
            let mut outcome = outcomes[*index].clone();
            activate(release, &hosts[*index], report, &mut outcome);
            if outcome.outcome == State::Failed {
                go_on.store(false, Ordering::Relaxed);
            }
            outcome
        };
        let done = side_by_side(wave, course.parallel, &go_on, activate);
        for (index, outcome) in wave.iter().zip(done) {
            if let Some(outcome) = outcome {
                outcomes[*index] = outcome;
            }
        }
    };
    activate(canaries, &mut outcomes);
    if !canaries.is_empty() && go_on.load(Ordering::Relaxed) {
        watch(course.wait, canaries.len(), report);
        let check = |index: &usize| {
            let started = Instant::now();
            let mut outcome = outcomes[*index].clone();
            if let Err(failure) = release.check(&hosts[*index]) {
                fail(&mut outcome, &failure, report);
                go_on.store(false, Ordering::Relaxed);
            }
            outcome.seconds += started.elapsed().as_secs_f64();
            outcome
        };
        let checked = side_by_side(canaries, course.parallel, &AtomicBool::new(true), check);
        for (index, outcome) in canaries.iter().zip(checked) {
            outcomes[*index] = outcome.unwrap_or_else(|| outcomes[*index].clone());
        }
    }
    activate(rest, &mut outcomes);
    if course.roll_back && !go_on.load(Ordering::Relaxed) {
        take_back(release, hosts, course, report, &mut outcomes);
    }
    outcomes
}

/// Puts the previous release of `app` back on all hosts. A host that fails stops no other.
pub fn roll_back(app: &impl App, hosts: &[Host], parallel: usize, report: &Report) -> Vec<Outcome> {
    let back = |host: &Host| {
        let mut outcome = nothing_yet(host);
        let started = Instant::now();
        let _task = report.task(&format!("{host}: rolling back"));
        go_back(app, host, report, &mut outcome);
        outcome.seconds = started.elapsed().as_secs_f64();
        outcome
    };
    side_by_side(hosts, parallel, &AtomicBool::new(true), back).into_iter().flatten().collect()
}

fn nothing_yet(host: &Host) -> Outcome {
    Outcome {
        host: host.to_string(),
        before: None,
        now: None,
        sent: 0,
        seconds: 0.0,
        outcome: State::Failed,
        error: None,
        hint: None,
    }
}

fn install(release: &impl Release, host: &Host, report: &Report) -> Outcome {
    let started = Instant::now();
    let mut transfer = Transfer::default();
    let result = release.bring(host, report, &mut transfer);
    let mut outcome = nothing_yet(host);
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome.sent = transfer.sent;
    outcome.before = transfer.before.clone();
    outcome.now = transfer.before;
    match result {
        Ok(()) => {
            outcome.outcome = State::Installed;
            let (sent, seconds) = (bytes(outcome.sent), outcome.seconds);
            let (done, id) = (release.arrived(), release.id());
            report.done(&format!("{host}: {done} {id}, {sent} sent, {seconds:.1} s"));
        }
        Err(failure) => fail(&mut outcome, &failure, report),
    }
    outcome
}

fn activate(release: &impl Release, host: &Host, report: &Report, outcome: &mut Outcome) {
    let started = Instant::now();
    let task = report.task(&format!("{host}: activating"));
    let said = release.activate(host);
    drop(task);
    let seconds = started.elapsed().as_secs_f64();
    outcome.seconds += seconds;
    outcome.now = said.current.or(outcome.now.take());
    match said.result {
        Ok(_) => {
            outcome.outcome = State::Active;
            report.done(&format!("{host}: activated {}, {seconds:.1} s", release.id()));
        }
        Err(failure) => fail(outcome, &failure, report),
    }
}

/// Waits, and says for whom.
fn watch(wait: Duration, canaries: usize, report: &Report) {
    if wait.is_zero() {
        return;
    }
    let who = if canaries == 1 { "one host has it".to_owned() } else { format!("{canaries} hosts have it") };
    let task = report.counted(&format!("{who}; waiting"), wait.as_secs() as usize);
    let started = Instant::now();
    while let Some(left) = wait.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(Duration::from_secs(1)));
        task.advance(1);
    }
}

/// Puts back the release before on every host that was activated.
fn take_back(
    release: &impl Release,
    hosts: &[Host],
    course: &Course,
    report: &Report,
    outcomes: &mut [Outcome],
) {
    let new = |outcome: &Outcome| {
        let changed = outcome.before.is_some() && outcome.before.as_deref() != Some(release.id());
        changed && outcome.now.as_deref() == Some(release.id())
    };
    let those: Vec<usize> = (0..hosts.len()).filter(|index| new(&outcomes[*index])).collect();
    let back = |index: &usize| {
        let mut outcome = outcomes[*index].clone();
        let started = Instant::now();
        go_back(release, &hosts[*index], report, &mut outcome);
        outcome.seconds += started.elapsed().as_secs_f64();
        outcome
    };
    let done = side_by_side(&those, course.parallel, &AtomicBool::new(true), back);
    for (index, outcome) in those.iter().zip(done) {
        outcomes[*index] = outcome.unwrap_or_else(|| outcomes[*index].clone());
    }
}

fn go_back(app: &impl App, host: &Host, report: &Report, outcome: &mut Outcome) {
    let said = app.go_back(host);
    outcome.before = outcome.before.take().or(said.before);
    outcome.now = said.current;
    match said.result {
        Ok(_) => {
            outcome.outcome = State::RolledBack;
            let now = outcome.now.as_deref().unwrap_or("the release before");
            report.done(&format!("{host}: rolled back to {now}"));
        }
        Err(failure) => fail(outcome, &failure, report),
    }
}

fn fail(outcome: &mut Outcome, failure: &Failure, report: &Report) {
    outcome.outcome = State::Failed;
    report.warning(&format!("{}: {failure}", outcome.host));
    outcome.error = Some(failure.to_string());
    outcome.hint = failure.advice().map(str::to_owned);
}

/// Does `work` for every item, so many at a time, in order of the items. Once `go_on` is false none is begun; what was not
/// done is `None`.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    parallel: usize,
    go_on: &AtomicBool,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..parallel.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while go_on.load(Ordering::Relaxed)
                    && let Some((index, item)) = {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        items.get(index).map(|item| (index, item))
                    }
                {
                    let result = work(item);
                    *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_nothing_is_begun_after_a_failure() {
        let go_on = AtomicBool::new(true);
        let numbers: Vec<u32> = (0..50).collect();
        let doubled: Vec<u32> = side_by_side(&numbers, 7, &go_on, |n| n * 2).into_iter().flatten().collect();
        assert_eq!(doubled, numbers.iter().map(|n| n * 2).collect::<Vec<_>>());
        let done = side_by_side(&numbers, 1, &go_on, |n| {
            if *n == 3 {
                go_on.store(false, Ordering::Relaxed);
            }
            *n
        });
        assert_eq!(done.into_iter().flatten().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
