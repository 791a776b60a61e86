//! Promise: the same inputs give the same file, bit for bit: in another directory, for another user, with
//! another umask, time zone, language, file system and number of cores, with a cache that is full, empty or
//! half emptied, and from the same Python installed elsewhere.

mod kit;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use coil_bootstrap::bundle::Bundle;
use kit::{Bench, Packed, QUICK, Ran, WheelBuilder, empty_root::is_root, scratch, skip};

/// A project with everything that has an order or a date: several wheels, a source tree, commands. With the lean CPython:
/// one test is enough for the whole.
fn project() -> Bench {
    whole_project().lean()
}

fn whole_project() -> Bench {
    let wheel = |name: &str| {
        let code = format!("names = frozenset({{'a', 'b', None, ...}})\nx = '{name}'\n");
        WheelBuilder::new(name, "1.0")
            .file(&format!("{name}/__init__.py"), code)
            .file("shared/__init__.py", "")
    };
    Bench::new()
        .wheel(&wheel("one").entry_points("[console_scripts]\none = one:names.copy\nuno = one:names.copy\n"))
        .wheel(&wheel("two").requires("three"))
        .wheel(&wheel("three").data("scripts", "three", "#!python\nprint(3)\n"))
        .file("src/b.py", "def f(): return {1, 2, 3} & {'x'}\n")
        .file("src/a.py", "import b, one\nprint('main')\n")
        .program("src/run.sh", "#!/bin/sh\n")
}

const WORDS: [&str; 9] = ["one", "two", "--app", "src", "-e", "a.py", "--name", "same", "--quiet"];

/// Packs in a shell with this umask.
fn pack(bench: &Bench, umask: &str) -> Packed {
    pack_at(bench, umask, &[QUICK])
}

fn pack_at(bench: &Bench, umask: &str, words: &[&str]) -> Packed {
    pack_through(bench, &["/bin/sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"], words)
}

