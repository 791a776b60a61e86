//! Promise: an image can stand on another one, whose layers stay what they are; it takes over what `FROM` takes over, breaks nothing of
//! it, and whatever is wrong with a base is told in one error.

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kit::oci::{Oci, sha256};
use kit::registry::{Manners, Registry};
use kit::{Bench, EmptyRoot, QUICK, Ran, WheelBuilder, runtime_file, scratch, skip};
use serde_json::{Value, json};

/// A bench with the bundle `app`, and a second runtime.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let bench = Bench::standing("image-base")
            .wheel(&WheelBuilder::new("leaf", "0.3").file("leaf.py", "answer = 42\n"))
            .file("one/main.py", "import leaf, os, pwd\nprint(leaf.answer, pwd.getpwuid(65532).pw_name)\n");
        let runtime = runtime_file().to_str().unwrap();
        bench.pack(&["leaf", "--app", "one", "-e", "main.py", QUICK, "--runtime", runtime]);
        Ran::of(bench.coil(&["runtime", "build", "--level", "2", "-o", "two.rt"]), b"").succeeded();
        bench
    })
}

fn coil(words: &[&str]) -> Ran {
    Ran::of(bench().coil(words), b"")
}

/// A base made by code: a layout in a directory, and what it is to say.
struct Base {
    layers: Vec<(Vec<u8>, &'static str)>,
    config: Value,
    architecture: &'static str,
}

/// The architecture of this machine, as images have it.
fn here() -> &'static str {
    if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }
}

impl Base {
    /// A small distribution in three layers, one of each form: its users, a file that the next one removes, and a link.
    fn new() -> Base {
        let one = archive(&[
            ("etc/", "0711", ""),
            ("etc/passwd", "", "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh"),
            ("etc/group", "", "root:x:0:\nwww:x:33:\n"),
            ("etc/old", "", "old"),
            ("lib", "link", "usr/lib"),
            ("tmp/", "1777", ""),
            ("usr/", "0755", ""),
            ("usr/lib/", "0755", ""),
        ]);
        let two =
            archive(&[("etc/", "0711", ""), ("etc/.wh.old", "", ""), ("etc/nsswitch.conf", "", "mine\n")]);
        let three = archive(&[("opt/", "0755", ""), ("opt/tool", "", "a tool")]);
        let config = json!({
            "Env": ["PATH=/opt/bin:/usr/bin", "LANG=de_DE.UTF-8", "PYTHONHOME=/usr", "A=b"],
            "Entrypoint": ["/opt/tool"], "Cmd": null, "Labels": {"team": "x", "org.opencontainers.image.version": "12"},
            "WorkingDir": "/srv", "Volumes": {"/data": {}}, "ExposedPorts": null,
        });
        let layers = vec![(one, "+gzip"), (two, "+zstd"), (three, "")];
        Base { layers, config, architecture: here() }
    }

    /// Its blobs by digest, and its manifest.
    fn blobs(&self) -> (BTreeMap<String, Vec<u8>>, Vec<u8>) {
        let mut blobs = BTreeMap::new();
        let mut descriptors = Vec::new();
        for (archive, form) in &self.layers {
            let blob = packed(archive, form);
            let kind = format!("application/vnd.oci.image.layer.v1.tar{form}");
            descriptors.push(json!({"mediaType": kind, "digest": sha256(&blob), "size": blob.len()}));
            blobs.insert(sha256(&blob), blob);
        }
        let mut history: Vec<Value> =
            self.layers.iter().map(|_| json!({"created_by": "theirs", "author": "they"})).collect();
        history.insert(1, json!({"created_by": "ENV A=b", "empty_layer": true}));
        let diff_ids: Vec<String> = self.layers.iter().map(|(archive, _)| sha256(archive)).collect();
        let config = json!({
            "architecture": self.architecture, "os": "linux", "config": self.config, "history": history,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "created": null,
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(&config), "size": config.len()},
            "layers": descriptors,
        });
        blobs.insert(sha256(&config), config);
        (blobs, manifest.to_string().into_bytes())
    }

    /// Writes it as a layout; the manifest's digest.
    fn layout(&self, directory: &Path) -> String {
        let (mut blobs, manifest) = self.blobs();
        let digest = sha256(&manifest);
        let platform = json!({"architecture": self.architecture, "os": "linux"});
        let descriptor = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": manifest.len(),
            "platform": platform, "annotations": {"org.opencontainers.image.ref.name": "12"},
        });
        blobs.insert(digest.clone(), manifest);
        write_layout(directory, &blobs, vec![descriptor]);
        digest
    }
}

