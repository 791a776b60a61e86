//! Files of an app that are compiled one by one: only what has changed, and always to the same bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::tests::{byte_code, interpreter, put, tree};
use super::*;
use crate::checksums::Checksums;

/// A directory with a cache, and an interpreter that writes down what it is told to compile.
struct Place(tempfile::TempDir);

/// What came of compiling: warnings, and byte code by path.
type Outcome = (Vec<String>, Vec<(String, Vec<u8>)>);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let script = format!(
            "#!/bin/sh\ntee -a '{}' | '{}' \"$@\"\n",
            place.log().display(),
            interpreter().0.display()
        );
        fs::write(place.python(), script).unwrap();
        fs::set_permissions(place.python(), fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn python(&self) -> PathBuf {
        self.0.path().join("python")
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn kept(&self) -> PathBuf {
        self.0.path().join("kept")
    }

    fn apart(&self, python: &Path) -> Apart {
        let program = Sealed { file: self.0.path().join("program"), scratch: self.0.path().to_owned() };
        let compiler = Compiler::new(python, interpreter().1, program, Arc::new(Pool::new(2)));
        Apart::new(Arc::new(compiler), Earlier::open(self.kept(), self.0.path(), "Python"))
    }

    /// Compiles, and waits until all of that is written down.
    fn compiled_with(&self, python: &Path, files: &[(&str, &str)]) -> Outcome {
        let mut tree = tree(files);
        let checksums = Checksums::of(&tree).unwrap();
        let warnings = self.apart(python).compile(&mut tree, &["app"], &checksums).unwrap();
        (warnings, byte_code(&tree))
    }

    /// The same, checked against what an empty cache gives, and which of these files the interpreter got.
    fn compiled<'a>(&self, files: &[(&'a str, &str)]) -> (Outcome, Vec<&'a str>) {
        let _ = fs::remove_file(self.log());
        let outcome = self.compiled_with(&self.python(), files);
        assert!(outcome == Place::new().compiled_with(&interpreter().0, files), "as with an empty cache");
        let log = fs::read(self.log()).unwrap_or_default();
        let got = |(path, _): &&(&str, &str)| {
            let name = format!("/{path}");
            log.windows(name.len()).any(|window| window == name.as_bytes())
        };
        (outcome, files.iter().filter(got).map(|(path, _)| *path).collect())
    }

    fn compiles_nothing(&self, files: &[(&str, &str)]) {
        self.compiled_with(Path::new("/nonexistent/python"), files);
    }
}

const APP: [(&str, &str); 4] = [
    ("app/a.py", "import sys\ndef f(name, alpha):\n    return {'name', 'alpha', 'x', None}\n"),
    ("app/b.py", "# coding: latin-1\nname = 'alpha'\n"),
    ("app/pkg/__init__.py", ""),
    ("app/pkg/c.py", "alpha = ('name', 'decode', 'filters', 'body'); x = '\\d'\n"),
];

#[test]
fn only_what_has_changed_is_compiled() {
    let place = Place::new();
    assert_eq!(place.compiled(&APP).1, ["app/a.py", "app/b.py", "app/pkg/__init__.py", "app/pkg/c.py"]);
    place.compiles_nothing(&APP);
    let mut files = APP;
    files[1].1 = "name = 'beta'\n";
    assert_eq!(place.compiled(&files).1, ["app/b.py"]);
    place.compiles_nothing(&files);
    place.compiles_nothing(&APP);
    place.compiles_nothing(&APP[2..]);
    // The path stands in the byte code.
    files[3].0 = "app/pkg/d.py";
    let ((_, renamed), got) = place.compiled(&files);
    assert_eq!(got, ["app/pkg/d.py"]);
    assert!(renamed.last().unwrap().1.windows(13).any(|window| window == b"/app/pkg/d.py"));
    files[0].0 = "app/pkg/__init__.py";
    assert_eq!(place.compiled(&files[..1]).1, ["app/pkg/__init__.py"], "the place of another");
    let other = Earlier::open(place.kept(), place.0.path(), "another Python");
    let content = |text: &str| coil_bootstrap::format::checksum::Checksum::of(text.as_bytes());
    assert!(!other.has(&other.key("app/a.py", &content(APP[0].1))));
}

#[test]
fn a_file_that_does_not_compile_is_told_each_time() {
    let place = Place::new();
    let mut files = APP;
    files[0].1 = "def f(:\n";
    for round in 0..2 {
        let ((warnings, compiled), got) = place.compiled(&files);
        assert!(warnings[0].starts_with("app/a.py has no byte code: SyntaxError: "), "{warnings:?}");
        assert_eq!((warnings.len(), compiled.len()), (1, 3));
        assert_eq!(got.len(), if round == 0 { 4 } else { 1 });
    }
    assert_eq!(place.compiled(&APP).1, ["app/a.py"]);
}

#[test]
fn what_is_damaged_is_compiled_anew_and_then_it_is_whole() {
    let place = Place::new();
    place.compiled(&APP);
    let kept = &place.kept().join("latest");
    let whole = fs::read(kept).unwrap();
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    for (bytes, expected) in [(damaged.as_slice(), 1), (&whole[..whole.len() - 1], 4), (b"", 4)] {
        fs::write(kept, bytes).unwrap();
        assert_eq!(place.compiled(&APP).1.len(), expected);
        assert!(fs::read(kept).unwrap() == whole);
    }
}

#[test]
fn what_is_compiled_ahead_is_used_where_it_is_for_the_same_files() {
    let place = Place::new();
    let expected = Place::new().compiled_with(&interpreter().0, &APP);
    let mut old = APP;
    old[3].1 = "alpha = 1\n";
    for guess in [&APP, &old] {
        let _ = (fs::remove_file(place.log()), fs::remove_dir_all(place.kept()));
        let apart = place.apart(&place.python());
        apart.foresee(&tree(guess), &["app"]);
        let mut tree = tree(&APP);
        let checksums = Checksums::of(&tree).unwrap();
        assert!(apart.compile(&mut tree, &["app"], &checksums).unwrap().is_empty());
        assert!(byte_code(&tree) == expected.1);
        let log = fs::read(place.log()).unwrap();
        let asked = log.windows(13).filter(|window| *window == b"/app/pkg/c.py").count();
        assert_eq!(asked, if guess == &APP { 1 } else { 2 });
    }
    fs::remove_file(place.log()).unwrap();
    // Nothing is missing: no interpreter is started.
    place.apart(&place.python()).foresee(&tree(&APP), &["app"]);
    // Whoever compiles has come: nothing more is begun.
    let apart = place.apart(&place.python());
    let mut empty = Tree::new();
    let checksums = Checksums::of(&empty).unwrap();
    apart.compile(&mut empty, &["app"], &checksums).unwrap();
    apart.foresee(&tree(&old), &["app"]);
    assert!(!place.log().exists());
}

#[test]
fn a_file_that_changes_while_it_is_packed_leaves_nothing_wrong_behind() {
    let place = Place::new();
    let before = Checksums::of(&tree(&APP)).unwrap();
    let mut changed = tree(&APP[1..]);
    put(&mut changed, "app/a.py", b"other = 1\n");
    place.apart(&place.python()).compile(&mut changed, &["app"], &before).unwrap();
    assert_eq!(place.compiled(&APP).1, ["app/a.py"]);
}
