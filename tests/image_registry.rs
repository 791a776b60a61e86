//! Promise: an image comes to a registry with nothing sent twice, and its runtime is exchanged there; whatever a
//! registry does wrong is told in one error.

mod kit;

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use kit::oci::sha256;
use kit::registry::{Manners, Registry};
use kit::{Bench, QUICK, Ran, WheelBuilder, runtime_file, scratch};

/// A bench with the bundles `app` and `other`, which differ in their sources alone, and a second runtime.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let bench = Bench::standing("image-registry");
        let bench = bench
            .wheel(&WheelBuilder::new("leaf", "0.3").file("leaf.py", "answer = 42\n"))
            .file("one/main.py", "import leaf\n")
            .file("two/main.py", "import leaf, sys\n");
        let runtime = runtime_file().to_str().unwrap();
        for (name, source) in [("app", "one"), ("other", "two")] {
            bench.pack_to(name, &["leaf", "--app", source, "-e", "main.py", QUICK, "--runtime", runtime]);
        }
        Ran::of(bench.coil(&["runtime", "build", "--level", "2", "-o", "two.rt"]), b"").succeeded();
        bench
    })
}

/// `coil` with a home of its own, where no credentials are.
fn coil(words: &[&str], home: &tempfile::TempDir) -> Ran {
    let mut command = bench().coil(words);
    command.env("HOME", home.path()).env("COIL_CACHE", home.path().join("cache"));
    for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"] {
        command.env_remove(name);
    }
    Ran::of(command, b"")
}

fn digests(registry: &Registry, repository: &str, tag: &str) -> Vec<String> {
    let manifest = registry.manifest(repository, tag).expect("it was pushed");
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_missing_is_sent_and_what_another_repository_has_is_mounted() {
    let registry = Registry::new(Manners::Works);
    let home = scratch();
    let said = coil(&["image", "app", "--push", &registry.name("team/app:1")], &home).succeeded().stderr;
    assert!(said.contains("pushed ") && said.contains(", 0 mounted, 0 were there"), "{said}");
    for digest in digests(&registry, "team/app", "1") {
        assert_eq!(sha256(&registry.blob("team/app", &digest).unwrap()), digest);
    }
    registry.asked();
    let said = coil(&["image", "app", "--push", &registry.name("team/app:1")], &home).succeeded().stderr;
    assert!(said.contains(": 0 of "), "{said}");
    assert!(!registry.asked().iter().any(|asked| asked.starts_with("PATCH") || asked.starts_with("POST")));
    let said = coil(&["image", "other", "--push", &registry.name("team/other:1")], &home).succeeded().stderr;
    // Its sources and its configuration.
    assert!(said.contains(": 2 of ") && said.contains(" mounted"), "{said}");
    let (one, two) = (digests(&registry, "team/app", "1"), digests(&registry, "team/other", "1"));
    assert_eq!(one.iter().zip(&two).filter(|(one, two)| one != two).count(), 1);
    assert!(two.iter().all(|digest| registry.blob("team/other", digest).is_some()));
}

#[test]
fn a_rebase_in_the_registry_moves_one_layer() {
    let registry = Registry::new(Manners::Works);
    let home = scratch();
    let name = registry.name("app:1");
    coil(&["image", "app", "--push", &name], &home).succeeded();
    let before = digests(&registry, "app", "1");
    registry.asked();
    let said = coil(&["rebase", &name, "--runtime", "two.rt", "--tag", "2"], &home).succeeded().stderr;
    assert!(said.contains("rebased "), "{said}");
    let asked = registry.asked();
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("PATCH")).count(), 2, "{asked:?}");
    let after = digests(&registry, "app", "2");
    let changed: Vec<usize> = (0..before.len()).filter(|index| before[*index] != after[*index]).collect();
    assert_eq!(changed, [1], "the runtime");
    assert_eq!(digests(&registry, "app", "1"), before, "the old tag is as it was");
    // What it becomes is what the rebased bundle's image would be.
    coil(&["rebase", "app", "--runtime", "two.rt", "-o", "rebased"], &home).succeeded();
    coil(&["image", "rebased", "--push", &registry.name("whole:1")], &home).succeeded();
    assert_eq!(registry.manifest("app", "2"), registry.manifest("whole", "1"));
    // And back again.
    let runtime = runtime_file().to_str().unwrap();
    coil(&["rebase", &registry.name("app:2"), "--runtime", runtime, "--tag", "3"], &home).succeeded();
    assert_eq!(registry.manifest("app", "3"), registry.manifest("app", "1"));
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let registry = Registry::new(Manners::BreaksOff);
    let home = scratch();
    coil(&["image", "app", "--push", &registry.name("app:1")], &home).succeeded();
    for digest in digests(&registry, "app", "1") {
        assert_eq!(sha256(&registry.blob("app", &digest).unwrap()), digest);
    }
}

#[test]
fn a_token_is_had_with_the_credentials_that_docker_has() {
    let registry = Registry::new(Manners::Wants);
    let home = scratch();
    let name = registry.name("app:1");
    let ran = coil(&["image", "app", "--push", &name], &home);
    assert!(ran.code() == Some(1) && ran.stderr.contains("docker login"), "{ran}");
    let host = name.split('/').next().unwrap();
    let config = |json: serde_json::Value| {
        fs::create_dir_all(home.path().join(".docker")).unwrap();
        fs::write(home.path().join(".docker/config.json"), json.to_string()).unwrap();
    };
    config(serde_json::json!({ "credHelpers": { host: "missing-helper" } }));
    let ran = coil(&["image", "app", "--push", &name], &home);
    assert!(
        ran.stderr.contains("docker-credential-missing-helper") && ran.stderr.contains("hint: "),
        "{ran}"
    );
    // base64 of "me:secret"
    config(serde_json::json!({ "auths": { host: { "auth": "bWU6c2VjcmV0" } } }));
    let ran = coil(&["image", "app", "--push", &name], &home).succeeded();
    assert!(!ran.stderr.contains("secret"), "{ran}");
    assert!(registry.manifest("app", "1").is_some());
}

#[test]
fn a_registry_that_does_wrong_is_told_of_in_one_error() {
    let home = scratch();
    let cases = [
        (Manners::Refuses, "requested access to the resource is denied"),
        (Manners::NeverTakesAll, "was broken off"),
        (Manners::Lies, "gave sha256:"),
    ];
    for (manners, reason) in cases {
        let registry = Registry::new(manners);
        let ran = coil(&["image", "app", "--push", &registry.name("app:1")], &home);
        assert_eq!(ran.code(), Some(1), "{ran}");
        assert!(ran.stderr.contains(reason) && ran.stderr.contains("hint: "), "{reason}: {ran}");
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran}");
        assert!(registry.manifest("app", "1").is_none(), "no manifest without its layers");
    }
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("{}/app:1", listener.local_addr().unwrap())
    };
    let ran = coil(&["image", "app", "--push", &closed], &home);
    assert!(ran.code() == Some(1) && ran.stderr.contains("cannot ask 127.0.0.1"), "{ran}");
    let registry = Registry::new(Manners::Works);
    let runtime: PathBuf = runtime_file().to_owned();
    let ran = coil(&["rebase", &registry.name("none:1"), "--runtime", runtime.to_str().unwrap()], &home);
    assert!(ran.stderr.contains("cannot fetch") && ran.stderr.contains("404"), "{ran}");
}
