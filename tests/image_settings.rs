//! Promise: what a project says of its image goes with its bundle, through every rebase, and into the image, wherever that
//! is made; options have the last word.

mod kit;

use std::fs;
use std::path::Path;

use kit::oci::Oci;
use kit::{Bench, QUICK, Ran, runtime_file};
use serde_json::json;

const PYPROJECT: &str = "\
[project]
name = 'said'
version = '1.5'
description = 'Says what it is'
license = 'MIT'
dynamic = ['readme']
[project.urls]
'Source Code' = 'https://me:secret@git.example/said.git'
Documentation = 'https://docs.example/'
[tool.coil]
default = 'main'
exclude = ['pyproject.toml']
[tool.coil.commands]
main = 'main.py'
[tool.coil.image]
cmd = ['/venv/bin/python', '-c', 'print(1)']
env = { MODE = 'served', LEVEL = '1' }
labels = { 'org.example.team' = 'tools', 'org.opencontainers.image.licenses' = 'MIT OR Apache-2.0' }
ports = [8000, '53/udp']
user = 1000
workdir = '/app'
stop-signal = 'SIGINT'
";

/// A bench with the project `said` and its bundle `app`.
fn bench() -> Bench {
    let bench = Bench::new().file("said/main.py", "print('said')\n").file("said/pyproject.toml", PYPROJECT);
    bench.pack(&["said", QUICK, "--runtime", runtime()]);
    bench
}

fn runtime() -> &'static str {
    runtime_file().to_str().unwrap()
}

fn coil(bench: &Bench, words: &[&str]) -> Ran {
    let mut command = bench.coil(words);
    // What resolves is limited to the bench's own wheels.
    if words.contains(&"said") {
        bench.limit(&mut command);
    }
    Ran::of(command, b"")
}

fn image(bench: &Bench, of: &[&str], name: &str) -> Oci {
    coil(bench, &[&["image"], of, &["-o", name]].concat()).succeeded();
    Oci::read(&bench.path(name))
}

#[test]
fn a_bundle_carries_what_its_project_says_of_its_image() {
    let bench = bench();
    let oci = image(&bench, &["app"], "bundle.tar");
    let config = oci.config()["config"].clone();
    assert_eq!(config["Cmd"], json!(["/venv/bin/python", "-c", "print(1)"]));
    assert_eq!(config["ExposedPorts"], json!({ "53/udp": {}, "8000/tcp": {} }));
    assert_eq!(config["User"], "1000:1000");
    assert_eq!((&config["WorkingDir"], &config["StopSignal"]), (&json!("/app"), &json!("SIGINT")));
    assert!(config["Env"].as_array().unwrap().contains(&json!("MODE=served")));
    for said in [&config["Labels"], &oci.manifest()["annotations"], &oci.json("index.json")["annotations"]] {
        let said = |key: &str| said[format!("org.opencontainers.image.{key}")].as_str().unwrap_or("-");
        assert_eq!(said("title"), "said");
        assert_eq!(said("version"), "1.5");
        assert_eq!(said("description"), "Says what it is");
        assert_eq!(said("source"), "https://git.example/said.git", "and no password");
        assert_eq!(said("documentation"), "https://docs.example/");
        assert_eq!(said("licenses"), "MIT OR Apache-2.0", "the table goes before what is found");
        assert_eq!(said("created"), "1980-02-01T00:00:00Z");
    }
    assert_eq!(config["Labels"]["org.example.team"], "tools");
    assert!(oci.json("index.json")["annotations"]["coil.runtime"].is_null());
    coil(&bench, &["image", "--check", "bundle.tar"]).succeeded();
    // The project's image is its bundle's.
    image(&bench, &["said", QUICK, "--runtime", runtime()], "project.tar");
    assert!(fs::read(bench.path("bundle.tar")).unwrap() == fs::read(bench.path("project.tar")).unwrap());
    let shown = coil(&bench, &["inspect", "app"]).succeeded().stdout;
    for line in [
        "cmd                  /venv/bin/python -c 'print(1)'",
        "port                 8000/tcp",
        "env                  MODE=served",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn options_have_the_last_word() {
    let bench = bench();
    let words =
        ["app", "--env", "LEVEL=2", "--label", "org.example.team=mine", "--port", "9000", "--user", "7:8"];
    let config = image(&bench, &words, "options.tar").config()["config"].clone();
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&json!("MODE=served")) && env.contains(&json!("LEVEL=2")), "{env:?}");
    assert!(!env.contains(&json!("LEVEL=1")), "{env:?}");
    assert_eq!(config["Labels"]["org.example.team"], "mine");
    assert_eq!((&config["User"], config["ExposedPorts"].as_object().unwrap().len()), (&json!("7:8"), 3));
    // An entry point comes with its own arguments.
    let config = image(&bench, &["app", "--entrypoint", "/venv/bin/python -V"], "entry.tar").config();
    assert_eq!(config["config"]["Entrypoint"], json!(["/venv/bin/python", "-V"]));
    assert!(config["config"]["Cmd"].is_null());
    for (words, reason) in [
        (["--env", "A"], "--env \"A\" has no name and value"),
        (["--port", "http"], "\"http\" is no port"),
        (["--entrypoint", "''"], "names no program"),
        (["--label", "org.opencontainers.image.created=now"], "is not for a label to say"),
    ] {
        let ran = coil(&bench, &[&["image", "app", "-o", "never.tar"][..], &words].concat());
        assert!(ran.code() == Some(1) && ran.stderr.contains(reason), "{ran}");
        assert!(!bench.path("never.tar").exists());
    }
}

