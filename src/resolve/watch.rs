//! What is said of a tool that takes its time: what pip is doing, as far as it tells, and whom a resolver asks.

use super::settings::Indexes;
use super::tool::find_uv;
use super::{Request, Resolver};
use crate::lock::url;
use crate::report::Task;

/// What a line says that pip prints: it prints some for each distribution.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    /// It begins with the next one.
    Next,
    /// It fetches this file, or takes it from its cache.
    File(&'a str),
    /// It builds a wheel of this one.
    Build(&'a str),
}

/// One of the pips that fetch, all of which count on one task.
#[derive(Debug)]
pub struct Watch<'a> {
    task: &'a Task,
    begun: bool,
}

impl<'a> Watch<'a> {
    /// Counts on `task`.
    pub fn new(task: &'a Task) -> Self {
        Watch { task, begun: false }
    }

    /// Takes notice of a line on pip's standard output.
    pub fn hear(&mut self, line: &str) {
        match said(line) {
            // With the next one begun, the one before is there.
            Some(Said::Next) => self.task.advance(usize::from(std::mem::replace(&mut self.begun, true))),
            Some(Said::File(name)) => self.task.now(name),
            Some(Said::Build(name)) => self.task.now(&format!("building {name}")),
            None => {}
        }
    }

    /// All are there.
    pub fn end(self) {
        self.task.advance(usize::from(self.begun));
    }
}

fn said(line: &str) -> Option<Said<'_>> {
    let (first, rest) = line.trim().split_once(' ')?;
    match first {
        "Collecting" | "Processing" => Some(Said::Next),
        "Downloading" => Some(Said::File(rest)),
        "Using" => Some(Said::File(rest.strip_prefix("cached ")?)),
        "Building" => {
            let rest = rest.strip_prefix("wheel for ")?;
            Some(Said::Build(rest.split(' ').next().unwrap_or(rest)))
        }
        _ => None,
    }
}

/// Whom a resolution waits for that has taken `seconds` so far, and how long it may still take.
pub fn waiting(request: &Request, seconds: u64) -> String {
    let is_uv = request.options.resolver != Some(Resolver::Pip) && find_uv().is_some();
    let (tool, variable, limit) =
        if is_uv { ("uv", "UV_HTTP_TIMEOUT", 30) } else { ("pip", "PIP_DEFAULT_TIMEOUT", 15) };
    let places = Indexes::collect(&request.options, false).asked();
    let places = if places.is_empty() { "the configured index".to_owned() } else { places.join(", ") };
    let limit = std::env::var(variable).unwrap_or_else(|_| format!("{limit}"));
    format!(
        "still resolving after {seconds} s: {tool} asks {places}; an attempt that nobody answers ends after {limit} s \
         unless it is configured otherwise ({variable}), and there are several"
    )
}

impl Indexes {
    /// The addresses of the indexes and pages that are known to be asked, without credentials.
    fn asked(&self) -> Vec<String> {
        let (words, variables) = self.for_uv();
        let mut found = self.stated();
        found.extend(words.into_iter().chain(variables.into_iter().map(|(_, value)| value)));
        found.retain(|word| word.starts_with("http://") || word.starts_with("https://"));
        let mut plain: Vec<String> = found.iter().map(|address| url::without_credentials(address)).collect();
        plain.sort();
        plain.dedup();
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::Options;

    #[test]
    fn what_pip_prints_is_understood_and_what_else_it_prints_is_not() {
        for (line, meant) in [
            ("Collecting six@ https://host/six.whl (from -r x (line 1))", Some(Said::Next)),
            ("Processing ./six-1.0-py3-none-any.whl", Some(Said::Next)),
            ("  Downloading a-1.0.whl (6.4 MB)", Some(Said::File("a-1.0.whl (6.4 MB)"))),
            ("  Using cached a-1.0.whl (11 kB)\r", Some(Said::File("a-1.0.whl (11 kB)"))),
            ("  Building wheel for a-b (pyproject.toml): started", Some(Said::Build("a-b"))),
            ("Building wheels for collected packages: a-b", None),
            ("Using pip 23", None),
            ("Saved ./a.whl", None),
            ("", None),
        ] {
            assert_eq!(said(line), meant, "{line}");
        }
    }

    #[test]
    fn a_long_resolution_names_whom_it_asks_and_no_password() {
        let options = Options {
            resolver: Some(Resolver::Pip),
            index_url: Some("https://me:secret@host/simple".into()),
            extra_index_urls: vec!["http://other/simple".into()],
            ..Options::default()
        };
        let said = waiting(&Request { options, ..Request::default() }, 15);
        assert!(said.contains("pip asks http://other/simple, https://host/simple; "), "{said}");
    }
}
