//! Promise: `coil deploy --image` works with the engines that people run: Docker over real ssh, podman with its own storage. They
//! are started here, so that the first is skipped unless COIL_TEST_HOSTS=1 and COIL_TEST_ONLINE=1, the second unless
//! COIL_TEST_CONTAINERS=1.

mod kit;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coil_bootstrap::bundle::Bundle;
use kit::docker::Docker;
use kit::oci::Oci;
use kit::outcomes::of;
use kit::production::ssh::{Config, Way};
use kit::production::{Host, Lan, apps};
use kit::{Bench, Packed, Ran, scratch, skip, standing};
use serde_json::Value;

fn tool(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(words);
    command
}

/// The name of a bundle's release.
fn id(packed: &Packed) -> String {
    Bundle::open(packed.path()).unwrap().digest().hex()[..12].to_owned()
}

/// The id of the image that `coil image` makes of it.
fn image_id(bench: &Bench, packed: &Packed) -> String {
    let file = scratch();
    let file = file.path().join("image.tar");
    let words = ["image".as_ref(), packed.path().as_os_str(), "-o".as_ref(), file.as_os_str()];
    Ran::of(bench.coil(&words), b"").succeeded();
    Oci::read(&file).id()
}

fn sent(told: &Value, host: &str) -> u64 {
    of(told, host)["sent"].as_u64().unwrap()
}

/// Asks the app in the container for a page, by its socket.
const ASK: &str = "
import socket, time
for _ in range(300):
    try:
        s = socket.socket(socket.AF_UNIX); s.connect('/tmp/site.sock'); break
    except OSError: time.sleep(0.1)
s.sendall(b'GET /release HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n')
data = b''
while (part := s.recv(65536)): data += part
print(data.split(b'\\r\\n\\r\\n')[1].decode().strip())
";

/// Gives a host a `docker` that talks to this daemon.
fn with_docker(host: &Host, docker: &Docker) {
    let path = std::env::var_os("PATH").unwrap();
    let client = std::env::split_paths(&path).map(|directory| directory.join("docker"));
    host.copy_in(&client.into_iter().find(|file| file.exists()).unwrap(), "/usr/local/lib/docker");
    let script = format!("#!/bin/sh\nDOCKER_HOST={} exec /usr/local/lib/docker \"$@\"\n", docker.address());
    host.write("/usr/local/bin/docker", &script);
    host.run("chmod 755 /usr/local/bin/docker").succeeded();
}

