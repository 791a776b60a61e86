//! Promise: a bundle runs on a machine with nothing on it: no `/bin`, `/lib`, `/proc`, `/dev`, `/tmp`, and
//! an empty environment. One writable directory is all it needs, and it writes nowhere else.

mod kit;

use std::path::{Path, PathBuf};

use kit::{Bench, EmptyRoot, empty_root::WRITABLE, probe, skip};

/// A root with the probe in it; `None`, with a word about it, where the machine forbids entering one.
fn root() -> Option<EmptyRoot> {
    match EmptyRoot::unavailable() {
        Some(reason) => {
            skip(&format!("no other root can be entered here: {reason}"));
            None
        }
        None => Some(EmptyRoot::new().with_file("app", probe().path())),
    }
}

#[test]
fn in_an_empty_root_there_is_no_loader_for_ordinary_programs() {
    if root().is_some() {
        let root = EmptyRoot::new().with_file("true", Path::new("/bin/true"));
        let ran = root.run(&["/true"]);
        assert_eq!(ran.code(), Some(127), "{ran}");
        assert_eq!(root.strays(), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_first_example_runs_in_an_empty_root() {
    let Some(_) = root() else { return };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello");
    let bench = Bench::new();
    let hello = bench.pack(&[example]);
    let root = EmptyRoot::new().with_file("hello", hello.path()).env("COIL_CACHE", WRITABLE);
    for start in ["cold", "warm"] {
        let said = root.run(&["/hello", "one", "two"]).printed();
        assert!(said.starts_with("Hello, world!\n"), "{start}: {said}");
        assert!(
            said.contains("arguments  'one' 'two'") && said.contains("a C callback says 42"),
            "{start}: {said}"
        );
        assert!(said.contains("packed in  /hello\n"), "{start}: {said}");
    }
    assert_eq!(root.run(&["/hello", "--exit", "9"]).code(), Some(9));
    let children = root.run(&["/hello", "--check-children"]);
    assert!(children.status.success() && children.stdout.contains("OK      subprocess -m"), "{children}");
    assert_eq!(root.strays(), Vec::<PathBuf>::new());
}

#[test]
fn extension_modules_find_their_libraries_in_an_empty_root() {
    let Some(root) = root() else { return };
    let root = root.env("COIL_CACHE", WRITABLE).env("COIL_RUN", "do");
    let code = "import ssl, sqlite3, ctypes, lzma, bz2, curses, readline, zlib, hashlib, uuid, decimal
import array, asyncio, csv, email, encodings.idna, json, math, mmap, pyexpat, select, socket, struct, unicodedata
ssl.create_default_context()
assert sqlite3.connect(':memory:').execute('select 6 * 7').fetchone() == (42,)
for module in (zlib, bz2, lzma):
    assert module.decompress(module.compress(b'x' * 9999)) == b'x' * 9999
print(hashlib.sha256(b'').hexdigest()[:8], uuid.uuid5(uuid.NAMESPACE_DNS, 'a').version, decimal.Decimal('0.1') * 3)
print('läuft'.encode('cp1252'), socket.getaddrinfo('127.0.0.1', 80)[0][4])";
    let said = root.run(&["/app", code]).printed();
    assert_eq!(said, "e3b0c442 5 0.3\nb'l\\xe4uft' ('127.0.0.1', 80)");
    assert_eq!(root.strays(), Vec::<PathBuf>::new());
}

#[test]
fn children_find_their_interpreter_in_an_empty_root() {
    let Some(root) = root() else { return };
    let root = root.env("COIL_CACHE", WRITABLE).env("COIL_RUN", "do");
    let code = "import subprocess, sys
inner = 'import ssl, sqlite3, sys; print(sys.prefix, sys.argv)'
same = subprocess.check_output([sys.executable, '-c', inner, 'x'], text=True)
bare = subprocess.check_output([sys.executable, '-c', inner, 'x'], text=True, env={})
assert same == bare == f\"{sys.prefix} ['-c', 'x']\\n\", (same, bare)
import asyncio
async def ask():
    child = await asyncio.create_subprocess_exec(sys.executable, '-m', 'json.tool', '--help', stdout=-1)
    return len((await child.communicate())[0]) > 0
print(asyncio.run(ask()))";
    assert_eq!(root.run(&["/app", code]).printed(), "True");
}

#[test]
fn with_no_place_to_unpack_one_sentence_names_every_place_that_was_tried() {
    let Some(root) = root() else { return };
    let ran = root.env("HOME", "/home/nobody").env("XDG_CACHE_HOME", "/app/x").run(&["/app"]);
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(125), ""), "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    for place in [
        "/app/x/coil: ",
        "/home/nobody/.cache/coil: ",
        "/var/tmp/coil-0: ",
        "/tmp/coil-0: ",
        "/dev/shm/coil-0: ",
    ] {
        assert!(ran.stderr.contains(place), "{place}{ran}");
    }
    let at = |place: &str| ran.stderr.find(place).unwrap();
    assert!(at("/app/x/coil: ") < at("/home/nobody/") && at("/home/nobody/") < at("/var/tmp/"), "{ran}");
    assert!(
        at("/var/tmp/coil-0: ") < at(" /tmp/coil-0: ") && at(" /tmp/coil-0: ") < at("/dev/shm/"),
        "{ran}"
    );
    assert!(ran.stderr.starts_with("app: ") && ran.stderr.contains("COIL_CACHE"), "{ran}");
}

#[test]
fn the_launchers_own_commands_need_neither_a_cache_nor_proc() {
    let Some(root) = root() else { return };
    for (name, part) in
        [("help", "COIL_RUN"), ("inspect", "command tell"), ("verify", "intact"), ("where", "/envs/")]
    {
        let root =
            EmptyRoot::new().with_file("app", probe().path()).env("COIL", name).env("COIL_CACHE", WRITABLE);
        let said = root.run(&["/app"]).printed();
        assert!(said.contains(part), "{name}: {said}");
        assert!(std::fs::read_dir(root.writable()).unwrap().next().is_none(), "{name} has written something");
    }
    drop(root);
}
