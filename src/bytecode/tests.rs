//! Byte code that is valid, stays the same, and is missing where it has to be.

use std::path::PathBuf;
use std::process::Command;

use super::process::Then;
use super::*;

/// Some CPython of this machine: its path and its version. A version manager's wrapper will not do.
pub(super) fn interpreter() -> (PathBuf, (u16, u16)) {
    probe(Path::new("python3")).expect("the tests need a python3")
}

fn probe(executable: &Path) -> Option<(PathBuf, (u16, u16))> {
    let program = "import sys; print(sys.executable, *sys.version_info[:2], sep='\\n', end='')";
    let output = Command::new(executable).args(["-c", program]).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    Some((PathBuf::from(lines.first()?), (lines.get(1)?.parse().ok()?, lines.get(2)?.parse().ok()?)))
}

/// An interpreter's program, kept nowhere for long.
pub(super) fn program() -> (tempfile::TempDir, Sealed) {
    let directory = tempfile::tempdir().unwrap();
    let kept = Sealed { file: directory.path().join("program"), scratch: directory.path().to_owned() };
    (directory, kept)
}

/// A compiler, which may be used as long as what comes with it.
pub(super) fn compiler() -> (tempfile::TempDir, Compiler) {
    compiler_of(interpreter(), 2)
}

fn compiler_of(
    (executable, version): (PathBuf, (u16, u16)),
    threads: usize,
) -> (tempfile::TempDir, Compiler) {
    let (directory, program) = program();
    (directory, Compiler::new(&executable, version, program, Arc::new(Pool::new(threads))))
}

pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        put(&mut tree, path, text.as_bytes());
    }
    tree
}

pub(super) fn put(tree: &mut Tree, path: &str, bytes: &[u8]) {
    let node = Node { content: Content::bytes(bytes), executable: false, origin: "test".into() };
    tree.insert(TreePath::new(path).unwrap(), node).unwrap();
}

pub(super) fn byte_code(tree: &Tree) -> Vec<(String, Vec<u8>)> {
    let compiled = tree.iter().filter(|(path, _)| path.ends_with(".pyc"));
    compiled.map(|(path, node)| (path.to_string(), node.content.read().unwrap())).collect()
}

/// Enough files for several chunks, with constants whose order and sharing could vary.
fn varied() -> Tree {
    let mut tree = Tree::new();
    for number in 0..FILES * 2 + 10 {
        let text = format!(
            "import os, sys\nNAMES = ('alpha', 'x{number}', 'name', None)\n\
             def f{number}(name, alpha):\n    '''text'''\n    if name in {{'a', 'b', 'alpha', 'x{number}', None, \
             ..., 1.5, (None, 'q'), b'z'}}:\n        return lambda environ: NAMES or os.environ\n"
        );
        put(&mut tree, &format!("app/p{}/m{number}.py", number % 7), text.as_bytes());
    }
    tree
}

#[test]
fn byte_code_is_where_python_looks_and_says_where_the_source_is() {
    let mut tree = tree(&[
        ("app/pkg/mod.py", "import sys\nprint(sys._getframe().f_code.co_filename)\n"),
        ("app/a.py.py", ""),
        ("other/x.py", ""),
        ("apple/x.py", ""),
    ]);
    let (_directory, compiler) = compiler();
    assert!(compiler.compile(&mut tree, &["app"]).unwrap().is_empty());
    let tag = &compiler.cache_tag;
    let listed: Vec<String> = byte_code(&tree).into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        listed,
        [format!("app/__pycache__/a.py.{tag}.pyc"), format!("app/pkg/__pycache__/mod.{tag}.pyc")]
    );

    let (_, code) = byte_code(&tree).remove(1);
    assert_eq!(code[4..8], [1, 0, 0, 0], "unchecked hash");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mod.pyc"), code).unwrap();
    let run = Command::new(interpreter().0).arg(directory.path().join("mod.pyc")).output().unwrap();
    assert_eq!(String::from_utf8(run.stdout).unwrap(), "/app/pkg/mod.py\n");
}

#[test]
fn the_same_files_have_the_same_byte_code_however_many_work() {
    let compiled = |threads: usize| {
        let mut tree = varied();
        let (_directory, compiler) = compiler_of(interpreter(), threads);
        assert_eq!(compiler.compile(&mut tree, &["app"]).unwrap(), Vec::<String>::new());
        byte_code(&tree)
    };
    let one = compiled(1);
    assert_eq!(one.len(), FILES * 2 + 10);
    for threads in [2, 5] {
        assert!(one == compiled(threads), "{threads} at a time");
    }
}

/// The interpreters of this machine that tests may use: `python3`, and pyenv's.
fn interpreters() -> Vec<(PathBuf, (u16, u16))> {
    let versions = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv/versions"));
    let entries = versions.and_then(|path| std::fs::read_dir(path).ok()).into_iter().flatten().flatten();
    let others = entries.filter_map(|entry| probe(&entry.path().join("bin/python3")));
    [interpreter()].into_iter().chain(others.filter(|(_, version)| *version >= (3, 9))).collect()
}

