//! Promise: the first start can be raced, killed, starved of space and interrupted, and the cache can be
//! moved or damaged; the next start works, or says in one sentence why it cannot. Nobody else's cache is
//! ever trusted.

mod kit;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use kit::mounts::{cannot_mount, mounting};
use kit::{
    Arrivals, Bench, Packed, Ran, Start, WheelBuilder, empty_root, lean_probe, probe, scratch, skip, small,
};

/// A start with this cache that prints `ok` after it has imported from every layer.
fn start(cache: &Path) -> Start {
    lean_probe().start().cache(cache).env("COIL_RUN", "do").arg("import pkg.mod, ctypes, json; print('ok')")
}

/// Names of the directories in `cache/name`.
fn entries(cache: &Path, name: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(cache.join(name)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// What a cache looks like in which the probe has been unpacked once and nothing is left lying about.
#[track_caller]
fn assert_tidy(cache: &Path) {
    assert_eq!(entries(cache, "layers").len(), 3);
    assert_eq!(entries(cache, "envs").len(), 1);
    assert_eq!(entries(cache, "tmp"), Vec::<PathBuf>::new());
}

/// Insists on the launcher's refusal: exit code 125, nothing printed, one line that says `part`.
#[track_caller]
fn assert_refused(ran: &Ran, part: &str) {
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(125), ""), "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    assert!(ran.stderr.contains(part), "{part:?} is not said: {ran}");
}

#[test]
fn fifty_processes_race_on_a_cold_cache_and_unpack_once() {
    let cache = scratch();
    // Every unpacking begins with a directory of its own in there.
    for name in ["layers", "envs", "tmp"] {
        fs::create_dir(cache.path().join(name)).unwrap();
    }
    let arrivals = Arrivals::watch(&cache.path().join("tmp"));
    let children: Vec<_> = (0..50).map(|_| start(cache.path()).spawn()).collect();
    for child in children {
        assert_eq!(Ran::to_its_end(child, b"").printed(), "ok");
    }
    assert_tidy(cache.path());
    assert_eq!(arrivals.count(), 1, "one unpacks and the others wait for it");
}

#[test]
fn two_versions_that_share_a_runtime_and_a_wheel_start_at_once_for_the_first_time() {
    let (old, new) = (small("old"), small("new"));
    let cache = scratch();
    for round in 0..5 {
        let _ = fs::remove_dir_all(cache.path().join("envs"));
        let _ = fs::remove_dir_all(cache.path().join("layers"));
        let starts = || [(&old, "started old"), (&new, "started new")];
        let children: Vec<_> = (0..10)
            .flat_map(|_| starts())
            .map(|(app, said)| (app.start().cache(cache.path()).spawn(), said))
            .collect();
        for (child, said) in children {
            assert_eq!(Ran::to_its_end(child, b"").printed(), said, "round {round}");
        }
        assert_eq!(entries(cache.path(), "layers").len(), 4, "a runtime, a wheel and two apps");
        assert_eq!(entries(cache.path(), "envs").len(), 2);
        assert_eq!(entries(cache.path(), "tmp"), Vec::<PathBuf>::new());
    }
}

#[test]
fn clean_up_races_with_starts_and_no_start_notices() {
    let (old, new) = (small("old"), small("new"));
    let cache = scratch();
    let cache = cache.path();
    let running = AtomicUsize::new(2);
    // Nothing is made older while a start is under way, which notes that it uses it.
    let gate = RwLock::new(());
    thread::scope(|scope| {
        for (app, said) in [(&old, "started old"), (&new, "started new")] {
            let (running, gate) = (&running, &gate);
            scope.spawn(move || {
                for _ in 0..60 {
                    let _going = gate.read().unwrap();
                    let ran = app.start().cache(cache).run();
                    // Before anything can fail: the others wait for it.
                    let well = ran.code() == Some(0) && ran.stdout.trim_end() == said;
                    if !well {
                        running.store(0, Ordering::Relaxed);
                    }
                    assert!(well, "{ran}");
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let long_ago = SystemTime::now() - Duration::from_secs(40 * 24 * 3600);
        while (1..=2).contains(&running.load(Ordering::Relaxed)) {
            let alone = gate.write();
            for place in entries(cache, "envs") {
                // As if it had been used long ago, before each clean-up.
                if let Ok(record) = fs::File::open(place.join(".launch")) {
                    record.set_modified(long_ago).unwrap();
                }
            }
            drop(alone);
            let ran = old.start().cache(cache).env("COIL", "gc").run();
            assert!(ran.code() == Some(0) || !cache.join("tmp").exists(), "{ran}");
        }
    });
    assert_eq!(entries(cache, "tmp"), Vec::<PathBuf>::new());
}

#[test]
fn processes_that_race_where_nothing_can_be_locked_all_succeed() {
    let cache = scratch();
    // A directory in the lock's place cannot be opened as a file: as on a file system without locks.
    fs::create_dir(cache.path().join("lock")).unwrap();
    let children: Vec<_> = (0..6).map(|_| start(cache.path()).spawn()).collect();
    for child in children {
        assert_eq!(Ran::to_its_end(child, b"").printed(), "ok");
    }
    assert_tidy(cache.path());
}

#[test]
fn a_first_start_can_be_killed_at_any_time_and_the_next_one_works() {
    let whole = scratch();
    let begin = Instant::now();
    start(whole.path()).run().succeeded();
    let whole = begin.elapsed();
    let cache = scratch();
    for point in 0..15 {
        let _ = fs::remove_dir_all(cache.path().join("envs"));
        let _ = fs::remove_dir_all(cache.path().join("layers"));
        let mut child = start(cache.path()).spawn();
        thread::sleep(whole * point / 15);
        child.kill().unwrap();
        child.wait().unwrap();
        for layer in entries(cache.path(), "layers") {
            let name = layer.file_name().unwrap().to_str().unwrap().to_owned();
            // A digest, and for what is settled for a C library or a runtime a word about that.
            let digest =
                name.get(..64).is_some_and(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert!(digest && !name[64..].contains('.'), "{}", layer.display());
        }
        if point % 3 == 0 {
            assert_eq!(start(cache.path()).run().printed(), "ok", "killed after {point}/15 of {whole:?}");
        }
    }
    fs::remove_dir_all(cache.path().join("envs")).unwrap();
    assert_eq!(start(cache.path()).run().printed(), "ok");
    assert_tidy(cache.path());
}

#[test]
fn a_killed_owner_of_the_lock_stops_nobody() {
    let cache = scratch();
    let mut child = start(cache.path()).spawn();
    let begin = Instant::now();
    while entries(cache.path(), "tmp").is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not begin");
        thread::sleep(Duration::from_millis(1));
    }
    let waiting = start(cache.path()).spawn();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(Ran::to_its_end(waiting, b"").printed(), "ok");
    assert_tidy(cache.path());
}

#[test]
fn clean_up_never_touches_what_a_running_start_works_on() {
    let cache = scratch();
    start(cache.path()).run().succeeded();
    let busy = cache.path().join("tmp/1-0");
    fs::create_dir(&busy).unwrap();
    let lock = fs::File::open(&busy).unwrap();
    lock.lock().unwrap();
    fs::create_dir(cache.path().join("tmp/2-0")).unwrap();
    fs::remove_dir_all(cache.path().join("envs")).unwrap();
    start(cache.path()).run().succeeded();
    assert_eq!(entries(cache.path(), "tmp"), [busy]);
}

#[test]
fn a_moved_cache_works_at_its_new_place() {
    let place = scratch();
    let (before, after) = (place.path().join("before"), place.path().join("a longer name, after"));
    start(&before).run().succeeded();
    fs::rename(&before, &after).unwrap();
    assert_eq!(start(&after).run().printed(), "ok");
    let ran = lean_probe().start().cache(&after).run().json();
    assert!(ran["executable"].as_str().unwrap().starts_with(after.to_str().unwrap()), "{ran}");
    assert!(!before.exists());
    assert_tidy(&after);
}

#[test]
fn whatever_is_deleted_from_the_cache_comes_back() {
    let cache = scratch();
    start(cache.path()).run().succeeded();
    for name in ["envs", "layers", "tmp", "lock"] {
        let path = cache.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        assert_eq!(start(cache.path()).run().printed(), "ok", "without {name}");
    }
    for path in entries(cache.path(), "envs") {
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(start(cache.path()).run().printed(), "ok", "without {}", path.display());
    }
    for path in entries(cache.path(), "layers") {
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(start(cache.path()).run().printed(), "ok", "without {}", path.display());
    }
    assert_tidy(cache.path());
}

#[test]
fn a_warm_start_works_on_a_store_that_cannot_be_written() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let cache = scratch();
    start(cache.path()).run().succeeded();
    let script = "mount --bind -o ro \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"
        if touch \"$1/x\" 2>/dev/null; then exit 77; fi
        COIL_CACHE=\"$1\" exec \"$0\"";
    mounting(script, &[lean_probe().path(), cache.path()]).json();
}

#[test]
fn a_cache_that_others_could_have_planted_is_refused() {
    let cache = scratch();
    start(cache.path()).run().succeeded();
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(cache.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(&start(cache.path()).run(), ": other users can write to it");
    }
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(start(cache.path()).run().printed(), "ok");
    if !empty_root::is_root() {
        return skip("only root can give a directory to another user");
    }
    std::os::unix::fs::chown(cache.path(), Some(65534), None).unwrap();
    assert_refused(&start(cache.path()).run(), "it belongs to user 65534, not to user 0");
    std::os::unix::fs::chown(cache.path(), Some(0), None).unwrap();
    start(cache.path()).run().succeeded();
}

#[test]
fn a_candidate_that_cannot_be_trusted_is_passed_over_for_the_next() {
    let place = scratch();
    let (planted, home) = (place.path().join("xdg"), place.path().join("home"));
    fs::create_dir_all(planted.join("coil")).unwrap();
    fs::create_dir(&home).unwrap();
    fs::set_permissions(planted.join("coil"), fs::Permissions::from_mode(0o777)).unwrap();
    let start = lean_probe().start().without("COIL_CACHE").env("XDG_CACHE_HOME", &planted).env("HOME", &home);
    let seen = start.run().json();
    let prefix = seen["prefix"].as_str().unwrap();
    assert!(prefix.starts_with(home.join(".cache/coil/envs").to_str().unwrap()), "{prefix}");
    assert_eq!(fs::read_dir(planted.join("coil")).unwrap().count(), 0);
}

#[test]
fn a_home_that_is_missing_unset_or_read_only_does_not_matter() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let places = scratch();
    let home = places.path().join("home");
    fs::create_dir(&home).unwrap();
    // The real /var/tmp is not touched.
    let script =
        "mount -t tmpfs tmpfs /var/tmp; mount -t tmpfs -o ro tmpfs \"$1\"; shift 1; exec env \"$@\" \"$0\"";
    let read_only = format!("HOME={}", home.display());
    for setting in [read_only.as_str(), "HOME=/nonexistent", "HOME=relative", "HOME=", "NOTHING=1"] {
        let seen = mounting(script, &[lean_probe().path(), &home, Path::new(setting)]).json();
        let prefix = seen["prefix"].as_str().unwrap();
        assert!(prefix.starts_with("/var/tmp/coil-0/envs/"), "{setting}: {prefix}");
    }
}

#[test]
fn a_place_that_cannot_hold_or_execute_programs_is_named_with_the_reason() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let place = scratch();
    let with = |options: &str| {
        let script = "mount -t tmpfs -o \"mode=700,$2\" tmpfs \"$1\"; COIL_CACHE=\"$1\" exec \"$0\"";
        mounting(script, &[lean_probe().path(), place.path(), Path::new(options)])
    };
    let cache = format!("{}: ", place.path().display());
    assert_refused(
        &with("noexec"),
        &format!("{cache}programs cannot be executed there (it is mounted noexec)"),
    );
    assert_refused(&with("size=1m"), &format!("{cache}1 MB are free and "));
    assert_refused(&with("ro"), &cache);
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_a_sentence_and_leaves_nothing() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let place = scratch();
    let bench = Bench::new();
    let manifest =
        Ran::of(bench.coil(&[Path::new("inspect"), Path::new("--json"), probe().path()]), b"").json();
    let sizes =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["unpackedSize"].as_u64().unwrap());
    // Enough by the sum of sizes, and not enough once each file takes whole pages and has an inode. All files, also those of
    // libraries that this host has itself.
    let script = "mount -t tmpfs -o \"mode=700,$2\" tmpfs \"$1\"; COIL_LIBC=bundled COIL_CACHE=\"$1\" \"$0\" || code=$?
        find \"$1\" -mindepth 2 >&2; exit $code";
    let options = format!("size={}", sizes.sum::<u64>() + 65536);
    let ran = mounting(script, &[probe().path(), place.path(), Path::new(&options)]);
    assert_refused(&ran, "No space left on device");
    // Short of inodes it is the same.
    let ran = mounting(script, &[probe().path(), place.path(), Path::new("size=1g,nr_inodes=500")]);
    assert_refused(&ran, "No space left on device");
}

#[test]
fn places_that_no_cache_can_be_are_refused_in_a_sentence() {
    let place = scratch();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    for (cache, part) in [
        (PathBuf::from("relative/path"), "relative/path: it is not an absolute path"),
        (file.join("below"), "file/below: Not a directory"),
        (file, "file: File exists"),
        (place.path().join("a:b"), "a:b: a cache's path cannot contain ':'"),
        (place.path().join("a\nb"), "a cache's path cannot contain '\\n'"),
        (place.path().join(OsStr::from_bytes(b"\xff")), "a cache's path must be valid UTF-8"),
    ] {
        let ran = start(&cache).run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (Some(125), ""), "{ran}");
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    // Up to the limit of a loader's path, or of any path, it works, and beyond it is a sentence.
    let (app, mut refused) = (small("new"), 0);
    for length in (3600..4200).step_by(40) {
        let mut cache = place.path().to_owned();
        while cache.as_os_str().len() < length {
            cache.push("d".repeat((length - cache.as_os_str().len()).min(200)));
        }
        let ran = app.start().cache(&cache).run();
        if ran.code() == Some(0) {
            assert_eq!((ran.printed().as_str(), refused), ("started new", 0), "{length} bytes");
        } else {
            refused += 1;
            assert_refused(&ran, " too long");
        }
    }
    assert!(refused > 1);
    let long = ["x", "y", "z"].map(|letter| letter.repeat(250)).join("/");
    assert_eq!(start(&place.path().join(long)).run().printed(), "ok", "a long path is no obstacle");
}

#[test]
fn a_cache_may_have_any_other_name() {
    let place = scratch();
    let quotes = "it's \"quoted\" `x` \\ \t%s";
    for name in ["with space", quotes, r"''' \x\N\u\\ \'", "coding=no", "größe"] {
        let cache = place.path().join(name);
        let code = "import subprocess, sys, multiprocessing
print(subprocess.check_output([sys.executable, '-c', 'import ssl; print(1)'], text=True).strip())
print(subprocess.check_output(['greet'], text=True).strip())
with multiprocessing.get_context('spawn').Pool(1) as pool:
    print(pool.map(abs, [-3]))";
        for start in ["cold", "warm"] {
            let ran = greeting().start().cache(&cache).arg(code).run();
            assert_eq!(ran.printed(), "1\nhello\n[3]", "{start}, {}", cache.display());
        }
    }
}

/// A bundle with a console script, which runs its first argument as Python.
fn greeting() -> &'static Packed {
    static GREETING: OnceLock<Packed> = OnceLock::new();
    GREETING.get_or_init(|| {
        let wheel = WheelBuilder::new("greeter", "1.0")
            .file("greeter.py", "def main():\n    print('hello')\n")
            .entry_points("[console_scripts]\ngreet = greeter:main\n");
        let code = "import sys\nif __name__ == '__main__':\n    exec(sys.argv[1])\n";
        let bench = Bench::standing("greeting").wheel(&wheel).file("src/do.py", code);
        bench.pack(&["greeter", "--app", "src", "-e", "do.py"])
    })
}

