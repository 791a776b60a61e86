//! Promise: a Python that cannot be packed, and words about one that mean nothing, end with one clear error and
//! the way out.

mod kit;

use std::fs;

use kit::{Bench, Ran};

#[track_caller]
fn refuse(bench: &Bench, words: &[&str], parts: &[&str]) {
    let ran = Ran::of(bench.coil(&[&["runtime", "build"], words, &["-o", "out.rt"]].concat()), b"");
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{ran}");
    for part in parts.iter().chain(&["hint: "]) {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    assert!(!bench.path("out.rt").exists());
}

/// An interpreter that tells something else of itself than python3 does.
fn telling(bench: Bench, name: &str, change: &str) -> Bench {
    bench.program(name, &format!("#!/bin/sh\npython3 \"$@\" | sed '{change}'\n"))
}

#[test]
fn interpreters_that_cannot_be_packed_say_what_they_are() {
    let bench = telling(Bench::new(), "pypy", r#"s/"implementation": "cpython"/"implementation": "pypy"/"#);
    let bench = telling(bench, "future", r#"s/"version": \[3, [0-9]*/"version": [3, 15/"#);
    let bench = telling(bench, "musl", r#"s/"glibc": \[[^]]*\]/"glibc": null/"#);
    let bench = telling(bench, "bare", r#"s|"stdlib": "[^"]*"|"stdlib": "/nowhere/lib"|"#);
    let bench = bench.program(
        "broken",
        "#!/bin/sh\necho 'error while loading shared libraries: libpython3.99.so' >&2\nexit 127\n",
    );
    let mut foreign = fs::read("/proc/self/exe").unwrap();
    // The field e_machine: a processor that nobody has here.
    foreign[18..20].copy_from_slice(&0x1234u16.to_le_bytes());
    let bench = bench.program("foreign", "").file("foreign", foreign).file("prefix/lib/os.py", "");
    refuse(&bench, &["./pypy"], &["pypy is pypy, and only CPython can be packed"]);
    refuse(&bench, &["./future"], &["coil packs 3.9 to 3.14"]);
    refuse(&bench, &["./musl"], &["does not run on glibc"]);
    refuse(&bench, &["./bare"], &["cannot read the standard library of"]);
    refuse(&bench, &["./broken"], &["failed to tell what it is", "libpython3.99.so"]);
    refuse(&bench, &["./foreign"], &["cannot start the interpreter ./foreign"]);
    refuse(&bench, &["prefix"], &["prefix holds no interpreter: there is no bin/python3 in it"]);
    refuse(&bench, &["3.99"], &["there is no Python 3.99 here; looked at"]);
}

#[test]
fn archives_that_are_none_are_refused() {
    let bench = Bench::new().file("text.tar.gz", "no archive").file("empty.tar.zst", "");
    refuse(&bench, &["text.tar.gz"], &["text.tar.gz cannot be unpacked"]);
    refuse(&bench, &["empty.tar.zst"], &["empty.tar.zst cannot be unpacked"]);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.as_mut_bytes()[..7].copy_from_slice(b"../evil");
    header.set_cksum();
    archive.append(&header, &b""[..]).unwrap();
    let bench = bench.file("hostile.tar", archive.into_inner().unwrap());
    let ran = Ran::of(bench.coil(&["runtime", "build", "hostile.tar", "-o", "out.rt"]), b"");
    assert!(ran.code() == Some(1) && ran.stderr.contains("../evil leads out of it"), "{ran}");
}

#[test]
fn what_is_to_be_kept_is_named_right_and_is_there() {
    let bench = Bench::new().file("main.py", "").file("coil.toml", "keep = [\"test\"]\n");
    refuse(
        &bench,
        &["--keep", "tkiner"],
        &["no part of a Python called \"tkiner\"", "did you mean tkinter?"],
    );
    let ran = bench.try_pack(&["main.py", "--keep", "headers,everything", "-o", "out"]);
    assert!(ran.code() == Some(1) && ran.stderr.contains("\"everything\""), "{ran}");
    let ran = bench.try_pack(&[".", "-e", "main.py", "-o", "out"]);
    assert!(ran.code() == Some(1) && ran.stderr.contains("did you mean tests?"), "{ran}");
    let ran = bench.try_pack(&["main.py", "--runtime", "x.rt", "--keep", "tests", "-o", "out"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
}

#[test]
fn a_runtime_that_cannot_be_written_says_where() {
    let bench = Bench::new().file("text", "mine").file("out/x", "");
    for output in ["missing/x.rt", "/dev/null/x.rt", "/proc/x.rt", "text", "out"] {
        let ran = Ran::of(bench.coil(&["runtime", "build", "--level", "1", "-o", output]), b"");
        assert!(ran.code() == Some(1) && ran.stderr.contains(output), "{ran}");
    }
    assert_eq!(fs::read(bench.path("text")).unwrap(), b"mine");
}
