//! Harvests a real interpreter and runs the result in a root that holds nothing else.
//!
//! `COIL_TEST_PYTHON` names other interpreters than the `python3` on PATH, separated by colons.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use coil_bootstrap::format::manifest::Slot;

use super::*;
use crate::elf::fixture;

/// What has to work in an empty root wherever the build machine's interpreter can do it.
const MODULES: &str = "ssl sqlite3 ctypes lzma bz2 curses readline zlib hashlib uuid decimal zoneinfo \
    multiprocessing asyncio ctypes.util socket json xml.etree.ElementTree sysconfig venv";

const CHECKS: &str = "
import sys, os, hashlib, socket, ssl, ctypes.util, sysconfig, decimal, sqlite3, lzma, bz2, zlib
assert hashlib.sha256(b'').hexdigest().startswith('e3b0c442'), 'sha256'
assert socket.getaddrinfo('127.0.0.1', 80), 'getaddrinfo'
assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
assert sqlite3.connect(':memory:').execute('select 6 * 7').fetchone() == (42,)
assert ctypes.CDLL('libgcc_s.so.1') and ctypes.CDLL('libstdc++.so.6') and ctypes.CDLL('libpthread.so.0')
assert decimal.Decimal('0.1') * 3 == decimal.Decimal('0.3')
assert sysconfig.get_config_var('EXT_SUFFIX').endswith('.so')
assert os.path.isfile(sys.executable), sys.executable
foreign = [path for path in sys.path if path and not path.startswith(sys.prefix)]
assert not foreign, foreign
if os.path.exists('/proc/self/maps'):
    mapped = {line.split(None, 5)[5].strip() for line in open('/proc/self/maps') if '.so' in line}
    foreign = [path for path in mapped if not path.startswith(sys.prefix)]
    assert mapped and not foreign, foreign
print('all is well')
";

/// A user who owns nothing.
const NOBODY: u32 = 65534;

fn interpreters() -> Vec<PathBuf> {
    match std::env::var_os("COIL_TEST_PYTHON") {
        Some(names) => std::env::split_paths(&names).collect(),
        None => vec!["python3".into()],
    }
}