#[test]
fn a_strange_umask_gives_a_cache_that_works() {
    for umask in ["077", "777", "000"] {
        let cache = scratch();
        let root = cache.path().join("cache");
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let shell = Packed::at("/bin/sh".into()).start().args(&["-c", &script]).arg(lean_probe().path());
        let ran = shell.cache(&root).env("COIL_RUN", "do").arg("import pkg.mod, ctypes; print('ok')").run();
        assert_eq!(ran.printed(), "ok", "umask {umask}");
        assert_eq!(start(&root).run().printed(), "ok", "after umask {umask}");
        for path in entries(&root, "layers").iter().chain(&entries(&root, "envs")) {
            let mode = fs::metadata(path).unwrap().mode() & 0o7777;
            assert_eq!(mode, 0o755, "{} after umask {umask}", path.display());
        }
        let mode = fs::metadata(&root).unwrap().mode() & 0o7777;
        assert_eq!(mode & 0o022, 0, "nobody else can write to it after umask {umask}");
    }
}

#[test]
fn a_store_that_root_has_prepared_serves_every_user() {
    if !empty_root::is_root() {
        return skip("only root can prepare a store for others");
    }
    // Somewhere that every user can get to, which the tests' own directory need not be.
    let place = tempfile::TempDir::new().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let app = place.path().join("app");
    let copied = std::process::Command::new("cp").arg(lean_probe().path()).arg(&app).status();
    assert!(copied.unwrap().success());
    let app = Packed::at(app);
    let cache = place.path().join("store");
    app.start().cache(&cache).run().json();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = app.start().cache(&cache).command();
    command.uid(65534).gid(65534).current_dir("/");
    if std::process::Command::new(app.path())
        .env("COIL", "help")
        .uid(65534)
        .current_dir("/")
        .output()
        .is_err()
    {
        return skip("other users cannot get to the temporary directory");
    }
    let seen = Ran::of(command, b"").json();
    assert!(seen["prefix"].as_str().unwrap().starts_with(cache.to_str().unwrap()), "{seen}");
    // And without one, a user whose home is not there finds a place of his own; here one that is given.
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(65534), Some(65534)).unwrap();
    let mut command = app.start().cache(&own.join("cache")).command();
    command.uid(65534).gid(65534).current_dir("/");
    Ran::of(command, b"").json();
    // What a user has made is not trusted by root.
    assert_refused(&app.start().cache(&own.join("cache")).run(), "it belongs to user 65534");
}
