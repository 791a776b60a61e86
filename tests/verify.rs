//! Promise: `coil verify` names everything that is damaged, and with `--rebuild` the first thing that is not
//! made again as it was.

mod kit;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use coil_bootstrap::bundle::Bundle;
use kit::{Behaviour, Bench, Index, Packed, QUICK, Ran, WheelBuilder, runtime_file, scratch, skip};
use serde_json::Value;

fn bench() -> Bench {
    Bench::new()
        .wheel(&WheelBuilder::new("one", "1.0").file("one/__init__.py", "x = 1\n").file("one/data", "abcdef"))
        .wheel(&WheelBuilder::new("two", "2.0").file("two.py", ""))
        .file("src/main.py", "import one\nprint('main', one.x)\n")
        .file("src/other.py", "y = 2\n")
        .file("src/text", "one two three\n")
        .file("requirements.txt", "two\n")
}

/// How `coil verify --rebuild` ends where nothing differs.
const SAME: &str = "app packed again is the same, bit for bit\n";

const WORDS: [&str; 9] = ["one", "-r", "requirements.txt", "--app", "src", "-e", "main.py", "--name", "same"];

fn coil(bench: &Bench, words: &[&str]) -> Ran {
    Ran::of(bench.coil(words), b"")
}

/// Packs with a runtime that need not be harvested, not even by whoever packs again.
#[track_caller]
fn pack(bench: &Bench, words: &[&str]) -> Packed {
    bench.pack(&[words, &[QUICK, "--runtime", runtime_file().to_str().unwrap()]].concat())
}

fn rebuild(bench: &Bench, words: &[&str]) -> Ran {
    let mut command = bench.coil(&["verify", "app", "--rebuild", "--runtime"]);
    command.arg(runtime_file()).args(words);
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
    pack(&bench, &WORDS);
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
    let app = pack(&bench, &WORDS);
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
    bench.pack(&[&WORDS[..], &[QUICK]].concat());
    // Harvested again, then with what was harvested before.
    let mut command = bench.coil(&["verify", "app", "--rebuild", "src"]);
    bench.limit(&mut command);
    let ran = Ran::of(command, b"").succeeded();
    assert!(ran.stderr.ends_with(SAME), "{ran}");
    assert!(rebuild(&bench, &["src"]).succeeded().stderr.ends_with(SAME));
    // From elsewhere, as another file, and from wheels that lie in the cache alone.
    fs::rename(bench.path("src"), bench.path("elsewhere")).unwrap();
    fs::remove_dir_all(bench.wheels()).unwrap();
    fs::remove_file(bench.path("requirements.txt")).unwrap();
    let ran = rebuild(&bench, &["elsewhere"]).succeeded();
    assert!(ran.stderr.ends_with(SAME), "{ran}");
}

#[test]
fn extras_and_groups_are_written_down_and_followed() {
    let page = "[project]\nname = \"same\"\nversion = \"1\"\n\
                optional-dependencies = { web = [\"one\"], More = [] }\n\
                [dependency-groups]\ndocs = [\"two\"]\n[tool.coil]\ncommands = { run = \"main.py\" }\n";
    let bench = bench().file("src/pyproject.toml", page);
    let recipe_of = |words: &[&str]| {
        pack(&bench, words);
        let recipe = coil(&bench, &["inspect", "--json", "app"]).json()["recipe"].clone();
        let ran = rebuild(&bench, &["src"]).succeeded();
        assert!(ran.stderr.ends_with(SAME), "{words:?}: {ran}");
        recipe
    };
    let recipe = recipe_of(&["./src", "--group", "Docs", "--extra", "WEB,more,web"]);
    assert_eq!(recipe["extras"], serde_json::json!(["more", "web"]));
    assert_eq!(recipe["groups"], serde_json::json!(["docs"]));
    assert_eq!(recipe["allExtras"], Value::Null);
    let recipe = recipe_of(&["./src", "--all-extras"]);
    assert_eq!((&recipe["extras"], &recipe["allExtras"]), (&Value::Null, &Value::Bool(true)));
    let recipe = recipe_of(&["./src[web]"]);
    assert_eq!((&recipe["extras"], &recipe["allExtras"]), (&Value::Null, &Value::Null));
    assert_eq!(recipe["inputs"][0]["extras"], serde_json::json!(["web"]));
}

#[test]
fn a_bundle_that_a_lock_alone_describes_is_packed_again_of_its_own_lock() {
    let bench = bench();
    let mut lock = bench.coil(&["lock", "one", "two", "-o", "pylock.toml"]);
    bench.limit(&mut lock);
    Ran::of(lock, b"").succeeded();
    let text = fs::read_to_string(bench.path("pylock.toml")).unwrap();
    let text = text.replacen("created-by", "dependency-groups = [\"docs\"]\ncreated-by", 1);
    let bench = bench.file("pylock.toml", text);
    // No word of these is in the recipe but the group, which no project has; and one has its own list.
    for words in [&["-e", "-m two"][..], &["-e", "-m two", "--group", "docs"], &["./src"]] {
        let bench_words = [&["-r", "pylock.toml"], words].concat();
        let src = bench.path("src");
        fs::write(src.join("requirements.txt"), "one\n").unwrap();
        fs::write(src.join("coil.toml"), "commands = { run = 'main.py' }\n").unwrap();
        pack(&bench, &bench_words);
        fs::rename(bench.path("pylock.toml"), bench.path("away")).unwrap();
        let ran = rebuild(&bench, if words == ["./src"] { &["src"] } else { &[] }).succeeded();
        assert!(ran.stderr.ends_with(SAME), "{words:?}: {ran}");
        fs::rename(bench.path("away"), bench.path("pylock.toml")).unwrap();
    }
}