fn write_layout(directory: &Path, blobs: &BTreeMap<String, Vec<u8>>, manifests: Vec<Value>) {
    let place = directory.join("blobs/sha256");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    for (digest, blob) in blobs {
        fs::write(place.join(digest.strip_prefix("sha256:").unwrap()), blob).unwrap();
    }
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
}

/// A tar archive: directories with their modes, links, files.
fn archive(entries: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, what, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o644);
        header.set_size(0);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(u32::from_str_radix(what, 8).unwrap());
            archive.append_data(&mut header, path, std::io::empty()).unwrap();
        } else if *what == "link" {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, path, content).unwrap();
        } else {
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
    }
    archive.into_inner().unwrap()
}

fn packed(archive: &[u8], form: &str) -> Vec<u8> {
    match form {
        "+gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(archive).unwrap();
            encoder.finish().unwrap()
        }
        "+zstd" => zstd::encode_all(archive, 3).unwrap(),
        _ => archive.to_vec(),
    }
}

/// The small base as a layout on the bench, and its digest.
fn standing_base() -> (PathBuf, String) {
    static BASE: OnceLock<(PathBuf, String)> = OnceLock::new();
    let made = BASE.get_or_init(|| {
        let place = bench().path("layout");
        let digest = Base::new().layout(&place);
        (place, digest)
    });
    made.clone()
}

