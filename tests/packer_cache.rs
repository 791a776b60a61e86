//! Promise: packs at the same time share their cache and come to the same bytes; what a killed pack leaves is
//! swept, never what a running one works on; `coil cache` shows what is there and removes what is not used.

mod kit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use kit::{Bench, Ran, WheelBuilder, cache_with_lean_runtime, packer_cache, scratch};

fn project() -> Bench {
    let wheel = |name: &str| {
        let code = format!("names = frozenset({{'a', 'b', None, ...}})\nx = '{name}'\n");
        (0..40).fold(WheelBuilder::new(name, "1.0"), |wheel, number| {
            wheel.file(&format!("{name}/m{number}.py"), format!("{code}\ny = {number}\n"))
        })
    };
    Bench::new()
        .lean()
        .wheel(&wheel("one").requires("two").requires("three"))
        .wheel(&wheel("two").requires("four"))
        .wheel(&wheel("three"))
        .wheel(&wheel("four"))
        .file("src/main.py", "import one.m1, four.m2\nprint(four.m2.x)\n")
}

const WORDS: [&str; 6] = ["one", "--app", "src", "-e", "main.py", "--name=same"];

fn start(bench: &Bench, cache: &Path, output: &str) -> Child {
    let mut coil = bench.coil(&["pack"]);
    bench.limit(&mut coil);
    coil.args(WORDS).args(["-o", output]).env("COIL_CACHE", cache);
    coil.stdin(std::process::Stdio::piped());
    coil.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    coil.spawn().expect("coil can be started")
}

fn pack(bench: &Bench, cache: &Path, output: &str) -> Vec<u8> {
    Ran::to_its_end(start(bench, cache, output), b"").succeeded();
    fs::read(bench.path(output)).unwrap()
}

fn coil(bench: &Bench, cache: &Path, words: &[&str]) -> Ran {
    let mut coil = bench.coil(words);
    coil.env("COIL_CACHE", cache);
    Ran::of(coil, b"").succeeded()
}

/// Every file that is under way: in `tmp`, or with a temporary name elsewhere.
fn debris(cache: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![cache.join("pack")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(".tmp") || directory.ends_with("pack/tmp") {
                found.push(path);
            } else if path.is_dir() {
                pending.push(path);
            }
        }
    }
    found
}

#[test]
fn packs_at_the_same_time_with_an_empty_cache_make_the_same_bytes() {
    let bench = project();
    let alone = cache_with_lean_runtime();
    let expected = pack(&bench, alone.path(), "alone");
    // Two harvest at the same time, too; eight would take half a minute for that.
    for (count, cache) in [(2, scratch()), (8, cache_with_lean_runtime())] {
        let names: Vec<String> = (0..count).map(|number| format!("app-{count}-{number}")).collect();
        let running: Vec<_> = names.iter().map(|name| start(&bench, cache.path(), name)).collect();
        for (child, name) in running.into_iter().zip(&names) {
            Ran::to_its_end(child, b"").succeeded();
            assert!(fs::read(bench.path(name)).unwrap() == expected, "{name} differs");
        }
        assert_eq!(debris(cache.path()), Vec::<PathBuf>::new());
        // What eight have made is what one would have.
        let blobs = |cache: &Path| fs::read_dir(cache.join("pack/blobs")).unwrap().count();
        assert_eq!(blobs(cache.path()), blobs(alone.path()));
    }
}