/// Sources with a past: modules of the standard library, which share names with the compiling program.
fn library(executable: &Path) -> Vec<Request> {
    let program = "import os; print(os.path.dirname(os.__file__), end='')";
    let output = Command::new(executable).args(["-c", program]).output().unwrap();
    let directory = PathBuf::from(String::from_utf8(output.stdout).unwrap());
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let sources = names.into_iter().filter(|path| path.extension().is_some_and(|end| end == "py"));
    let request = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Request { path: TreePath::new(format!("lib/{name}")).unwrap(), source: std::fs::read(path).unwrap() }
    };
    sources.map(request).collect()
}

fn bytes(answers: Vec<Answer>) -> Vec<Vec<u8>> {
    answers.into_iter().map(|answer| answer.bytes().unwrap_or_else(String::into_bytes)).collect()
}

#[test]
fn a_forked_process_compiles_as_a_fresh_one_does_whatever_came_before() {
    for (executable, version) in interpreters() {
        let library = library(&executable);
        let chunks: Vec<&[Request]> = library.chunks(7).take(6).collect();
        let (_directory, program) = program();
        let servers = || Servers::new(&executable, version, program.clone());
        let fresh: Vec<_> = chunks.iter().map(|chunk| bytes(servers().compile(chunk).unwrap())).collect();
        let one = servers();
        for round in 0..2 {
            for (index, chunk) in chunks.iter().enumerate().rev() {
                let again = bytes(one.compile(chunk).unwrap());
                assert!(again == fresh[index], "{}: chunk {index}, round {round}", executable.display());
            }
        }
    }
}

#[test]
fn what_an_interpreter_compiles_at_its_end_is_what_a_child_of_it_would() {
    for (executable, version) in interpreters() {
        let (_directory, program) = program();
        let servers = Servers::new(&executable, version, program);
        let one = |request, then| servers.compile_one(request, then).unwrap().bytes().unwrap();
        let children: Vec<_> =
            library(&executable).into_iter().take(5).map(|request| one(request, Then::Waits)).collect();
        // It has had children before, then ends; the next one is a new one.
        let ends: Vec<_> =
            library(&executable).into_iter().take(5).map(|request| one(request, Then::Ends)).collect();
        assert!(children == ends, "{}", executable.display());
    }
}

#[test]
fn however_an_interpreter_is_kept_from_warning_the_byte_code_is_the_same() {
    const UNKNOWN: (u16, u16) = (3, 99);
    for (executable, version) in interpreters().into_iter().filter(|(_, version)| *version >= (3, 11)) {
        let mut library = library(&executable);
        library.truncate(60);
        let source = b"a = '\\d'\nassert (a, 'always')\nb = a is 'x'\n".to_vec();
        library.push(Request { path: TreePath::new("lib/warned.py").unwrap(), source });
        let compiled = |version| {
            let (_directory, program) = program();
            let servers = Servers::new(&executable, version, program);
            library.chunks(20).map(|chunk| bytes(servers.compile(chunk).unwrap())).collect::<Vec<_>>()
        };
        assert!(compiled(version) == compiled(UNKNOWN), "{}", executable.display());
    }
}

#[test]
fn byte_code_is_what_compile_makes_of_the_source_and_nothing_of_it_is_run() {
    const CHECK: &str = "\
import marshal, sys, types
for line in sys.stdin:
    path, name = line.rstrip('\\n').split('\\t')
    code = marshal.loads(open(path + 'c', 'rb').read()[16:])
    pairs = [(code, compile(open(path, 'rb').read(), name, 'exec', dont_inherit=True, optimize=0))]
    for one, other in pairs:
        assert one == other and one.co_filename == other.co_filename == name, name
        constants = zip(one.co_consts, other.co_consts)
        pairs += [pair for pair in constants if isinstance(pair[0], types.CodeType)]
";
    for (executable, version) in interpreters() {
        let directory = tempfile::tempdir().unwrap();
        let ran = directory.path().join("ran");
        let mut library = library(&executable);
        let more = [
            ("runs", format!("open({ran:?}, 'w').close()\n").into_bytes()),
            ("exits", b"raise SystemExit\n".to_vec()),
            ("names", b"__file__ = '<string>'\ndef f(taken='<string>'):\n    class A: '<string>'\n".to_vec()),
            ("future", b"from __future__ import annotations\ndef f(a: b) -> c: pass\n".to_vec()),
            ("latin", b"# coding: latin-1\nx = '\xff'\n".to_vec()),
            // Codecs that are modules of the standard library: they are imported, and one of them imports what evaluates text.
            ("evaluated", b"# coding: idna\nx = 1\n".to_vec()),
            ("imported", b"# coding: cp1252\nx = '\x80'\n".to_vec()),
        ];
        let more = more
            .map(|(name, source)| Request { path: TreePath::new(format!("lib/{name}.py")).unwrap(), source });
        library.extend(more);
        let (_directory, program) = program();
        let servers = Servers::new(&executable, version, program);
        let mut lines = String::new();
        for chunk in library.chunks(20) {
            for (request, answer) in chunk.iter().zip(servers.compile(chunk).unwrap()) {
                let path = directory.path().join(request.path.file_name());
                std::fs::write(&path, &request.source).unwrap();
                std::fs::write(path.with_extension("pyc"), answer.bytes().unwrap()).unwrap();
                lines += &format!("{}\t/{}\n", path.display(), request.path);
            }
        }
        let list = directory.path().join("list");
        std::fs::write(&list, lines).unwrap();
        let check = Command::new(&executable)
            .args(["-W", "ignore", "-c", CHECK])
            .stdin(std::fs::File::open(&list).unwrap())
            .output()
            .unwrap();
        assert!(
            check.status.success(),
            "{}: {}",
            executable.display(),
            String::from_utf8_lossy(&check.stderr)
        );
        assert!(!ran.exists());
    }
}