#[test]
fn docker_on_two_hosts_gets_a_site_over_ssh_changes_it_and_comes_back() {
    if !apps::wanted() {
        return;
    }
    let (site, bench) = (apps::site(), apps::bench());
    let ids = [&site.one, &site.two].map(|packed| image_id(bench, packed));
    let Some(lan) = Lan::wanted() else { return };
    let daemons =
        [2375, 2376].map(|port| Docker::at(&format!("docker-{port}"), &format!("tcp://10.77.0.1:{port}")));
    let hosts = ["web1", "web2"].map(|name| lan.host(name).start());
    for (host, docker) in hosts.iter().zip(&daemons) {
        with_docker(host, docker);
    }
    let config = Config::new(&lan, &[&hosts[0], &hosts[1]], Way::Direct);
    let ssh = format!("ssh -F {}", config.path().display());
    let coil = |words: &[&str]| Ran::of(bench.coil(&[words, &["--image", "--ssh", &ssh]].concat()), b"");
    let deploy = |packed: &Packed, words: &[&str]| {
        let bundle = packed.path().to_str().unwrap();
        coil(&[&["deploy", "web1", "web2", "--bundle", bundle, "--json"], words].concat())
    };
    let run = "docker rm -f site >/dev/null 2>&1; docker run -d --name site --network=none --read-only --tmpfs /tmp \
               --env GUNICORN_CMD_ARGS=--bind=unix:/tmp/site.sock $COIL_IMAGE";
    let answer = |docker: &Docker| {
        docker.run(&["exec", "site", "/venv/bin/python", "-c", ASK]).succeeded().stdout.trim().to_owned()
    };
    let current = |docker: &Docker| {
        let words = ["image", "inspect", "--format", "{{.Id}}", "site:current"];
        docker.run(&words).succeeded().stdout.trim().to_owned()
    };
    let told = deploy(&site.one, &["--run", run]).json();
    for (host, docker) in ["web1", "web2"].iter().zip(&daemons) {
        assert!(of(&told, host)["now"] == *id(&site.one) && of(&told, host)["before"].is_null(), "{told}");
        assert_eq!((current(docker), answer(docker).as_str()), (ids[0].clone(), "release 1"), "{host}");
    }
    println!("first: {} bytes", sent(&told, "web1"));
    let words =
        ["--bundle", site.two.path().to_str().unwrap(), "--canary", "1", "--wait", "2s", "--run", run];
    let ran = coil(&[&["deploy", "web1", "web2"], &words[..]].concat()).succeeded();
    println!("another line: {ran}");
    for line in ran.stdout.lines().skip(1) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (before, now) = (id(&site.one), id(&site.two));
        assert_eq!((cells[1], cells[2], cells[4], cells[6]), (&*before, &*now, "kB", "active"), "{ran}");
    }
    for docker in &daemons {
        assert_eq!((current(docker), answer(docker).as_str()), (ids[1].clone(), "release 2"));
    }
    let told = deploy(&site.two, &["--run", run]).json();
    assert_eq!(sent(&told, "web1"), 0);

    // Back, by the same command.
    let told = coil(&["rollback", "web1", "--app", "site", "--run", run, "--json"]).json();
    assert!(
        of(&told, "web1")["outcome"] == "rolled-back" && of(&told, "web1")["now"] == *id(&site.one),
        "{told}"
    );
    assert_eq!([&daemons[0], &daemons[1]].map(answer), ["release 1", "release 2"]);

    // A connection that breaks while the command runs ends nothing: the host finishes by itself.
    let late = "touch /root/begun; sleep 3; echo late; touch /root/late; exit 1";
    let words = ["deploy", "web1", "--image", "--ssh", &ssh, "--run", late, "--bundle"];
    let mut command = bench.coil(&words);
    command.arg(site.two.path()).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let waits = "i=0; until [ -e $0 ]; do i=$((i+1)); [ $i -lt 300 ] || exit 1; sleep 0.1; done";
    let wait = |file: &str| Ran::of(hosts[0].command(&["sh", "-c", waits, file]), b"").succeeded();
    wait("/root/begun");
    let group = format!("-{}", child.id());
    Ran::of(tool("kill", &["-KILL", "--", &group]), b"").succeeded();
    child.wait().unwrap();
    assert_eq!(current(&daemons[0]), ids[1], "while it runs the new one is current");
    wait("/root/late");
    let start = Instant::now();
    while current(&daemons[0]) != ids[0] {
        assert!(start.elapsed() < Duration::from_secs(20), "the tags did not go back");
    }
    // And has the command run for the one before, until which it is busy.
    hosts[0].run("timeout 20 flock /var/lib/coil/images/site.lock true").succeeded();

    // A release that does not start is not current, and the one before is started again.
    let broken = format!(
        "[ $COIL_IMAGE = site:{} ] || {{ {run}; exit; }}; {run} nonsense; sleep 2; docker exec site true",
        id(&site.two)
    );
    let ran = deploy(&site.two, &["--run", &broken, "--canary", "1"]);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let error = of(&told, "web1")["error"].as_str().unwrap();
    assert!(error.ends_with("is current as before, and it was run for that again"), "{error}");
    assert_eq!((current(&daemons[0]), answer(&daemons[0]).as_str()), (ids[0].clone(), "release 1"));
    // So is a canary that starts and ends.
    let crash = "docker rm -f site >/dev/null 2>&1; docker run -d --name site --network=none $COIL_IMAGE manage nonsense; true";
    let ran = deploy(&site.two, &["--run", crash, "--canary", "1", "--wait", "3s"]);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let error = of(&told, "web1")["error"].as_str().unwrap();
    assert!(error.starts_with("the container site is not well: Exited (1"), "{error}");
    for docker in &daemons {
        docker.run(&["rm", "-f", "site"]).succeeded();
    }

    // A daemon that is not there.
    hosts[1].run("sed -i s/:2376/:9/ /usr/local/bin/docker").succeeded();
    let told: Value = serde_json::from_str(&deploy(&site.one, &[]).stdout).unwrap();
    let error = of(&told, "web2")["error"].as_str().unwrap();
    assert!(error.starts_with("docker does not answer there: "), "{error}");
    assert_eq!(of(&told, "web1")["outcome"], "installed");
}