fn image(name: &str, words: &[&str]) -> Oci {
    coil(&[&["image", "app", "-o", name], words].concat()).succeeded();
    Oci::read(&bench().path(name))
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn the_layers_of_the_base_are_below_byte_for_byte_and_what_it_lacks_above() {
    let (layout, digest) = standing_base();
    let theirs: Vec<String> =
        Base::new().layers.iter().map(|(archive, form)| sha256(&packed(archive, form))).collect();
    let scratch = image("scratch.tar", &[]);
    let on = image("on.tar", &["--base", layout.to_str().unwrap()]);
    assert_eq!(on.layers()[..3], theirs);
    assert_eq!(on.layers()[4..], scratch.layers()[1..], "the bundle's are the same everywhere");
    assert_eq!(on.parts()[..4], ["base image", "base image", "base image", "base"]);
    let annotations = on.manifest()["annotations"].clone();
    assert_eq!(annotations["org.opencontainers.image.base.digest"], digest.as_str());
    assert!(annotations["org.opencontainers.image.base.name"].is_null(), "a path is no name");
    assert_eq!(annotations, on.config()["config"]["Labels"]);
    // What the base has is not there again, and its directories have its modes.
    let mut lacking = BTreeMap::new();
    for entry in tar::Archive::new(on.archives()[3].as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mode = entry.header().mode().unwrap();
        let text = std::io::read_to_string(&mut entry).unwrap_or_default();
        lacking.insert(path, (mode, text));
    }
    assert_eq!(lacking["etc/"].0, 0o711);
    let passwd = &lacking["etc/passwd"].1;
    assert!(passwd.starts_with("root:x:0:0:root:/root:/bin/sh\nwww:x:33:"), "{passwd}");
    assert!(
        passwd.ends_with("/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"),
        "{passwd}"
    );
    for there in ["etc/nsswitch.conf", "etc/os-release", "usr/lib/os-release", "tmp/"] {
        assert!(!lacking.contains_key(there), "{there}");
    }
    assert!(lacking.contains_key("etc/services"));
    coil(&["image", "--check", "on.tar"]).succeeded();
    let again = image("again.tar", &["--base", layout.to_str().unwrap()]);
    assert!(again.members == on.members, "the same bytes");
}

#[test]
fn the_configuration_is_what_from_would_make_of_it() {
    let (layout, _) = standing_base();
    let config = image("config.tar", &["--base", layout.to_str().unwrap(), "--env", "A=mine"]).config();
    let run = &config["config"];
    let env = strings(&run["Env"]);
    for expected in
        ["A=mine", "LANG=de_DE.UTF-8", "PATH=/venv/run:/venv/bin:/opt/bin:/usr/bin", "HOME=/home/nonroot"]
    {
        assert!(env.contains(&expected), "{expected}: {env:?}");
    }
    assert!(!env.iter().any(|it| it.starts_with("PYTHONHOME")), "{env:?}");
    assert_eq!((&run["WorkingDir"], &run["User"]), (&json!("/srv"), &json!("65532:65532")));
    assert_eq!((&run["Volumes"], &run["Labels"]["team"]), (&json!({"/data": {}}), &json!("x")));
    assert_ne!(run["Labels"]["org.opencontainers.image.version"], "12", "that is the base's version");
    assert!(strings(&run["Entrypoint"])[0].starts_with("/venv/bin/"));
    let history = config["history"].as_array().unwrap();
    let empty = history.iter().filter(|step| step["empty_layer"] == true).count();
    let layers = config["rootfs"]["diff_ids"].as_array().unwrap().len();
    assert_eq!((empty, history.len() - empty), (1, layers));
    assert_eq!((&history[0]["author"], &history[1]["created_by"]), (&json!("they"), &json!("ENV A=b")));
    let words = ["--base", layout.to_str().unwrap(), "--workdir", "/", "--user", "33"];
    let run = image("decided.tar", &words).config()["config"].clone();
    assert_eq!((&run["WorkingDir"], &run["User"]), (&json!("/"), &json!("33:33")));
}

#[test]
fn an_app_runs_on_a_base_that_knows_nothing_of_python() {
    if let Some(reason) = EmptyRoot::unavailable() {
        return skip(&format!("no other root can be entered here: {reason}"));
    }
    let (layout, _) = standing_base();
    let root = EmptyRoot::new();
    image("run.tar", &["--base", layout.to_str().unwrap()]).unpack(root.path());
    assert_eq!(root.run(&["/venv/bin/python", "/app/main.py"]).printed(), "42 nonroot");
    assert_eq!(fs::read_to_string(root.path().join("opt/tool")).unwrap(), "a tool");
    assert_eq!(fs::read_link(root.path().join("lib")).unwrap(), Path::new("usr/lib"));
}

#[test]
fn archives_are_read_as_docker_and_skopeo_write_them() {
    let (layout, digest) = standing_base();
    let expected = image("dir.tar", &["--base", layout.to_str().unwrap()]);
    // `skopeo copy oci-archive:`: the layout's files, in any order.
    let packed_layout = |name: &str, compress: bool| {
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all(".", &layout).unwrap();
        let archive = archive.into_inner().unwrap();
        fs::write(bench().path(name), if compress { packed(&archive, "+gzip") } else { archive }).unwrap();
    };
    packed_layout("oci-base.tar", false);
    packed_layout("oci-base.tar.gz", true);
    for name in ["oci-base.tar", "oci-base.tar.gz", "oci-base.tar:12"] {
        assert!(image("from-archive.tar", &["--base", name]).members == expected.members, "{name}");
    }
    assert_eq!(image("from-scratch.tar", &["--base", "scratch"]).id(), image("plain.tar", &[]).id());
    // `docker save` before version 25: no manifest with a digest, layers that are links to others.
    let base = Base::new();
    let (blobs, manifest) = base.blobs();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    let hex = config.strip_prefix("sha256:").unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content).unwrap();
    };
    add(&format!("{hex}.json"), &blobs[config]);
    add("one/layer.tar", &base.layers[0].0);
    add("two/real.tar", &base.layers[1].0);
    add("three/layer.tar", &base.layers[2].0);
    let list = json!([{
        "Config": format!("{hex}.json"), "RepoTags": ["r.example/slim:12"],
        "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar"],
    }]);
    add("manifest.json", list.to_string().as_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "two/layer.tar", "../two/real.tar").unwrap();
    fs::write(bench().path("saved.tar"), archive.into_inner().unwrap()).unwrap();
    let saved = image("from-saved.tar", &["--base", "saved.tar:slim:12"]);
    assert_eq!(saved.config()["rootfs"], expected.config()["rootfs"]);
    let annotations = &saved.manifest()["annotations"];
    assert_eq!(annotations["org.opencontainers.image.base.name"], "r.example/slim:12");
    assert!(annotations["org.opencontainers.image.base.digest"].is_null() && !digest.is_empty());
    coil(&["image", "--check", "from-saved.tar"]).succeeded();
}

