//! Promise: what has not been used for a while leaves the cache without anybody asking, and nothing that is in use
//! ever does; a store that was prepared is started from without being written to.

mod kit;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use coil_bootstrap::clean_up;
use kit::{Bench, Packed, probe, scratch};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An app of this name that prints `text`, packed with a wheel of its own.
fn app(name: &str, text: &str) -> Packed {
    let bench = Bench::standing(&format!("clean-up-{name}-{text}"));
    let bench = bench.file("main.py", format!("print({text:?})\n"));
    bench.pack_to(&format!("{name}-{text}"), &["main.py", "--name", name])
}

fn names(cache: &Path, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(cache.join(directory)).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Where the bundle's environment is in this cache.
fn environment(packed: &Packed, cache: &Path) -> PathBuf {
    PathBuf::from(packed.start().cache(cache).env("COIL", "where").run().printed())
}

/// Makes it look as if the environment had been used last so many days ago.
fn age(environment: &Path, days: u32) {
    let record = File::open(environment.join(".launch")).unwrap();
    record.set_modified(SystemTime::now() - DAY * days).unwrap();
}

/// As if the last clean-up had been long ago.
fn forget_clean_up(cache: &Path) {
    fs::remove_file(cache.join("cleaned")).unwrap();
}

#[test]
fn what_is_not_used_goes_and_old_versions_of_an_app_go_first() {
    let cache = scratch();
    let cache = cache.path();
    let (one, two, other) = (app("app", "one"), app("app", "two"), app("other", "text"));
    one.start().cache(cache).run().succeeded();
    other.start().cache(cache).run().succeeded();
    assert_eq!(names(cache, "layers").len(), 3, "a runtime and two apps");
    let (old, unrelated) = (environment(&one, cache), environment(&other, cache));
    // Ten days: long for an old version, not for an app that has no newer one.
    age(&old, 10);
    age(&unrelated, 10);
    forget_clean_up(cache);
    two.start().cache(cache).run().succeeded();
    assert!(!old.exists(), "the old version is gone");
    assert!(unrelated.exists() && environment(&two, cache).exists());
    assert!(names(cache, "tmp").is_empty());
    // Its layer came a moment ago; somebody may be about to use it.
    assert_eq!(names(cache, "layers").len(), 4);
    // Forty days are long for everybody, but a clean-up is made once a day only.
    age(&unrelated, 40);
    one.start().cache(cache).run().succeeded();
    assert!(unrelated.exists());
    forget_clean_up(cache);
    fs::remove_dir_all(&old).unwrap();
    one.start().cache(cache).env("COIL_KEEP", "never").run().succeeded();
    assert!(unrelated.exists(), "the user keeps everything");
    fs::remove_dir_all(&old).unwrap();
    one.start().cache(cache).run().succeeded();
    assert!(!unrelated.exists());
}

#[test]
fn nothing_that_runs_is_removed_whatever_it_calls_itself() {
    let cache = scratch();
    let cache = cache.path();
    // The second has written over its arguments, as daemons do.
    let rename = "import ctypes, sys; argv = ctypes.POINTER(ctypes.POINTER(ctypes.c_char))(); \
                  argc = ctypes.c_int(); ctypes.pythonapi.Py_GetArgcArgv(ctypes.byref(argc), ctypes.byref(argv)); ";
    for code in ["", rename] {
        let wait = format!(
            "{code}print('up', flush=True); import sys; sys.stdin.read(); import pkg.mod; print('still here')"
        );
        let start = probe().start().cache(cache).env("COIL_RUN", "do").arg(&wait);
        let mut command = start.command();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "up\n");
        let place = environment(probe(), cache);
        age(&place, 1000);
        let report = probe().start().cache(cache).env("COIL", "gc").env("COIL_KEEP", "0").run().printed();
        assert!(report.contains("0 environments and 0 layers removed"), "{report}");
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        line.clear();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "still here\n");
        assert!(child.wait().unwrap().success());
    }
    fs::create_dir(cache.join("tmp/1-0")).unwrap();
    let report = probe().start().cache(cache).env("COIL", "gc").env("COIL_KEEP", "never").run().printed();
    assert!(report.contains("0 environments and 0 layers removed"), "{report}");
    assert!(names(cache, "tmp").is_empty(), "what a killed start has left behind is nothing to keep");
    let report = probe().start().cache(cache).env("COIL", "gc").env("COIL_KEEP", "0").run().printed();
    assert!(report.contains("1 environments"), "{report}");
    assert!(names(cache, "envs").is_empty());
    let refused = probe().start().cache(cache).env("COIL", "gc").env("COIL_KEEP", "soon").run();
    assert_eq!(refused.code(), Some(125));
    assert!(
        refused.stderr.contains("COIL_KEEP=\"soon\" means nothing here; it can be a number of days or never"),
        "{refused}"
    );
}

#[test]
fn a_use_is_noted_once_a_day_and_a_store_that_cannot_be_written_does_not_mind() {
    let cache = scratch();
    let cache = cache.path();
    let packed = app("app", "text");
    packed.start().cache(cache).run().succeeded();
    let place = environment(&packed, cache);
    let used = || fs::metadata(place.join(".launch")).unwrap().modified().unwrap();
    age(&place, 3);
    packed.start().cache(cache).run().succeeded();
    assert!(used() > SystemTime::now() - DAY, "the use is noted");
    let hours = SystemTime::now() - DAY / 2;
    File::open(place.join(".launch")).unwrap().set_modified(hours).unwrap();
    packed.start().cache(cache).run().succeeded();
    assert_eq!(used(), hours, "but not twice a day");
}

#[test]
fn a_prepared_store_serves_starts_that_write_nothing() {
    let place = scratch();
    let store = place.path().join("store");
    let packed = app("app", "stored");
    let installed = packed.start().env("COIL", "install").arg(&store).run().printed();
    assert!(Path::new(&installed).starts_with(&store), "{installed}");
    assert_eq!(packed.start().env("COIL", "install").arg("--quiet").arg(&store).run().printed(), "");
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o755, "everybody can read it");
    age(Path::new(&installed), 3);
    let before = listing(&store);
    assert_eq!(packed.start().cache(&store).run().printed(), "stored");
    let written: Vec<_> = listing(&store).into_iter().filter(|entry| !before.contains(entry)).collect();
    // Noting the use, which is allowed to fail, is all that a start by the owner does.
    assert!(written.iter().all(|(path, _)| path.ends_with(".launch")), "{written:?}");
}

fn listing(directory: &Path) -> Vec<(PathBuf, SystemTime)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let there = entry.metadata().unwrap();
            found.push((entry.path(), there.modified().unwrap()));
            if there.is_dir() {
                left.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_release_that_is_gone_takes_its_environment_along_and_nothing_else() {
    let cache = scratch();
    let cache = cache.path();
    let (one, two) = (app("app", "one"), app("app", "two"));
    for app in [&one, &two] {
        app.start().cache(cache).run().succeeded();
    }
    let (gone, stays) = (environment(&one, cache), environment(&two, cache));
    let beginning = gone.file_name().unwrap().to_str().unwrap()[..12].to_owned();
    let removed = clean_up::remove(cache, &["0".repeat(12), beginning]).unwrap();
    assert_eq!(
        (removed.environments, removed.layers),
        (1, 1),
        "the layer that only it had, whenever that came"
    );
    assert!(!gone.exists() && stays.exists());
    two.start().cache(cache).run().succeeded();
}
