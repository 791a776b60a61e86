//! The first line of installed scripts: where it names this virtualenv's interpreter, it is made general.
//!
//! Installers write the interpreter's path into scripts, in one of these forms:
//!
//! ```text
//! #!/home/me/.venv/bin/python3.12            pip, uv, virtualenv, where it is short and without spaces
//! #!"/home/my self/.venv/bin/python"         old ones, quoted
//!
//! #!/bin/sh                                  where it is long, or has spaces in it
//! '''exec' "/home/my self/.venv/bin/python" "$0" "$@"
//! ' '''
//!
//! #!/bin/sh                                  `uv venv --relocatable`
//! '''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
//! ' '''
//! ```
//!
//! Any other interpreter is meant as it stands (`#!/usr/bin/env python`, `#!/bin/sh`) and stays.

use std::path::{Path, PathBuf};

use crate::wheel::INTERPRETER;

const SHELL: &[u8] = b"#!/bin/sh\n'''exec' ";

/// The script with the general interpreter in its first line; `None` where it names another than that of
/// the virtualenv with these `names`.
pub fn general(script: &[u8], names: &[PathBuf]) -> Option<Vec<u8>> {
    let rest = match script.strip_prefix(SHELL) {
        Some(after) => {
            let (line, rest) = split_line(after);
            let interpreter = line.strip_suffix("\"$0\" \"$@\"")?.trim_end();
            let relative = interpreter.starts_with("\"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python");
            let words = shlex::split(interpreter)?;
            if !relative && !is_of(words.first()?, names) {
                return None;
            }
            rest.strip_prefix(b"' '''\n")?
        }
        None => {
            let (line, rest) = split_line(script.strip_prefix(b"#!")?);
            if !is_of(&shlex::split(&line)?.into_iter().next()?, names) && !is_of(line.trim(), names) {
                return None;
            }
            rest
        }
    };
    let mut general = format!("#!{INTERPRETER}\n").into_bytes();
    general.extend_from_slice(rest);
    Some(general)
}

/// The first line, without its end, and what follows. A line that is not UTF-8 names nothing known.
fn split_line(text: &[u8]) -> (String, &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let line = String::from_utf8_lossy(&text[..end]).trim_end_matches('\r').to_owned();
    (line, text.get(end + 1..).unwrap_or_default())
}

/// Whether the interpreter is one in the virtualenv's `bin`.
fn is_of(interpreter: &str, names: &[PathBuf]) -> bool {
    let path = Path::new(interpreter);
    let python = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"));
    let Some(root) = path.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent) else {
        return false;
    };
    python
        && (names.iter().any(|name| name == root)
            || root.canonicalize().is_ok_and(|root| names.contains(&root)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general_text(script: &str) -> Option<String> {
        let names = [PathBuf::from("/home/my self/.venv"), PathBuf::from("/old")];
        general(script.as_bytes(), &names).map(|script| String::from_utf8(script).unwrap())
    }

    #[test]
    fn every_form_that_installers_write_is_made_general() {
        for start in [
            "#!/old/bin/python\n",
            "#!/old/bin/python3.12 -E\r\n",
            "#!\"/home/my self/.venv/bin/python\"\n",
            "#!/home/my self/.venv/bin/python\n",
            "#!/bin/sh\n'''exec' /old/bin/python3 \"$0\" \"$@\"\n' '''\n",
            "#!/bin/sh\n'''exec' \"/home/my self/.venv/bin/python\" \"$0\" \"$@\"\n' '''\n",
            "#!/bin/sh\n'''exec' '/home/my self/.venv/bin/python3' \"$0\" \"$@\"\n' '''\n",
            "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n",
        ] {
            let general = general_text(&format!("{start}import x\n"));
            assert_eq!(general.as_deref(), Some("#!/venv/bin/python\nimport x\n"), "{start}");
        }
    }

    #[test]
    fn any_other_interpreter_stays() {
        for script in [
            "#!/usr/bin/env python\n",
            "#!/usr/bin/python3\n",
            "#!/bin/sh\necho\n",
            "#!/bin/sh\n'''exec' /other/bin/python \"$0\" \"$@\"\n' '''\n",
            "#!/bin/sh\n'''exec' /old/bin/python \"$0\" \"$@\"\nand so on\n",
            "#!/old/bin/ruby\n",
            "#!/old/python\n",
            "import x\n",
            "",
            "#!",
        ] {
            assert_eq!(general_text(script), None, "{script:?}");
        }
        assert_eq!(general(b"#!/\xff/bin/python\n", &[]), None);
    }
}
