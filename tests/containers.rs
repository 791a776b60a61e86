//! Promise: the engines and tools that people run take an image as it is. They are started here, a Docker daemon included,
//! so that this is skipped unless COIL_TEST_CONTAINERS=1; `.ci/run` installs them.

mod kit;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use kit::docker::Docker;
use kit::oci::Oci;
use kit::{Bench, Ran, scratch, skip, standing};

/// One test at a time: they share a daemon, and what it has loaded.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> Option<MutexGuard<'static, ()>> {
    if std::env::var("COIL_TEST_CONTAINERS").as_deref() == Ok("1") {
        return Some(TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
    skip("this starts docker, podman, skopeo and umoci; set COIL_TEST_CONTAINERS=1");
    None
}

/// A bench with the four examples as bundles.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let bench = Bench::standing("containers").with_network();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for (name, source) in [
            ("hello", "hello"),
            ("flask-cli", "flask-cli"),
            ("django-site", "django-site"),
            ("science", "science/science.py"),
        ] {
            bench.pack_to(name, &[examples.join(source)]);
        }
        bench
    })
}

fn image(bundle: &str, file: &str, words: &[&str]) -> PathBuf {
    Ran::of(bench().coil(&[&["image", bundle, "-o", file], words].concat()), b"").succeeded();
    bench().path(file)
}

fn tool(name: &str, words: &[&str]) -> Ran {
    let mut command = Command::new(name);
    command.args(words);
    Ran::of(command, b"")
}

#[test]
fn docker_loads_and_runs_the_four_examples() {
    let Some(_turn) = turn() else { return };
    let docker = Docker::start();
    for (name, format) in [
        ("hello", &["--compression", "gzip"][..]),
        ("flask-cli", &["--compression", "none"]),
        ("django-site", &["--format", "docker"]),
        ("science", &["--compression", "gzip"]),
    ] {
        let file =
            image(name, &format!("{name}.tar"), &[format, &["-t", &format!("coil/{name}:test")]].concat());
        let loaded = docker.load(&["load", "-q"], &fs::read(file).unwrap()).succeeded();
        assert!(loaded.stdout.contains(&format!("coil/{name}:test")), "{loaded}");
    }
    let said = docker.strictly(&["coil/hello:test", "one", "two"]).succeeded().stdout;
    assert!(said.starts_with("Hello, world!") && said.contains("'one' 'two'"), "{said}");
    let who = docker.strictly(&[
        "--entrypoint",
        "/venv/bin/python",
        "coil/hello:test",
        "-c",
        "import os; print(os.getuid(), os.getgid())",
    ]);
    assert_eq!(who.succeeded().stdout, "65532 65532\n");
    docker.strictly(&["coil/flask-cli:test", "check"]).succeeded();
    let said = docker.strictly(&["coil/django-site:test", "manage", "check"]).succeeded();
    assert!(said.stdout.contains("no issues"), "{said}");
    docker.strictly(&["coil/science:test"]).succeeded();
    let id = docker.run(&["image", "inspect", "--format", "{{.Id}}", "coil/hello:test"]).succeeded().stdout;
    let zstd = image("hello", "hello-zstd.tar", &["-t", "coil/hello:test"]);
    assert_eq!(id.trim(), Oci::read(&zstd).id());
}

#[test]
fn django_answers_over_its_socket_inside_a_container() {
    let Some(_turn) = turn() else { return };
    let docker = Docker::start();
    let file = image("django-site", "django.tar", &["--compression", "gzip", "-t", "coil/django:test"]);
    docker.load(&["load", "-q"], &fs::read(file).unwrap()).succeeded();
    let words = [
        "run",
        "-d",
        "--name",
        "site",
        "--network=none",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--env",
        "GUNICORN_CMD_ARGS=--bind=unix:/tmp/site.sock",
    ];
    docker.run(&[&words[..], &["coil/django:test"]].concat()).succeeded();
    let ask = "
import socket, sys, time
for _ in range(300):
    try:
        s = socket.socket(socket.AF_UNIX); s.connect('/tmp/site.sock'); break
    except OSError: time.sleep(0.1)
s.sendall(b'GET / HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n')
data = b''
while (part := s.recv(65536)): data += part
print(data.split(b'\\r\\n')[0].decode())
";
    let said = docker.run(&["exec", "site", "/venv/bin/python", "-c", ask]);
    let log = docker.run(&["logs", "site"]);
    docker.run(&["rm", "-f", "site"]).succeeded();
    assert!(said.stdout.starts_with("HTTP/1.1 ") || said.stdout.starts_with("HTTP/1.0 "), "{said}\n{log}");
}

