//! Two things done at once.

use std::{panic, thread};

/// Does `first` in a thread of its own, and meanwhile `second` in this one. A panic of either goes on here.
pub fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (first.join().unwrap_or_else(|panic| panic::resume_unwind(panic)), second)
    })
}
