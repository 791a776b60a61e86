//! What coil says on standard error while it works.

use std::io::{self, IsTerminal, Write};

/// Says what is done, as far as the user wants to hear it.
#[derive(Debug)]
pub struct Report {
    quiet: bool,
    terminal: bool,
}

impl Report {
    /// A report that says everything, or with `quiet` only warnings.
    pub fn new(quiet: bool) -> Self {
        Report { quiet, terminal: io::stderr().is_terminal() }
    }

    /// What is going on now: shown on a terminal, until the next line takes its place.
    pub fn doing(&self, what: &str) {
        if self.terminal && !self.quiet {
            let _ = write!(io::stderr(), "\r\x1b[K{what}");
        }
    }

    /// A step that is done.
    pub fn done(&self, what: &str) {
        if !self.quiet {
            self.line(what);
        }
    }

    /// Something the user should know, though it stops nothing.
    pub fn note(&self, what: &str) {
        self.done(&format!("note: {what}"));
    }

    /// Something few users want to know.
    pub fn detail(&self, what: &str) {
        if std::env::var_os("COIL_VERBOSE").is_some() {
            self.note(what);
        }
    }

    /// Something that may be wrong.
    pub fn warning(&self, what: &str) {
        self.line(&format!("warning: {what}"));
    }

    fn line(&self, text: &str) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(io::stderr(), "{start}{text}");
    }
}