/// Packs, started by another program.
fn pack_through(bench: &Bench, program: &[&str], words: &[&str]) -> Packed {
    let mut coil = bench.coil(&["pack"]);
    bench.limit(&mut coil);
    let mut command = Command::new(program[0]);
    command.args(&program[1..]);
    command.arg(coil.get_program()).args(coil.get_args()).args(WORDS).args(["-o", "app"]).args(words);
    command.current_dir(bench.root()).env_clear();
    command.envs(coil.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(command, b"").succeeded();
    Packed::at(bench.path("app"))
}

fn differ(one: &Path, other: &Path) -> Option<String> {
    let output = Command::new("cmp").args([one, other]).output().expect("cmp can be started");
    (!output.status.success()).then(|| format!("{output:?}"))
}

#[test]
fn two_packs_from_two_directories_are_equal() {
    let (one, other) = (whole_project(), whole_project());
    let first = pack_at(&one, "022", &[]);
    let elsewhere = scratch();
    let other = other
        .env("TZ", "Pacific/Kiritimati")
        .env("LANG", "tr_TR.UTF-8")
        .env("LC_ALL", "C")
        .env("PYTHONHASHSEED", "77")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("COIL_CACHE", elsewhere.path());
    let second = pack_at(&other, "077", &[]);
    assert_eq!(differ(first.path(), second.path()), None);
    assert_eq!(second.start().run().printed(), "main");
    // And once more, from what is in the cache by now.
    let one = one.env("COIL_CACHE", elsewhere.path());
    let third = pack_at(&one, "027", &[]);
    assert_eq!(differ(second.path(), third.path()), None);
}

#[test]
fn a_changed_line_changes_only_the_layer_it_is_in() {
    let bench = project();
    let digests = |bench: &Bench| -> Vec<String> {
        pack(bench, "022");
        let manifest = Ran::of(bench.coil(&["inspect", "--json", "app"]), b"").json();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    let before = digests(&bench);
    let bench = bench.file("src/b.py", "def f(): return 2\n");
    let after = digests(&bench);
    assert_eq!(before[..before.len() - 1], after[..after.len() - 1]);
    assert_ne!(before.last(), after.last());
    let bench = bench.file("src/b.py", "def f(): return {1, 2, 3} & {'x'}\n");
    assert_eq!(digests(&bench), before, "and back");
}

/// All files below a directory, sorted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn one_core_another_file_system_and_odd_times_change_nothing() {
    let first = project();
    let first = (pack(&first, "022"), first);
    // The same files in memory, created the other way round, as old and as new as can be.
    let memory = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm") } else { kit::ground() };
    let elsewhere = tempfile::tempdir_in(memory).unwrap();
    for (number, path) in files(first.1.root()).into_iter().rev().enumerate() {
        let inner = path.strip_prefix(first.1.root()).unwrap();
        if inner == Path::new("app") {
            continue;
        }
        let copy = elsewhere.path().join(inner);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&path, &copy).unwrap();
        let odd = Duration::from_secs(if number % 2 == 0 { 86_400 } else { 4_000_000_000 });
        fs::File::open(&copy).unwrap().set_modified(SystemTime::UNIX_EPOCH + odd).unwrap();
    }
    let (home, temporary) = (scratch(), scratch());
    let mut coil = first.1.coil(&["pack"]);
    coil.args(["--no-index", "--find-links", "wheels"])
        .args(WORDS)
        .args([QUICK, "-o"])
        .arg(home.path().join("other"));
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(coil.get_program()).args(coil.get_args()).current_dir(elsewhere.path());
    command.env_clear().envs(coil.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .env("HOME", home.path())
        .env("TMPDIR", temporary.path())
        .env("COIL_CACHE", home.path().join("cache"));
    Ran::of(command, b"").succeeded();
    assert_eq!(differ(first.0.path(), &home.path().join("other")), None);
    assert_eq!(files(temporary.path()), Vec::<PathBuf>::new(), "nothing is left behind");
}

#[test]
fn a_cache_half_emptied_gives_what_a_full_one_gave() {
    let cache = scratch();
    let bench = project().env("COIL_CACHE", cache.path());
    let first = fs::read(pack(&project(), "022").path()).unwrap();
    assert!(first == fs::read(pack(&bench, "022").path()).unwrap());
    for which in 0..2 {
        // Where the app's layer is gone its byte code is there at first, and then it is not.
        let compiled = files(&cache.path().join("pack/compiled"));
        assert_eq!(compiled.len(), 1, "{compiled:?}");
        compiled.iter().take(which).for_each(|path| fs::remove_file(path).unwrap());
        for name in ["made", "blobs"] {
            let all = files(&cache.path().join("pack").join(name));
            assert!(all.len() > 2, "{all:?}");
            all.iter().skip(which).step_by(2).for_each(|path| fs::remove_file(path).unwrap());
        }
        assert!(first == fs::read(pack(&bench, "022").path()).unwrap(), "without every second, from {which}");
    }
}

#[test]
fn a_cache_damaged_in_what_it_knows_gives_what_a_whole_one_gave() {
    let cache = scratch();
    let bench = project().env("COIL_CACHE", cache.path());
    let first = fs::read(pack(&bench, "022").path()).unwrap();
    for part in 1..6 {
        for path in files(&cache.path().join("pack/made")) {
            let mut bytes = fs::read(&path).unwrap();
            let index = bytes.len() * part / 6;
            bytes[index] ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        assert!(first == fs::read(pack(&bench, "022").path()).unwrap(), "damaged at {part} of 6");
    }
}

#[test]
fn another_user_gets_the_same_file() {
    const NOBODY: u32 = 65534;
    if !is_root() {
        return skip("only root can be somebody else");
    }
    let words = ["--python", "/usr/bin/python3", QUICK];
    let bench = || whole_project().env("PATH", "/usr/bin:/bin").env("COIL_RESOLVER", "pip");
    let (one, other) = (bench(), bench());
    let home = scratch();
    let other = other.env("HOME", home.path()).env("COIL_CACHE", home.path().join("cache"));
    for path in files(other.root()).iter().chain([&other.root().to_owned(), &home.path().to_owned()]) {
        path.ancestors()
            .take_while(|path| path.starts_with(other.root()) || *path == home.path())
            .for_each(|path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap());
    }
    let user = format!("--reuid={NOBODY}");
    let group = format!("--regid={NOBODY}");
    let nobody = ["setpriv", user.as_str(), group.as_str(), "--clear-groups"];
    let mut may = Command::new(nobody[0]);
    may.args(&nobody[1..]).arg(env!("CARGO_BIN_EXE_coil")).arg("--version").current_dir(other.root());
    let may = may.output().is_ok_and(|output| output.status.success());
    let usable = Command::new("/usr/bin/python3").args(["-m", "pip", "--version"]).output();
    if !may || !usable.is_ok_and(|output| output.status.success()) {
        return skip("another user cannot get at coil here, or there is no Python with pip for all users");
    }
    let first = pack_through(&one, &["env"], &words);
    let second = pack_through(&other, &nobody, &words);
    assert_eq!(differ(first.path(), second.path()), None);
}

#[test]
fn nothing_of_the_clock_gets_into_a_bundle() {
    let cache = scratch();
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // The runtime, made at different times by these tests, is compared by them.
    let bench = project().env("COIL_CACHE", cache.path());
    let before = now() - 1;
    let app = pack(&bench, "022");
    let after = now() + 1;
    let bundle = Bundle::open(app.path()).unwrap();
    for layer in &bundle.manifest().layers[1..] {
        let mut blob = vec![0; layer.size as usize];
        bundle.read_layer(layer, 0, &mut blob).unwrap();
        let archive = zstd::decode_all(blob.as_slice()).unwrap();
        for second in before..=after {
            let forms = [
                (second as u32).to_le_bytes().to_vec(),
                second.to_string().into_bytes(),
                format!("{second:o}").into_bytes(),
                format!("{second:x}").into_bytes(),
            ];
            let there = forms.iter().find(|form| archive.windows(form.len()).any(|window| window == **form));
            assert_eq!(there, None, "{} tells when it was made", layer.name);
        }
    }
}

#[test]
fn the_same_python_installed_elsewhere_is_the_same_runtime() {
    let ask = "import sys; print(sys.base_prefix, '%d.%d' % sys.version_info[:2])";
    let told = Command::new("python3").args(["-c", ask]).output().expect("there is a python3");
    let told = String::from_utf8(told.stdout).unwrap();
    let (prefix, version) = told.trim().rsplit_once(' ').unwrap();
    if prefix.starts_with("/usr") {
        return skip("this Python is part of the system and cannot be copied");
    }
    let moved = scratch();
    let lib = format!("lib/python{version}");
    let script = "cd \"$0\" && find bin lib/libpython* \"$1\" -name test -prune -o -name site-packages -prune \
                  -o -name '*.a' -o ! -type d -print0 | tar -c --null -T - | tar -xC \"$2\"";
    let mut copy = Command::new("/bin/sh");
    copy.args(["-c", script, prefix, &lib]).arg(moved.path());
    Ran::of(copy, b"").succeeded();
    let bench = whole_project();
    let runtime = |python: &Path| {
        let words =
            ["src", "-e", "a.py", "--name", "same", "--quiet", QUICK, "--python", python.to_str().unwrap()];
        let app = bench.pack(&words);
        Bundle::open(app.path()).unwrap().manifest().layers[0].digest
    };
    assert_eq!(runtime(Path::new(prefix)), runtime(moved.path()));
    // A virtualenv of it is the same Python.
    let mut venv = Command::new(Path::new(prefix).join("bin/python3"));
    venv.args(["-m", "venv", "--without-pip"]).arg(bench.path("ve"));
    Ran::of(venv, b"").succeeded();
    assert_eq!(runtime(Path::new(prefix)), runtime(&bench.path("ve")));
}
