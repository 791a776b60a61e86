//! Promise: the runtime of a bundle can be exchanged without its app, and the app without its runtime;
//! what is not exchanged keeps its bytes, and going back gives the first file again.

mod kit;

use std::fs;
use std::sync::OnceLock;

use kit::{Bench, Packed, Ran, WheelBuilder, scratch};
use serde_json::Value;

/// A bench with the bundle `app`, and the same Python as two runtimes: `one.rt`, which is the bundle's,
/// and `two.rt`, which is compressed otherwise.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let wheel = WheelBuilder::new("leaf", "0.3").file("leaf.py", "answer = 42\n");
        let bench = Bench::standing("rebase").wheel(&wheel);
        let bench = bench.file("src/main.py", "import leaf, ssl\nprint('the answer is', leaf.answer)\n");
        bench.pack(&["leaf", "--app", "src", "-e", "main.py", "--name", "answer"]);
        coil(&bench, &["runtime", "build", "-o", "one.rt"]).succeeded();
        coil(&bench, &["runtime", "build", "--level", "1", "-o", "two.rt"]).succeeded();
        bench
    })
}

fn coil(bench: &Bench, words: &[&str]) -> Ran {
    Ran::of(bench.coil(words), b"")
}

/// The digests of a bundle's layers.
fn layers(bench: &Bench, bundle: &str) -> Vec<String> {
    let manifest = coil(bench, &["inspect", "--json", bundle]).json();
    let digest = |layer: &Value| layer["digest"].as_str().unwrap().to_owned();
    manifest["layers"].as_array().unwrap().iter().map(digest).collect()
}

fn same(bench: &Bench, one: &str, other: &str) -> bool {
    fs::read(bench.path(one)).unwrap() == fs::read(bench.path(other)).unwrap()
}

#[test]
fn another_runtime_changes_one_layer_and_the_way_back_leads_to_the_first_file() {
    let bench = bench();
    let said = coil(bench, &["rebase", "app", "--runtime", "two.rt", "-o", "there"]).succeeded().stderr;
    assert!(said.contains("rebased there") && said.contains("2 layers are as they were"), "{said}");
    let (before, after) = (layers(bench, "app"), layers(bench, "there"));
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1..], after[1..]);
    let there = Packed::at(bench.path("there"));
    assert_eq!(there.start().run().printed(), "the answer is 42");

    coil(bench, &["rebase", "there", "--runtime", "one.rt", "-o", "back"]).succeeded();
    assert!(same(bench, "app", "back"));
    // A bundle will do as a runtime, and an app can be put onto another's.
    coil(bench, &["rebase", "there", "--runtime", "app", "-o", "back-by-bundle"]).succeeded();
    assert!(same(bench, "app", "back-by-bundle"));
    coil(bench, &["rebase", "app", "--app", "there", "-o", "back-by-app"]).succeeded();
    assert!(same(bench, "app", "back-by-app"));
}

#[test]
fn on_the_target_only_the_new_runtime_is_unpacked() {
    let bench = bench();
    let cache = scratch();
    coil(bench, &["rebase", "app", "--runtime", "two.rt", "-o", "fixed"]).succeeded();
    let unpacked = || fs::read_dir(cache.path().join("layers")).unwrap().count();
    let start = |name: &str| Packed::at(bench.path(name)).start().env("COIL_CACHE", cache.path()).run();
    start("app").succeeded();
    assert_eq!(unpacked(), 3);
    start("fixed").succeeded();
    assert_eq!(unpacked(), 4);
}

#[test]
fn packing_with_a_runtime_file_gives_the_same_file_as_packing_with_its_python() {
    let bench = bench();
    let words = ["leaf", "--app", "src", "-e", "main.py", "--name", "answer", "--runtime"];
    bench.pack_to("by-file", &[&words[..], &["one.rt"]].concat());
    assert!(same(bench, "app", "by-file"));
    bench.pack_to("by-bundle", &[&words[..], &["app"]].concat());
    assert!(same(bench, "app", "by-bundle"));
}

#[test]
fn a_runtime_tells_what_it_is_and_where_its_parts_come_from() {
    let bench = bench();
    let text = coil(bench, &["runtime", "inspect", "one.rt"]).succeeded().stdout;
    for word in ["CPython 3.", "libc        glibc-2.", "OpenSSL     OpenSSL ", "libc.so.6", "sha256:"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let facts = coil(bench, &["runtime", "inspect", "--json", "one.rt"]).json();
    assert_eq!(facts["layer"]["digest"].as_str().unwrap(), layers(bench, "app")[0]);
    assert!(!text.contains(&std::env::var("HOME").unwrap()), "a path of this machine: {text}");
    // Again, from a cold cache: the same file.
    let cache = scratch();
    let mut command = bench.coil(&["runtime", "build", "-o", "again.rt"]);
    command.env("COIL_CACHE", cache.path());
    Ran::of(command, b"").succeeded();
    assert!(same(bench, "one.rt", "again.rt"));
}

#[test]
fn what_is_no_runtime_or_a_damaged_one_is_refused_and_nothing_is_written() {
    let bench = bench();
    let good = fs::read(bench.path("one.rt")).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(bench.path("bad.rt"), bytes).unwrap();
        let ran = coil(bench, &["rebase", "app", "--runtime", "bad.rt", "-o", "never"]);
        assert_eq!(ran.code(), Some(1), "{ran}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("bad.rt"), "{ran}");
        assert!(!bench.path("never").exists());
    };
    for cut in [0, 3, 100, 512, 700, 6000, good.len() / 2] {
        refused(&good[..cut]);
    }
    // The headers, what it says of itself here and there, and the layer.
    let places = (0..512).step_by(37).chain((512..6000).step_by(331)).chain([good.len() / 2]);
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(bench.path("bad.rt"), &bad).unwrap();
        let ran = coil(bench, &["runtime", "inspect", "--json", "bad.rt"]);
        assert!(matches!(ran.code(), Some(0 | 1)), "byte {at}: {ran}");
        assert_eq!(ran.code() == Some(0), ran.stderr.is_empty(), "byte {at}: {ran}");
    }
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    refused(&bad);
    refused(b"no runtime at all");
}

#[test]
fn a_runtime_is_not_written_over_something_else() {
    let bench = bench();
    fs::write(bench.path("notes.txt"), "mine").unwrap();
    let ran = coil(bench, &["runtime", "build", "-o", "notes.txt"]);
    assert!(ran.stderr.contains("what is there is no runtime"), "{ran}");
    assert_eq!(fs::read_to_string(bench.path("notes.txt")).unwrap(), "mine");
}

#[test]
fn a_file_that_another_tool_has_changed_is_not_taken_apart() {
    let bench = bench();
    fs::copy(bench.path("app"), bench.path("stripped")).unwrap();
    let stripped = std::process::Command::new("strip").arg(bench.path("stripped")).status();
    assert!(stripped.is_ok_and(|status| status.success()), "the tests need binutils");
    let ran = coil(bench, &["rebase", "stripped", "--runtime", "two.rt", "-o", "never"]);
    assert!(ran.stderr.contains("was changed by another tool"), "{ran}");
    assert!(!bench.path("never").exists());
}
