//! What passes by on a terminal: a line for everything that is going on, gone when it is over.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::style::is_coloured;

/// How often a line moves, so that one sees that work goes on.
const TICK: Duration = Duration::from_millis(100);

/// After how many seconds a line without a count says how long it has been there.
const LONG: u64 = 5;

/// How often the lines are drawn at most, in a second.
const DRAWN: u8 = 12;

/// Standard error, with the lines that pass below those that stay.
pub struct Screen {
    passing: Option<MultiProgress>,
}

impl Screen {
    /// Standard error. Nothing passes by where it is no terminal, or one that cannot move its cursor.
    pub fn standard_error() -> Screen {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if !io::stderr().is_terminal() || dumb {
            return Screen::none();
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWN);
        Screen { passing: Some(MultiProgress::with_draw_target(target)) }
    }

    /// One on which nothing passes by.
    pub fn none() -> Screen {
        Screen { passing: None }
    }

    /// Writes a line that stays.
    pub fn say(&self, text: &str) {
        let write = || {
            let _ = writeln!(anstream::stderr(), "{text}");
        };
        match &self.passing {
            Some(passing) => passing.suspend(write),
            None => write(),
        }
    }

    /// A line of its own for something that takes a while.
    pub fn task(&self, what: &str, count: Count) -> Task {
        let Some(passing) = &self.passing else { return Task(None) };
        let bar = passing.add(ProgressBar::new(match count {
            Count::None => 0,
            Count::Steps(total) => total as u64,
            Count::Bytes(total) => total,
        }));
        bar.set_style(style(count));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Task(Some(bar))
    }

    /// Takes away everything that passes by.
    pub fn clear(&self) {
        if let Some(passing) = &self.passing {
            let _ = passing.clear();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.passing.is_some() { "a terminal" } else { "no terminal" })
    }
}

/// What is counted while something is going on, and how much of it there is.
#[derive(Debug, Clone, Copy)]
pub enum Count {
    /// Nothing.
    None,
    /// Steps.
    Steps(usize),
    /// Bytes.
    Bytes(u64),
}

/// Something that is going on; its line goes away with the value.
#[derive(Debug)]
pub struct Task(Option<ProgressBar>);

impl Task {
    /// Says what is being done now: `compiling`, a name.
    pub fn now(&self, what: &str) {
        if let Some(bar) = &self.0 {
            bar.set_prefix(what.to_owned());
        }
    }

    /// Counts steps that are done.
    pub fn advance(&self, steps: usize) {
        if let Some(bar) = &self.0 {
            bar.inc(steps as u64);
        }
    }

    /// Says how many bytes are done.
    pub fn bytes(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }

    /// Shows how far it has come, where that is known only on the way.
    pub fn at(&self, position: usize, total: usize) {
        if let Some(bar) = &self.0 {
            bar.set_style(style(Count::Steps(total)));
            bar.set_length(total as u64);
            bar.set_position(position as u64);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(count: Count) -> ProgressStyle {
    let (on, bold, off) = if is_coloured() { ("\x1b[36m", "\x1b[1m", "\x1b[0m") } else { Default::default() };
    let count = match count {
        Count::None => "{waited}",
        Count::Steps(_) => " [{bar:24}] {pos}/{len}",
        Count::Bytes(_) => " [{bar:24}] {decimal_bytes}/{decimal_total_bytes}",
    };
    let template = format!("{on}{{spinner}}{off} {bold}{{msg}}{off}{count} {{prefix}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let waited = |state: &ProgressState, text: &mut dyn fmt::Write| {
        let seconds = state.elapsed().as_secs();
        if seconds >= LONG {
            // What is written is drawn, or nothing is.
            let _ = write!(text, " {seconds} s");
        }
    };
    style.with_key("waited", waited).progress_chars("=> ")
}