#[test]
fn the_file_alone_is_an_image_of_three_lines() {
    let Some(_turn) = turn() else { return };
    let docker = Docker::start();
    let context = scratch();
    fs::copy(bench().path("hello"), context.path().join("tool")).unwrap();
    let build = |name: &str, lines: &str| {
        fs::write(
            context.path().join("Dockerfile"),
            format!("FROM scratch\nCOPY tool /tool\n{lines}ENTRYPOINT [\"/tool\"]\n"),
        )
        .unwrap();
        docker
            .run(&["build", "-q", "--network=none", "-t", name, context.path().to_str().unwrap()])
            .succeeded();
    };
    build("three-lines", "");
    let words = ["run", "--rm", "--network=none", "--read-only", "-u", "65532"];
    let said =
        docker.run(&[&words[..], &["--tmpfs", "/tmp:exec", "three-lines"]].concat()).succeeded().stdout;
    assert!(said.starts_with("Hello, world!"), "{said}");
    build("installed", "ENV COIL=install\nRUN [\"/tool\"]\nENV COIL=\n");
    let said = docker.run(&[&words[..], &["installed"]].concat()).succeeded().stdout;
    assert!(said.starts_with("Hello, world!") && said.contains("/var/lib/coil/envs/"), "{said}");
}

#[test]
fn docker_takes_a_thin_archive_after_a_whole_one() {
    let Some(_turn) = turn() else { return };
    let docker = Docker::start();
    let bench = bench();
    for (name, text) in [("one", "print('one')"), ("two", "print('two')")] {
        fs::create_dir_all(bench.path(name)).unwrap();
        fs::write(bench.path(name).join("main.py"), text).unwrap();
        bench.pack_to(&format!("thin-{name}"), &["--app", name, "-e", "main.py", "--name", "thin"]);
    }
    let old = image("thin-one", "thin-one.tar", &["--compression", "gzip", "-t", "coil/thin:1"]);
    let new = image(
        "thin-two",
        "thin-two.tar",
        &["--compression", "gzip", "-t", "coil/thin:2", "--since", old.to_str().unwrap()],
    );
    assert!(fs::metadata(&new).unwrap().len() < 100_000);
    docker.load(&["load", "-q"], &fs::read(&old).unwrap()).succeeded();
    docker.load(&["load", "-q"], &fs::read(&new).unwrap()).succeeded();
    assert_eq!(docker.strictly(&["coil/thin:1"]).succeeded().stdout, "one\n");
    assert_eq!(docker.strictly(&["coil/thin:2"]).succeeded().stdout, "two\n");
}

#[test]
fn podman_and_skopeo_and_umoci_take_it() {
    let Some(_turn) = turn() else { return };
    let zstd = image("flask-cli", "flask-zstd.tar", &["-t", "coil/flask:test"]);
    let gzip = image("flask-cli", "flask-gzip.tar", &["--compression", "gzip", "-t", "coil/flask:test"]);
    let place = standing("tools");
    let at = |name: &str| place.join(name).display().to_string();
    for (name, file) in [("zstd", &zstd), ("gzip", &gzip)] {
        let source = format!("oci-archive:{}:test", file.display());
        let target = format!("oci:{}:test", at(name));
        tool("skopeo", &["--insecure-policy", "copy", "-q", &source, &target]).succeeded();
    }
    let told = tool("skopeo", &["inspect", "--config", &format!("oci:{}:test", at("zstd"))]).json();
    assert_eq!(told["config"]["User"], "65532:65532");
    // Old ones read no zstd.
    tool("umoci", &["unpack", "--image", &format!("{}:test", at("gzip")), &at("bundle")]).succeeded();
    let own = scratch();
    Oci::read(&zstd).unpack(own.path());
    let difference =
        tool("diff", &["-r", "--no-dereference", &at("bundle/rootfs"), own.path().to_str().unwrap()]);
    assert_eq!(difference.code(), Some(0), "{difference}");
    // Podman wants a short path here.
    let running = tempfile::tempdir().unwrap();
    let running = running.path().to_str().unwrap();
    let storage =
        ["--root", &at("podman"), "--runroot", running, "--storage-driver", "vfs"].map(str::to_owned);
    let storage: Vec<&str> = storage.iter().map(String::as_str).collect();
    let loaded =
        tool("podman", &[&storage[..], &["load", "-q", "-i", zstd.to_str().unwrap()]].concat()).succeeded();
    assert!(loaded.stdout.contains("coil/flask:test"), "{loaded}");
    let id = tool(
        "podman",
        &[&storage[..], &["image", "inspect", "--format", "{{.Id}}", "coil/flask:test"]].concat(),
    );
    assert_eq!(format!("sha256:{}", id.succeeded().stdout.trim()), Oci::read(&zstd).id());
    // A container of it, which is not started: what it would see is the image and nothing else.
    let podman = |words: &[&str]| tool("podman", &[&storage[..], words].concat()).succeeded().stdout;
    let words = ["create", "--network=none", "--ulimit=nofile=1024:1024", "--name=flask", "coil/flask:test"];
    podman(&words);
    let mounted = podman(&["mount", "flask"]);
    let difference = tool("diff", &["-r", "--no-dereference", mounted.trim(), own.path().to_str().unwrap()]);
    assert_eq!(difference.code(), Some(0), "{difference}");
    podman(&["rm", "-f", "flask"]);
}

