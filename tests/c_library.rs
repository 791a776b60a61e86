//! Promise: an app runs with the newer one of the host's C library and the carried one, wherever its file
//! and its cache are taken, and a word of the user decides otherwise.

mod kit;

use std::fs;
use std::path::{Path, PathBuf};

use coil_bootstrap::c_library::{HOST_LOADER, host_directories};
use kit::{EmptyRoot, Start, empty_root::WRITABLE, probe, scratch, skip};

/// Loads what there is, and prints where the libraries in the process are that are not in a layer.
const FOREIGN: &str =
    "import ssl, sqlite3, ctypes, lzma, bz2, curses, readline, zlib, hashlib, uuid, decimal, asyncio, socket
ctypes.CDLL('libstdc++.so.6')
socket.getaddrinfo('127.0.0.1', 80)
mapped = {line.split(None, 5)[5].strip() for line in open('/proc/self/maps') if '/' in line}
print(*sorted(path.rsplit('/', 1)[1] for path in mapped if '.so' in path and '/layers/' not in path))";

fn foreign(start: Start) -> Vec<String> {
    let printed = start.env("COIL_RUN", "do").arg(FOREIGN).run().printed();
    printed.split_whitespace().map(str::to_owned).collect()
}

/// What the cache calls the choice of an environment.
fn choice(prefix: &serde_json::Value) -> String {
    let name = prefix.as_str().unwrap().rsplit('/').next().unwrap();
    name.get(64..).unwrap_or_else(|| panic!("{name} is no digest")).to_owned()
}

#[test]
fn on_a_host_with_a_glibc_as_new_as_the_carried_one_the_hosts_is_used_and_nothing_else_of_it() {
    let known =
        ["libc", "libm", "ld-linux", "libresolv", "libpthread", "libdl", "libnss", "libgcc_s", "libstdc++"];
    let libraries = foreign(probe().start());
    assert!(libraries.iter().any(|name| name.starts_with("libc.so")), "{libraries:?}");
    for name in libraries {
        let of_the_system = known.iter().any(|known| name.starts_with(known));
        assert!(of_the_system, "{name} of the host is used");
    }
}

#[test]
fn with_the_carried_one_every_library_in_the_process_comes_from_the_bundle() {
    assert_eq!(foreign(probe().start().env("COIL_LIBC", "bundled")), Vec::<String>::new());
}

#[test]
fn the_user_is_obeyed_and_orders_bind_nobody_else() {
    let cache = scratch();
    let told = |order: &str| {
        let start = probe().start().cache(cache.path()).env("COIL_LIBC", order);
        choice(&start.run().json()["prefix"])
    };
    let usual = told("");
    assert!(usual.starts_with("-host"), "{usual}");
    for _ in 0..2 {
        assert_eq!(told("bundled"), "");
        assert_eq!(told(""), usual);
        assert_eq!(told("host"), usual);
        assert_eq!(told("auto"), usual);
    }
    // Only the runtime is there twice.
    let runtimes = fs::read_dir(cache.path().join("layers")).unwrap();
    let settled = runtimes.filter(|entry| entry.as_ref().unwrap().file_name().len() > 64).count();
    assert_eq!(settled, 1);

    let ran = probe().start().env("COIL_LIBC", "newest").run();
    assert_eq!(ran.code(), Some(125));
    assert!(ran.stderr.contains("it can be auto, bundled or host"), "{ran}");
}

#[test]
fn libraries_that_the_host_has_itself_stay_packed_until_somebody_needs_them() {
    let cache = scratch();
    let told = |order: &str, builtin: &str| {
        probe().start().cache(cache.path()).env("COIL_LIBC", order).env("COIL", builtin).run()
    };
    let runtime = |order: &str| {
        let start = probe().start().cache(cache.path()).env("COIL_LIBC", order).env("COIL_RUN", "do");
        PathBuf::from(start.arg("import sys; print(sys.base_prefix)").run().printed())
    };
    let hosts = runtime("host");
    assert!(hosts.join("lib").is_dir());
    assert!(!hosts.join("libc").exists(), "nothing searches it");
    let settled = hosts.parent().unwrap().file_name().unwrap().to_str().unwrap();
    assert_eq!(hosts.join("libgcc").exists(), !settled.ends_with("-host-gcc"));
    assert_eq!(told("host", "verify").code(), Some(0), "what stays packed is not missed");

    let carried = runtime("bundled");
    assert_ne!(carried, hosts);
    assert!(carried.join("libc/libc.so.6").is_file() && carried.join("libgcc/libstdc++.so.6").is_file());
    assert_eq!(told("bundled", "verify").code(), Some(0));

    // What is there and should not be is a difference.
    fs::create_dir(hosts.join("libc")).unwrap();
    let compared = told("host", "verify");
    assert!(compared.code() != Some(0) && compared.stdout.contains("/python/libc"), "{compared}");

    let all = scratch();
    let files = all.path().join("files");
    assert_eq!(probe().start().env("COIL", "unpack").arg(&files).run().code(), Some(0));
    assert!(files.join("python/libc/libc.so.6").is_file());
}

