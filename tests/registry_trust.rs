//! Promise: a registry is talked to over TLS, and believed by the certificates that users put down for Docker and podman; a
//! registry that is silent, busy or slow is waited for as long as makes sense, and then there is one clear error.

mod kit;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kit::registry::{Manners, Registry};
use kit::{Bench, QUICK, Ran, runtime_file, scratch};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;

/// A bench with the bundle `app`.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let bench = Bench::standing("registry-trust").file("one/main.py", "print(1)\n");
        let runtime = runtime_file().to_str().unwrap();
        bench.pack(&["--app", "one", "-e", "main.py", QUICK, "--runtime", runtime]);
        bench
    })
}

/// `coil image app --push NAME` with a home of its own.
fn push(name: &str, home: &TempDir, variables: &[(&str, &str)], words: &[&str]) -> Ran {
    let mut command = bench().coil(&[&["image", "app", "--push", name], words].concat());
    command.env("HOME", home.path()).env("COIL_CACHE", home.path().join("cache"));
    let inherited =
        ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    for name in inherited {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    Ran::of(command, b"")
}

/// Insists on one error that says this, and on a hint.
#[track_caller]
fn fails(ran: &Ran, reason: &str, hint: &str) {
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran}");
    let advice = ran.stderr.split("hint: ").nth(1).unwrap_or_default();
    assert!(ran.stderr.contains(reason) && advice.contains(hint), "{reason} / {hint}: {ran}");
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name`, and its key.
fn signed(name: &str, by: &Authority) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, by).unwrap(), key)
}

/// What a registry with this certificate needs, that wants one of its clients where `clients` says whose.
fn server(
    (certificate, key): (rcgen::Certificate, KeyPair),
    clients: Option<&Authority>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from(authority.der().to_vec())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// The directory of certificates for the registry `name`.
fn put_down(home: &Path, kind: &str, name: &str, files: &[(&str, String)]) {
    let directory = home.join(".config").join(kind).join("certs.d").join(name.split('/').next().unwrap());
    fs::create_dir_all(&directory).unwrap();
    for (file, text) in files {
        fs::write(directory.join(file), text).unwrap();
    }
}

#[test]
fn an_authority_of_one_s_own_is_believed_where_it_is_put_down() {
    let ca = authority();
    let registry = Registry::with_tls(Manners::Works, server(signed("0.0.0.0", &ca), None));
    let name = registry.far("app:1");
    let home = scratch();
    fails(&push(&name, &home, &[], &[]), "certificate", ".config/containers/certs.d/0.0.0.0:");
    assert!(registry.manifest("app", "1").is_none());
    // The variable that every other program reads.
    let file = home.path().join("ca.pem");
    fs::write(&file, ca.pem()).unwrap();
    push(&name, &home, &[("SSL_CERT_FILE", file.to_str().unwrap())], &[]).succeeded();
    for kind in ["containers", "docker"] {
        let home = scratch();
        put_down(home.path(), kind, &name, &[("ca.crt", ca.pem()), ("readme.txt", "mine".into())]);
        push(&name, &home, &[], &[]).succeeded();
        // For that registry, and for no other.
        let other = Registry::with_tls(Manners::Works, server(signed("0.0.0.0", &ca), None));
        fails(&push(&other.far("app:1"), &home, &[], &[]), "certificate", "ca.crt");
    }
    let home = scratch();
    put_down(home.path(), "docker", &name, &[("ca.crt", "no certificate".into())]);
    fails(&push(&name, &home, &[], &[]), "ca.crt cannot be read", "PEM");
}

#[test]
fn a_certificate_for_another_host_is_refused_whoever_signed_it() {
    let ca = authority();
    let registry = Registry::with_tls(Manners::Works, server(signed("other.example", &ca), None));
    let home = scratch();
    put_down(home.path(), "docker", &registry.far("app"), &[("ca.crt", ca.pem())]);
    fails(&push(&registry.far("app:1"), &home, &[], &[]), "certificate", "");
    assert!(registry.asked().is_empty());
}

#[test]
fn a_registry_that_wants_a_certificate_is_shown_the_one_that_is_put_down_for_it() {
    let ca = authority();
    let registry = Registry::with_tls(Manners::Works, server(signed("0.0.0.0", &ca), Some(&ca)));
    let name = registry.far("app:1");
    let home = scratch();
    put_down(home.path(), "containers", &name, &[("ca.crt", ca.pem())]);
    assert_eq!(push(&name, &home, &[], &[]).code(), Some(1));
    let (certificate, key) = signed("me", &ca);
    put_down(home.path(), "containers", &name, &[("client.cert", certificate.pem())]);
    fails_without_hint(&push(&name, &home, &[], &[]), "client.key cannot be read");
    put_down(home.path(), "containers", &name, &[("client.key", key.serialize_pem())]);
    push(&name, &home, &[], &[]).succeeded();
    assert!(registry.manifest("app", "1").is_some());
}

#[track_caller]
fn fails_without_hint(ran: &Ran, reason: &str) {
    assert!(ran.code() == Some(1) && ran.stderr.contains(reason), "{ran}");
}

#[test]
fn this_machine_and_who_is_insecure_may_have_any_certificate_or_none() {
    let home = scratch();
    let tls = || server(signed("nobody.example", &authority()), None);
    let registry = Registry::with_tls(Manners::Works, tls());
    push(&registry.name("app:1"), &home, &[], &[]).succeeded();
    let registry = Registry::with_tls(Manners::Works, tls());
    push(&registry.far("app:1"), &home, &[], &["--insecure"]).succeeded();
    let registry = Registry::new(Manners::Works);
    push(&registry.far("app:1"), &home, &[], &["--insecure"]).succeeded();
    assert!(registry.manifest("app", "1").is_some());
    // And without that word, nobody else is talked to without TLS.
    let registry = Registry::new(Manners::Works);
    fails(&push(&registry.far("app:1"), &home, &[], &[]), "cannot ask 0.0.0.0:", "--insecure");
    // A proxy is not asked for the way to this machine.
    let registry = Registry::new(Manners::Works);
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")];
    push(&registry.name("app:1"), &home, &proxy, &[]).succeeded();
}

#[test]
fn slowness_is_no_failure_and_silence_is_one() {
    let home = scratch();
    let patience = [("COIL_REGISTRY_TIMEOUT", "2")];
    let registry = Registry::new(Manners::Slow);
    let start = Instant::now();
    push(&registry.name("app:1"), &home, &patience, &[]).succeeded();
    assert!(start.elapsed() > Duration::from_secs(2), "it was not slow: {:?}", start.elapsed());
    let patience = [("COIL_REGISTRY_TIMEOUT", "1")];
    for (manners, reason) in [(Manners::Silent, "cannot ask 127.0.0.1:"), (Manners::Stalls, "was broken off")]
    {
        let registry = Registry::new(manners);
        let start = Instant::now();
        let ran = push(&registry.name("app:1"), &scratch(), &patience, &[]);
        fails(&ran, reason, "try again");
        assert!(ran.stderr.contains("timeout"), "{ran}");
        assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
        assert!(registry.manifest("app", "1").is_none());
    }
    let ran = push("127.0.0.1:1/app:1", &home, &[("COIL_REGISTRY_TIMEOUT", "soon")], &[]);
    fails(&ran, "COIL_REGISTRY_TIMEOUT is \"soon\"", "number");
}

#[test]
fn a_terminal_shows_how_far_each_blob_is_and_nothing_else_does() {
    let registry = Registry::new(Manners::Slow);
    let home = scratch();
    let name = registry.name("app:1");
    let line = format!("'{}' image app --push {name}", env!("CARGO_BIN_EXE_coil"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(bench().root()).env("TERM", "xterm");
    command.env("HOME", home.path()).env("COIL_CACHE", home.path().join("cache"));
    let shown = Ran::of(command, b"").succeeded().stdout;
    assert!(shown.contains("pushing runtime: cpython") && shown.contains(" MB/"), "{shown}");
    assert!(shown.contains("pushed 127.0.0.1:"), "{shown}");
    let said = push(&name, &scratch(), &[], &[]).succeeded().stderr;
    assert!(said.starts_with("pushed ") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_registry_that_is_busy_is_asked_again_when_it_says_so() {
    let home = scratch();
    let registry = Registry::new(Manners::Busy);
    push(&registry.name("app:1"), &home, &[], &[]).succeeded();
    assert!(registry.manifest("app", "1").is_some());
    let registry = Registry::new(Manners::BusyForLong);
    let start = Instant::now();
    let ran = push(&registry.name("app:1"), &scratch(), &[], &[]);
    fails(&ran, "429 Too Many Requests", "try again in 3600 s");
    assert!(start.elapsed() < Duration::from_secs(20));
    let registry = Registry::new(Manners::TakesNothingLarge);
    fails(&push(&registry.name("app:1"), &scratch(), &[], &[]), "413", "larger blobs");
    let tries = registry.asked().iter().filter(|asked| asked.starts_with("PATCH")).count();
    assert_eq!(tries, 1, "what is refused is not sent again");
}

#[test]
fn an_identity_token_gets_a_token_for_the_registry() {
    let registry = Registry::new(Manners::WantsRefresh);
    let home = scratch();
    let name = registry.name("app:1");
    let host = name.split('/').next().unwrap();
    let config = |token: &str| {
        fs::create_dir_all(home.path().join(".docker")).unwrap();
        let json = serde_json::json!({ "auths": { host: { "identitytoken": token } } });
        fs::write(home.path().join(".docker/config.json"), json.to_string()).unwrap();
    };
    config("stale-token");
    let ran = push(&name, &home, &[], &[]);
    fails(&ran, "the token has expired", "docker login");
    assert!(!ran.stderr.contains("stale-token"), "{ran}");
    config("refresh");
    push(&name, &home, &[], &[]).succeeded();
    assert!(registry.manifest("app", "1").is_some());
}

#[test]
fn a_manifest_that_is_not_what_its_digest_says_is_not_used() {
    let registry = Registry::new(Manners::LiesOfManifests);
    let home = scratch();
    push(&registry.name("app:1"), &home, &[], &[]).succeeded();
    let words = ["rebase", &registry.name("app:1"), "--runtime", runtime_file().to_str().unwrap()];
    let mut command = bench().coil(&words);
    command.env("HOME", home.path()).env("COIL_CACHE", home.path().join("cache"));
    let ran = Ran::of(command, b"");
    fails(&ran, "gave sha256:", "nothing was used of it");
}

#[test]
fn a_mistyped_name_is_told_before_anything_is_packed_or_asked() {
    let home = scratch();
    let start = Instant::now();
    for (name, reason, hint) in [
        ("registry.example/Team/app:1", "has no capital letters", "registry.example/team/tool:1.4"),
        ("https://registry.example/app", "like an address of the web", ""),
        ("app:1", "nobody pushes", "docker.io/USER/app:1"),
    ] {
        fails(&push(name, &home, &[], &[]), reason, hint);
    }
    // A host that does not exist is asked once.
    fails(
        &push("registry.invalid/app:1", &home, &[], &[]),
        "cannot ask registry.invalid",
        "look at the name",
    );
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
