//! Promise: the same inputs give the same file, bit for bit: in another directory, with another umask,
//! time zone, language and cache, and whether or not something was made before.

mod kit;

use std::path::Path;
use std::process::Command;

use kit::{Bench, Packed, Ran, WheelBuilder, scratch};

/// A project with everything that has an order or a date: several wheels, a source tree, commands.
fn project() -> Bench {
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
    let mut coil = bench.coil(&["pack"]);
    bench.limit(&mut coil);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
    command.arg(coil.get_program()).args(coil.get_args()).args(WORDS).args(["-o", "app"]);
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
    let (one, other) = (project(), project());
    let first = pack(&one, "022");
    let elsewhere = scratch();
    let other = other
        .env("TZ", "Pacific/Kiritimati")
        .env("LANG", "tr_TR.UTF-8")
        .env("LC_ALL", "C")
        .env("PYTHONHASHSEED", "77")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("COIL_CACHE", elsewhere.path());
    let second = pack(&other, "077");
    assert_eq!(differ(first.path(), second.path()), None);
    assert_eq!(second.start().run().printed(), "main");
    // And once more, from what is in the cache by now.
    let one = one.env("COIL_CACHE", elsewhere.path());
    let third = pack(&one, "027");
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
