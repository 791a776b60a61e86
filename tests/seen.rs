//! Promise: one can see what the launcher decides and where the time of a start goes; who does not ask pays nothing. A
//! warm start makes the system calls that are listed in docs/STARTS.md and no others.

mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use coil_bootstrap::trace::{PREFIX, Told};
use kit::{Bench, Packed, Ran, empty_root, mounts, probe, scratch, skip};

/// What the launcher told.
fn told(text: &str) -> Vec<Told> {
    let lines = text.lines().filter(|line| line.starts_with(PREFIX));
    lines.map(|line| Told::parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn subjects(told: &[Told]) -> Vec<&str> {
    told.iter().map(|one| one.subject.as_str()).collect()
}

#[test]
fn first_and_later_starts_say_what_was_decided_and_how_long_it_took() {
    let cache = scratch();
    let start = || probe().start().cache(cache.path()).env("COIL_DEBUG", "1");
    let first = start().run().succeeded();
    let lines = told(&first.stderr);
    assert_eq!(lines.len(), first.stderr.lines().count(), "every line begins the same way: {first}");
    for subject in [
        "host",
        "cache",
        "bundle",
        "libc",
        "lock",
        "layers",
        "layer",
        "unpack",
        "settle",
        "environment",
        "start",
    ] {
        assert!(subjects(&lines).contains(&subject), "{subject}: {first}");
    }
    let layer = lines.iter().find(|one| one.subject == "layer" && one.sentence.starts_with("cpython: "));
    let sentence = &layer.unwrap_or_else(|| panic!("{first}")).sentence;
    for part in ["MB", "files", "decode", "create", "write", "link", "verify"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    assert!(lines.windows(2).all(|pair| pair[0].at <= pair[1].at), "{first}");

    let later = start().run().succeeded();
    let lines = told(&later.stderr);
    assert_eq!(subjects(&lines), ["host", "cache", "libc", "layers", "start"], "{later}");
    let last = &lines.last().unwrap().sentence;
    assert!(last.starts_with("execve of ") && last.contains("/run/tell with "), "{last}");
    assert_eq!(later.json()["environment"]["COIL_DEBUG"], serde_json::Value::Null);

    fs::remove_dir_all(cache.path().join("layers")).unwrap();
    let repaired = start().run().succeeded();
    assert!(repaired.stderr.contains(" is missing, so this is a first start again"), "{repaired}");
}

#[test]
fn candidates_are_passed_over_with_their_reasons() {
    let place = scratch();
    let planted = place.path().join("xdg/coil");
    let start = probe().start().without("COIL_CACHE").env("XDG_CACHE_HOME", place.path().join("xdg"));
    fs::create_dir_all(&planted).unwrap();
    fs::set_permissions(&planted, fs::Permissions::from_mode(0o777)).unwrap();
    let ran = start.env("HOME", place.path()).env("COIL_DEBUG", "1").run().succeeded();
    let refused = format!("{} is passed over: other users can write to it", planted.display());
    let taken = format!("{} is taken", place.path().join(".cache/coil").display());
    assert!(ran.stderr.contains(&refused) && ran.stderr.contains(&taken), "{ran}");
}

#[test]
fn who_does_not_ask_hears_nothing_and_a_file_takes_it_all() {
    for word in ["", "0"] {
        assert!(probe().start().env("COIL_DEBUG", word).run().succeeded().stderr.is_empty());
    }
    let place = scratch();
    let file = place.path().join("notes");
    for count in 1..=2 {
        let ran = probe().start().env("COIL_DEBUG", &file).run().succeeded();
        assert!(ran.stderr.is_empty(), "{ran}");
        let lines = told(&fs::read_to_string(&file).unwrap());
        assert_eq!(subjects(&lines).iter().filter(|subject| **subject == "start").count(), count);
    }
    // A file that cannot be written stops nobody.
    probe().start().env("COIL_DEBUG", "/nowhere/notes").run().succeeded();
}

#[test]
fn the_process_has_the_apps_name_as_far_as_the_kernel_keeps_it() {
    let name = "a-name-of-more-than-fifteen-bytes";
    let code = "import time\nprint(open('/proc/self/comm').read().strip(), flush=True)\ntime.sleep(60)\n";
    let script = format!("{name}.py");
    let bench = Bench::new().file(&script, code);
    let app = bench.pack(&[script.as_str()]);
    let mut child = app.start().spawn();
    let mut line = String::new();
    let mut pipe = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut pipe, &mut line).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let found = Command::new("pgrep").arg("-x").arg(&name[..15]).output();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line.trim(), &name[..15]);
    assert!(status.starts_with(&format!("Name:\t{}\n", &name[..15])), "{status}");
    match found {
        Ok(found) => {
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            assert!(found.lines().any(|pid| pid == child.id().to_string()), "pgrep finds {found}");
        }
        Err(error) => skip(&format!("pgrep: {error}")),
    }
}

#[test]
fn a_picture_shows_where_the_time_went_and_the_exit_code_is_the_apps() {
    let bench = Bench::new().file("main.py", "import sys; print('app', sys.argv[1:]); sys.exit(7)");
    let run = || {
        let mut command = bench.coil(&["run", "--timing", "main.py", "--", "x"]);
        command.env("COIL_KEEP", "never");
        Ran::of(command, b"")
    };
    for _ in 0..2 {
        let ran = run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (Some(7), "app ['x']\n"), "{ran}");
        for row in ["launcher ", "Python ", "app ", "together "] {
            assert!(
                ran.stderr.lines().any(|line| line.starts_with(row) && line.contains(" ms")),
                "{row}: {ran}"
            );
        }
        assert!(ran.stderr.contains('#') && !ran.stderr.contains('\x1b'), "plain without a terminal: {ran}");
    }
}

