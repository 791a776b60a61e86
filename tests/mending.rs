//! Promise: what is damaged in a cache is noticed where that costs nothing, found by `COIL=verify`, and mended by the next
//! start or by `COIL=repair`, also under the feet of a process that runs from it. What is inside of a bundle can be
//! looked at without any cache.

mod kit;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use kit::mounts::{cannot_mount, mounting};
use kit::{Bench, EmptyRoot, Packed, Ran, probe, scratch, skip, small, snapshot};

fn app() -> &'static Packed {
    static APP: OnceLock<Packed> = OnceLock::new();
    APP.get_or_init(|| small("new"))
}

fn builtin(cache: &Path, name: &str) -> Ran {
    app().start().cache(cache).env("COIL", name).run()
}

/// The layer of the small app in `cache` that has this file.
fn with_file(cache: &Path, file: &str) -> PathBuf {
    let layers = fs::read_dir(cache.join("layers")).unwrap().map(|entry| entry.unwrap().path());
    layers.map(|layer| layer.join(file)).find(|path| path.symlink_metadata().is_ok()).unwrap()
}

fn environment(packed: &Packed, cache: &Path) -> PathBuf {
    PathBuf::from(packed.start().cache(cache).env("COIL", "where").run().printed())
}

fn interpreter(cache: &Path) -> PathBuf {
    with_file(cache, "python/bin/python3.12")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn replace(path: &Path, with: impl FnOnce(&Path)) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
    with(path);
}

/// One way to damage a cache: which file, how, and what is to be said of it.
type Damage = (&'static str, fn(&Path), &'static str);

