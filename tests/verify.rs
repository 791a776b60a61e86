//! Promise: `coil verify` names everything that is damaged, and with `--rebuild` the first thing that is not
//! made again as it was.

mod kit;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use coil_bootstrap::bundle::Bundle;
use kit::{Bench, Ran, WheelBuilder};

fn bench() -> Bench {
    Bench::new()
        .wheel(&WheelBuilder::new("one", "1.0").file("one/__init__.py", "x = 1\n").file("one/data", "abcdef"))
        .wheel(&WheelBuilder::new("two", "2.0").file("two.py", ""))
        .file("src/main.py", "import one\nprint('main', one.x)\n")
        .file("src/other.py", "y = 2\n")
        .file("src/text", "one two three\n")
        .file("requirements.txt", "two\n")
}

const WORDS: [&str; 9] = ["one", "-r", "requirements.txt", "--app", "src", "-e", "main.py", "--name", "same"];

fn coil(bench: &Bench, words: &[&str]) -> Ran {
    Ran::of(bench.coil(words), b"")
}

fn rebuild(bench: &Bench, words: &[&str]) -> Ran {
    let mut command = bench.coil(&["verify", "app", "--rebuild"]);
    command.args(words);
    bench.limit(&mut command);
    Ran::of(command, b"")
}