#[test]
fn a_file_that_does_not_compile_is_a_warning_that_names_it() {
    let mut tree = tree(&[
        ("app/1.py", "def f(:\n"),
        ("app/2.py", "x = '\0'\n"),
        ("app/3.py", "# coding: klingon\n"),
        ("app/4.py", "x = '\\d'; y = 1 is 1\nassert (1, 2)\n"),
        ("app/5{{ x }}.py", "{{ x }} = {%\n"),
    ]);
    put(&mut tree, "app/6.py", b"x = '\xff'\n");
    put(&mut tree, "app/7.py", format!("x = {}1{}\n", "(".repeat(5000), ")".repeat(5000)).as_bytes());
    put(&mut tree, "app/8.py", format!("x = {}\n", "-".repeat(100_000) + "1").as_bytes());
    put(&mut tree, "app/9.py", b"# coding: latin-1\nx = '\xff'\n");
    put(&mut tree, &format!("app/{}.py", "n".repeat(252)), b"");
    let warnings = compiler().1.compile(&mut tree, &["app"]).unwrap();
    let named: Vec<String> = warnings.iter().map(|warning| warning.chars().take(5).collect()).collect();
    assert_eq!(
        named,
        ["app/1", "app/2", "app/3", "app/5", "app/6", "app/7", "app/8", "app/n"],
        "{warnings:#?}"
    );
    assert!(warnings[0].starts_with("app/1.py has no byte code: SyntaxError: "), "{}", warnings[0]);
    assert_eq!(byte_code(&tree).len(), 2);
}

#[test]
fn byte_code_from_elsewhere_is_replaced_and_links_are_left_alone() {
    let (_directory, compiler) = compiler();
    let stale = format!("app/__pycache__/x.{}.pyc", compiler.cache_tag);
    let mut tree = tree(&[("app/x.py", ""), (&stale, "stale"), ("app/__pycache__/x.cpython-27.pyc", "old")]);
    let link =
        Node { content: Content::Symlink("x.py".to_owned()), executable: false, origin: "test".into() };
    tree.insert(TreePath::new("app/link.py").unwrap(), link).unwrap();
    assert!(compiler.compile(&mut tree, &["app"]).unwrap().is_empty());
    assert_ne!(tree.get(&stale).unwrap().content.read().unwrap(), b"stale");
    assert_eq!(tree.len(), 4);
}

#[test]
fn modules_beside_the_sources_are_not_imported() {
    let mut tree =
        tree(&[("app/marshal.py", "raise SystemExit"), ("app/importlib/__init__.py", "raise SystemExit")]);
    assert!(compiler().1.compile(&mut tree, &["app"]).unwrap().is_empty());
}

#[test]
fn an_interpreter_that_fails_is_one_failure() {
    let (_directory, kept) = program();
    let fails = |executable: &str, program: &Sealed| {
        let mut tree = varied();
        let failure = Compiler::new(Path::new(executable), (3, 12), program.clone(), Arc::new(Pool::new(2)))
            .compile(&mut tree, &["app"])
            .unwrap_err();
        assert_eq!(byte_code(&tree).len(), 0);
        (failure.to_string(), failure.advice().unwrap_or_default().to_owned())
    };
    assert_eq!(
        fails("/nonexistent/python", &kept).0,
        "the interpreter /nonexistent/python cannot be started to compile"
    );
    let (text, advice) = fails("/bin/false", &kept);
    assert_eq!(
        text,
        "the interpreter /bin/false broke off while it compiled coil's own program (exit status: 1)"
    );
    assert_eq!(advice, "`/bin/false -c ''` shows whether it runs at all; --python names another");
    assert!(!kept.file.exists());
    // Now one is kept, and they break off later.
    let (executable, version) = interpreter();
    Compiler::new(&executable, version, kept.clone(), Arc::new(Pool::new(2)))
        .compile(&mut varied(), &["app"])
        .unwrap();
    let (text, advice) = fails("/bin/false", &kept);
    assert_eq!(text, "the interpreter /bin/false broke off while it compiled app/p0/m0.py (exit status: 1)");
    assert_eq!(advice, "`/bin/false -m py_compile` on that file shows which of the two is at fault");
    assert!(
        fails("/bin/cat", &kept)
            .0
            .starts_with("the interpreter /bin/cat broke off while it compiled app/p0/m0.py")
    );
}