#[test]
fn a_bundle_that_says_nothing_has_the_manifest_it_always_had() {
    let bench = Bench::new().file("plain/main.py", "print(1)\n");
    bench.pack(&["plain", "-e", "main.py", QUICK, "--runtime", runtime()]);
    let manifest = coil(&bench, &["inspect", "--json", "app"]).json();
    assert!(manifest.get("image").is_none(), "{manifest}");
    assert!(!coil(&bench, &["inspect", "app"]).stdout.contains("\nimage\n"));
}

#[test]
fn it_is_made_again_as_it_was_and_outlives_a_rebase() {
    let bench = bench();
    let rebuild = || coil(&bench, &["verify", "app", "--rebuild", "--runtime", runtime(), "said"]);
    rebuild().succeeded();
    coil(&bench, &["runtime", "build", "--level", "2", "-o", "two.rt"]).succeeded();
    coil(&bench, &["rebase", "app", "--runtime", "two.rt", "-o", "rebased"]).succeeded();
    let image = |bundle: &str| coil(&bench, &["inspect", "--json", bundle]).json()["image"].clone();
    assert_eq!(image("rebased"), image("app"));
    assert_eq!(image("app")["ports"], json!(["53/udp", "8000/tcp"]));
    let changed = PYPROJECT.replace("8000, ", "8080, ");
    fs::write(bench.path("said/pyproject.toml"), changed).unwrap();
    let ran = rebuild();
    assert!(
        ran.code() == Some(1) && ran.stderr.contains("the manifest differs first at image.ports.1"),
        "{ran}"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_packed() {
    let bench = bench();
    let refused = |file: &Path, text: &str, reason: &str, hint: &str| {
        fs::write(file, text).unwrap();
        let ran = coil(&bench, &["pack", "said", "-o", "never", "--runtime", runtime()]);
        assert!(ran.code() == Some(1) && ran.stderr.contains(reason) && ran.stderr.contains(hint), "{ran}");
        assert!(!bench.path("never").exists());
    };
    let pyproject = bench.path("said/pyproject.toml");
    let typo = PYPROJECT.replace("stop-signal", "stopsignal");
    refused(
        &pyproject,
        &typo,
        "[tool.coil.image] has the unknown key \"stopsignal\"",
        "did you mean stop-signal?",
    );
    let user = PYPROJECT.replace("user = 1000", "user = 'me'");
    refused(
        &pyproject,
        &user,
        "user in [tool.coil.image]: the user \"me\" of an image is no number",
        "1000:1000",
    );
    fs::write(&pyproject, "[project]\nname = 'said'\n").unwrap();
    let own = bench.path("said/coil.toml");
    refused(&own, "[image]\nport = 1\n", "[image] has the unknown key \"port\"", "did you mean ports?");
}