/// Insists that packing again is refused with this difference.
#[track_caller]
fn differs(bench: &Bench, at: &str) {
    let ran = rebuild(bench, &["src"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr.contains(&format!("error: app packed again is not the same: {at}")), "{ran}");
}

fn flip(bench: &Bench, layer: usize) {
    let bundle = Bundle::open(&bench.path("app")).unwrap();
    let mut start = [0; 64];
    bundle.read_layer(&bundle.manifest().layers[layer], 0, &mut start).unwrap();
    let bytes = fs::read(bench.path("app")).unwrap();
    let at = bytes.windows(64).position(|window| window == start).unwrap();
    let file = File::options().write(true).open(bench.path("app")).unwrap();
    file.write_all_at(&[bytes[at + 30] ^ 1], at as u64 + 30).unwrap();
}

#[test]
fn every_damaged_layer_is_named() {
    let bench = bench();
    bench.pack(&WORDS);
    let whole = coil(&bench, &["verify", "app"]).succeeded();
    assert!(whole.stderr.starts_with("app is whole: 4 layers, "), "{whole}");
    flip(&bench, 1);
    flip(&bench, 3);
    let ran = coil(&bench, &["verify", "app"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    let sentence = "error: app is damaged: the layer one has another digest than it should; \
                    the layer same has another digest than it should\nhint: ";
    assert!(ran.stderr.starts_with(sentence), "{ran}");
}

#[test]
fn what_is_no_bundle_or_not_all_of_one_is_told_in_a_sentence() {
    let bench = bench();
    let app = bench.pack(&WORDS);
    let good = fs::read(app.path()).unwrap();
    for length in [0, 3, 64, 4096, good.len() / 2, good.len() - 1] {
        fs::write(bench.path("cut"), &good[..length]).unwrap();
        for command in ["verify", "inspect"] {
            let ran = coil(&bench, &[command, "cut"]);
            assert_eq!(ran.code(), Some(1), "{length}: {ran}");
            assert!(ran.stderr.starts_with("error: cut is damaged: "), "{length}: {ran}");
            assert_eq!(ran.stderr.lines().count(), 2, "{length}: {ran}");
        }
    }
    for (command, path) in [("verify", "nowhere"), ("inspect", "src"), ("verify", "/bin/sh")] {
        let ran = coil(&bench, &[command, path]);
        assert!(ran.code() == Some(1) && ran.stderr.starts_with("error: "), "{ran}");
        assert!(!ran.stderr.contains("panicked"), "{ran}");
    }
}

#[test]
fn a_bundle_packed_again_is_the_same_bit_for_bit() {
    let bench = bench();
    bench.pack(&WORDS);
    let ran = rebuild(&bench, &["src"]).succeeded();
    assert!(ran.stderr.ends_with("app packed again is the same, bit for bit\n"), "{ran}");
    // From elsewhere, as another file, and from wheels that lie in the cache alone.
    fs::rename(bench.path("src"), bench.path("elsewhere")).unwrap();
    fs::remove_dir_all(bench.wheels()).unwrap();
    fs::remove_file(bench.path("requirements.txt")).unwrap();
    let ran =
        Ran::of(bench.coil(&["verify", "app", "--rebuild", "--no-index", "elsewhere"]), b"").succeeded();
    assert!(ran.stderr.ends_with("bit for bit\n"), "{ran}");
}

#[test]
fn the_first_entry_that_differs_is_named_and_in_what() {
    let bench = bench();
    bench.pack(&WORDS);
    let file = |name: &str| bench.path("src").join(name);
    let layer = "the layer same (app) differs first at app/";

    fs::write(file("other.py"), "y = 3\n").unwrap();
    differs(&bench, &format!("{layer}other.py: its content, from byte 4 on"));
    fs::write(file("other.py"), "y = 2\n").unwrap();

    fs::set_permissions(file("text"), fs::Permissions::from_mode(0o755)).unwrap();
    differs(&bench, &format!("{layer}text: its mode is 0755 instead of 0644"));
    fs::remove_file(file("text")).unwrap();
    differs(&bench, &format!("{layer}text: it is missing"));
    symlink("other.py", file("text")).unwrap();
    differs(&bench, &format!("{layer}text: it is a link instead of a file"));
    fs::remove_file(file("text")).unwrap();
    fs::write(file("text"), "one two three\n").unwrap();

    fs::write(file("extra"), "").unwrap();
    differs(&bench, &format!("{layer}extra: it is extra"));
    fs::remove_file(file("extra")).unwrap();
    rebuild(&bench, &["src"]).succeeded();
}

#[test]
fn a_manifest_that_differs_alone_is_told_by_its_key() {
    let project =
        "[project]\nname = \"same\"\nversion = \"1\"\n[tool.coil]\ncommands = { run = \"main.py\" }\n";
    let settings =
        |value: &str| format!("{project}exclude = [\"*.toml\"]\nenvironment = {{ MODE = \"{value}\" }}\n");
    let bench = Bench::new().file("src/main.py", "print(1)\n").file("src/pyproject.toml", settings("old"));
    bench.pack(&["src"]);
    rebuild(&bench, &["src"]).succeeded();
    let bench = bench.file("src/pyproject.toml", settings("new"));
    differs(&bench, "the manifest differs first at environment.variables.MODE: \"new\" instead of \"old\"");
}

#[test]
fn a_recipe_is_refused_where_it_cannot_be_followed() {
    let bench = bench();
    bench.pack(&WORDS);
    let ran = rebuild(&bench, &["src", "src"]);
    assert!(ran.stderr.contains("not made of as many projects: src"), "{ran}");
    let ran = rebuild(&bench, &["nowhere"]);
    assert!(ran.code() == Some(1) && ran.stderr.contains("nowhere"), "{ran}");
}

#[test]
fn a_bundle_tells_nothing_of_where_it_was_made() {
    let bench = bench();
    let root = bench.root().to_str().unwrap().to_owned();
    let absolute = |name: &str| format!("{root}/{name}");
    let direct = format!("two @ file://{root}/wheels/two-2.0-py3-none-any.whl");
    let words =
        ["one", &direct, "-r", &absolute("requirements.txt"), "--app", &absolute("src"), "-e", "main.py"];
    let app = bench.pack(&words);
    let json = coil(&bench, &["inspect", "--json", "app"]).succeeded().stdout;
    assert!(!json.contains(&root), "{json}");
    let manifest: serde_json::Value = serde_json::from_str(&json).unwrap();
    let inputs = manifest["recipe"]["inputs"].as_array().unwrap();
    let told: Vec<_> = inputs.iter().map(|input| (input["kind"].as_str(), input["name"].as_str())).collect();
    let expected =
        [("requirement", "one"), ("requirement", "two"), ("requirements", "requirements.txt"), ("app", ".")];
    assert_eq!(told, expected.map(|(kind, name)| (Some(kind), Some(name))));
    assert_eq!(manifest["recipe"]["level"], 9);
    let compressor = manifest["recipe"]["compressor"].as_str().unwrap();
    assert!(compressor.starts_with("libzstd 1."), "{compressor}");
    assert!(!contains(app.path(), root.as_bytes()), "the path of the project is in the bundle");
}

fn contains(path: &Path, words: &[u8]) -> bool {
    fs::read(path).unwrap().windows(words.len()).any(|window| window == words)
}