#[test]
fn the_image_is_the_same_however_it_is_compressed_and_a_gzip_layer_stays_one() {
    let (layout, _) = standing_base();
    let base = ["--base", layout.to_str().unwrap()];
    let zstd = image("base-zstd.tar", &base);
    let forms = |oci: &Oci| {
        let manifest = oci.manifest();
        let kinds = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["mediaType"].as_str().unwrap().to_owned());
        kinds.map(|it| it.rsplit_once(".tar").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(forms(&zstd)[..4], ["+gzip", "+zstd", "", "+zstd"]);
    for (name, expected) in [("gzip", ["+gzip", "+gzip", "", "+gzip"]), ("none", [""; 4])] {
        let other = image(&format!("base-{name}.tar"), &[&base[..], &["--compression", name]].concat());
        assert_eq!((other.id(), other.archives()), (zstd.id(), zstd.archives()));
        assert_eq!(forms(&other)[..4], expected);
        coil(&["image", "--check", &format!("base-{name}.tar")]).succeeded();
    }
    let thin =
        coil(&[&["image", "app", "--since", "base-zstd.tar", "-o", "thin-base.tar"], &base[..]].concat());
    assert!(thin.succeeded().stderr.contains(", 0 layers of "));
    let thin = coil(&[&["image", "app", "--since", "app", "-o", "thin-base.tar"], &base[..]].concat());
    assert!(thin.succeeded().stderr.contains(", 0 layers of "));
}

/// `coil` with a home of its own, where no credentials are.
fn at_home(words: &[&str], home: &tempfile::TempDir) -> Ran {
    let mut command = bench().coil(words);
    command.env("HOME", home.path()).env("COIL_CACHE", home.path().join("cache"));
    for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"] {
        command.env_remove(name);
    }
    Ran::of(command, b"")
}

/// A registry that has the small base, as an index of images for this machine and another.
fn serving(manners: Manners) -> (Registry, Vec<String>) {
    let registry = Registry::new(manners);
    let other = Base { architecture: "s390x", ..Base::new() };
    let mut manifests = Vec::new();
    let mut layers = Vec::new();
    for base in [other, Base::new()] {
        let (blobs, manifest) = base.blobs();
        layers = base.layers.iter().map(|(archive, form)| sha256(&packed(archive, form))).collect();
        blobs.into_values().for_each(|blob| registry.put_blob("lib/slim", blob));
        manifests.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(&manifest), "size": manifest.len(),
            "platform": {"architecture": base.architecture, "os": "linux", "variant": "v1"},
        }));
        registry.put_manifest("lib/slim", "one", "application/vnd.oci.image.manifest.v1+json", manifest);
    }
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    let kind = "application/vnd.oci.image.index.v1+json";
    registry.put_manifest("lib/slim", "12", kind, index.to_string().into_bytes());
    (registry, layers)
}