#[test]
fn whatever_is_changed_in_a_cache_is_named_and_mended() {
    let cache = scratch();
    let cache = cache.path();
    app().start().cache(cache).run().succeeded();
    let clean = snapshot(cache);
    let whole = format!("3 layers are intact\n{} is as it was unpacked", environment(app(), cache).display());
    assert_eq!(builtin(cache, "verify").printed(), whole);
    assert_eq!(snapshot(cache), clean, "looking changes nothing");
    let site = "venv/lib/python3.12/site-packages/greet";
    let again = format!("{site}/again.py");
    let again: &'static str = again.leak();
    let damages: [Damage; 12] = [
        ("app/main.py", |path| fs::write(path, "bad\n").unwrap(), "has another content, from byte 0 on"),
        ("app/main.py", |path| fs::write(path, "").unwrap(), "is 0 bytes long and not 4"),
        ("app/main.py", |path| fs::remove_file(path).unwrap(), "is missing"),
        ("app/main.py", |path| set_mode(path, 0o600), "has the mode 0600 and not 0644"),
        ("app/main.py", |path| replace(path, |path| fs::create_dir(path).unwrap()), "is not a file"),
        ("app/main.py", |path| replace(path, |path| symlink("large", path).unwrap()), "is not a file"),
        ("app", |path| fs::write(path.join("more.py"), "").unwrap(), "more.py: is not in the bundle"),
        ("app/large", |path| flip(path, 4_198_000), "has another content, from byte 4198000 on"),
        (
            again,
            |path| replace(path, |path| symlink("other.py", path).unwrap()),
            "leads to other.py and not to __init__.py",
        ),
        ("python/lib/python3.12/json", |path| fs::remove_dir_all(path).unwrap(), "json: is missing"),
        ("venv/bin/native", |path| flip(path, 300), "has another content, from byte 300 on"),
        ("venv/bin/greet", |path| set_mode(path, 0o4755), "has the mode 4755 and not 0755"),
    ];
    for (file, damage, said) in damages {
        damage(&with_file(cache, file));
        check_and_mend(cache, &clean, file, said);
    }
    let envs: [Damage; 5] = [
        ("pyvenv.cfg", |path| fs::write(path, "home = /\n").unwrap(), "has another content"),
        ("bin/greet", |path| fs::remove_file(path).unwrap(), "is missing"),
        (
            "app",
            |path| replace(path, |path| symlink("/", path).unwrap()),
            "leads to / and not to ../../layers/",
        ),
        (".launch", |path| fs::write(path, "other\0").unwrap(), "has another content"),
        ("lib", |path| set_mode(path, 0o700), "has the mode 0700 and not 0755"),
    ];
    for (file, damage, said) in envs {
        damage(&environment(app(), cache).join(file));
        check_and_mend(cache, &clean, file, said);
    }
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[track_caller]
fn check_and_mend(cache: &Path, clean: &[String], file: &str, said: &str) {
    let ran = builtin(cache, "verify");
    assert_eq!(ran.code(), Some(125), "{file}: {ran}");
    assert!(ran.stdout.contains(said) && ran.stderr.contains("; COIL=repair mends it"), "{said}: {ran}");
    let repaired = builtin(cache, "repair").printed();
    assert!(
        repaired.lines().all(|line| line.ends_with(" is made anew")) && !repaired.is_empty(),
        "{repaired}"
    );
    let now: Vec<_> = snapshot(cache).into_iter().filter(|line| !line.starts_with("lock ")).collect();
    let clean: Vec<_> = clean.iter().filter(|line| !line.starts_with("lock ")).cloned().collect();
    assert_eq!(now, clean, "after {file}");
    assert!(builtin(cache, "verify").printed().ends_with(" is as it was unpacked"));
}

#[test]
fn many_differences_are_counted_and_not_all_listed() {
    let cache = scratch();
    app().start().cache(cache.path()).run().succeeded();
    let directory = with_file(cache.path(), "app");
    for number in 0..100 {
        fs::write(directory.join(format!("{number}\nline")), "").unwrap();
    }
    let ran = builtin(cache.path(), "verify");
    assert!(ran.stdout.lines().count() < 30 && ran.stdout.ends_with("and 80 more\n"), "{ran}");
    assert!(ran.stderr.contains("differs from the bundle in 100 places"), "{ran}");
}

#[test]
fn an_interpreter_that_cannot_be_started_is_mended_by_the_start_itself() {
    let cache = scratch();
    let cache = cache.path();
    app().start().cache(cache).run().succeeded();
    let clean = snapshot(cache);
    let damages: [fn(&Path); 6] = [
        |path| fs::write(path, "").unwrap(),
        |path| File::options().write(true).open(path).unwrap().set_len(2).unwrap(),
        |path| set_mode(path, 0o644),
        |path| fs::remove_file(path).unwrap(),
        |path| replace(path, |path| fs::create_dir(path).unwrap()),
        |path| replace(path, |path| symlink("python3", path).unwrap()),
    ];
    for (number, damage) in damages.iter().enumerate() {
        damage(&interpreter(cache));
        // The kernel takes an empty file for no program at all, and a shell would take it for an empty script.
        assert_eq!(app().start().cache(cache).run().printed(), "started new", "damage {number}");
        assert_eq!(snapshot(cache), clean, "damage {number}");
    }
    fs::remove_dir_all(environment(app(), cache).join("run")).unwrap();
    assert_eq!(app().start().cache(cache).run().printed(), "started new");
    assert_eq!(snapshot(cache), clean);
}

#[test]
fn a_real_environment_is_as_it_was_unpacked_and_is_mended_while_it_runs() {
    let cache = scratch();
    let cache = cache.path();
    let code = "import sys; print('up', flush=True); sys.stdin.readline()
import wave, pkg.mod, subprocess
print(subprocess.check_output([sys.executable, '-c', 'import decimal; print(decimal.Decimal(1))'], text=True).strip())";
    let mut child = probe().start().cache(cache).env("COIL_RUN", "do").arg(code).spawn();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let verify = || probe().start().cache(cache).env("COIL", "verify").run();
    assert!(verify().printed().ends_with(" is as it was unpacked"));
    let mut damaged = 0;
    for layer in fs::read_dir(cache.join("layers")).unwrap().flatten() {
        let version = fs::read_dir(layer.path().join("python/lib")).into_iter().flatten().flatten();
        for library in version.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3.")) {
            fs::remove_file(library.path().join("wave.py")).unwrap();
            damaged += 1;
        }
        if layer.path().join("app/pkg").is_dir() {
            fs::remove_dir_all(layer.path().join("app/pkg")).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 2);
    let found = verify();
    assert!(found.stdout.contains("wave.py: is missing") && found.code() == Some(125), "{found}");
    let repaired = probe().start().cache(cache).env("COIL", "repair").run().printed();
    assert_eq!(repaired.lines().count(), 2, "{repaired}");
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "1\n", "what was missing is there for a process that was started before");
    assert!(child.wait().unwrap().success());
    assert!(verify().printed().ends_with(" is as it was unpacked"));
    assert_eq!(
        probe().start().cache(scratch().path()).env("COIL", "repair").run().printed(),
        "nothing is unpacked yet"
    );
}