#[test]
fn a_killed_pack_leaves_nothing_that_stays() {
    let bench = project();
    let cache = scratch();
    let expected = pack(&bench, &packer_cache(), "expected");
    let running = start(&bench, cache.path(), "running");
    for point in 1..8 {
        let mut child = start(&bench, cache.path(), "killed");
        thread::sleep(Duration::from_millis(60 * point));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The one beside them has lost nothing.
    Ran::to_its_end(running, b"").succeeded();
    assert!(fs::read(bench.path("running")).unwrap() == expected);
    assert!(pack(&bench, cache.path(), "after") == expected);
    assert_eq!(debris(cache.path()), Vec::<PathBuf>::new());
}

#[test]
fn the_cache_is_shown_and_emptied_and_the_next_pack_is_the_same() {
    let bench = project();
    let cache = cache_with_lean_runtime();
    let before = pack(&bench, cache.path(), "before");
    assert_eq!(coil(&bench, cache.path(), &["cache", "dir"]).printed(), cache.path().to_str().unwrap());
    let shown = coil(&bench, cache.path(), &["cache"]).printed();
    for line in
        ["layers                     6 ", "wheels                     4 ", "resolutions                1 "]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let kept = coil(&bench, cache.path(), &["cache", "prune"]).printed();
    assert_eq!(kept, "nothing to remove: everything was used lately");

    // A wheel that was used long ago goes, and comes back when it is needed.
    let wheels: Vec<_> = fs::read_dir(cache.path().join("pack/wheels")).unwrap().flatten().collect();
    let file = fs::read_dir(wheels[0].path()).unwrap().next().unwrap().unwrap().path();
    let then = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    for path in [&file, &wheels[0].path()] {
        fs::File::open(path).unwrap().set_modified(then).unwrap();
    }
    let freed = coil(&bench, cache.path(), &["cache", "prune", "--older-than", "7d"]).printed();
    assert!(freed.contains("wheels                     1 "), "{freed}");
    assert!(!file.exists());
    assert!(pack(&bench, cache.path(), "between") == before);
    assert!(file.exists());

    let freed = coil(&bench, cache.path(), &["cache", "prune", "--all"]).printed();
    assert!(freed.contains("freed ") && freed.contains("layers                     6 "), "{freed}");
    assert_eq!(fs::read_dir(cache.path().join("pack/blobs")).unwrap().count(), 0);
    assert!(pack(&bench, cache.path(), "after") == before);
}

#[test]
fn a_layer_that_is_damaged_in_the_cache_goes_when_a_bundle_with_it_is_verified() {
    let bench = project();
    let cache = cache_with_lean_runtime();
    let whole = pack(&bench, cache.path(), "app");
    let verified = || {
        let mut coil = bench.coil(&["verify", "app"]);
        coil.env("COIL_CACHE", cache.path());
        Ran::of(coil, b"")
    };
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // A cache may share its files with another.
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let blobs = cache.path().join("pack/blobs");
    for blob in fs::read_dir(&blobs).unwrap().flatten().map(|entry| entry.path()) {
        damage(&blob);
        assert!(pack(&bench, cache.path(), "app") != whole, "a pack copies layers without a look inside");
        let ran = verified();
        assert_eq!(ran.code(), Some(1), "{ran}");
        assert!(ran.stderr.contains("the cache had the same damage, which is removed: pack again"), "{ran}");
        assert!(!blob.exists());
        assert!(pack(&bench, cache.path(), "app") == whole);
        verified().succeeded();
    }
    let layers = fs::read_dir(&blobs).unwrap().count();
    damage(&bench.path("app"));
    let ran = verified();
    assert!(ran.stderr.contains("copy the file again, from where it was whole"), "{ran}");
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), layers, "the cache is whole");
}

/// The file with the byte code of the small app that is packed into this cache.
fn byte_code(cache: &Path) -> PathBuf {
    let found: Vec<_> = fs::read_dir(cache.join("pack/compiled")).unwrap().flatten().collect();
    assert_eq!(found.len(), 1, "one app, one directory");
    found[0].path().join("latest")
}

#[test]
fn what_is_to_be_said_of_a_wheel_and_an_app_is_said_in_every_pack() {
    let newer = WheelBuilder::new("newer", "1.0").wheel_version("1.1").file("newer.py", "");
    let cache = cache_with_lean_runtime();
    let bench = Bench::new()
        .lean()
        .wheel(&newer)
        .file("src/main.py", "print(1)\n")
        .file("src/odd.py", "def f(:\n")
        .env("COIL_CACHE", cache.path());
    for pack in 1..4 {
        let told =
            bench.try_pack(&["newer", "--app", "src", "-e", "main.py", "-o", "app"]).succeeded().stderr;
        for what in ["newer-1.0-py3-none-any.whl has the wheel format 1.1", "app/odd.py has no byte code: "] {
            assert_eq!(told.matches(what).count(), 1, "pack {pack}: {what}: {told}");
        }
    }
}

