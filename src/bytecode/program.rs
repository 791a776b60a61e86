//! The program that interpreters run to compile, as byte code of their own.
//!
//! To read its text would take an interpreter longer than most files that it then compiles. So it compiles this one first, once,
//! and what came of it is kept in a file: a `.pyc` file (PEP 552), followed by its checksum. Interpreters look at no byte
//! behind the program, and refuse one that another version has compiled.
//!
//! It is never run from its text but for that: what marshal writes depends on what the process has seen before.

use std::ffi::OsString;

use crate::error::{ELSEWHERE, Result, Writing};
use crate::sealed::Sealed;

/// The text up to its last line.
const TEXT: &str = include_str!("../../runtime-templates/compile.py");

/// What more of it the interpreters need that do not sort what they write.
const SORTED: &str = include_str!("../../runtime-templates/compile_sorted.py");

/// What says there that nobody is warned. `-W ignore` says the same, and has a module read for it, which is a tenth of the interpreter's
/// start. Only for versions that are known to write the same byte code either way.
const QUIET: &str = "import _warnings\n_warnings.filters.insert(0, (\"ignore\", None, Warning, None, 0))\n";

/// The program for interpreters of one version.
#[derive(Debug)]
pub struct Program {
    text: String,
    options: Vec<&'static str>,
    kept: Sealed,
}

impl Program {
    /// For interpreters of this version, `(3, 12)`. `kept`, whose name stands for the interpreter and for coil's own code, holds
    /// the byte code.
    pub fn new(version: (u16, u16), kept: Sealed) -> Self {
        let sorted = if version < (3, 11) { SORTED } else { "" };
        let (quiet, ignore): (_, &[_]) = match version {
            (3, 11..=13) => (QUIET, &[]),
            _ => ("", &["-W", "ignore"]),
        };
        let text = format!("{TEXT}\n{sorted}\n{quiet}main()\n");
        Program { text, options: [&["-s", "-S", "-B", "-X", "utf8"], ignore].concat(), kept }
    }

    /// What to tell an interpreter on its command line, so that it runs the byte code. Where none is kept, or damaged, `compile`
    /// makes it of the text with an interpreter that was told these words.
    pub fn words(
        &self,
        compile: impl FnOnce(Vec<OsString>, &str) -> Result<Vec<u8>>,
    ) -> Result<Vec<OsString>> {
        let Sealed { file, scratch } = &self.kept;
        if self.kept.read().is_none() {
            let byte_code = compile(self.with(["-c", &self.text]), &self.text)?;
            let cannot = || format!("cannot write {}", file.display());
            self.kept.write(&[&byte_code]).writing(scratch, ELSEWHERE, cannot)?;
        }
        Ok(self.with([file]))
    }

    fn with<T: Into<OsString>>(&self, last: impl IntoIterator<Item = T>) -> Vec<OsString> {
        self.options.iter().map(OsString::from).chain(last.into_iter().map(T::into)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What an interpreter is told, and whether the text had to be compiled for it.
    fn told(kept: &Sealed) -> (Vec<OsString>, bool) {
        let mut is_compiled = false;
        let program = Program::new((3, 12), kept.clone());
        let words = program.words(|words, text| {
            is_compiled = true;
            assert!(words.ends_with(&["-c".into(), text.into()]));
            Ok(b"byte code".to_vec())
        });
        (words.unwrap(), is_compiled)
    }

    #[test]
    fn the_program_is_compiled_once_and_again_after_damage() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Sealed { file: directory.path().join("kept"), scratch: directory.path().to_owned() };
        let (words, is_compiled) = told(&kept);
        assert!(is_compiled && words.ends_with(&[kept.file.clone().into()]));
        assert_eq!(told(&kept), (words.clone(), false));
        let whole = fs::read(&kept.file).unwrap();
        fs::write(&kept.file, &whole[1..]).unwrap();
        assert_eq!(told(&kept), (words, true));
        assert_eq!(fs::read(&kept.file).unwrap(), whole);
    }

    #[test]
    fn a_program_that_cannot_be_kept_is_an_error_that_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("gone");
        let program = Program::new((3, 12), Sealed { file: scratch.join("kept"), scratch });
        let failure = program.words(|_, _| Ok(Vec::new())).unwrap_err();
        let expected = format!("cannot write {}", directory.path().join("gone/kept").display());
        assert_eq!(failure.to_string(), expected);
    }
}