#[test]
fn podman_takes_only_the_layers_it_lacks_wherever_they_are() {
    if std::env::var("COIL_TEST_CONTAINERS").as_deref() != Ok("1") {
        return skip("this starts podman; set COIL_TEST_CONTAINERS=1");
    }
    let bench = Bench::standing("podman").with_network();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flask-cli");
    let copied = Command::new("cp").arg("-r").args([&source, &bench.path("src")]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let one = bench.pack_to("one", &["src", "--name", "tool"]);
    fs::write(bench.path("src/more.py"), "# more\n").unwrap();
    let two = bench.pack_to("two", &["src", "--name", "tool", "--keep", "tests"]);
    let ids = [&one, &two].map(|packed| image_id(&bench, packed));

    // Podman wants a short path here. `id` keeps its log away from the machine's.
    let (running, storage) = (tempfile::tempdir().unwrap(), standing("podman-storage"));
    let settings = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        storage.join("root").display(),
        running.path().display()
    );
    fs::write(storage.join("storage.conf"), settings).unwrap();
    let place = storage.display();
    let ssh = format!(
        "#!/bin/sh\nfor line; do :; done\nexport HOME={place} CONTAINERS_STORAGE_CONF={place}/storage.conf PATH={place}/bin:$PATH\n\
         unset XDG_STATE_HOME\nexec sh -c \"$line\"\n"
    );
    let bench = bench.program("ssh", &ssh);
    let id_of_nobody = "#!/bin/sh\necho 1000\n";
    fs::create_dir(storage.join("bin")).unwrap();
    fs::copy(bench.path("ssh"), storage.join("bin/id")).unwrap();
    fs::write(storage.join("bin/id"), id_of_nobody).unwrap();
    let podman = |words: &[&str]| {
        let mut command = tool("podman", words);
        command.env("CONTAINERS_STORAGE_CONF", storage.join("storage.conf"));
        Ran::of(command, b"")
    };
    let deploy = |packed: &Packed| {
        let ssh = bench.path("ssh").display().to_string();
        let bundle = packed.path().to_str().unwrap();
        let words =
            ["deploy", "here", "--image", "--engine", "podman", "--json", "--bundle", bundle, "--ssh", &ssh];
        Ran::of(bench.coil(&words), b"").json()
    };
    let current = || {
        let words = ["image", "inspect", "--format", "sha256:{{.Id}}", "localhost/tool:current"];
        podman(&words).succeeded().stdout.trim().to_owned()
    };
    let first = deploy(&one);
    assert!(of(&first, "here")["now"] == *id(&one) && current() == ids[0], "{first}");
    let second = deploy(&two);
    assert!(of(&second, "here")["before"] == *id(&one) && current() == ids[1], "{second}");
    println!(
        "first: {} bytes; another runtime and a file: {} bytes",
        sent(&first, "here"),
        sent(&second, "here")
    );
    let layers = Bundle::open(two.path()).unwrap().manifest().layers.clone();
    let wheels: u64 = layers[1..].iter().map(|layer| layer.size).sum();
    assert!(sent(&second, "here") < layers[0].size + wheels / 2, "{second}");
    assert_eq!(sent(&deploy(&two), "here"), 0);
    // What is there by another name is not sent, and whole again where it was removed.
    podman(&["rmi", "-f", &ids[1]["sha256:".len()..]]).succeeded();
    assert!(sent(&deploy(&two), "here") > 0);
    assert_eq!(current(), ids[1]);
}
