//! What coil says on standard error while it works.
//!
//! Lines stay: steps that are done, notes, warnings. What is going on just now is shown on a terminal
//! only, below the lines, and leaves nothing behind. What is done side by side is said in the order in
//! which it would have been done one after another ([`Report::held`]).

mod progress;
mod style;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::progress::Task;
use self::progress::{Count, Screen};
pub use self::style::{Color, failure};
use self::style::{Tone, line};

/// Says what is done, as far as the user wants to hear it.
#[derive(Debug)]
pub struct Report {
    loudness: Loudness,
    screen: Arc<Screen>,
    /// What is going on.
    doing: Mutex<Option<Task>>,
    /// Lines that wait for their turn.
    held: Option<Mutex<Vec<String>>>,
}

/// How much the user wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// Warnings only.
    Quiet,
    /// Warnings, and on a terminal what is going on.
    Passing,
    /// The steps of the work.
    Normal,
    /// Details as well.
    Verbose,
}

impl Report {
    /// A report that says this much.
    pub fn new(loudness: Loudness) -> Self {
        let screen = if loudness > Loudness::Quiet { Screen::standard_error() } else { Screen::none() };
        Report { loudness, screen: Arc::new(screen), doing: Mutex::default(), held: None }
    }

    /// What is going on now: shown on a terminal, until something else is, or a step is done.
    pub fn doing(&self, what: &str) {
        let task = self.task(what);
        *lock(&self.doing) = Some(task);
    }

    /// Something that takes a while: a line of its own on a terminal until the value is dropped.
    pub fn task(&self, what: &str) -> Task {
        self.screen.task(what, Count::None)
    }

    /// The same with so many bytes to send or fetch, each told by [`Task::bytes`].
    pub fn measured(&self, what: &str, bytes: u64) -> Task {
        self.screen.task(what, Count::Bytes(bytes))
    }

    /// The same with a count: `total` steps, each told by [`Task::advance`].
    pub fn counted(&self, what: &str, total: usize) -> Task {
        self.screen.task(what, Count::Steps(total))
    }

    /// A step that is done.
    pub fn done(&self, what: &str) {
        *lock(&self.doing) = None;
        if self.loudness >= Loudness::Normal {
            self.say(line(Tone::Plain, what));
        }
    }

    /// Something the user should know, though it stops nothing.
    pub fn note(&self, what: &str) {
        if self.loudness >= Loudness::Normal {
            self.say(line(Tone::Note, what));
        }
    }

    /// Does `work`. Where that takes longer than `patience`, says `why` at once, even if lines are held back.
    pub fn patiently<T>(
        &self,
        patience: Duration,
        why: impl FnOnce() -> String + Send,
        work: impl FnOnce() -> T,
    ) -> T {
        let (working, done) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let is_late = done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
                if is_late && self.loudness >= Loudness::Normal {
                    self.screen.say(&line(Tone::Note, &why()));
                }
            });
            let result = work();
            drop(working);
            result
        })
    }

    /// Something few users want to know.
    pub fn detail(&self, what: &str) {
        if self.loudness == Loudness::Verbose {
            self.note(what);
        }
    }

    /// Something that may be wrong.
    pub fn warning(&self, what: &str) {
        self.say(line(Tone::Warning, what));
    }

    /// A report for work that is done beside other work: its lines wait until [`Report::release`], while what
    /// is going on is shown at once.
    pub fn held(&self) -> Report {
        Report {
            loudness: self.loudness,
            screen: Arc::clone(&self.screen),
            doing: Mutex::default(),
            held: Some(Mutex::default()),
        }
    }

    /// Says what was held back.
    pub fn release(&self, held: Report) {
        let lines = held.held.as_ref().map(|lines| std::mem::take(&mut *lock(lines)));
        lines.into_iter().flatten().for_each(|text| self.say(text));
    }

    /// Whether the user wants to hear everything.
    pub fn is_verbose(&self) -> bool {
        self.loudness == Loudness::Verbose
    }

    /// Takes everything that passes from the terminal: somebody else writes there next.
    pub fn leave(&self) {
        *lock(&self.doing) = None;
        self.screen.clear();
    }

    fn say(&self, text: String) {
        match &self.held {
            Some(lines) => lock(lines).push(text),
            None => self.screen.say(&text),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    fn lines(report: &Report) -> Vec<String> {
        let held = report.held.as_ref().unwrap().lock().unwrap();
        held.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn each_loudness_says_what_it_should() {
        let said = |loudness| {
            let report = Report::new(loudness).held();
            report.done("packed");
            report.note("left out");
            report.detail("no byte code");
            report.warning("odd");
            lines(&report)
        };
        assert_eq!(said(Loudness::Quiet), ["warning: odd"]);
        assert_eq!(said(Loudness::Passing), ["warning: odd"]);
        assert_eq!(said(Loudness::Normal), ["packed", "note: left out", "warning: odd"]);
        assert_eq!(
            said(Loudness::Verbose),
            ["packed", "note: left out", "note: no byte code", "warning: odd"]
        );
    }

    #[test]
    fn what_is_held_comes_in_the_order_of_release() {
        let report = Report::new(Loudness::Normal).held();
        let (first, second) = (report.held(), report.held());
        second.done("two");
        first.done("one");
        report.release(first);
        report.release(second);
        assert_eq!(lines(&report), ["one", "two"]);
    }

    #[test]
    fn only_what_takes_long_is_explained() {
        let report = Report::new(Loudness::Normal).held();
        let (explained, asked) = channel();
        let quick = explained.clone();
        let why =
            move |channel: Sender<()>| move || channel.send(()).map(|()| "it takes long".into()).unwrap();
        assert_eq!(report.patiently(Duration::from_secs(600), why(quick), || 1), 1);
        assert!(asked.try_recv().is_err());
        let long = || asked.recv_timeout(Duration::from_secs(60)).is_ok();
        assert!(report.patiently(Duration::from_millis(1), why(explained), long));
    }
}