#[test]
fn a_base_comes_from_a_registry_and_is_mounted_there() {
    let (registry, layers) = serving(Manners::Works);
    let home = scratch();
    let base = registry.name("lib/slim:12");
    let target = registry.name("team/app:1");
    let said = at_home(&["image", "app", "--base", &base, "--push", &target], &home).succeeded().stderr;
    assert!(said.contains(", 3 mounted"), "{said}");
    let manifest = registry.manifest("team/app", "1").unwrap();
    let digests: Vec<&str> =
        manifest["layers"].as_array().unwrap().iter().map(|it| it["digest"].as_str().unwrap()).collect();
    assert_eq!(digests[..3], layers);
    assert_eq!(manifest["annotations"]["org.opencontainers.image.base.name"], base.as_str());
    let posted = registry.asked().iter().filter(|it| it.contains("from=lib/slim")).count();
    assert_eq!(posted, 3);
    // Elsewhere they are sent.
    let other = Registry::new(Manners::Works);
    let target = other.name("team/app:1");
    at_home(&["image", "app", "--base", &base, "--push", &target], &home).succeeded();
    assert!(layers.iter().all(|digest| other.blob("team/app", digest).is_some()));
    assert_eq!(other.manifest("team/app", "1"), Some(manifest));
    // And a rebase keeps them.
    let name = registry.name("team/app:1");
    at_home(&["rebase", &name, "--runtime", "two.rt", "--tag", "2"], &home).succeeded();
    at_home(
        &["rebase", "app", "--runtime", "two.rt", "-o", home.path().join("two").to_str().unwrap()],
        &home,
    )
    .succeeded();
    let two = home.path().join("two");
    let target = registry.name("team/two:1");
    at_home(&["image", two.to_str().unwrap(), "--base", &base, "--push", &target], &home).succeeded();
    assert_eq!(registry.manifest("team/app", "2"), registry.manifest("team/two", "1"));
}

#[test]
fn a_pull_that_breaks_off_goes_on_and_one_that_lies_is_refused() {
    let home = scratch();
    let (registry, _) = serving(Manners::BreaksOffPulls);
    let out = home.path().join("image.tar");
    let out = out.to_str().unwrap();
    at_home(&["image", "app", "--base", &registry.name("lib/slim:12"), "-o", out], &home).succeeded();
    assert!(registry.asked().iter().filter(|it| it.contains("/blobs/")).count() > 4);
    fs::remove_file(out).unwrap();
    let (registry, _) = serving(Manners::GivesOtherBlobs);
    let ran = at_home(&["image", "app", "--base", &registry.name("lib/slim:12"), "-o", out], &home);
    assert!(ran.code() == Some(1) && ran.stderr.contains("hint: "), "{ran}");
    assert!(!Path::new(out).exists());
    let (registry, _) = serving(Manners::Works);
    let ran = at_home(&["image", "app", "--base", &registry.name("lib/slim:none"), "-o", out], &home);
    assert!(ran.stderr.contains("cannot fetch") && ran.stderr.contains("404"), "{ran}");
}

#[test]
fn whatever_is_wrong_with_a_base_is_one_error_and_no_file() {
    let bench = bench();
    fs::create_dir_all(bench.path("none")).unwrap();
    let refused = |name: &str, reason: &str| {
        let ran = coil(&["image", "app", "--base", name, "-o", "none/never.tar"]);
        assert_eq!(ran.code(), Some(1), "{name}: {ran}");
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran}");
        assert!(ran.stderr.contains(reason) && ran.stderr.contains("hint: "), "{name}, {reason}: {ran}");
        assert_eq!(fs::read_dir(bench.path("none")).unwrap().count(), 0, "{name}");
    };
    let made = |name: &str, base: Base| {
        base.layout(&bench.path(name));
        name.to_owned()
    };
    refused("./missing", "there is no base");
    refused("Bad Name", "cannot be the name of an image");
    refused("one", "there is no image in it");
    refused("one/main.py", "there is no image in it");
    let foreign = made("foreign", Base { architecture: "s390x", ..Base::new() });
    refused(&foreign, &format!("it is for linux/s390x, and the bundle is for linux/{}", here()));
    refused(&format!("{foreign}:13"), "has no image 13");
    for (top, name) in [("venv", "has-venv"), ("app", "has-app"), ("python", "has-python")] {
        let path = format!("{top}/x");
        let layer = archive(&[(&format!("{top}/"), "0755", ""), (&path, "", "theirs")]);
        let name = made(name, Base { layers: vec![(layer, "+gzip")], ..Base::new() });
        refused(&name, &format!("it has /{path}, and /{top} is coil's"));
    }
    let many = (0..125).map(|number| (archive(&[(&format!("f{number}"), "", "")]), "")).collect();
    let many = made("many", Base { layers: many, ..Base::new() });
    refused(&many, "no engine starts more than 127");
    let mut config = Base::new();
    config.config["User"] = json!("somebody");
    refused(&made("somebody", config), "runs as somebody");

    // Every blob damaged in turn, and each missing.
    let whole = Base::new();
    whole.layout(&bench.path("damaged"));
    let blobs = bench.path("damaged/blobs/sha256");
    for entry in fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 4;
        fs::write(&path, bad).unwrap();
        refused("damaged", "is damaged");
        fs::remove_file(&path).unwrap();
        refused("damaged", "is missing");
        fs::write(&path, good).unwrap();
    }
    let index = bench.path("damaged/index.json");
    fs::write(&index, "{").unwrap();
    refused("damaged", "index.json");
    // What is called by its right digest, and says something wrong.
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 4] = [
        (
            |manifest| manifest["layers"][0]["mediaType"] = json!("application/x"),
            "has the media type \"application/x\"",
        ),
        (
            |manifest| {
                let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
                manifest["layers"][0]["mediaType"] = json!(foreign);
            },
            "has the media type",
        ),
        (|manifest| drop(manifest["layers"].as_array_mut().unwrap().pop()), "its configuration 3"),
        (|manifest| manifest["layers"][0]["size"] = json!(7), "bytes"),
    ];
    for (change, reason) in changes {
        let (mut blobs, manifest) = whole.blobs();
        let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
        change(&mut manifest);
        let manifest = manifest.to_string().into_bytes();
        let digest = sha256(&manifest);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let descriptor = json!({"mediaType": kind, "digest": digest, "size": manifest.len()});
        blobs.insert(digest, manifest);
        write_layout(&bench.path("changed"), &blobs, vec![descriptor]);
        refused("changed", reason);
    }
}

