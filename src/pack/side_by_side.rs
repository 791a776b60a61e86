//! Steps of a pack that are done at the same time.
//!
//! Only the order of the work is free. Results, lines and the failure that is told are those of the same
//! work done one after another.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::Result;
use crate::meanwhile;
use crate::report::Report;

/// Does two things at once, each with a report of its own.
pub fn both<A: Send, B>(
    report: &Report,
    first: impl FnOnce(&Report) -> Result<A> + Send,
    second: impl FnOnce(&Report) -> Result<B>,
) -> Result<(A, B)> {
    let (mine, other) = (report.held(), report.held());
    let (one, two) = meanwhile::both(|| first(&mine), || second(&other));
    report.release(mine);
    let one = one?;
    report.release(other);
    Ok((one, two?))
}

/// Does `work` with every item, `threads` at a time, those first that `order` names first: it holds the
/// index of every item. The results are in the order of the items.
///
/// After a failure only items before the one that failed are begun, so that the first failure is always
/// the same one.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    order: &[usize],
    threads: usize,
    report: &Report,
    work: impl Fn(&T, &Report) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(usize::MAX);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let take_part = || {
        while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            if *index > failed.load(Ordering::Relaxed) {
                continue;
            }
            let Some(item) = items.get(*index) else { continue };
            let own = report.held();
            let result = work(item, &own);
            if result.is_err() {
                failed.fetch_min(*index, Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(|error| error.into_inner()).push((*index, own, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(take_part);
        }
        take_part();
    });
    let mut done = done.into_inner().unwrap_or_else(|error| error.into_inner());
    done.sort_by_key(|(index, ..)| *index);
    let mut results = Vec::with_capacity(done.len());
    for (_, own, result) in done {
        report.release(own);
        results.push(result?);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Failure;
    use crate::report::Loudness;

    #[test]
    fn results_are_in_the_order_of_the_items_whatever_the_order_of_work() {
        let items: Vec<u64> = (0..20).collect();
        let order: Vec<usize> = (0..20).rev().collect();
        for threads in [1, 3, 40] {
            let results = each(&items, &order, threads, &Report::new(Loudness::Quiet), |item, _| {
                thread::sleep(Duration::from_millis(item * 7 % 4));
                Ok(item * 2)
            });
            assert_eq!(results.unwrap(), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_failure_is_the_one_that_is_told() {
        let items: Vec<u64> = (0..30).collect();
        let order: Vec<usize> = (0..30).rev().collect();
        for threads in [1, 2, 7] {
            let failure = each(&items, &order, threads, &Report::new(Loudness::Quiet), |item, _| {
                thread::sleep(Duration::from_millis(item % 3));
                if item % 10 == 4 { Err(Failure::new(format!("{item} is broken"))) } else { Ok(()) }
            });
            assert_eq!(failure.unwrap_err().to_string(), "4 is broken", "{threads} threads");
        }
    }

    #[test]
    fn of_two_failures_the_first_is_told() {
        let report = Report::new(Loudness::Quiet);
        let slow = |_: &Report| {
            thread::sleep(Duration::from_millis(20));
            Err::<(), _>(Failure::new("first"))
        };
        let failure = both(&report, slow, |_| Err::<(), _>(Failure::new("second"))).unwrap_err();
        assert_eq!(failure.to_string(), "first");
        assert_eq!(both(&report, |_| Ok(1), |_| Ok('x')).unwrap(), (1, 'x'));
    }
}
