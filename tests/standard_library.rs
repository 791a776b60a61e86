//! Promise: the standard library in a bundle is the one that was packed. Every module that the original imports can
//! be imported in an empty root, and a fixed, quick part of CPython's own tests passes there; `benches/cpython_tests.py`
//! runs all of them. The tests of CPython are skipped unless COIL_TEST_ONLINE=1, though they need no network: they take
//! a minute.

mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::empty_root::WRITABLE;
use kit::mounts::{cannot_mount, mounting};
use kit::{Bench, EmptyRoot, Ran, skip};

/// Tells what can be imported.
const TELL: &str = include_str!("standard_library.py");

/// What CPython tests of the things that a runtime changes, carries, or finds in another place.
const FILES: [&str; 22] = [
    "test_bz2",
    "test_codecs",
    "test_ctypes",
    "test_decimal",
    "test_getpath",
    "test_hashlib",
    "test_json",
    "test_lzma",
    "test_marshal",
    "test_pickle",
    "test_pkgutil",
    "test_platform",
    "test_pyexpat",
    "test_runpy",
    "test_site",
    "test_sqlite3",
    "test_struct",
    "test_sys",
    "test_threading",
    "test_uuid",
    "test_zipimport",
    "test_zoneinfo",
];

/// Starts the bundle `$0/t` in the root `$0`, which has a /tmp and a /proc, and the devices of this machine. Ctrl-C is heard, also
/// where whoever runs the tests ignores it, as shells do for what they run in the background.
const ENTER: &str = r#"
root=$0
mkdir -p "$root/tmp" "$root/proc" "$root/dev"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)
exec env --default-signal=INT -i HOME=/tmp PATH=/usr/bin:/bin COIL_CACHE=/tmp/cache "$chroot" "$root" /t "$@"
"#;

#[test]
fn every_module_of_the_standard_library_is_imported_in_an_empty_root() {
    if let Some(reason) = EmptyRoot::unavailable() {
        return skip(&format!("no other root can be entered here: {reason}"));
    }
    let bench = Bench::new().file("src/tell.py", TELL);
    let mut original = Command::new("python3");
    // Without its site-packages: setuptools puts a distutils of its own in place of the standard library's.
    original.args(["-I", "-S", "-W", "ignore"]).arg(bench.path("src/tell.py"));
    let modules =
        |ran: Ran| -> BTreeSet<String> { serde_json::from_value(ran.json()).expect("a list of names") };
    let outside = modules(Ran::of(original, b""));
    assert!(outside.len() > 400 && outside.contains("email.mime.text"), "{outside:?}");
    for sources in [&[][..], &["--keep", "sourceless"]] {
        let words = ["--app", "src", "-e", "tell.py", "--name", "tell"].iter().chain(sources);
        let app = bench.pack(&words.copied().collect::<Vec<_>>());
        let root = EmptyRoot::new().with_file("app", app.path()).env("COIL_CACHE", WRITABLE);
        let root = root.env("HOME", WRITABLE).env("PYTHONWARNINGS", "ignore").env("COIL_INHERIT", "1");
        let words: Vec<&str> = ["/app"].into_iter().chain(outside.iter().map(String::as_str)).collect();
        let inside = modules(root.run(&words));
        let lost: Vec<&String> = outside.difference(&inside).collect();
        assert!(lost.is_empty(), "the original imports these, the bundle {sources:?} does not: {lost:?}");
    }
}

#[test]
fn without_its_sources_the_standard_library_runs_and_tells_where_it_fails() {
    let bench = Bench::new().file("fail.py", "import json, sys\njson.loads(sys.argv[1])\n");
    let small = bench.pack(&["fail.py", "--keep", "sourceless", "--level", "1"]);
    let usual = bench.pack_to("usual", &["fail.py", "--level", "1"].map(PathBuf::from));
    let size = |file: &Path| fs::metadata(file).unwrap().len() as f64;
    assert!(size(small.path()) < 0.92 * size(usual.path()));
    let mut command = Command::new(small.path());
    command.env("COIL_CACHE", bench.path("cache")).arg("no JSON");
    let failed = Ran::of(command, b"");
    // The app's own lines are told, and the places in the library.
    assert!(failed.stderr.contains("    json.loads(sys.argv[1])\n"), "{failed}");
    assert!(failed.stderr.contains("json/decoder.py\", line "), "{failed}");
    let mut command = Command::new(small.path());
    command.env("COIL_CACHE", bench.path("cache")).env("COIL", "python").args([
        "-m",
        "json.tool",
        "--compact",
    ]);
    assert_eq!(Ran::of(command, b"[1, 2]").printed(), "[1,2]");
    // What was packed so stays so with another Python under it.
    let inside = Ran::of(bench.coil(&["inspect", "--json", small.path().to_str().unwrap()]), b"").json();
    assert_eq!(inside["recipe"]["keep"][0], "sourceless");
}

#[test]
fn a_part_of_cpythons_own_tests_passes_in_a_root_with_tmp_and_proc() {
    if std::env::var("COIL_TEST_ONLINE").as_deref() != Ok("1") {
        return skip("this takes a minute; set COIL_TEST_ONLINE=1");
    }
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let Some(python) = python_with_tests() else {
        return skip("no Python here has its own tests (Debian: libpython3-testsuite)");
    };
    let bench = Bench::new().file("src/main.py", "");
    let words = ["src", "-e", "-m test", "--level", "1", "--keep", "tests", "--python"];
    let words = words.into_iter().map(PathBuf::from).chain([python]).collect::<Vec<_>>();
    let app = bench.pack_to("t", &words);
    fs::create_dir(bench.path("root")).unwrap();
    fs::rename(app.path(), bench.path("root/t")).unwrap();
    let root = bench.path("root").display().to_string();
    let options = ["-j2", "--timeout", "120"];
    let words: Vec<&str> = [root.as_str()].into_iter().chain(options).chain(FILES).collect();
    let ran = mounting(ENTER, &words);
    assert_eq!(ran.code(), Some(0), "{ran}");
    let passed = ran.stdout.lines().filter(|line| line.starts_with("0:") && line.contains(" passed")).count();
    assert_eq!(passed, FILES.len(), "{ran}");
}

/// A Python whose `test` package is there: the first on PATH, else another one there or of pyenv's.
fn python_with_tests() -> Option<PathBuf> {
    let names = ["python3", "python3.13", "python3.12", "python3.11", "python3.14", "python3.10"];
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or(home);
    let versions = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok()).into_iter().flatten();
    let mut installed: Vec<PathBuf> =
        versions.flatten().map(|version| version.path().join("bin/python3")).collect();
    installed.sort();
    let has_tests = |python: &PathBuf| {
        let code = "import sys, test.libregrtest, test.test_zoneinfo; sys.exit(sys.version_info < (3, 10))";
        let tried = Command::new(python).args(["-I", "-c", code]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    names.into_iter().map(PathBuf::from).chain(installed.into_iter().rev()).find(has_tests)
}