/// A file that passes for a static busybox: the start of one for this machine.
fn busybox() -> PathBuf {
    let path = bench().path("busybox");
    let machine: u8 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    (bytes[16], bytes[18], bytes[20], bytes[52], bytes[54], bytes[58]) = (2, machine, 1, 64, 56, 64);
    bytes.extend(b"BusyBox v1.36.1\0\0[\0[[\0ash\0ls\0sh\0\0");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_shell_comes_on_top_and_last_on_path() {
    let busybox = busybox();
    let debug = format!("--debug={}", busybox.display());
    let (layout, _) = standing_base();
    for words in [&[][..], &["--base", layout.to_str().unwrap()]] {
        let plain = image("plain.tar", words);
        let shell = image("shell.tar", &[words, &[&debug]].concat());
        assert_eq!(shell.layers()[..shell.layers().len() - 1], plain.layers());
        assert_eq!(shell.parts().last().unwrap(), "shell");
        let root = scratch();
        shell.unpack(root.path());
        assert_eq!(fs::read(root.path().join("busybox/busybox")).unwrap(), fs::read(&busybox).unwrap());
        assert_eq!(fs::read_link(root.path().join("busybox/sh")).unwrap(), Path::new("busybox"));
        assert_eq!(fs::read_dir(root.path().join("busybox")).unwrap().count(), 6);
        let config = shell.config();
        let env = strings(&config["config"]["Env"]);
        assert!(
            env.iter().any(|it| it.starts_with("PATH=/venv/run:/venv/bin:") && it.ends_with(":/busybox")),
            "{env:?}"
        );
        coil(&["image", "--check", "shell.tar"]).succeeded();
    }
    let refused = |debug: &str, reason: &str| {
        let ran = coil(&["image", "app", debug, "-o", "never-shell.tar"]);
        assert_eq!(ran.code(), Some(1), "{ran}");
        assert!(ran.stderr.contains(reason) && ran.stderr.contains("hint: "), "{ran}");
        assert!(!bench().path("never-shell.tar").exists());
    };
    refused(&format!("--debug={}", env!("CARGO_BIN_EXE_coil")), "it is linked to libraries of this machine");
    refused("--debug=none/busybox", "none/busybox");
    refused("--debug=one/main.py", "it is no program");
    // Without a name it is the machine's, which may have none or one that is not static.
    let ran = coil(&["image", "app", "--debug", "-o", "maybe-shell.tar"]);
    assert!(ran.code() == Some(0) || ran.stderr.contains("busybox-static"), "{ran}");
    let mut other = fs::read(&busybox).unwrap();
    other[18] = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    fs::write(bench().path("other-busybox"), &other).unwrap();
    refused("--debug=other-busybox", "and the image for");
}