/// The names of the system calls of a start, up to the app's own `execve`.
fn system_calls(app: &Packed, cache: &Path) -> Option<Vec<String>> {
    let place = scratch();
    let trace = place.path().join("trace");
    let mut command = Command::new("strace");
    command.arg("-o").arg(&trace).arg(app.path());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("COIL_CACHE", cache);
    match command.output() {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) => {
            skip(&format!("strace: {}", String::from_utf8_lossy(&ran.stderr)));
            return None;
        }
        Err(error) => {
            skip(&format!("strace: {error}"));
            return None;
        }
    }
    let text = fs::read_to_string(trace).unwrap();
    let calls = text.lines().filter_map(|line| line.split_once('(').map(|(name, _)| name.to_owned()));
    // The first is the launcher's own.
    let mut own: Vec<String> = calls.skip(1).collect();
    let end = own.iter().position(|name| name == "execve").expect("it becomes the app");
    own.truncate(end + 1);
    Some(own)
}

/// The system calls in the table of docs/STARTS.md, with how often they may be made.
fn documented() -> Vec<(String, usize)> {
    let text = include_str!("../docs/STARTS.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let count = |rest: &str| rest.split(" |").next().and_then(|count| count.trim().parse().ok());
    rows.filter_map(|(name, rest)| count(rest).map(|count| (name.to_owned(), count))).collect()
}

#[test]
fn a_warm_start_makes_the_system_calls_that_are_written_down() {
    let cache = scratch();
    probe().start().cache(cache.path()).run().succeeded();
    let Some(calls) = system_calls(probe(), cache.path()) else { return };
    let documented = documented();
    assert!(documented.len() > 10, "the table can be read");
    let names: BTreeSet<&str> = calls.iter().map(String::as_str).collect();
    for name in names {
        let count = calls.iter().filter(|call| *call == name).count();
        let allowed = documented.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        // One look at each layer's directory.
        let allowed = if name == "statx" { allowed + layers(cache.path()) } else { allowed };
        assert!(count <= allowed, "{count} times {name}, and {allowed} are written down: {calls:?}");
    }
}

fn layers(cache: &Path) -> usize {
    fs::read_dir(cache.join("layers")).unwrap().count()
}

#[test]
fn the_size_of_a_bundle_is_nothing_to_a_warm_start() {
    // 20 MB in 2000 files, which are not looked at.
    let mut bench = Bench::new().file("src/main.py", "print('large')\n");
    for number in 0..2000 {
        bench = bench.file(&format!("src/data/{number}"), format!("{number}").repeat(2500));
    }
    let large = bench.pack(&["--app", "src", "-e", "main.py", "--name", "large"]);
    let small = Bench::new().file("src/main.py", "print('small')\n");
    let small = small.pack(&["--app", "src", "-e", "main.py", "--name", "small"]);
    let (one, two) = (scratch(), scratch());
    for (app, cache) in [(&large, &one), (&small, &two)] {
        app.start().cache(cache.path()).run().succeeded();
    }
    let calls = [(&large, &one), (&small, &two)].map(|(app, cache)| system_calls(app, cache.path()));
    assert_eq!(calls[0], calls[1]);
}

#[test]
fn a_bundle_is_added_to_a_store_from_where_it_starts_without_writing() {
    let place = scratch();
    let (store, bundle) = (place.path().join("store"), place.path().join("bundle"));
    // A copy that cannot be executed.
    fs::write(&bundle, fs::read(probe().path()).unwrap()).unwrap();
    let bench = Bench::new();
    let words = ["cache", "add", "--store", store.to_str().unwrap(), bundle.to_str().unwrap()];
    let added = Ran::of(bench.coil(&words), b"").printed();
    assert!(
        added.starts_with(store.to_str().unwrap()) && Path::new(&added).join("pyvenv.cfg").exists(),
        "{added}"
    );
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o755);
    let started = probe().start().cache(&store).env("COIL_DEBUG", "1").run().succeeded();
    assert_eq!(subjects(&told(&started.stderr)), ["host", "cache", "libc", "layers", "start"]);
    fs::write(&bundle, "no bundle").unwrap();
    let refused = Ran::of(bench.coil(&words), b"");
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stderr.contains("it is not an ELF file"), "{refused}");
}

