//! Why a tool failed: its own last lines as the cause, and a hint that fits them.

use crate::error::Failure;

/// A failure out of what a tool said: its own last lines are the cause.
pub fn failure(what: &str, errors: &str, output: &str) -> Failure {
    let said = if errors.trim().is_empty() { output } else { errors };
    let said = without_credentials(&said.replace('\r', "\n"));
    let failure = Failure::new(what).because(essence(&said));
    match advice(&without_frames(&said).join("\n")) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The lines that say why: those that are marked as errors, else the last ones.
fn essence(said: &str) -> String {
    let noise = ["WARNING:", "DEPRECATION:", "[notice]", "note:", "hint:"];
    let frills = ['×', '╰', '─', '▶', '>', '│', '├', ' '];
    let lines: Vec<&str> = without_frames(said)
        .into_iter()
        .map(|line| line.trim_end().trim_start_matches(frills))
        .filter(|line| !line.is_empty() && !noise.iter().any(|mark| line.starts_with(mark)))
        .collect();
    // A build's own complaint stands above pip's summary of it.
    if let Some(end) = lines.iter().position(|line| *line == "[end of output]") {
        let begin =
            lines[..end].iter().rposition(|line| line.ends_with("lines of output]")).map_or(0, |at| at + 1);
        return shortened(&lines[begin..end]);
    }
    let marks = ["ERROR: ", "error: ", "cause: ", "Caused by: "];
    let first = lines.iter().position(|line| marks.iter().any(|mark| line.starts_with(mark)));
    let plain: Vec<&str> = lines[first.unwrap_or(0)..]
        .iter()
        .map(|line| marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line))
        .collect();
    shortened(&plain)
}

/// The lines without the frames of Python's tracebacks: they are indented below their title, and what was
/// raised is not.
fn without_frames(said: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut title: Option<usize> = None;
    for line in said.lines() {
        let indent = line.len() - line.trim_start_matches([' ', '│']).len();
        if let Some(at) = line.find("Traceback (most recent call last)") {
            title = Some(indent);
            lines.push(&line[..at]);
        } else if title.is_none_or(|title| indent <= title) {
            title = None;
            lines.push(line);
        }
    }
    lines
}

/// The beginning and the end of many lines.
fn shortened(lines: &[&str]) -> String {
    match lines.len() {
        0..=12 => lines.join("\n"),
        length => [&lines[..5], &["..."], &lines[length - 6..]].concat().join("\n"),
    }
}

/// What the user can do, by the words of the tools: the first line counts that has a word of each of its
/// lists in the message.
const ADVICE: [(&[&[&str]], &str); 14] = [
    (
        &[&["no space left on device", "disk quota exceeded"]],
        "the tool's disk is full: make room where TMPDIR, COIL_CACHE and the tool's own cache are, or set TMPDIR elsewhere",
    ),
    (
        &[&["no such option: --report", "no such option: --python"]],
        "this pip is too old (22.3 is needed): upgrade it with `python -m pip install -U pip`, or install uv",
    ),
    (
        &[&["unexpected argument '--format'", "invalid value 'pylock.toml'"]],
        "this uv is too old to write pylock.toml: upgrade it, or use --resolver pip",
    ),
    (
        &[&["do not match the hashes", "hash mismatch"]],
        "the file is not the one that was expected: make the hashes anew if it may have changed",
    ),
    (
        &[&["--require-hashes mode", "requires hashes"]],
        "add the hashes of everything that is needed: uv pip compile --generate-hashes",
    ),
    (
        &[&["401", "403 ", "unauthorized", "forbidden"], &["http", "index"]],
        "check the user name and password of the index (--index-url, ~/.netrc, UV_INDEX_NAME_USERNAME and _PASSWORD)",
    ),
    (
        &[&["server error", "500 error", "status code 5", "(500", "(502", "(503", "(504"]],
        "the index does not work at the moment: try again later, or use wheels from a directory: --no-index --find-links DIR",
    ),
    (&[NETWORK], "check the network, or use wheels from a directory: --no-index --find-links DIR"),
    (&[&["certificate"]], "name the certificates with SSL_CERT_FILE or PIP_CERT"),
    (
        &[&[
            "subprocess-exited-with-error",
            "failed to build",
            "build backend",
            "metadata-generation-failed",
            "exception:",
        ]],
        "a source distribution cannot be built here: install what it needs, or ask for a version that has a wheel",
    ),
    (
        &[&[
            "requires-python",
            "requires a different python",
            "does not satisfy python",
            "requested python version",
        ]],
        "name another interpreter with --python, or ask for another version",
    ),
    (&[&["was not found in", "from versions: none"]], CHECK_NAME),
    (&[&["conflict", "incompatible", "depends on"], &["unsatisfiable", "conflict", "resolve"]], LOOSEN),
    (
        &[&[
            "no matching distribution",
            "was not found",
            "no solution found",
            "no versions of",
            "not found in",
        ]],
        CHECK_NAME,
    ),
];

const CHECK_NAME: &str =
    "check the name and the version, and where they are looked for (--index-url, --find-links)";

const LOOSEN: &str = "loosen one of the requirements that exclude each other";

/// How the tools say that they reached nobody.
const NETWORK: &[&str] = &[
    "name resolution",
    "name or service not known",
    "failed to establish a new connection",
    "dns error",
    "error sending request",
    "connection refused",
    "network is unreachable",
    "network was disabled",
    "timed out",
    "failed to fetch",
    "could not connect",
    "could not resolve host",
    "tunnel error",
    "client error (connect)",
];

fn advice(said: &str) -> Option<&'static str> {
    let words = said.to_lowercase();
    let fits = |lists: &[&[&str]]| lists.iter().all(|list| list.iter().any(|mark| words.contains(mark)));
    ADVICE.iter().find(|(lists, _)| fits(lists)).map(|(_, hint)| *hint)
}

/// Addresses in messages lose their credentials.
fn without_credentials(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.map(crate::lock::url::without_credentials).collect()
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn told(said: &str) -> (String, String) {
        let failure = failure("it cannot be resolved", said, "");
        (failure.source().unwrap().to_string(), failure.advice().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_cause_is_what_the_tool_said_without_its_frills() {
        let (cause, hint) =
            told("WARNING: x\nERROR: No matching distribution found for nope\n[notice] new pip\n");
        assert_eq!(cause, "No matching distribution found for nope");
        assert!(hint.starts_with("check the name"));
        let (cause, _) =
            told("  × No solution found when resolving dependencies:\n  ╰─▶ Because nope was not found\n");
        assert_eq!(cause, "No solution found when resolving dependencies:\nBecause nope was not found");
        let (cause, hint) = told(
            "error: subprocess-exited-with-error\n× x\n│ exit code: 1\n╰─> [2 lines of output]\n  a\n  no gcc\n  [end of output]\nnote: y\n",
        );
        assert_eq!(cause, "a\nno gcc");
        assert!(hint.starts_with("a source distribution cannot be built"));
    }

    #[test]
    fn hints_fit_the_cause_and_credentials_do_not_show() {
        let (cause, hint) = told("error: Request failed for https://me:pw@host/simple\n  cause: dns error\n");
        assert_eq!(cause, "Request failed for https://host/simple\ndns error");
        assert!(hint.contains("--find-links"));
        let missing = "error: No solution found\n  cause: Because b was not found in the package registry and a depends on b, \
                       your requirements are unsatisfiable.";
        assert!(told(missing).1.starts_with("check the name"));
        assert!(
            told(&missing.replace("b was not found in the package registry", "x")).1.starts_with("loosen")
        );
        assert!(told("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES").1.contains("hashes"));
    }
}