/// `crun run` of what umoci has unpacked, in a mount namespace where no control groups are seen: it is not about these, and crun
/// refuses to start where two versions of them are mounted.
fn run_with_crun(bundle: &Path, change: impl FnOnce(&mut serde_json::Value)) -> Ran {
    let file = bundle.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["process"]["terminal"] = false.into();
    config["root"]["readonly"] = true.into();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["type"] != "cgroup");
    mounts.push(serde_json::json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
    config["linux"].as_object_mut().unwrap().remove("resources");
    change(&mut config);
    fs::write(&file, config.to_string()).unwrap();
    let state = scratch();
    let run = "{ umount -R -l /sys/fs/cgroup && mount -t tmpfs none /sys/fs/cgroup; } 2>/dev/null
        exec crun --root \"$1\" --cgroup-manager=disabled run --bundle \"$2\" coil-test-$$";
    let words = ["--mount", "sh", "-c", run, "sh", state.path().to_str().unwrap(), bundle.to_str().unwrap()];
    tool("unshare", &words)
}

#[test]
fn another_runtime_starts_what_umoci_unpacks() {
    let Some(_turn) = turn() else { return };
    let place = standing("crun");
    for (name, args, expected) in [
        ("hello", &["one"][..], "Hello, world!"),
        ("flask-cli", &["check"], ""),
        ("django-site", &["manage", "check"], "no issues"),
        ("science", &[], ""),
    ] {
        let file = image(name, &format!("{name}-crun.tar"), &["--compression", "gzip", "-t", "coil:test"]);
        let at = |kind: &str| place.join(format!("{name}-{kind}")).display().to_string();
        let (source, target) =
            (format!("oci-archive:{}:test", file.display()), format!("oci:{}:test", at("oci")));
        tool("skopeo", &["--insecure-policy", "copy", "-q", &source, &target]).succeeded();
        tool("umoci", &["unpack", "--image", &format!("{}:test", at("oci")), &at("bundle")]).succeeded();
        let ran = run_with_crun(Path::new(&at("bundle")), |config| {
            assert_eq!(config["process"]["user"], serde_json::json!({ "uid": 65532, "gid": 65532 }));
            let words = config["process"]["args"].as_array_mut().unwrap();
            // Where a command is the whole of it, another one takes its place, as `docker run` does it.
            if Oci::read(&file).config()["config"]["Entrypoint"].is_null() {
                words.clear();
            }
            words.extend(args.iter().map(|word| (*word).into()));
        });
        assert!(ran.succeeded().stdout.contains(expected), "{name}");
    }
}

/// Debian's registry on a free port; it ends with the value.
struct Served(Child, u16);

impl Served {
    fn start() -> Served {
        Served::start_with("")
    }