#[test]
fn wheels_of_a_private_index_are_fetched_again_with_the_credentials_of_the_project() {
    if Command::new("uv").arg("--version").output().is_err() {
        return skip("uv is not installed");
    }
    let bench = bench();
    let index = Index::new(&bench.wheels(), Behaviour::Wants("bWU6c2VjcmV0".into()), &[]);
    let page = format!(
        "[project]\nname = \"same\"\nversion = \"1\"\ndependencies = [\"one\"]\n\
         [tool.coil]\ncommands = {{ run = \"main.py\" }}\n\
         [[tool.uv.index]]\nname = \"my-own\"\nurl = \"{}\"\ndefault = true\n",
        index.url()
    );
    let bench = bench.file("src/pyproject.toml", page);
    fs::remove_file(bench.path("requirements.txt")).unwrap();
    let run = |words: &[&str], user: &str| {
        // An empty cache each time: nothing is known from before.
        let cache = scratch();
        let mut command = bench.coil(words);
        command.args([OsStr::new("--runtime"), runtime_file().as_os_str(), OsStr::new("--resolver=uv")]);
        command.env("COIL_CACHE", cache.path()).env("UV_NO_CACHE", "1").env("PIP_NO_CACHE_DIR", "1");
        command.env("UV_INDEX_MY_OWN_USERNAME", user).env("UV_INDEX_MY_OWN_PASSWORD", "secret");
        Ran::of(command, b"")
    };
    run(&["pack", "src", QUICK, "-o", "app"], "me").succeeded();
    let ran = run(&["verify", "app", "--rebuild", "src"], "me").succeeded();
    assert!(ran.stderr.ends_with(SAME), "{ran}");
    let ran = run(&["verify", "app", "--rebuild", "src"], "somebody");
    assert!(ran.code() == Some(1) && ran.stderr.contains("UV_INDEX_NAME_USERNAME"), "{ran}");
}

#[test]
fn a_bundle_of_a_virtualenv_is_packed_again_of_the_virtualenv_that_is_named() {
    let bench = bench();
    let make = |name: &str| {
        let venv = bench.path(name);
        let mut command = Command::new("python3");
        Ran::of(
            {
                command.args(["-m", "venv", "--without-pip"]).arg(&venv);
                command
            },
            b"",
        )
        .succeeded();
        let library = fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path();
        for wheel in fs::read_dir(bench.wheels()).unwrap() {
            let mut unzip = Command::new("python3");
            unzip.args(["-m", "zipfile", "-e"]).arg(wheel.unwrap().path()).arg(library.join("site-packages"));
            Ran::of(unzip, b"").succeeded();
        }
        library.join("site-packages")
    };
    make("ve");
    pack(&bench, &["one", "--venv", "ve", "--app", "src", "-e", "main.py", "--name", "same"]);
    let verify = |words: &[&str]| rebuild(&bench, words);
    let ran = verify(&["src"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr.contains("app was packed from a virtualenv, and does not say where that is"), "{ran}");
    assert!(ran.stderr.ends_with("hint: name it: coil verify app --rebuild src --venv DIR\n"), "{ran}");
    // Made anew elsewhere it is the same; changed it is not.
    fs::remove_dir_all(bench.path("ve")).unwrap();
    let site = make("another one");
    let ran = verify(&["src", "--venv", "another one"]).succeeded();
    assert!(ran.stderr.ends_with(SAME), "{ran}");
    fs::write(site.join("one/data"), "abcdeF").unwrap();
    let ran = verify(&["src", "--venv", "another one"]);
    let at = "the layer one (wheel) differs first at venv/lib/";
    assert!(
        ran.code() == Some(1)
            && ran.stderr.contains(at)
            && ran.stderr.contains("one/data: its content, from byte 5 on"),
        "{ran}"
    );
}

#[test]
fn the_first_entry_that_differs_is_named_and_in_what() {
    let bench = bench();
    pack(&bench, &WORDS);
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
    pack(&bench, &["src"]);
    rebuild(&bench, &["src"]).succeeded();
    let bench = bench.file("src/pyproject.toml", settings("new"));
    differs(&bench, "the manifest differs first at environment.variables.MODE: \"new\" instead of \"old\"");
}

#[test]
fn a_recipe_is_refused_where_it_cannot_be_followed() {
    let bench = bench();
    pack(&bench, &WORDS);
    let ran = rebuild(&bench, &["src", "src"]);
    assert!(ran.stderr.contains("not made of as many projects: src"), "{ran}");
    let ran = rebuild(&bench, &["src", "--venv", "src"]);
    assert!(ran.stderr.contains("not made of a virtualenv: src"), "{ran}");
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
