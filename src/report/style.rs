//! How lines look: one place for colours, and for what a failure looks like.
//!
//! Lines are written with colours; the stream takes them out where the terminal, `NO_COLOR`, `TERM=dumb` or
//! `--color` say so (`anstream`). What a line says never depends on its colour.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::error::Failure;

/// When colours are used: the value of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, as NO_COLOR, CLICOLOR, CLICOLOR_FORCE and TERM say.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Makes it so, for the whole process.
    pub fn choose(self) {
        let choice = match self {
            // With CI set, anstream colours what is called a dumb terminal.
            Color::Auto if is_dumb() => ColorChoice::Never,
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// Whether the terminal knows no colours, and nobody forces them.
fn is_dumb() -> bool {
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    !forced && std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// What kind of line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A step that is done.
    Plain,
    /// `note: ...`
    Note,
    /// `warning: ...`
    Warning,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();
const HINT: Style = AnsiColor::Green.on_default().bold();

/// A line of this tone.
pub fn line(tone: Tone, text: &str) -> String {
    match tone {
        Tone::Plain => text.to_owned(),
        Tone::Note => format!("{NOTE}note:{NOTE:#} {text}"),
        Tone::Warning => format!("{WARNING}warning:{WARNING:#} {text}"),
    }
}

/// Whether standard error gets colours.
pub fn is_coloured() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// Says what failed, what caused it, and the way out.
pub fn failure(failure: &Failure) {
    // With standard error closed there is nobody to tell.
    let _ = anstream::stderr().write_all(told(failure).as_bytes());
}

fn told(failure: &Failure) -> String {
    let mut text = format!("{ERROR}error:{ERROR:#} {failure}\n");
    let mut cause = failure.source();
    while let Some(error) = cause {
        let _ = writeln!(text, "  caused by: {}", error.to_string().replace('\n', "\n    "));
        cause = error.source();
    }
    if let Some(hint) = failure.advice() {
        let _ = writeln!(text, "{HINT}hint:{HINT:#} {hint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_a_failure_is_plain_sentences() {
        let failure = Failure::new("it is broken").because("one\ntwo").hint("mend it");
        let plain = anstream::adapter::strip_str(&told(&failure)).to_string();
        assert_eq!(plain, "error: it is broken\n  caused by: one\n    two\nhint: mend it\n");
        assert!(told(&failure).starts_with("\x1b["), "and with them it is coloured");
    }
}