#[test]
fn the_system_store_is_where_every_user_looks_first() {
    if let Some(why) = mounts::cannot_mount().filter(|_| !empty_root::is_root()) {
        return skip(&why);
    }
    // Over a `/var/lib` of its own, so that nothing of this machine changes.
    let script = "mount -t tmpfs -o size=200m tmpfs /var/lib; \"$0\" cache add --system \"$1\";
                  HOME=/nowhere COIL_DEBUG=1 \"$1\" >/dev/null; stat -c '%a %u' /var/lib/coil";
    let ran = mounts::mounting(script, &[Path::new(env!("CARGO_BIN_EXE_coil")), probe().path()]);
    let ran = ran.succeeded();
    assert!(ran.stdout.starts_with("/var/lib/coil/envs/") && ran.stdout.ends_with("\n755 0\n"), "{ran}");
    assert_eq!(subjects(&told(&ran.stderr)), ["host", "cache", "libc", "layers", "start"], "{ran}");
}

#[test]
fn what_apps_have_unpacked_is_pruned_with_the_rest() {
    let bench = Bench::new();
    let cache = scratch();
    probe().start().cache(cache.path()).run().succeeded();
    let prune = |words: &[&str]| {
        let mut command = bench.coil(&[&["cache", "prune"], words].concat());
        command.env("COIL_CACHE", cache.path());
        Ran::of(command, b"").printed()
    };
    assert!(prune(&[]).contains("nothing to remove"), "it was used just now");
    let freed = prune(&["--all"]);
    assert!(freed.contains("unpacked by apps") && freed.contains("freed "), "{freed}");
    assert_eq!(fs::read_dir(cache.path().join("envs")).unwrap().count(), 0);
}