/// Writes the tree below `root` as the launcher does.
fn write(harvest: &Harvest, root: &Path) {
    for (path, node) in harvest.tree.iter() {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if let Content::Symlink(target) = &node.content {
            symlink(target, &place).unwrap();
            continue;
        }
        fs::write(&place, node.content.read().unwrap()).unwrap();
        let mode = if node.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Writes the absolute paths of `root` into the interpreter's slots, as the launcher does.
fn fill_slots(harvest: &Harvest, root: &Path) {
    let python = &harvest.python;
    let file = fs::File::options().write(true).open(root.join(&python.executable)).unwrap();
    let absolute = |path: &TreePath| root.join(path).display().to_string();
    let fill = |slot: Slot, text: String| {
        let mut bytes = text.into_bytes();
        bytes.resize(slot.size as usize, 0);
        file.write_all_at(&bytes, slot.offset).unwrap();
    };
    fill(python.loader_slot, absolute(&python.loader));
    fill(python.search_path_slot, python.search_path.iter().map(absolute).collect::<Vec<_>>().join(":"));
}

/// `chroot`, in a user namespace of its own where we are not root; `None` where neither is allowed.
fn chroot() -> Option<Vec<&'static str>> {
    let works = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).args(["/", "true"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    [vec!["chroot"], vec!["unshare", "-r", "chroot"]].into_iter().find(|words| works(words))
}

/// Runs a program of Python in an environment with nothing but the PATH that `chroot` is found in.
fn run(interpreter: &mut Command, program: &str) -> Output {
    interpreter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    interpreter.args(["-I", "-B", "-c", program]).output().unwrap()
}

/// Every module that can be imported on the build machine can be imported by `start`, and the checks pass.
fn check(interpreter: &Interpreter, start: impl Fn() -> Command) {
    for module in MODULES.split_whitespace() {
        let program = format!("import {module}");
        let told = run(&mut start(), &program);
        let why = String::from_utf8_lossy(&told.stderr);
        if !run(&mut Command::new(&interpreter.base_executable), &program).status.success() {
            eprintln!("{module} does not work on the build machine either");
        } else {
            assert!(told.status.success(), "{}: {module}: {why}", interpreter.full_version);
        }
    }
    let told = run(&mut start(), CHECKS);
    assert_eq!(String::from_utf8_lossy(&told.stdout), "all is well\n", "{told:?}");
}

/// Interpreters that were built where the C library had no `getrandom` do not start without this device,
/// harvested or not; it is made for them where that is allowed.
fn can_start(mut python: Command, root: &Path) -> bool {
    let told = run(&mut python, "pass");
    if !String::from_utf8_lossy(&told.stderr).contains("failed to get random numbers") {
        return true;
    }
    fs::create_dir(root.join("dev")).unwrap();
    let device = root.join("dev/urandom");
    let made = Command::new("mknod").args(["-m", "666"]).arg(device).args(["c", "1", "9"]).status();
    let made = made.is_ok_and(|status| status.success());
    let what = if made { "checked with that device" } else { "NOT CHECKED in an empty root" };
    eprintln!("this interpreter needs /dev/urandom: {what}");
    made
}

fn sizes(tree: &Tree) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for (path, node) in tree.iter() {
        let parts: Vec<&str> = path.split('/').collect();
        let dynload = parts.contains(&"lib-dynload");
        let part = match (parts.len(), dynload) {
            (_, true) => "lib-dynload".to_owned(),
            (4.., _) => format!("{}/{}/*", parts[0], parts[1]) + parts[2],
            _ => format!("{}/{}", parts[0], parts[1]),
        };
        let length = node.content.open().unwrap().map_or(0, |(length, _)| length);
        *sizes.entry(part).or_default() += length;
        *sizes.entry("total".into()).or_default() += length;
    }
    sizes
}

#[test]
fn a_harvested_interpreter_runs_in_an_empty_root_and_beside_the_host() {
    for executable in interpreters() {
        let interpreter = Interpreter::probe(&executable).unwrap();
        let harvest = harvest(&interpreter, Kept::default()).unwrap();
        eprintln!("{} {:?}", interpreter.base_executable.display(), sizes(&harvest.tree));
        harvest.notes.iter().chain(&harvest.left_out).for_each(|note| eprintln!("  {note}"));
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        write(&harvest, root);
        match chroot() {
            Some(words) => {
                let start = || {
                    let mut command = Command::new(words[0]);
                    command.args(&words[1..]).arg(root).arg(format!("/{}", harvest.python.executable));
                    command
                };
                if can_start(start(), root) {
                    check(&interpreter, start);
                }
            }
            None => {
                eprintln!("NOT CHECKED in an empty root: neither chroot nor user namespaces are allowed here")
            }
        }
        fill_slots(&harvest, root);
        let python = root.join(&harvest.python.executable);
        check(&interpreter, || Command::new(&python));
        if fs::metadata(root).unwrap().uid() == 0 {
            fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
            let told = run(Command::new(&python).uid(NOBODY), CHECKS);
            assert_eq!(String::from_utf8_lossy(&told.stdout), "all is well\n", "{told:?}");
        }
    }
}

#[test]
fn what_is_kept_is_there_and_works_in_an_empty_root() {
    for executable in interpreters() {
        let interpreter = Interpreter::probe(&executable).unwrap();
        let mut all = "ensurepip headers idle nis pycache static tests tkinter turtledemo"
            .split(' ')
            .collect::<Vec<_>>();
        // What this interpreter does not have is refused, by name.
        while let Err(failure) = harvest(&interpreter, Kept::parse(&all).unwrap()).map(drop) {
            eprintln!("  {failure}");
            let refused = |word: &&str| {
                let part = Kept::parse([word]).unwrap().parts().next().unwrap();
                failure.to_string().contains(part.described())
            };
            all.retain(|word| !refused(word));
            let windows = all.contains(&"tkinter");
            all.retain(|word| windows || !["idle", "turtledemo"].contains(word));
            assert!(failure.advice().is_some());
        }
        let kept = Kept::parse(&all).unwrap();
        let harvest = harvest(&interpreter, kept).unwrap();
        let names: Vec<&str> = harvest.tree.iter().map(|(path, _)| &**path).collect();
        let there = |part: &str| names.iter().any(|name| name.contains(part));
        for (word, part) in [
            ("ensurepip", "/ensurepip/_bundled/pip-"),
            ("headers", "/Python.h"),
            ("idle", "/idlelib/idle.py"),
            ("static", "/Makefile"),
            ("tests", "/lib-dynload/_testcapi."),
            ("nis", "/lib-dynload/nis."),
            ("tkinter", "/lib-dynload/_tkinter."),
            ("tkinter", "/tkinter/__init__.py"),
            ("tkinter", "/turtle.py"),
            ("turtledemo", "/turtledemo/__main__.py"),
        ] {
            assert_eq!(there(part), all.contains(&word), "{}: {part}", executable.display());
        }
        let Some(words) = chroot().filter(|_| all.contains(&"tkinter")) else { continue };
        let directory = tempfile::tempdir().unwrap();
        write(&harvest, directory.path());
        let mut python = Command::new(words[0]);
        python.args(&words[1..]).arg(directory.path()).arg(format!("/{}", harvest.python.executable));
        // Without a display, Tcl starts, and finds its scripts.
        let told = run(
            &mut python,
            "import os, tkinter; print(tkinter.Tcl().eval('package require msgcat; info library'), \
             [name for name in os.environ if name.startswith('TCL')])",
        );
        let said = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(said.starts_with("/python/lib/tcl") && said.ends_with("[]\n"), "{told:?}");
    }
}

#[test]
fn nothing_of_a_harvest_looks_for_libraries_outside() {
    let interpreter = Interpreter::probe(Path::new("python3")).unwrap();
    let harvest = harvest(&interpreter, Kept::default()).unwrap();
    let mut names: Vec<String> = Vec::new();
    let mut needed = Vec::new();
    for (path, node) in harvest.tree.iter() {
        let Ok(view) = View::read(&node.content.read().unwrap()) else { continue };
        assert_eq!(view.runpath, None, "{path}");
        let outside = view.rpath.iter().find(|entry| !entry.contains("$ORIGIN"));
        assert!(outside.is_none() || *path == harvest.python.executable, "{path}: {outside:?}");
        names.push(path.file_name().to_owned());
        needed.extend(view.needed.into_iter().map(|name| (path.clone(), name)));
    }
    for (path, name) in needed {
        assert!(names.contains(&name), "{path} needs {name}");
    }
}

#[test]
fn the_calls_of_a_harvested_python_are_resolved_when_it_is_loaded() {
    let interpreter = Interpreter::probe(Path::new("python3")).unwrap();
    let harvest = harvest(&interpreter, Kept::default()).unwrap();
    let is_python =
        |path: &TreePath| *path == harvest.python.executable || path.file_name().starts_with("libpython");
    for (path, node) in harvest.tree.iter().filter(|(path, _)| is_python(path)) {
        let mut bytes = node.content.read().unwrap();
        assert!(!elf::bind_now(&mut bytes).unwrap(), "{path} had to be changed");
    }
}

#[test]
fn two_harvests_of_one_interpreter_are_equal() {
    let interpreter = Interpreter::probe(Path::new("python3")).unwrap();
    let (one, two) =
        (harvest(&interpreter, Kept::default()).unwrap(), harvest(&interpreter, Kept::default()).unwrap());
    assert_eq!((&one.python, &one.notes), (&two.python, &two.notes));
    assert_eq!(one.tree.len(), two.tree.len());
    for ((path, first), (other, second)) in one.tree.iter().zip(two.tree.iter()) {
        assert_eq!((path, first.executable), (other, second.executable));
        assert!(first.content.read().unwrap() == second.content.read().unwrap(), "{path}");
    }
}

/// A real interpreter with a standard library made by a test.
fn with_stdlib(root: &Path) -> Interpreter {
    let mut interpreter = Interpreter::probe(Path::new("python3")).unwrap();
    interpreter.stdlib = root.join("lib/python3.99");
    interpreter.dynload = Some(interpreter.stdlib.join("lib-dynload"));
    fs::create_dir_all(interpreter.stdlib.join("lib-dynload")).unwrap();
    fs::write(interpreter.stdlib.join("os.py"), "").unwrap();
    interpreter
}

#[test]
fn a_module_whose_library_is_not_on_this_machine_is_left_out_with_a_note() {
    let directory = tempfile::tempdir().unwrap();
    let interpreter = with_stdlib(directory.path());
    let write = |name: &str, bytes: Vec<u8>| {
        fs::write(interpreter.stdlib.join("lib-dynload").join(format!("{name}.so")), bytes).unwrap();
    };
    let library = |needed| fixture::Library::new("x.so").needed(needed);
    write("_good", library("libm.so.6").runpath("/opt/build/lib").build());
    write("_sqlite3", library("libcoil-none.so.1").build());
    write("_testcapi", library("libcoil-none.so.2").build());
    let mut foreign = library("libm.so.6").build();
    foreign[18] = 0x08;
    write("_foreign", foreign);
    let harvest = harvest(&interpreter, Kept::default()).unwrap();
    let module = |name: &str| harvest.tree.get(&format!("python/lib/python3.99/lib-dynload/{name}.so"));
    let good = View::read(&module("_good").unwrap().content.read().unwrap()).unwrap();
    assert!(good.runpath.is_none() && good.rpath.is_empty());
    assert!(["_sqlite3", "_testcapi", "_foreign"].iter().all(|name| module(name).is_none()));
    let notes = harvest.notes.join("\n");
    assert!(notes.contains("_sqlite3 is left out: it needs libcoil-none.so.1, which is not on this machine"));
    assert!(notes.contains("_foreign is left out: it is for another machine"), "{notes}");
    assert!(!notes.contains("libcoil-none.so.2"), "{notes}");
}

#[test]
fn links_out_of_the_standard_library_are_followed_and_links_in_circles_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let interpreter = with_stdlib(directory.path());
    fs::write(directory.path().join("outside.py"), "outside").unwrap();
    symlink("../../outside.py", interpreter.stdlib.join("inside.py")).unwrap();
    symlink(".", interpreter.stdlib.join("circle")).unwrap();
    symlink("/nonexistent", interpreter.stdlib.join("dangling.py")).unwrap();
    let harvest = harvest(&interpreter, Kept::default()).unwrap();
    let inside = harvest.tree.get("python/lib/python3.99/inside.py").unwrap();
    assert_eq!(inside.content.read().unwrap(), b"outside");
    assert!(harvest.tree.iter().all(|(path, _)| !path.contains("circle")));
    assert!(harvest.left_out.join("").contains("links to nothing (dangling.py)"));
}

#[test]
fn what_cannot_be_harvested_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut interpreter = with_stdlib(directory.path());
    let refusal = |interpreter: &Interpreter| {
        harvest(interpreter, Kept::default()).map(|_| ()).unwrap_err().to_string()
    };
    fs::remove_file(interpreter.stdlib.join("os.py")).unwrap();
    assert!(refusal(&interpreter).starts_with("there is no standard library at "));
    interpreter.base_executable = directory.path().join("python3");
    fs::write(&interpreter.base_executable, "#!/bin/sh").unwrap();
    assert!(refusal(&interpreter).ends_with("python3 cannot be packed"));
    fs::write(&interpreter.base_executable, fixture::Library::new("x").needed("libcoil-none.so").build())
        .unwrap();
    assert!(refusal(&interpreter).ends_with("python3 needs libcoil-none.so, which is not on this machine"));
}
