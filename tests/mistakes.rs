//! Promise: every mistake is one `error:` with its cause, a `hint:` where there is something to type
//! next, exit code 1, and no output file.

mod kit;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kit::mounts::{cannot_mount, mounting};
use kit::{Bench, Ran, WheelBuilder, empty_root, skip};

/// Insists on a refusal: exit code 1, nothing printed, one error that says all `parts`.
#[track_caller]
fn assert_refused(ran: &Ran, parts: &[&str]) {
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(1), ""), "{ran}");
    let count = |word: &str| ran.stderr.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("error: "), count("hint: ") <= 1), (1, true), "{ran}");
    let last = ran.stderr.lines().position(|line| line.starts_with("error: ")).unwrap();
    assert!(
        ran.stderr.lines().skip(last + 1).all(|line| line.starts_with(' ') || line.starts_with("hint: ")),
        "{ran}"
    );
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("Traceback"), "{ran}");
    for part in parts {
        assert!(ran.stderr.contains(part), "{part:?} is not said: {ran}");
    }
}

/// Packs to `out` and insists on a refusal that leaves nothing there.
#[track_caller]
fn refuse(bench: &Bench, words: &[&str], parts: &[&str]) {
    let ran = bench.try_pack(&[words, &["-o", "out"]].concat());
    assert_refused(&ran, parts);
    let left =
        fs::read_dir(bench.root()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> =
        left.filter(|name| name.starts_with("out") || name.starts_with(".coil")).collect();
    assert!(left.is_empty(), "{left:?}: {ran}");
}

fn bench() -> Bench {
    Bench::new().file("main.py", "print('main')").file("src/my.py", "def main(): pass\n")
}

fn wheel(name: &str) -> WheelBuilder {
    WheelBuilder::new(name, "1.0").file(&format!("{name}.py"), "def main(): pass\n")
}

#[test]
fn what_is_not_there() {
    let bench = bench();
    refuse(&bench, &["./missing"], &["./missing: no such file or directory", "hint: "]);
    refuse(&bench, &["missing.py"], &["missing.py", "hint: "]);
    refuse(&bench, &["dist/missing-1.0-py3-none-any.whl"], &["no such file or directory"]);
    refuse(&bench, &["-r", "missing.txt", "-e", "main.py"], &["missing.txt cannot be read", "No such file"]);
    refuse(&bench, &["--app", "missing", "-e", "main.py"], &["--app missing: no such directory"]);
    refuse(&bench, &[], &["there is nothing to pack", "hint: "]);
    let ran = Ran::of(bench.coil(&["inspect", "missing"]), b"");
    assert_refused(&ran, &["missing", "No such file"]);
}

#[test]
fn interpreters_that_are_none() {
    let bench = bench().program("fake", "#!/bin/sh\necho no\n").program("fails", "#!/bin/sh\nexit 3\n");
    refuse(&bench, &["main.py", "--python", "3.99"], &["there is no Python 3.99 here; looked at", "hint: "]);
    refuse(&bench, &["main.py", "--python", "./nope"], &["there is no interpreter ./nope", "hint: "]);
    refuse(&bench, &["main.py", "--python", "src"], &["src"]);
    for program in ["./fake", "./fails", "/bin/true", "./main.py"] {
        refuse(&bench, &["main.py", "--python", program], &[program.trim_start_matches("./")]);
    }
    let bench = bench.env("PATH", "/nonexistent").without("HOME");
    refuse(&bench, &["main.py"], &["there is no python3 on PATH", "hint: "]);
    let bench = bench.env("VIRTUAL_ENV", "/nonexistent/venv");
    refuse(&bench, &["main.py"], &["VIRTUAL_ENV", "/nonexistent/venv", "hint: "]);
}

#[test]
fn what_is_no_project() {
    let bench = bench()
        .file("notes.txt", "x")
        .file("empty/README.md", "")
        .file("two/a.py", "")
        .file("two/b.py", "")
        .file("broken/pyproject.toml", "[project\n")
        .file("typo/pyproject.toml", "[tool.coil]\ncomands = {}\n")
        .file("block.py", "# /// script\n# dependencies = [\n# ///\n")
        .file("dynamic/pyproject.toml", "[project]\nname = 'x'\ndynamic = ['dependencies']\n");
    refuse(&bench, &["./notes.txt"], &["notes.txt", "hint: give it as -r"]);
    refuse(&bench, &["empty"], &["empty", "hint: "]);
    refuse(&bench, &["two"], &["nothing in two can be started", "hint: "]);
    refuse(&bench, &["broken"], &["pyproject.toml", "line 1"]);
    refuse(&bench, &["typo"], &["comands", "hint: did you mean commands?"]);
    refuse(&bench, &["block.py"], &["block.py"]);
    refuse(&bench, &["dynamic"], &["names none", "hint: "]);
    refuse(&bench, &["two", "empty"], &["second source tree", "hint: "]);
    refuse(&bench, &["x=1.0"], &["\"x=1.0\"", "hint: for this version write \"x==1.0\""]);
}

#[test]
fn requirements_that_nothing_fulfils() {
    let bench = bench().wheel(&wheel("one")).wheel(&wheel("needy").requires("absent>=2"));
    for resolver in resolvers() {
        let pack = |words: &[&str], parts: &[&str]| {
            refuse(&bench, &[words, &["--resolver", resolver]].concat(), parts)
        };
        pack(&["absent"], &["absent"]);
        pack(&["one>=9"], &["one"]);
        pack(&["needy"], &["absent"]);
        pack(&["one<1", "one>1"], &["one"]);
    }
}

/// Those that are installed here.
fn resolvers() -> Vec<&'static str> {
    let starts = |words: &[&str]| {
        let tried = std::process::Command::new(words[0]).args(&words[1..]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let mut found = vec!["pip"];
    if starts(&["uv", "--version"]) {
        found.push("uv");
    }
    found
}

#[test]
fn wheels_for_something_else() {
    let other = WheelBuilder::new("other", "1.0").tag("cp37-cp37m-win_amd64").file("other.py", "");
    let newer =
        WheelBuilder::new("newer", "1.0").tag("cp399-cp399-manylinux2014_x86_64").file("newer.py", "");
    let machine = WheelBuilder::new("machine", "1.0").tag("py3-none-linux_s390x").file("machine.py", "");
    let bench =
        bench().wheel(&other).wheel_in("dist", &other).wheel_in("dist", &newer).wheel_in("dist", &machine);
    refuse(&bench, &["other"], &["other"]);
    for (name, tag) in [
        ("other", "cp37-cp37m-win_amd64"),
        ("newer", "cp399-cp399-manylinux2014_x86_64"),
        ("machine", "py3-none-linux_s390x"),
    ] {
        for resolver in resolvers() {
            let file = format!("dist/{name}-1.0-{tag}.whl");
            refuse(&bench, &[&file, "-e", "main.py", "--resolver", resolver], &[name]);
        }
    }
    let old = "[project]\nname = 'x'\nrequires-python = '>=3.99'\n";
    let bench = bench.file("old/pyproject.toml", old).file("old/main.py", "");
    refuse(&bench, &["old"], &["3.99"]);
}

#[test]
fn hashes_that_do_not_match() {
    let zero = "0".repeat(64);
    let bench =
        bench().wheel(&wheel("one")).file("requirements.txt", format!("one==1.0 --hash=sha256:{zero}\n"));
    for resolver in resolvers() {
        refuse(
            &bench,
            &["-r", "requirements.txt", "-e", "one:main", "--resolver", resolver],
            &["one", "hash"],
        );
    }
}

#[test]
fn entry_points_that_do_not_exist() {
    let one = wheel("one").entry_points("[console_scripts]\none = one:main\nuno = one:main\n");
    let bench = bench().wheel(&one);
    let words = |entry: &'static str| ["one", "--app", "src", "-e", entry];
    refuse(&bench, &words("nope"), &["\"nope\"", "console scripts: one, uno", "files of the app: my.py"]);
    refuse(&bench, &words("mu:main"), &["no module called \"mu\"", "hint: did you mean my?"]);
    refuse(&bench, &words("nope.py"), &["no file called \"nope.py\"", "files of the app: my.py"]);
    refuse(&bench, &words("-m nope"), &["no module called \"nope\""]);
    refuse(&bench, &words("a:b:c"), &["\"a:b:c\" cannot be understood", "hint: "]);
    refuse(&bench, &words("../main.py"), &["../main.py"]);
    refuse(&bench, &["one", "--command", "x=nope"], &["\"nope\"", "one, uno"]);
    refuse(&bench, &["one", "--command", "nope"], &["hint: write --command NAME=ENTRY"]);
    refuse(&bench, &["one", "--command", "a b=one"], &["\"a b\" cannot be the name of a command"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let bench = bench().file("directory/x", "");
    let pack = |output: &str| bench.try_pack(&["main.py", "-o", output]);
    assert_refused(
        &pack("missing/out"),
        &["missing/out", "there is no directory missing", "hint: create it"],
    );
    assert_refused(&pack("directory"), &["directory: it is a directory", "hint: "]);
    assert_refused(&pack("main.py/out"), &["main.py/out", "there is no directory main.py"]);
    assert_refused(&pack("/dev/null/out"), &["/dev/null/out"]);
    assert_refused(&pack("/proc/out"), &["/proc/out"]);
    assert_eq!(fs::read_dir(bench.path("directory")).unwrap().count(), 1);
    if empty_root::is_root() {
        return skip("root can write to every directory");
    }
    fs::set_permissions(bench.path("directory"), fs::Permissions::from_mode(0o555)).unwrap();
    assert_refused(&pack("directory/out"), &["directory/out", "Permission denied"]);
}

#[test]
fn what_is_no_earlier_bundle_is_never_overwritten() {
    let bench = bench().wheel_in(".", &wheel("one")).file("requirements.txt", "# none\n").file("empty", "");
    for (output, words) in [
        ("main.py", ["main.py"].as_slice()),
        ("src/my.py", &["src"]),
        ("one-1.0-py3-none-any.whl", &["./one-1.0-py3-none-any.whl", "-e", "one:main"]),
        ("requirements.txt", &["main.py", "-r", "requirements.txt"]),
    ] {
        let before = fs::read(bench.path(output)).unwrap();
        let ran = bench.try_pack(&[words, &["-o", output]].concat());
        assert_refused(
            &ran,
            &[output, "what is there is no program", "hint: remove it, or name another file"],
        );
        assert!(fs::read(bench.path(output)).unwrap() == before);
    }
    let made = std::process::Command::new("mkfifo").arg(bench.path("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    assert_refused(&bench.try_pack(&["main.py", "-o", "pipe"]), &["pipe", "no program"]);
    bench.pack_to("empty", &["main.py"]);
    bench.pack_to("empty", &["main.py", "--name", "again"]);
}

#[test]
fn a_full_disk_leaves_no_output() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let bench = bench();
    bench.pack(&["main.py"]);
    fs::create_dir(bench.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=2m tmpfs small; code=0; \"$0\" pack main.py -o small/out || code=$?
        find small -mindepth 1; exit $code";
    let place = bench.root().display();
    let cache = kit::packer_cache();
    let script = format!("cd '{place}'; export COIL_CACHE='{}'; {script}", cache.display());
    assert_refused(
        &mounting(&script, &[env!("CARGO_BIN_EXE_coil")]),
        &["cannot write the bundle to small/out", "no space is left"],
    );
    let script = format!(
        "cd '{place}'; mount -t tmpfs -o size=3m tmpfs small; export COIL_CACHE='{place}/small'; code=0
        \"$0\" pack main.py -o out || code=$?; find . -name 'out*'; exit $code"
    );
    assert_refused(&mounting(&script, &[env!("CARGO_BIN_EXE_coil")]), &["no space is left"]);
}

#[test]
fn a_cache_of_the_packer_that_cannot_be_written() {
    let bench = bench().env("COIL_CACHE", "/dev/null/cache");
    refuse(&bench, &["main.py"], &["/dev/null/cache", "hint: set COIL_CACHE"]);
    let bench = bench.without("COIL_CACHE").without("HOME").without("XDG_CACHE_HOME");
    refuse(&bench, &["main.py"], &["HOME is not set", "hint: set COIL_CACHE"]);
}

#[test]
fn wheels_that_are_damaged() {
    let code = "def main(): pass\n";
    let wheels = [
        (
            "lying",
            WheelBuilder::new("lying", "1.0").recorded_as(
                "lying.py",
                code,
                &format!("sha256={},17", "A".repeat(43)),
            ),
        ),
        ("unlisted", WheelBuilder::new("unlisted", "1.0").unrecorded("unlisted.py", code)),
        ("bare", WheelBuilder::new("bare", "1.0").file("bare.py", code).without_record()),
        ("climbing", WheelBuilder::new("climbing", "1.0").file("../climbing.py", code)),
        ("absolute", WheelBuilder::new("absolute", "1.0").file("/tmp/absolute.py", code)),
        ("secret", WheelBuilder::new("secret", "1.0").file("secret.py", code).encrypted("secret.py")),
        ("future", WheelBuilder::new("future", "1.0").file("future.py", code).wheel_version("9.0")),
    ];
    for (name, wheel) in wheels {
        let bench = bench().wheel_in("dist", &wheel);
        let file = format!("dist/{name}-1.0-py3-none-any.whl");
        refuse(&bench, &[&file, "-e", "main.py"], &[name]);
    }
    let bench = bench();
    fs::create_dir(bench.path("dist")).unwrap();
    wheel("cut").build_cut(&bench.path("dist"), 100);
    refuse(&bench, &["dist/cut-1.0-py3-none-any.whl", "-e", "main.py"], &["cut-1.0-py3-none-any.whl"]);
    let bench = bench.file("dist/text-1.0-py3-none-any.whl", "no archive");
    refuse(&bench, &["dist/text-1.0-py3-none-any.whl", "-e", "main.py"], &["text-1.0-py3-none-any.whl"]);
    let bench = bench.file("dist/odd.whl", "no archive");
    refuse(&bench, &["dist/odd.whl", "-e", "main.py"], &["odd.whl is not called like a wheel", "hint: "]);
}

#[test]
fn wheels_that_overwrite_each_other_are_both_named() {
    let one = WheelBuilder::new("one", "1.0").file("same.py", "1");
    let two = WheelBuilder::new("two", "2.0").file("same.py", "2");
    let bench = bench().wheel(&one).wheel(&two);
    refuse(&bench, &["one", "two", "-e", "-m same"], &["one", "two", "same.py", "hint: "]);
}

#[test]
fn a_build_that_fails_shows_why() {
    let backend = "def build_wheel(directory, config=None, metadata=None):\n    raise RuntimeError('no compiler today')\n";
    let bench = bench()
        .file(
            "project/pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
        )
        .file("project/backend.py", backend);
    let ran = bench.try_pack(&["project", "-o", "out"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    for part in ["error: no wheel can be built of ", "project", "no compiler today"] {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    assert!(!bench.path("out").exists());
    let absent = bench
        .file("project/pyproject.toml", "[build-system]\nrequires = ['absent']\nbuild-backend = 'absent'\n");
    refuse(&absent, &["project"], &["absent"]);
}

#[test]
fn a_source_file_that_does_not_compile_is_a_warning() {
    let bench =
        bench().file("app/main.py", "print('runs')").file("app/templates/new_file.py", "class {{ name }}:\n");
    let ran = bench.try_pack(&["app", "-e", "main.py", "-o", "out"]).succeeded();
    let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("templates/new_file.py"), "{ran}");
    assert_eq!(kit::Packed::at(bench.path("out")).start().run().printed(), "runs");
}

#[test]
fn source_trees_that_cannot_be_packed() {
    use std::os::unix::ffi::OsStrExt;
    let bench = bench().file("tree/main.py", "");
    let strange = bench.path("tree").join(std::ffi::OsStr::from_bytes(b"x\xff.txt"));
    fs::write(&strange, "").unwrap();
    refuse(&bench, &["tree"], &["tree/x", "UTF-8"]);
    fs::remove_file(strange).unwrap();
    for target in ["/etc/passwd", "../main.py", "nowhere"] {
        std::os::unix::fs::symlink(target, bench.path("tree/link")).unwrap();
        refuse(&bench, &["tree"], &["tree/link"]);
        fs::remove_file(bench.path("tree/link")).unwrap();
    }
    bench.pack_to("out", &["tree"]);
}

#[test]
fn words_that_coil_does_not_know() {
    let bench = bench();
    for (words, part) in [
        (vec!["pack", "main.py", "--otput", "x"], "--output"),
        (vec!["pack", "main.py", "--level", "99"], "99"),
        (vec!["pak", "main.py"], "pack"),
        (vec!["inspect"], "<BUNDLE>"),
    ] {
        let ran = Ran::of(bench.coil(&words), b"");
        assert_eq!((ran.code(), ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(part), "{part}: {ran}");
    }
    assert!(!Path::new("x").exists());
}
