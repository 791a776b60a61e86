//! Promise: what an index does wrong is one clear error, and each is asked only where it may be, with its own
//! credentials.

mod kit;

use std::fs;
use std::time::{Duration, Instant};

use coil_bootstrap::format::digest::Digest;
use kit::{Behaviour, Bench, Index, Ran, WheelBuilder, cache_with_runtime, resolvers};

/// Prints the versions of the modules that are there.
const MAIN: &str =
    "import importlib.metadata as m\nprint(*sorted(f'{d.name}={d.version}' for d in m.distributions()))\n";

fn wheel(name: &str) -> WheelBuilder {
    WheelBuilder::new(name, "1.0").file(&format!("{name}.py"), "")
}

/// A bench with wheels that only an index offers.
fn bench() -> Bench {
    let bench = Bench::new().with_network().file("src/main.py", MAIN);
    ["one", "two"].iter().fold(bench, |bench, name| bench.wheel_in("kept", &wheel(name)))
}

const WORDS: [&str; 6] = ["--app", "src", "-e", "main.py", "-o", "app"];

fn pack(bench: &Bench, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = bench.coil(&[&["pack"], words, &WORDS].concat());
    command.envs(variables.iter().copied());
    Ran::of(command, b"")
}

/// Waits and tries again are cut short, and nothing is taken of what was fetched before.
const IMPATIENT: [(&str, &str); 6] = [
    ("PIP_RETRIES", "0"),
    ("UV_HTTP_RETRIES", "0"),
    ("PIP_TIMEOUT", "2"),
    ("UV_HTTP_TIMEOUT", "2"),
    ("PIP_NO_CACHE_DIR", "1"),
    ("UV_NO_CACHE", "1"),
];

#[test]
fn an_index_that_fails_ends_in_one_error() {
    let bench = bench();
    for (behaviour, parts) in [
        (Behaviour::Fails(500), ["cannot be resolved", "500"]),
        (Behaviour::Hangs, ["cannot be resolved", "hint: check the network"]),
        (Behaviour::LosesFiles, ["cannot be", "404"]),
        (Behaviour::SwapsFiles, ["cannot be", "one"]),
        (Behaviour::Wants("bm9ib2R5".into()), ["cannot be resolved", "user name and password"]),
    ] {
        let hangs = behaviour == Behaviour::Hangs;
        for resolver in resolvers() {
            let index = Index::new(&bench.path("kept"), behaviour.clone(), &[]);
            let start = Instant::now();
            let ran = pack(&bench, &["one", "--index-url", &index.url(), "--resolver", resolver], &IMPATIENT);
            assert_eq!(ran.code(), Some(1), "{ran}");
            assert!(parts.iter().all(|part| ran.stderr.contains(part)), "{ran}");
            assert_eq!(ran.stderr.matches("error:").count(), 1, "{ran}");
            assert!(!hangs || start.elapsed() < Duration::from_secs(60), "{ran}");
            assert!(!bench.path("app").exists(), "{resolver}");
        }
    }
}

#[test]
fn the_index_that_a_project_names_for_uv_is_asked_by_pip_as_well() {
    let bench = bench();
    for resolver in resolvers() {
        let index = Index::new(&bench.path("kept"), Behaviour::Works, &[]);
        let project = format!(
            "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.8\"\ndependencies = [\"one\", \"two\"]\n\
             [[tool.uv.index]]\nname = \"own\"\nurl = \"{}\"\ndefault = true\n",
            index.url()
        );
        fs::create_dir_all(bench.path("project")).unwrap();
        fs::write(bench.path("project/pyproject.toml"), project).unwrap();
        fs::write(bench.path("project/main.py"), MAIN).unwrap();
        let words = ["pack", "project", "-e", "main.py", "--resolver", resolver, "-o", "app"];
        let mut command = bench.coil(&words);
        command.env("UV_NO_CACHE", "1").env("PIP_NO_CACHE_DIR", "1").env("PIP_CONFIG_FILE", "/dev/null");
        Ran::of(command, b"").succeeded();
        assert_eq!(
            kit::Packed::at(bench.path("app")).start().run().printed(),
            "one=1.0 two=1.0",
            "{resolver}"
        );
        assert!(!index.asked().is_empty(), "{resolver}");
    }
}

#[test]
fn a_locked_file_is_fetched_from_where_the_lock_says_with_the_credentials_of_its_index() {
    let bench = bench();
    let login = "bWU6c2VjcmV0";
    let index = Index::new(&bench.path("kept"), Behaviour::Wants(login.into()), &[]);
    for (name, resolver) in [("one", "pip"), ("two", "uv")] {
        if !resolvers().contains(&resolver) {
            continue;
        }
        let cache = cache_with_runtime();
        let url = index.url_with("me:secret");
        let words = [name, "--index-url", &url, "--resolver", resolver];
        pack(&bench, &words, &[("COIL_CACHE", cache.path().to_str().unwrap())]).succeeded();
        let lock = Ran::of(bench.coil(&["inspect", "--lock", "app"]), b"").succeeded().stdout;
        assert!(lock.contains(&index.file(name)) && !lock.contains("secret"), "{lock}");
        let path = bench.path("pylock.toml");
        fs::write(&path, lock).unwrap();
        let cache = cache_with_runtime();
        let variables = [("COIL_CACHE", cache.path().to_str().unwrap()), ("PIP_NO_CACHE_DIR", "1")];
        pack(&bench, &["-r", "pylock.toml", "--index-url", &url], &variables).succeeded();
    }
}

#[test]
fn a_yanked_file_is_packed_where_a_lock_names_it() {
    let bench = bench().wheel(&wheel("seven"));
    let index = Index::new(&bench.wheels(), Behaviour::Works, &["seven-1.0-py3-none-any.whl"]);
    let digest = Digest::of(&fs::read(bench.wheels().join("seven-1.0-py3-none-any.whl")).unwrap()).hex();
    let bench = bench.file("r.txt", format!("seven==1.0 --hash=sha256:{digest}\n"));
    let url = index.url();
    for resolver in resolvers() {
        pack(&bench, &["-r", "r.txt", "--index-url", &url, "--resolver", resolver], &[]).succeeded();
        assert_eq!(kit::Packed::at(bench.path("app")).start().run().printed(), "seven=1.0");
    }
}