    /// With further lines for the section `http` of its settings.
    fn start_with(http: &str) -> Served {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = standing("registry");
        let settings = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}",
            directory.join("data").display()
        );
        fs::write(directory.join("config.yml"), settings).unwrap();
        let log = File::create(directory.join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(directory.join("config.yml")).stdout(log.try_clone().unwrap()).stderr(log);
        let served = Served(command.spawn().expect("docker-registry is on PATH"), port);
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "the registry does not start");
            thread::sleep(Duration::from_millis(100));
        }
        served
    }

    fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.1)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_registry_takes_an_image_and_gives_it_out_again() {
    let Some(_turn) = turn() else { return };
    let bench = bench();
    let registry = Served::start();
    let name = registry.name("team/django:1");
    let coil = |words: &[&str]| Ran::of(bench.coil(words), b"").succeeded().stderr;
    coil(&["image", "django-site", "--push", &name]);
    let again = coil(&["image", "django-site", "--push", &name]);
    assert!(again.contains(": 0 of "), "{again}");
    let mounted = coil(&["image", "django-site", "--push", &registry.name("other/django:1")]);
    assert!(mounted.contains(": 0 of ") && !mounted.contains(", 0 mounted"), "{mounted}");
    let place = standing("pulled");
    let target = format!("oci:{}:1", place.join("oci").display());
    let source = format!("docker://{name}");
    tool("skopeo", &["--insecure-policy", "copy", "-q", "--src-tls-verify=false", &source, &target])
        .succeeded();
    let pulled = tool("skopeo", &["inspect", "--raw", &target]).json();
    assert_eq!(pulled, Oci::read(&image("django-site", "pushed.tar", &[])).manifest());

    coil(&["runtime", "build", "--level", "1", "-o", "two.rt"]);
    let rebased = coil(&["rebase", &name, "--runtime", "two.rt", "--tag", "2"]);
    assert!(rebased.contains("rebased ") && rebased.contains(" sent"), "{rebased}");
    let source = format!("docker://{}", registry.name("team/django:2"));
    let raw = tool("skopeo", &["inspect", "--raw", "--tls-verify=false", &source]).json();
    let (old, new) = (pulled["layers"].as_array().unwrap(), raw["layers"].as_array().unwrap());
    assert_eq!(old.iter().zip(new).filter(|(old, new)| old != new).count(), 1);
}

#[test]
fn a_real_registry_with_a_certificate_of_its_own_is_believed_where_docker_would() {
    let Some(_turn) = turn() else { return };
    let place = standing("certificates");
    let at = |name: &str| place.join(name).display().to_string();
    let openssl = |words: &[&str]| drop(tool("openssl", words).succeeded());
    let new = ["-newkey", "rsa:2048", "-nodes", "-days", "2"];
    let named = ["-keyout", &at("key"), "-out", &at("ca.crt"), "-subj", "/CN=registry"];
    // An address of this machine that is not known to be one.
    let host = ["-addext", "subjectAltName=IP:0.0.0.0", "-addext", "basicConstraints=CA:FALSE"];
    openssl(&[&["req", "-x509"], &new[..], &named, &host].concat());
    let registry =
        Served::start_with(&format!("  tls:\n    certificate: {}\n    key: {}\n", at("ca.crt"), at("key")));
    let name = format!("0.0.0.0:{}/hello:1", registry.1);
    let home = scratch();
    let push = |words: &[&str]| {
        let mut command = bench().coil(&[&["image", "hello", "--push", &name], words].concat());
        command.env("HOME", home.path());
        Ran::of(command, b"")
    };
    let ran = push(&[]);
    assert!(ran.code() == Some(1) && ran.stderr.contains("certs.d"), "{ran}");
    let directory = home.path().join(format!(".config/containers/certs.d/0.0.0.0:{}", registry.1));
    fs::create_dir_all(&directory).unwrap();
    fs::copy(at("ca.crt"), directory.join("ca.crt")).unwrap();
    push(&[]).succeeded();
    fs::remove_dir_all(&directory).unwrap();
    let again = push(&["--insecure"]).succeeded().stderr;
    assert!(again.contains(": 0 of "), "{again}");
    let source = format!("docker://{name}");
    let pulled = tool("skopeo", &["inspect", "--raw", "--tls-verify=false", &source]).json();
    assert_eq!(pulled, Oci::read(&image("hello", "hello-pushed.tar", &[])).manifest());
}

