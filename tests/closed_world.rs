//! Promise: what a wheel needs and nothing in the bundle provides is refused when packing, unless the user leaves it
//! to the host or has it brought along; and a bundle tells where it runs.

mod kit;

use std::fs;
use std::process::Command;

use kit::{Bench, EmptyRoot, Ran, WheelBuilder, empty_root::WRITABLE, scratch, skip};

/// An extension module without Python's headers: `answer()` of a library, as its name's length.
const MODULE: &str = r#"
extern const char *coil_answer(void);
extern void *PyModule_Create2(void *, int);
static struct { long refs; void *type, *init; long index; void *copy; const char *name, *doc; long size; void *rest[6]; }
    module = { 1, 0, 0, 0, 0, "_needy", 0, -1 };
void *PyInit__needy(void) { module.doc = coil_answer(); return PyModule_Create2(&module, 1013); }
"#;

const LIBRARY: &str = "const char *coil_answer(void) { return \"the answer of the library\"; }\n";

/// A bench with the wheel `needy`, whose extension module needs `libcoil-answer.so.1`, which is in `system/`, a
/// directory of this machine; `None` where there is no compiler. `import` is how the package imports the module.
fn needy(import: &str) -> Option<Bench> {
    let place = scratch();
    let path = |name: &str| place.path().join(name);
    fs::write(path("library.c"), LIBRARY).unwrap();
    fs::write(path("module.c"), MODULE).unwrap();
    let compile = |words: &[&str]| {
        let ran = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args(words)
            .current_dir(place.path())
            .status();
        ran.is_ok_and(|status| status.success())
    };
    let soname = "-Wl,-soname,libcoil-answer.so.1";
    if !compile(&["libcoil-answer.so.1", "library.c", soname]) {
        skip("there is no C compiler here");
        return None;
    }
    assert!(compile(&["_needy.so", "module.c", "./libcoil-answer.so.1"]));
    let wheel = WheelBuilder::new("needy", "1.0")
        .tag(&format!("py3-none-linux_{}", std::env::consts::ARCH))
        .file("needy/__init__.py", import)
        .file("needy/_needy.so", fs::read(path("_needy.so")).unwrap())
        .entry_points("[console_scripts]\nneedy = needy:main\n");
    let bench = Bench::new().wheel(&wheel);
    fs::create_dir(bench.path("system")).unwrap();
    fs::copy(path("libcoil-answer.so.1"), bench.path("system/libcoil-answer.so.1")).unwrap();
    Some(bench)
}

const ALWAYS: &str = "from . import _needy\ndef main(): print(_needy.__doc__)\n";
const PERHAPS: &str =
    "try:\n    from . import _needy\nexcept ImportError:\n    pass\ndef main(): print('without')\n";

fn inspect(bench: &Bench, words: &[&str]) -> Ran {
    Ran::of(bench.coil(&[&["inspect"], words].concat()), b"").succeeded()
}