#[test]
fn files_that_a_cleaner_of_temporary_directories_took_come_back() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    // What is there says what is missing: first one file and a day has passed, then all files of a layer.
    let script = "mount -t tmpfs -o mode=1777 tmpfs /var/tmp
        export HOME=/nonexistent
        \"$0\" && cd /var/tmp/coil-0/layers && find . -name again.py -delete
        \"$0\" && ! find . -name again.py | grep . && touch -d '2 days ago' ../envs/*/.launch
        \"$0\" && find . -name again.py | grep -q . && echo 'it is back'
        find . -path '*/app/*' -type f -delete && rm -r ../envs/*
        \"$0\"";
    let ran = mounting(script, &[app().path()]);
    assert_eq!(ran.printed(), "started new\nstarted new\nstarted new\nit is back\nstarted new");
}

#[test]
fn a_cache_on_an_overlay_is_filled_used_and_mended() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let (cache, upper) = (scratch(), scratch());
    app().start().cache(cache.path()).run().succeeded();
    let script = "mount -t tmpfs tmpfs \"$2\" && mkdir \"$2/up\" \"$2/work\"
        if ! mount -t overlay -o \"lowerdir=$1,upperdir=$2/up,workdir=$2/work\" overlay \"$1\" 2>/dev/null; then exit 77; fi
        export COIL_CACHE=\"$1\"
        \"$0\" && ! find \"$2/up\" -mindepth 1 | grep .
        chmod 600 \"$1\"/layers/*/app/main.py && COIL=verify \"$0\" 2>&1 | grep -c 'has the mode'
        COIL=repair \"$0\" | grep -c anew
        COIL=verify \"$0\" | grep -c 'as it was unpacked'
        : > \"$(echo \"$1\"/layers/*/python/bin/python3.12)\"
        \"$0\" && rm -r \"$1/envs\" \"$1/layers\" && \"$0\"";
    let ran = mounting(script, &[app().path(), cache.path(), upper.path()]);
    if ran.code() == Some(77) {
        return skip("no overlay can be mounted here");
    }
    assert_eq!(ran.printed(), "started new\n1\n1\n1\nstarted new\nstarted new");
}

#[test]
fn a_place_that_stops_executing_programs_is_left_for_the_next() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let place = scratch();
    let script = "mount -t tmpfs -o mode=700 tmpfs \"$1\"; mount -t tmpfs -o mode=1777 tmpfs /var/tmp; export HOME=\"$1\"
        \"$0\" && COIL=where \"$0\" | head -n 1 | grep -c \"^$1\"
        mount -o remount,noexec \"$1\" && \"$0\" && ls -d /var/tmp/coil-0/envs";
    let ran = mounting(script, &[app().path(), place.path()]);
    assert_eq!(ran.printed(), "started new\n1\nstarted new\n/var/tmp/coil-0/envs");
}

