//! Promise: the layers of a bundle are an image that runs from scratch: the same bytes, complete, as every engine wants
//! them; and what is said of an image can be checked to the last byte.

mod kit;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use kit::oci::{Oci, sha256};
use kit::{
    Bench, EmptyRoot, Packed, QUICK, Ran, WheelBuilder, lean_runtime_file, runtime_file, scratch, skip,
};
use serde_json::json;

const MAIN: &str = "\
import os, sys
import leaf, ns.one, ns.two
print('the answer is', leaf.answer, sys.argv[1:])
print(ns.one.__file__, os.environ.get('MODE'))
";

/// A bench with the bundle `app`: small wheels that share directories, two commands, one with a template.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let mut bench = Bench::standing("image");
        let leaf = WheelBuilder::new("leaf", "0.3").file("leaf.py", "answer = 42\n");
        let one = WheelBuilder::new("nsone", "1.0").file("ns/__init__.py", "").file("ns/one.py", "x = 1\n");
        let two = WheelBuilder::new("nstwo", "1.0").file("ns/__init__.py", "").file("ns/two.py", "x = 2\n");
        let tool = WheelBuilder::new("tool", "2")
            .file("tool.py", "def main():\n    import sys; print('tool', sys.argv[1:])\n");
        for wheel in [leaf, one, two, tool] {
            bench = bench.wheel(&wheel);
        }
        let pyproject = "\
[tool.coil]
default = 'web'
name = 'answer'
[tool.coil.commands]
web = 'main.py --port ${PORT:-8000}'
check = 'MODE=checked main.py check'
";
        let bench = bench
            .file("site/main.py", MAIN)
            .file("site/requirements.txt", "leaf\nnsone\nnstwo\ntool\n")
            .file("site/pyproject.toml", pyproject);
        bench.pack(&["site", QUICK, "--runtime", runtime_file().to_str().unwrap()]);
        bench
    })
}

fn coil(words: &[&str]) -> Ran {
    Ran::of(bench().coil(words), b"")
}

/// Makes an image of `app`, and reads it.
fn image(name: &str, words: &[&str]) -> Oci {
    coil(&[&["image", "app", "-o", name], words].concat()).succeeded();
    Oci::read(&bench().path(name))
}

