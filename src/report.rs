//! What coil says on standard error while it works.

use std::io::{self, IsTerminal, Write};

/// Says what is done, as far as the user wants to hear it.
#[derive(Debug)]
pub struct Report {
    loudness: Loudness,
    terminal: bool,
}

/// How much the user wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// Warnings only.
    Quiet,
    /// The steps of the work.
    Normal,
    /// Details as well.
    Verbose,
}

impl Report {
    /// A report that says this much.
    pub fn new(loudness: Loudness) -> Self {
        Report { loudness, terminal: io::stderr().is_terminal() }
    }

    /// What is going on now: shown on a terminal, until the next line takes its place.
    pub fn doing(&self, what: &str) {
        if self.terminal && self.loudness > Loudness::Quiet {
            let _ = write!(io::stderr(), "\r\x1b[K{what}");
        }
    }

    /// A step that is done.
    pub fn done(&self, what: &str) {
        if self.loudness > Loudness::Quiet {
            self.line(what);
        }
    }

    /// Something the user should know, though it stops nothing.
    pub fn note(&self, what: &str) {
        self.done(&format!("note: {what}"));
    }

    /// Something few users want to know.
    pub fn detail(&self, what: &str) {
        if self.loudness == Loudness::Verbose {
            self.note(what);
        }
    }

    /// Something that may be wrong.
    pub fn warning(&self, what: &str) {
        self.line(&format!("warning: {what}"));
    }

    /// Whether the user wants to hear everything.
    pub fn is_verbose(&self) -> bool {
        self.loudness == Loudness::Verbose
    }

    fn line(&self, text: &str) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(io::stderr(), "{start}{text}");
    }
}