/// A distribution of busybox alone, as `docker save` writes it.
fn busybox_base(docker: &Docker) -> PathBuf {
    let root = scratch();
    let busybox = fs::read("/bin/busybox").expect("`apt install busybox-static`");
    for directory in ["bin", "etc", "tmp", "usr/share"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    fs::write(root.path().join("bin/busybox"), busybox).unwrap();
    fs::set_permissions(root.path().join("bin/busybox"), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("busybox", root.path().join("bin/sh")).unwrap();
    fs::write(root.path().join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all(".", root.path()).unwrap();
    let words = ["import", "--change", "ENV TOOLS=/bin", "--change", "WORKDIR /tmp", "-", "coil/below:1"];
    docker.load(&words, &archive.into_inner().unwrap()).succeeded();
    let file = bench().path("below.tar");
    docker.run(&["save", "-o", file.to_str().unwrap(), "coil/below:1"]).succeeded();
    file
}

#[test]
fn an_image_on_a_base_runs_with_the_base_s_programs_beside_it() {
    let Some(_turn) = turn() else { return };
    let docker = Docker::start();
    let base = busybox_base(&docker);
    let base = base.to_str().unwrap();
    let words = ["--base", base, "--compression", "gzip", "-t", "coil/on:test"];
    let file = image("hello", "on-base.tar", &words);
    docker.load(&["load", "-q"], &fs::read(&file).unwrap()).succeeded();
    let said = docker.strictly(&["coil/on:test", "one"]).succeeded().stdout;
    assert!(said.starts_with("Hello, world!") && said.contains("'one'"), "{said}");
    let script = "id -u; echo $TOOLS $PWD; head -1 /etc/passwd; /venv/bin/python -c 'import getpass; print(getpass.getuser())'";
    let said = docker.strictly(&["--entrypoint", "sh", "coil/on:test", "-c", script]).succeeded().stdout;
    assert_eq!(said, "65532\n/bin /tmp\nroot:x:0:0:root:/:/bin/sh\nnonroot\n");
    let id = docker.run(&["image", "inspect", "--format", "{{.Id}}", "coil/on:test"]).succeeded().stdout;
    assert_eq!(id.trim(), Oci::read(&file).id());
    // Docker knows the base's layer as its own.
    let layers = |name: &str| {
        docker.run(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", name]).succeeded().json()
    };
    assert_eq!(layers("coil/on:test")[0], layers("coil/below:1")[0]);
    // The same base as a layout; podman takes what comes out.
    let place = standing("bases");
    let layout = format!("oci:{}:1", place.join("layout").display());
    let source = format!("docker-archive:{base}");
    tool("skopeo", &["--insecure-policy", "copy", "-q", &source, &layout]).succeeded();
    let layout = place.join("layout");
    let words = ["--base", layout.to_str().unwrap(), "-t", "coil/on:test"];
    let zstd = image("hello", "on-layout.tar", &words);
    assert_eq!(Oci::read(&zstd).config()["rootfs"], Oci::read(&file).config()["rootfs"]);
    let running = tempfile::tempdir().unwrap();
    let podman = place.join("podman").display().to_string();
    let storage =
        ["--root", &podman, "--runroot", running.path().to_str().unwrap(), "--storage-driver", "vfs"];
    let words = [&storage[..], &["load", "-q", "-i", zstd.to_str().unwrap()]].concat();
    assert!(tool("podman", &words).succeeded().stdout.contains("coil/on:test"));
}

#[test]
fn a_shell_in_an_image_can_be_entered() {
    let Some(_turn) = turn() else { return };
    let docker = Docker::start();
    let file = image("hello", "debug.tar", &["--debug", "--compression", "gzip", "-t", "coil/debug:test"]);
    docker.load(&["load", "-q"], &fs::read(file).unwrap()).succeeded();
    let wait = ["--entrypoint", "/venv/bin/python", "coil/debug:test", "-c", "import time; time.sleep(100)"];
    let words = ["run", "-d", "--name", "entered", "--network=none", "--read-only"];
    docker.run(&[&words[..], &wait].concat()).succeeded();
    let said = docker.run(&["exec", "entered", "sh", "-c", "id -u; ls /venv | head -1; which vi"]);
    docker.run(&["rm", "-f", "entered"]).succeeded();
    assert_eq!(said.succeeded().stdout, "65532\napp\n/busybox/vi\n");
}