#[test]
fn the_bundle_s_own_blobs_are_layers_of_the_image() {
    let oci = image("own.tar", &[]);
    let manifest = coil(&["inspect", "--json", "app"]).json();
    let digest = |kind: &str| {
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers
            .filter(|layer| layer["kind"] == kind)
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let layers = oci.layers();
    assert_eq!(oci.parts().first().unwrap(), "base");
    assert_eq!(oci.parts().last().unwrap(), "environment");
    assert_eq!(layers[1], digest("runtime")[0]);
    assert_eq!(layers[layers.len() - 2], digest("app")[0]);
    assert!(layers.len() < 8, "{:?}", oci.parts());
    for layer in &layers {
        let start = &oci.blob(&json!(layer))[..4];
        assert_eq!(start, 0xFD2F_B528_u32.to_le_bytes(), "an engine looks at the first bytes");
    }
}

#[test]
fn it_is_a_layout_that_docker_reads_as_well() {
    let oci = image("layout.tar", &["-t", "r.example/team/answer:7"]);
    assert_eq!(oci.members["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = oci.json("index.json");
    let annotations = &index["manifests"][0]["annotations"];
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "7");
    assert_eq!(annotations["io.containerd.image.name"], "r.example/team/answer:7");
    let docker = &oci.json("manifest.json")[0];
    assert_eq!(docker["RepoTags"], json!(["r.example/team/answer:7"]));
    assert!(oci.members.contains_key(docker["Config"].as_str().unwrap()));
    let layers = docker["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), oci.layers().len());
    assert!(layers.iter().all(|layer| oci.members.contains_key(layer.as_str().unwrap())));
}

#[test]
fn no_layer_has_a_path_twice_and_directories_are_the_same_in_all() {
    let oci = image("paths.tar", &[]);
    let mut directories = BTreeMap::new();
    for (part, archive) in oci.parts().iter().zip(oci.archives()) {
        let mut there = BTreeSet::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let header = entry.header();
            let top = path.split('/').next().unwrap();
            assert_eq!(part == "base", !["python", "venv", "app"].contains(&top), "{part}: {path}");
            if header.entry_type().is_dir() {
                let attributes = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
                assert_eq!(*directories.entry(path.clone()).or_insert(attributes), attributes, "{path}");
            }
            assert!(there.insert(path.clone()), "{part}: {path}");
        }
    }
    assert_eq!(directories["tmp/"], (0o1777, 0, 0));
    assert_eq!(directories["home/nonroot/"], (0o755, 65532, 65532));
}

#[test]
fn however_it_is_compressed_it_is_the_same_image() {
    let zstd = image("zstd.tar", &[]);
    for other in ["gzip", "none"] {
        let oci = image(&format!("{other}.tar"), &["--compression", other]);
        assert_eq!(oci.id(), zstd.id());
        assert_eq!(oci.archives(), zstd.archives());
        assert_ne!(oci.layers(), zstd.layers());
    }
    coil(&["image", "app", "-o", "docker.tar", "--format", "docker"]).succeeded();
    let docker = Oci::read(&bench().path("docker.tar"));
    let list = &docker.json("manifest.json")[0];
    let config = &docker.members[list["Config"].as_str().unwrap()];
    assert_eq!(sha256(config), zstd.id());
    let layers = list["Layers"].as_array().unwrap().iter();
    let layers: Vec<&Vec<u8>> = layers.map(|layer| &docker.members[layer.as_str().unwrap()]).collect();
    assert_eq!(layers, zstd.archives().iter().collect::<Vec<_>>());
}

#[test]
fn two_builds_give_the_same_bytes_and_a_project_gives_what_its_bundle_gives() {
    let bench = bench();
    image("first.tar", &[]);
    let elsewhere = scratch();
    fs::copy(bench.path("app"), elsewhere.path().join("other-name")).unwrap();
    let mut command = bench.coil(&["image", "other-name"]);
    command.current_dir(elsewhere.path()).env("TZ", "Asia/Tokyo").env("LANG", "de_DE.UTF-8");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let first = fs::read(bench.path("first.tar")).unwrap();
    assert!(output.stdout == first, "a pipe gets what a file gets");
    let runtime = runtime_file().to_str().unwrap();
    let mut command = bench.coil(&["image", "site", QUICK, "--runtime", runtime, "-o", "project.tar"]);
    bench.limit(&mut command);
    Ran::of(command, b"").succeeded();
    assert!(fs::read(bench.path("project.tar")).unwrap() == first);
    let mut command = bench.coil(&["image", "app", "-o", "dated.tar"]);
    command.env("SOURCE_DATE_EPOCH", "951782400");
    Ran::of(command, b"").succeeded();
    let dated = Oci::read(&bench.path("dated.tar"));
    assert_eq!(dated.config()["created"], "2000-02-29T00:00:00Z");
    assert_eq!(dated.layers(), Oci::read(&bench.path("first.tar")).layers());
}

#[test]
fn how_it_starts_is_what_the_project_says_unless_options_say_otherwise() {
    let run = image("start.tar", &[]).config()["config"].clone();
    assert_eq!(run["User"], "65532:65532");
    assert_eq!(run["Cmd"], json!(["/venv/run/web"]));
    assert!(run["Entrypoint"].is_null(), "the first argument names another command");
    let env = run["Env"].as_array().unwrap();
    assert!(env.contains(&json!("LANG=C.UTF-8")) && env.contains(&json!("HOME=/home/nonroot")), "{env:?}");
    let words = [
        "--entrypoint",
        "/venv/bin/python -m 'a b'",
        "--cmd",
        "x",
        "--env",
        "A=b=c",
        "--label",
        "org.example=1",
        "--port",
        "8000",
        "--user",
        "7",
        "--workdir",
        "/app",
        "--stop-signal",
        "SIGINT",
    ];
    let oci = image("options.tar", &words);
    let run = oci.config()["config"].clone();
    assert_eq!(run["Entrypoint"], json!(["/venv/bin/python", "-m", "a b"]));
    assert_eq!(run["Cmd"], json!(["x"]));
    assert!(run["Env"].as_array().unwrap().contains(&json!("A=b=c")));
    assert_eq!(run["ExposedPorts"], json!({ "8000/tcp": {} }));
    assert_eq!(
        (&run["User"], &run["WorkingDir"], &run["StopSignal"]),
        (&json!("7:7"), &json!("/app"), &json!("SIGINT"))
    );
    assert_eq!(run["Labels"]["org.example"], "1");
    assert_eq!(oci.manifest()["annotations"], run["Labels"]);
}

/// The image unpacked as an engine does it, to be entered; nothing else is in that root.
fn unpacked() -> Option<EmptyRoot> {
    if let Some(reason) = EmptyRoot::unavailable() {
        skip(&format!("no other root can be entered here: {reason}"));
        return None;
    }
    let root = EmptyRoot::new();
    image(&format!("unpacked-{:?}.tar", std::thread::current().id()), &[]).unpack(root.path());
    let root = root.env("PATH", "/venv/run:/venv/bin").env("LANG", "C.UTF-8");
    Some(root.env("HOME", "/home/nonroot").env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
}

#[test]
fn every_command_starts_in_an_unpacked_image_without_a_launcher() {
    let Some(root) = unpacked() else { return };
    let said = root.run(&["/venv/run/web", "x"]).printed();
    let expected = "the answer is 42 ['--port', '8000', 'x']\n/venv/lib/python3.";
    assert!(said.starts_with(expected) && said.ends_with("/site-packages/ns/one.py None"), "{said}");
    let said = root.run(&["/venv/run/check"]).printed();
    assert!(said.starts_with("the answer is 42 ['check']\n") && said.ends_with(" checked"), "{said}");
    let said = root.env("PORT", "1 2").run(&["/venv/run/web"]).printed();
    assert!(said.starts_with("the answer is 42 ['--port', '1', '2']\n"), "{said}");
}

#[test]
fn what_scratch_lacks_is_there() {
    let Some(root) = unpacked() else { return };
    let code = r#"
import codecs, getpass, grp, locale, mimetypes, os, pwd, socket, sys, tempfile, time, zoneinfo
assert sys.prefix == "/venv" and sys.base_prefix == "/python", (sys.prefix, sys.base_prefix)
assert sys.executable == "/venv/bin/python", sys.executable
assert pwd.getpwuid(65532).pw_name == "nonroot" and grp.getgrgid(65532).gr_name == "nonroot"
assert pwd.getpwnam("nobody").pw_uid == 65534 and pwd.getpwuid(0).pw_dir == "/root"
assert os.path.expanduser("~") == "/home/nonroot"
assert socket.getservbyname("https", "tcp") == 443 and socket.getprotobyname("tcp") == 6
assert mimetypes.guess_type("x.webp")[0] == "image/webp" and mimetypes.guess_type("x.avif")[0] == "image/avif"
assert os.stat("/tmp").st_mode & 0o7777 == 0o1777
with tempfile.TemporaryFile() as file: file.write(b"x")
if os.path.exists("/python/share/locale/C.utf8"):
    assert locale.setlocale(locale.LC_ALL, "C.UTF-8") == "C.UTF-8" and locale.nl_langinfo(locale.CODESET) == "UTF-8"
assert codecs.lookup(sys.getfilesystemencoding()).name == "utf-8"
import platform, ssl
if os.path.exists("/python/share/zoneinfo"):
    assert zoneinfo.ZoneInfo("Europe/Berlin").key == "Europe/Berlin"
    os.environ["TZ"] = "Asia/Tokyo"; time.tzset()
    assert time.localtime(0).tm_hour == 9, time.localtime(0)
if os.path.exists("/python/share/certificates.pem"):
    assert len(ssl.create_default_context().get_ca_certs()) > 50
if sys.version_info >= (3, 10): assert platform.freedesktop_os_release()["ID"] == "coil"
import subprocess
assert subprocess.run([sys.executable, "-c", "import leaf; print(leaf.answer)"], capture_output=True, check=True).stdout == b"42\n"
print("all there")
"#;
    assert_eq!(root.run(&["/venv/bin/python", "-c", code]).printed(), "all there");
}

#[test]
fn a_check_vouches_for_a_good_archive_and_tells_all_that_is_wrong_with_others() {
    let bench = bench();
    let runtime = lean_runtime_file().to_str().unwrap();
    bench.pack_to("lean", &["site", QUICK, "--runtime", runtime]);
    for (name, words) in [("good.tar", &[][..]), ("good-gzip.tar", &["--compression", "gzip"])] {
        coil(&[&["image", "lean", "-o", name], words].concat()).succeeded();
        let oci = Oci::read(&bench.path(name));
        let said = coil(&["image", "--check", name]).succeeded().stderr;
        assert!(said.contains("is what it says") && said.contains(&oci.id()), "{said}");
    }
    let good = fs::read(bench.path("good.tar")).unwrap();
    let check = |bad: &[u8]| {
        fs::write(bench.path("bad.tar"), bad).unwrap();
        coil(&["image", "--check", "bad.tar"])
    };
    // In every kind of thing that is there: lists, headers, padding, manifest, configuration, layers, the end.
    let mut places: Vec<usize> = (0..40).map(|number| number * 251 % 12_000).collect();
    places.extend([good.len() / 2, good.len() - 1, good.len() - 1025]);
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let ran = check(&bad);
        assert!(ran.code() == Some(1) && ran.stderr.contains("is not what it says"), "byte {at}: {ran}");
    }
    let mut twice = good.clone();
    let (one, other) = (good.len() / 2, good.len() - 1025);
    twice[one] ^= 1;
    twice[other] ^= 1;
    let ran = check(&twice);
    assert!(ran.stderr.contains("2 mismatches"), "{ran}");
    for cut in [0, 100, 1000, 5000, good.len() - 1024, good.len() - 1] {
        assert_eq!(check(&good[..cut]).code(), Some(1), "cut at {cut}");
    }
}

#[test]
fn an_archive_for_who_has_the_last_one_leaves_out_what_is_there() {
    let bench = bench();
    image("old.tar", &[]);
    fs::create_dir_all(bench.path("site2")).unwrap();
    for name in ["requirements.txt", "pyproject.toml"] {
        fs::copy(bench.path("site").join(name), bench.path("site2").join(name)).unwrap();
    }
    fs::write(bench.path("site2/main.py"), format!("{MAIN}print('new')\n")).unwrap();
    bench.pack_to("new", &["site2", QUICK, "--runtime", runtime_file().to_str().unwrap()]);
    for old in ["old.tar", "app"] {
        let said = coil(&["image", "new", "--since", old, "-o", "thin.tar"]).succeeded().stderr;
        // The sources, and the environment above them.
        assert!(said.contains(", 2 layers of "), "{said}");
        let length = fs::metadata(bench.path("thin.tar")).unwrap().len();
        assert!(length < 100_000, "{length}");
        assert!(coil(&["image", "--check", "thin.tar"]).stderr.contains("is missing"));
        coil(&["image", "--check", "thin.tar", "--since", "old.tar"]).succeeded();
    }
}

#[test]
fn what_cannot_be_done_is_told_in_one_error_and_leaves_no_file() {
    let bench = bench();
    fs::write(bench.path("notes.txt"), "mine").unwrap();
    fs::create_dir_all(bench.path("apart")).unwrap();
    let mut damaged = fs::read(bench.path("app")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(bench.path("damaged"), damaged).unwrap();
    let cases: [(&[&str], &str); 10] = [
        (&["app", "-o", "notes.txt"], "what is there is no image"),
        (&["app", "-o", "app"], "what is there is no image"),
        (&["app", "-o", "none/x.tar"], "cannot write the image to none/x.tar"),
        (&["app", "-o", "apart/never.tar", "-t", "Bad Name"], "cannot be the name of an image"),
        (&["app", "-o", "apart/never.tar", "--user", "me"], "is no number"),
        (&["app", "-o", "apart/never.tar", "--port", "http"], "is no port"),
        (&["app", "-o", "apart/never.tar", "-e", "main.py"], "is a bundle"),
        (&["app", "-o", "apart/never.tar", "--since", "notes.txt"], "notes.txt"),
        (&["damaged", "-o", "apart/never.tar"], "damaged"),
        (&["--check", "notes.txt"], "is not what it says"),
    ];
    for (words, reason) in cases {
        let ran = coil(&[&["image"], words].concat());
        assert_eq!(ran.code(), Some(1), "{words:?}: {ran}");
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran}");
        assert!(ran.stderr.contains(reason) && ran.stderr.contains("hint: "), "{words:?}: {ran}");
    }
    // Other tests write beside it.
    assert_eq!(fs::read_dir(bench.path("apart")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(bench.path("notes.txt")).unwrap(), "mine");
    assert_eq!(Packed::at(bench.path("app")).start().env("COIL_RUN", "check").run().code(), Some(0));
}

#[test]
fn the_same_wheel_in_two_apps_is_the_same_layer() {
    let bench = Bench::new();
    // Bytes that do not compress, so that it counts as large.
    let mut state = 7u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(2 << 20)
    .collect();
    let bench = bench
        .wheel(&WheelBuilder::new("large", "1").file("large/__init__.py", "").file("large/x.bin", noise))
        .wheel(&WheelBuilder::new("small", "1").file("small.py", ""))
        .file("one/main.py", "import large")
        .file("two/main.py", "import large, small");
    let runtime = runtime_file().to_str().unwrap();
    let layers = |app: &str, requirements: &[&str]| {
        bench.pack_to(
            &format!("{app}.bundle"),
            &[requirements, &["--app", app, "-e", "main.py", QUICK, "--runtime", runtime]].concat(),
        );
        let file = format!("{app}.tar");
        Ran::of(bench.coil(&["image", &format!("{app}.bundle"), "-o", &file]), b"").succeeded();
        Oci::read(&bench.path(&file)).layers()
    };
    let (one, two) = (layers("one", &["large"]), layers("two", &["large", "small"]));
    assert_eq!(one[..3], two[..3], "base, runtime and the large wheel");
    assert_eq!((one.len(), two.len()), (5, 6));
}

#[test]
fn the_image_s_own_tree_is_what_the_bundle_unpacks() {
    let bench = bench();
    let unpacked = scratch();
    image("tree.tar", &[]).unpack(unpacked.path());
    let said = Packed::at(bench.path("app"))
        .python("import leaf, sys; print(leaf.__file__, sys.prefix)")
        .run()
        .printed();
    let (file, prefix) = said.split_once(' ').unwrap();
    let inside = Path::new(file).strip_prefix(prefix).unwrap();
    let same = |one: &Path, other: &Path| {
        assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap(), "{}", one.display())
    };
    same(Path::new(file), &unpacked.path().join("venv").join(inside));
    same(&Path::new(prefix).join("app/main.py"), &unpacked.path().join("app/main.py"));
}

#[test]
fn images_for_several_platforms_are_one_index() {
    use coil::image::{Compression, Encoded, Format, Image, Reference, Settings, check, write};
    use coil::layer::BlobPlace;
    let bench = bench();
    let bundle = coil_bootstrap::bundle::Bundle::open(&bench.path("app")).unwrap();
    let manifest = bundle.manifest();
    let place = |layer| BlobPlace { file: bench.path("app"), offset: bundle.layer_offset(layer) };
    let blobs: Vec<_> = manifest.layers.iter().map(place).collect();
    let mut other = manifest.clone();
    other.platform.architecture = "arm64".into();
    let images: Vec<_> = [manifest, &other]
        .map(|manifest| Image::of(manifest, &blobs, &Settings::default(), None).unwrap())
        .iter()
        .map(|image| Encoded::new(image, Compression::Zstd).unwrap())
        .collect();
    let mut archive = Vec::new();
    let reference = Reference::parse("r.example/both:1").unwrap();
    write(&images, &reference, Format::Oci, &BTreeSet::new(), &mut archive, &|| "cannot".into()).unwrap();
    fs::write(bench.path("both.tar"), archive).unwrap();
    let checked = check::check(&bench.path("both.tar"), &BTreeSet::new()).unwrap();
    assert_eq!(checked.mismatches, Vec::<String>::new());
    let oci = Oci::read(&bench.path("both.tar"));
    let index = oci.json("index.json");
    let nested = &index["manifests"][0];
    assert_eq!(nested["mediaType"], "application/vnd.oci.image.index.v1+json");
    let nested: serde_json::Value = serde_json::from_slice(oci.blob(&nested["digest"])).unwrap();
    let architectures: Vec<_> =
        nested["manifests"].as_array().unwrap().iter().map(|it| &it["platform"]["architecture"]).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    assert!(coil(&["image", "app", "app", "-o", "never.tar"]).stderr.contains("are both for linux/"));
}