#[test]
fn an_app_packed_again_is_what_it_is_without_its_byte_code_of_earlier_packs() {
    let mut bench = Bench::new().lean();
    for number in 0..6 {
        bench = bench.file(&format!("src/m{number}.py"), format!("X = {{'a', 'm{number}', None}}\n"));
    }
    let bench = bench.file("src/main.py", "import m1\nprint(m1.X, __file__)\n");
    let words = ["pack", "src", "-e", "main.py", "--name=same", "-o"];
    let packed = |cache: &Path| {
        let ran = coil(&bench, cache, &[words.as_slice(), &["app"]].concat());
        (ran.stderr.contains("m3.py has no byte code: SyntaxError"), fs::read(bench.path("app")).unwrap())
    };
    let cache = cache_with_lean_runtime();
    let same = |what: &str| {
        let (alone, again) = (packed(cache_with_lean_runtime().path()), packed(cache.path()));
        assert!(alone == again, "{what}");
        again
    };
    let source = |name: &str| bench.path("src").join(name);
    let first = same("at first");
    fs::write(source("m1.py"), "X = 'changed'\n").unwrap();
    same("one file changed");
    fs::rename(source("m2.py"), source("moved.py")).unwrap();
    same("one file moved");
    fs::remove_file(source("m4.py")).unwrap();
    same("one file gone");
    fs::write(source("m3.py"), "def f(:\n").unwrap();
    assert!(same("one file with a mistake").0);
    fs::write(source("m5.py"), "Y = 1\n").unwrap();
    assert!(same("another changed beside the mistake").0);

    // Damaged, and cut off: noticed and made anew.
    let kept = fs::read(byte_code(cache.path())).unwrap();
    for (round, bytes) in [[&[b'x'; 300], &kept[300..]].concat(), kept[..700].to_vec()].iter().enumerate() {
        fs::write(byte_code(cache.path()), bytes).unwrap();
        fs::write(source("m5.py"), format!("Z = {round}\n")).unwrap();
        same("damaged");
        assert!(fs::read(byte_code(cache.path())).unwrap().len() > 1000);
    }

    // Two at once.
    fs::write(source("m0.py"), "X = 'both'\n").unwrap();
    let (_, expected) = packed(cache_with_lean_runtime().path());
    let both = ["one", "two"].map(|output| {
        let mut command = bench.coil(&[words.as_slice(), &[output]].concat());
        command.env("COIL_CACHE", cache.path());
        (thread::spawn(move || Ran::of(command, b"").succeeded()), output)
    });
    for (running, output) in both {
        running.join().unwrap();
        assert!(fs::read(bench.path(output)).unwrap() == expected, "{output}");
    }

    // And back, with what is left of all that.
    fs::rename(source("moved.py"), source("m2.py")).unwrap();
    for number in 0..6 {
        fs::write(source(&format!("m{number}.py")), format!("X = {{'a', 'm{number}', None}}\n")).unwrap();
    }
    assert!(same("back again") == first);
    assert_eq!(debris(cache.path()), Vec::<PathBuf>::new());
}

#[test]
fn byte_code_of_apps_is_counted_and_goes_when_it_was_not_used() {
    let bench = Bench::new().lean().file("src/main.py", "print(1)\n");
    let cache = cache_with_lean_runtime();
    let pack = |text: &str| {
        fs::write(bench.path("src/main.py"), text).unwrap();
        coil(&bench, cache.path(), &["pack", "src", "-e", "main.py", "-o", "app"]);
    };
    let line = "byte code of apps          1 ";
    pack("print(2)\n");
    let shown = coil(&bench, cache.path(), &["cache"]).printed();
    assert!(shown.contains(line), "{shown}");
    let then = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    let age = || {
        let kept = byte_code(cache.path());
        for path in [&kept, kept.parent().unwrap()] {
            fs::File::open(path).unwrap().set_modified(then).unwrap();
        }
        kept
    };
    let prune = || coil(&bench, cache.path(), &["cache", "prune", "--older-than", "7d"]).printed();
    // A pack that only looked at it has used it.
    age();
    pack("print(2)\n");
    assert!(!prune().contains("byte code"));
    let kept = age();
    let freed = prune();
    assert!(freed.contains(line), "{freed}");
    assert!(!kept.exists());
    pack("print(3)\n");
    assert!(byte_code(cache.path()).exists());
}

#[test]
fn an_age_that_makes_no_sense_is_refused() {
    let bench = Bench::new();
    for age in ["7", "d", "", "-1d", "1y", "99999999999999999999w", "7\u{fc}"] {
        let ran = Ran::of(bench.coil(&["cache", "prune", &format!("--older-than={age}")]), b"");
        assert_eq!(ran.code(), Some(2), "{age:?}: {ran}");
        assert!(ran.stderr.contains("such as 7d") || ran.stderr.contains("too long"), "{age:?}: {ran}");
    }
}