#[test]
fn a_library_that_nothing_provides_is_refused_by_wheel_file_and_name() {
    let Some(bench) = needy(ALWAYS) else { return };
    let ran = bench.try_pack(&["needy", "-o", "never"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    for word in [
        "error: needy-1.0-py3-none-linux_",
        "needs libcoil-answer.so.1, which nothing in the bundle provides",
        "needy/_needy.so",
        "--bring-library libcoil-answer.so.1",
        "--host-library libcoil-answer.so.1",
    ] {
        assert!(ran.stderr.contains(word), "{word}: {ran}");
    }
    assert!(!bench.path("never").exists());
}

#[test]
fn what_can_be_done_without_is_a_warning_and_is_told_by_inspect() {
    let Some(bench) = needy(PERHAPS) else { return };
    let ran = bench.try_pack(&["needy", "-o", "app"]).succeeded();
    assert!(ran.stderr.contains("warning: needy-1.0") && ran.stderr.contains("libcoil-answer.so.1"), "{ran}");
    assert_eq!(kit::Packed::at(bench.path("app")).start().run().printed(), "without");
    let told = inspect(&bench, &["--portability", "--json", "app"]).json();
    assert_eq!(told["hostLibraries"][0]["library"], "libcoil-answer.so.1");
    assert_eq!(told["hostLibraries"][0]["essential"], false);
}

#[test]
fn a_library_can_be_left_to_the_host_by_word_and_by_setting() {
    let Some(bench) = needy(ALWAYS) else { return };
    let app = bench.pack(&["needy", "--host-library", "libcoil-*"]);
    let without = app.start().run();
    assert!(without.stderr.contains("libcoil-answer.so.1: cannot open shared object file"), "{without}");
    let there = app.start().env("LD_LIBRARY_PATH", bench.path("system")).run();
    assert_eq!(there.printed(), "the answer of the library");
    let text = inspect(&bench, &["--portability", "app"]).stdout;
    assert!(text.contains("libraries that the host must have\n  libcoil-answer.so.1"), "{text}");

    let bench = bench.file("p/main.py", "print('started')\n").file(
        "p/coil.toml",
        "name = 'set'\nhost-libraries = ['libcoil-answer.so.1']\ncommands = { set = 'main.py' }\n",
    );
    assert_eq!(bench.pack_to("set", &["p", "needy"]).start().run().printed(), "started");
}

#[test]
fn a_library_that_is_brought_is_found_in_an_empty_root_and_stays_through_another_runtime() {
    let Some(bench) = needy(ALWAYS) else { return };
    let system = bench.path("system");
    let bench = bench.env("LD_LIBRARY_PATH", system);
    let words = ["needy", "--bring-library", "libcoil-answer.so.1"];
    let app = bench.pack(&words);
    assert_eq!(app.start().run().printed(), "the answer of the library");
    for libc in ["bundled", "host"] {
        assert_eq!(app.start().env("COIL_LIBC", libc).run().printed(), "the answer of the library");
    }
    // The same words, and a pattern, give the same bytes.
    let first = fs::read(app.path()).unwrap();
    assert!(fs::read(bench.pack_to("again", &words).path()).unwrap() == first);
    let layers = inspect(&bench, &["--json", "app"]).json()["layers"].clone();
    assert_eq!(layers[1]["kind"], "libraries");
    bench.pack_to("pattern", &["needy", "--bring-library", "*"]);
    assert_eq!(inspect(&bench, &["--json", "pattern"]).json()["layers"][1], layers[1]);
    assert!(inspect(&bench, &["--portability", "app"]).stdout.contains("no library of the host is needed"));

    let build = ["runtime", "build", "--level", "1", "-o", "other.rt"];
    Ran::of(bench.coil(&build), b"").succeeded();
    Ran::of(bench.coil(&["rebase", "app", "--runtime", "other.rt", "-o", "there"]), b"").succeeded();
    let there = kit::Packed::at(bench.path("there"));
    assert_eq!(there.start().run().printed(), "the answer of the library");

    if let Some(reason) = EmptyRoot::unavailable() {
        return skip(&format!("no other root can be entered here: {reason}"));
    }
    let root =
        EmptyRoot::new().with_file("app", app.path()).env("COIL_CACHE", WRITABLE).env("HOME", WRITABLE);
    for _ in 0..2 {
        let ran = root.run(&["/app"]);
        assert_eq!(ran.printed(), "the answer of the library");
    }
}

#[test]
fn build_steps_have_the_libraries_that_are_brought() {
    let Some(bench) = needy(ALWAYS) else { return };
    let system = bench.path("system");
    // Without the variable by which the test's own library is on "this machine".
    let step = "import subprocess, sys\n\
        words = [sys.executable, '-c', 'import needy; needy.main()']\n\
        open('made.txt', 'w').write(subprocess.check_output(words, env={}, text=True))\n";
    let bench = bench
        .env("LD_LIBRARY_PATH", system)
        .file("site/requirements.txt", "needy\n")
        .file("site/step.py", step)
        .file("site/main.py", "print(open(__file__.replace('main.py', 'made.txt')).read())\n")
        .file("site/coil.toml", "build = ['python step.py']\n[commands]\nmain = 'main.py'\n");
    let words = ["site", "--bring-library", "libcoil-answer.so.1"];
    let ran = bench.try_pack(&[&words[..], &["-o", "app"]].concat()).succeeded();
    assert_eq!(ran.stderr.matches("brought libcoil-answer.so.1").count(), 1, "{ran}");
    let app = kit::Packed::at(bench.path("app"));
    assert_eq!(app.start().run().printed().trim(), "the answer of the library");
}

#[test]
fn what_is_not_on_this_machine_cannot_be_brought() {
    let Some(bench) = needy(ALWAYS) else { return };
    let ran = bench.try_pack(&["needy", "--bring-library", "libcoil-answer.so.1", "-o", "never"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr.contains("libcoil-answer.so.1 cannot be brought: it is not on this machine"), "{ran}");
}

#[test]
fn another_wheel_provides_a_library() {
    let Some(bench) = needy(ALWAYS) else { return };
    let library = fs::read(bench.path("system/libcoil-answer.so.1")).unwrap();
    let loader =
        "import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), 'libcoil-answer.so.1'))\n";
    let wheel = WheelBuilder::new("answers", "1.0")
        .file("answers/__init__.py", loader)
        .file("answers/libcoil-answer.so.1", library);
    let bench = bench.wheel(&wheel).file("main.py", "import answers, needy; needy.main()\n");
    assert_eq!(
        bench.pack(&["main.py", "needy", "answers"]).start().run().printed(),
        "the answer of the library"
    );
}

#[test]
fn a_bundle_tells_what_it_needs_of_a_machine_and_what_its_parts_take() {
    let bench = Bench::new().file("main.py", "print(1)\n");
    bench.pack(&["main.py", "--libc", "host"]);
    let told = inspect(&bench, &["--portability", "--json", "app"]).json();
    assert_eq!(told["libcRule"], "host");
    assert!(told["glibc"]["what"].as_str().unwrap().starts_with("2."), "{told}");
    assert!(told["kernel"]["what"].as_str().unwrap().split('.').count() == 3, "{told}");
    assert_eq!(told["hostLibraries"], serde_json::json!([]));
    let text = inspect(&bench, &["--portability", "app"]).stdout;
    assert!(
        text.contains("kernel        Linux ") && text.contains("the host's glibc; it does not start"),
        "{text}"
    );

    let parts = inspect(&bench, &["--sizes", "--json", "app"]).json();
    let packed: u64 = parts.as_array().unwrap().iter().map(|part| part["packed"].as_u64().unwrap()).sum();
    assert_eq!(packed, fs::metadata(bench.path("app")).unwrap().len(), "the parts are the whole");
    let table = inspect(&bench, &["--sizes", "app"]).stdout;
    for part in
        ["launcher", "interpreter", "standard library", "byte code", "OpenSSL", "C library", "together"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
}
