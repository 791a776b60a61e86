//! Promise: programs in wheels that are no Python start wherever the bundle does, whatever way they are found, and
//! neither they nor their children notice anything of it.

mod kit;

use std::fs;
use std::path::Path;
use std::process::Command;

use kit::{Bench, EmptyRoot, Packed, WheelBuilder, empty_root::WRITABLE, scratch, skip};

const LIBRARY: &str = "const char *greeting(void) { return \"hello from the library\"; }\n";

/// Prints what its library says and what it was given; with `--child`, starts a program of the host.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
const char *greeting(void);
int main(int count, char **arguments) {
    if (count > 1 && !strcmp(arguments[1], "--child"))
        return system("/bin/echo child $LD_LIBRARY_PATH $LD_PRELOAD");
    printf("%s %s\n", greeting(), count > 1 ? arguments[1] : "");
    return 0;
}
"#;

/// Finds the program beside the module as it was imported, and by the module's resolved path.
const MODULE: &str = "import pathlib, subprocess, sys
def main():
    for file in (pathlib.Path(__file__), pathlib.Path(__file__).resolve()):
        subprocess.run([file.parent / 'bin' / 'greet', *sys.argv[1:]], check=True)
";

/// A bundle with a compiled program, its library beside it; `None` where there is no compiler.
fn greeter(name: &str) -> Option<(Bench, Packed)> {
    let place = scratch();
    let compile = |arguments: &[&str]| {
        let ran = Command::new("cc").args(arguments).current_dir(place.path()).status();
        ran.is_ok_and(|status| status.success())
    };
    fs::write(place.path().join("greeting.c"), LIBRARY).unwrap();
    fs::write(place.path().join("greet.c"), PROGRAM).unwrap();
    if !compile(&["-shared", "-fPIC", "-o", "libgreeting.so", "greeting.c"]) {
        skip("there is no C compiler here");
        return None;
    }
    let search = "-Wl,-rpath,$ORIGIN/../lib:/nonexistent/build";
    assert!(compile(&["-o", "greet", "greet.c", "-L.", "-lgreeting", search]));
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    let wheel = WheelBuilder::new("greet", "1.0")
        .tag("py3-none-linux_x86_64")
        .file("greet/__init__.py", MODULE)
        .file("greet/lib/libgreeting.so", read("libgreeting.so"))
        .program("greet/bin/greet", read("greet"))
        .link("greet/bin/other", "greet")
        .data("scripts", "say", "#!/bin/sh\n")
        .entry_points("[console_scripts]\ngreet = greet:main\n");
    let bench = Bench::standing(name).wheel(&wheel);
    let packed = bench.pack(&["greet"]);
    Some((bench, packed))
}

const TWICE: &str = "hello from the library x\nhello from the library x";

#[test]
fn a_program_finds_its_loader_and_its_library_in_an_empty_root() {
    if let Some(reason) = EmptyRoot::unavailable() {
        return skip(&format!("no other root can be entered here: {reason}"));
    }
    let Some((_bench, app)) = greeter("programs-empty") else { return };
    let root = EmptyRoot::new().with_file("app", app.path()).env("COIL_CACHE", WRITABLE);
    for start in ["cold", "warm"] {
        assert_eq!(root.run(&["/app", "x"]).printed(), TWICE, "{start}");
    }
}

#[test]
fn a_program_is_the_same_on_an_ordinary_machine_and_its_children_get_no_variables() {
    let Some((_bench, app)) = greeter("programs-host") else { return };
    let cache = scratch();
    assert_eq!(app.start().cache(cache.path()).arg("x").run().printed(), TWICE);
    let said = app.start().cache(cache.path()).arg("--child").run().printed();
    assert_eq!(said, "child\nchild");
}

#[test]
fn a_program_in_a_cache_that_was_moved_is_settled_again() {
    let Some((_bench, app)) = greeter("programs-moved") else { return };
    let place = scratch();
    let (before, after) = (place.path().join("before"), place.path().join("after"));
    assert_eq!(app.start().cache(&before).arg("x").run().printed(), TWICE);
    fs::rename(&before, &after).unwrap();
    assert_eq!(app.start().cache(&after).arg("x").run().printed(), TWICE);
    assert!(!before.exists());
}

#[test]
fn the_layer_of_a_program_is_named_for_its_runtime_and_a_damaged_program_is_unpacked_again() {
    let Some((_bench, app)) = greeter("programs-damaged") else { return };
    let cache = scratch();
    app.start().cache(cache.path()).arg("x").run().printed();
    let layers: Vec<_> = fs::read_dir(cache.path().join("layers")).unwrap().flatten().collect();
    // That of the runtime has a dash as well where the host's libc is used.
    let named_twice = |name: &str| name.contains('-');
    let own = layers.iter().find(|layer| {
        named_twice(&layer.file_name().to_string_lossy()) && layer.path().join("venv").exists()
    });
    let own = own.unwrap();
    let program = program_in(&own.path());
    fs::remove_file(&program).unwrap();
    fs::remove_dir_all(cache.path().join("envs")).unwrap();
    assert_eq!(app.start().cache(cache.path()).arg("x").run().printed(), TWICE);
    assert!(program.exists());
}

fn program_in(layer: &Path) -> std::path::PathBuf {
    let lib = fs::read_dir(layer.join("venv/lib")).unwrap().next().unwrap().unwrap().path();
    lib.join("site-packages/greet/bin/greet")
}