#[test]
fn a_bundle_can_be_packed_to_use_one_of_them_always() {
    let bench = kit::Bench::new().file("main.py", "import sys\nprint(sys.prefix)\n");
    for (rule, expected) in [("bundled", ""), ("host", "-host"), ("auto", "-host")] {
        let app = bench.pack(&["main.py", "--libc", rule]);
        let printed = app.start().run().printed();
        assert!(choice(&printed.into()).starts_with(expected), "{rule}");
        assert_eq!(app.start().run().code(), Some(0), "a second start");
    }
}

/// A root with the probe in it.
fn root() -> Option<EmptyRoot> {
    if let Some(reason) = EmptyRoot::unavailable() {
        skip(&format!("no other root can be entered here: {reason}"));
        return None;
    }
    Some(EmptyRoot::new().with_file("app", probe().path()).env("COIL_CACHE", WRITABLE))
}

/// The host's loader and C library, by their places in a root.
fn glibc() -> Vec<(PathBuf, PathBuf)> {
    let there = Path::new(&HOST_LOADER[1..]);
    let beside = |name: &str| (there.with_file_name(name), host_directories()[0].join(name));
    let loader = (there.to_owned(), fs::canonicalize(HOST_LOADER).unwrap());
    vec![loader, beside("libc.so.6"), beside("libm.so.6")]
}

#[test]
fn a_host_without_one_and_a_host_with_something_else_in_its_place_get_the_carried_one() {
    let Some(root) = root() else { return };
    assert_eq!(choice(&root.run(&["/app"]).json()["prefix"]), "");
    let ordered = root.env("COIL_LIBC", "host").run(&["/app"]);
    assert_eq!(ordered.code(), Some(125));
    assert!(ordered.stderr.contains("this host has no glibc; start it with COIL_LIBC=bundled"), "{ordered}");

    // An imitation for musl: a loader by that name, and no glibc beside it.
    let Some(root) = self::root() else { return };
    let root = root.with_file(&HOST_LOADER[1..], Path::new("/bin/true"));
    assert_eq!(choice(&root.run(&["/app"]).json()["prefix"]), "");
}

#[test]
fn a_cache_that_comes_to_another_host_serves_both() {
    let Some(bare) = root() else { return };
    assert_eq!(choice(&bare.run(&["/app"]).json()["prefix"]), "");
    let Some(mut full) = root() else { return };
    for (name, file) in glibc() {
        full = full.with_file(name.to_str().unwrap(), &file);
    }
    // The cache moves to the host with a glibc, and back, and both start warm from then on.
    let go = |from: &EmptyRoot, to: &EmptyRoot| {
        fs::remove_dir(to.writable()).unwrap();
        fs::rename(from.writable(), to.writable()).unwrap();
        fs::create_dir(from.writable()).unwrap();
    };
    go(&bare, &full);
    let at_full = || choice(&full.run(&["/app"]).json()["prefix"]);
    assert_eq!((at_full(), at_full()), ("-host".to_owned(), "-host".to_owned()));
    go(&full, &bare);
    assert_eq!(choice(&bare.run(&["/app"]).json()["prefix"]), "");
    let environments = || fs::read_dir(bare.writable().join("envs")).unwrap().count();
    assert_eq!(environments(), 2);
    go(&bare, &full);
    assert_eq!(at_full(), "-host");
    assert_eq!(fs::read_dir(full.writable().join("envs")).unwrap().count(), 2);
}