#[test]
fn everything_inside_is_written_to_a_directory_and_runs_where_that_is_the_root() {
    let bench = Bench::new();
    let (one, two) = (bench.path("one"), bench.path("two"));
    let unpacked =
        probe().start().cache(Path::new("/nonexistent/cache")).env("COIL", "unpack").arg(&one).run();
    assert_eq!(unpacked.printed(), one.display().to_string());
    Ran::of(bench.coil(&[Path::new("unpack"), probe().path(), &two]), b"").succeeded();
    assert_eq!(snapshot(&one), snapshot(&two));
    let mut top: Vec<_> = fs::read_dir(&one).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    top.sort();
    assert_eq!(top, ["app", "python", "venv"]);
    let full = Ran::of(bench.coil(&[Path::new("unpack"), probe().path(), &two]), b"");
    assert!(full.code() != Some(0) && full.stderr.contains("cannot unpack into"), "{full}");
    assert_eq!(snapshot(&one), snapshot(&two), "what was there stays");
    let ran = probe().start().env("COIL", "unpack").run();
    assert!(ran.code() == Some(125) && ran.stderr.contains("where to?"), "{ran}");
    if let Some(reason) = EmptyRoot::unavailable() {
        return skip(&reason);
    }
    let mut command = Command::new("unshare");
    if !kit::empty_root::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mut root = std::ffi::OsString::from("--root=");
    root.push(&one);
    command.arg(root).args(["--wd=/", "--", "/venv/bin/python", "-c"]);
    command
        .arg("import ssl, sys; sys.path.append('/app'); import pkg.mod; print(sys.prefix, sys.base_prefix)");
    assert_eq!(Ran::of(command, b"").printed(), "/venv /python");
}

#[test]
fn a_bundle_for_another_machine_is_inspected_verified_and_unpacked() {
    let bench = Bench::new();
    let other = bench.path("other");
    fs::write(&other, fs::read(app().path()).unwrap()).unwrap();
    // The machine in the ELF header: a RISC-V here.
    File::options().write(true).open(&other).unwrap().write_all_at(&243u16.to_le_bytes(), 18).unwrap();
    for words in [&["inspect"][..], &["inspect", "--json"], &["verify"]] {
        let mut command = bench.coil(words);
        command.arg(&other).env("COIL_CACHE", "/nonexistent/cache");
        Ran::of(command, b"").succeeded();
    }
    let mut command = bench.coil(&["unpack"]);
    command.arg(&other).arg(bench.path("out")).env("COIL_CACHE", "/nonexistent/cache");
    Ran::of(command, b"").succeeded();
    assert_eq!(fs::read(bench.path("out/app/main.py")).unwrap(), b"new\n");
    let at = fs::metadata(&other).unwrap().len() as usize / 2;
    let mut bytes = fs::read(&other).unwrap();
    bytes.truncate(at);
    fs::write(&other, bytes).unwrap();
    let ran = Ran::of(bench.coil(&[Path::new("unpack"), &other, &bench.path("cut")]), b"");
    assert!(ran.code() != Some(0) && !bench.path("cut").exists(), "{ran}");
}

#[test]
fn a_record_of_long_ago_is_no_reason_to_compare_where_nobody_sweeps() {
    let cache = scratch();
    app().start().cache(cache.path()).run().succeeded();
    let again = with_file(cache.path(), "venv/lib/python3.12/site-packages/greet/again.py");
    fs::remove_file(&again).unwrap();
    let record = File::open(environment(app(), cache.path()).join(".launch")).unwrap();
    record.set_modified(SystemTime::now() - Duration::from_secs(3 * 24 * 3600)).unwrap();
    assert_eq!(app().start().cache(cache.path()).run().printed(), "started new");
    assert!(again.symlink_metadata().is_err());
}