#[test]
fn clean_up_during_packs_disturbs_none() {
    let bench = project();
    let cache = cache_with_lean_runtime();
    pack(&bench, cache.path(), "first");
    let running: Vec<_> = (0..3).map(|n| start(&bench, cache.path(), &format!("app{n}"))).collect();
    for _ in 0..3 {
        coil(&bench, cache.path(), &["cache", "prune", "--all"]);
    }
    running.into_iter().for_each(|child| drop(Ran::to_its_end(child, b"").succeeded()));
}

/// Runs `coil` on a terminal and returns everything it wrote there.
fn on_terminal(bench: &Bench, cache: &Path, words: &[&str], variables: &[(&str, &str)]) -> String {
    let program = "import os, pty, sys\n\
        out = open(sys.argv[1], 'wb')\n\
        def read(fd):\n    data = os.read(fd, 65536)\n    out.write(data)\n    return data\n\
        sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[2:], read, lambda fd: b'')))\n";
    let coil = bench.coil(words);
    let mut command = std::process::Command::new("python3");
    let heard = bench.path("heard");
    command.args(["-c", program]).arg(&heard).arg(coil.get_program()).args(coil.get_args());
    command.current_dir(bench.root()).env_clear();
    command.envs(coil.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("COIL_CACHE", cache).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.envs(variables.iter().copied());
    Ran::of(command, b"").succeeded();
    String::from_utf8_lossy(&fs::read(heard).unwrap()).into_owned()
}

#[test]
fn progress_is_for_terminals_and_colours_are_as_asked_for() {
    let bench = project();
    let words = ["pack", "one", "--app", "src", "-e", "main.py", "--no-index", "--find-links", "wheels"];
    let fresh = |cache: TempDir, variables: &[(&str, &str)], more: &[&str]| {
        on_terminal(&bench, cache.path(), &[&words, more].concat(), variables)
    };
    let said = fresh(scratch(), &[], &[]);
    for part in ["CPython 3.", "compiling", "compressing", "packing wheels", "/4", "resolving"] {
        assert!(said.contains(part), "{part}: {said:?}");
    }
    assert!(said.contains("\x1b[1m"), "{said:?}");
    let plain = fresh(cache_with_lean_runtime(), &[("NO_COLOR", "1")], &[]);
    assert!(plain.contains("compiling") && !plain.contains("\x1b[1m") && !plain.contains("\x1b[36m"));
    let dumb = fresh(cache_with_lean_runtime(), &[("TERM", "dumb")], &[]);
    assert!(!dumb.contains('\x1b') && !dumb.contains("compiling") && dumb.contains("packed "), "{dumb:?}");
    assert_eq!(fresh(cache_with_lean_runtime(), &[], &["--quiet"]), "");

    // No terminal: lines, without colours unless they are forced.
    let cache = scratch();
    let failing = |variables: &[(&str, &str)], more: &[&str]| {
        let mut coil = bench.coil(&[&["pack", "nothing/here.py"], more].concat());
        coil.env("COIL_CACHE", cache.path()).envs(variables.iter().copied());
        Ran::of(coil, b"").stderr
    };
    assert!(failing(&[], &[]).starts_with("error: "));
    assert!(failing(&[("CLICOLOR_FORCE", "1")], &[]).starts_with("\x1b[1m\x1b[31merror:"));
    assert!(failing(&[], &["--color", "always"]).starts_with("\x1b[1m\x1b[31merror:"));
    assert!(failing(&[("CLICOLOR_FORCE", "1")], &["--color=never"]).starts_with("error: "));
}

#[test]
fn run_says_nothing_where_there_is_no_terminal_and_leaves_nothing_on_one() {
    let bench = Bench::new().lean().file("main.py", "print('ran')\n");
    let cache = cache_with_lean_runtime();
    let mut coil = bench.coil(&["run", "main.py"]);
    coil.env("COIL_CACHE", cache.path());
    assert_eq!(Ran::of(coil, b"").printed(), "ran");
    let said = on_terminal(&bench, scratch().path(), &["run", "main.py"], &[]);
    assert!(said.contains("compiling") && said.ends_with("ran\r\n"), "{said:?}");
    let quiet = on_terminal(&bench, cache_with_lean_runtime().path(), &["run", "-q", "main.py"], &[]);
    assert!(!quiet.contains("compiling"), "{quiet:?}");
}
