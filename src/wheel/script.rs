//! The first line of scripts: where a wheel asks for the interpreter, and where it is then named.

use std::io;

use super::contain::beginning;
use super::layout::INTERPRETER;
use crate::tree::Content;

/// Whether the first line of `content` names the interpreter of the environment.
pub fn names_interpreter(content: &Content) -> io::Result<bool> {
    let line = first_line();
    Ok(beginning(content, line.len())? == line.as_bytes())
}

/// The script with the interpreter's path in its first line, where that line asks for it.
///
/// "If the first line of a file in scripts/ starts with exactly `#!python`, rewrite to point to the
/// correct interpreter": the whole line goes, as with pip, arguments and the `w` of `pythonw` included.
pub fn with_interpreter(content: &Content) -> io::Result<Option<Content>> {
    if beginning(content, 8)? != b"#!python" {
        return Ok(None);
    }
    let script = content.read()?;
    let end = script.iter().position(|byte| *byte == b'\n').map_or(script.len(), |newline| newline + 1);
    let mut changed = first_line().into_bytes();
    changed.extend_from_slice(&script[end..]);
    Ok(Some(Content::bytes(changed)))
}

fn first_line() -> String {
    format!("#!{INTERPRETER}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(script: &str) -> Option<String> {
        let changed = with_interpreter(&Content::bytes(script.as_bytes())).unwrap()?;
        assert!(names_interpreter(&changed).unwrap());
        Some(String::from_utf8(changed.read().unwrap()).unwrap())
    }

    #[test]
    fn only_a_line_that_asks_for_the_interpreter_is_changed() {
        assert_eq!(changed("#!python\nx\n").as_deref(), Some("#!/venv/bin/python\nx\n"));
        assert_eq!(changed("#!pythonw -E\r\nx\r\n").as_deref(), Some("#!/venv/bin/python\nx\r\n"));
        assert_eq!(changed("#!python").as_deref(), Some("#!/venv/bin/python\n"));
        for script in ["#!/usr/bin/env python\n", "#! python\n", "\n#!python\n", ""] {
            assert_eq!(changed(script), None, "{script:?}");
        }
    }
}
