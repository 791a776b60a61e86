//! Promise: what people really pack works: the four examples, a tool from the index, a package that
//! exists only as sources, with each resolver. Wheels come from the configured index, so that these tests
//! are skipped unless COIL_TEST_ONLINE=1.

mod kit;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use kit::{Bench, EmptyRoot, Packed, Ran, empty_root::WRITABLE, scratch, skip};

/// A bench with a network; `None`, with a word about it, where the tests are to do without.
fn online() -> Option<Bench> {
    if std::env::var("COIL_TEST_ONLINE").as_deref() == Ok("1") {
        return Some(Bench::new().with_network());
    }
    skip("this needs a package index; set COIL_TEST_ONLINE=1");
    None
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A start on this machine and one in an empty root, where that can be entered: what both print.
fn everywhere(packed: &Packed, arguments: &[&str]) -> Vec<String> {
    let mut said = vec![packed.start().env("LANG", "C.UTF-8").args(arguments).run().succeeded().stdout];
    match EmptyRoot::unavailable() {
        Some(reason) => skip(&format!("no other root can be entered here: {reason}")),
        None => {
            let root = EmptyRoot::new().with_file("app", packed.path()).env("COIL_CACHE", WRITABLE);
            // Without a HOME, Python asks for the user's entry in a file that is not there either.
            let root = root.env("HOME", WRITABLE);
            for start in ["cold", "warm"] {
                let ran = root.run(&[&["/app"], arguments].concat());
                assert!(ran.status.success(), "{start}: {ran}");
                said.push(ran.stdout);
            }
            assert_eq!(root.strays(), Vec::<PathBuf>::new());
        }
    }
    said
}

/// The resolvers that are installed here.
fn resolvers() -> Vec<&'static str> {
    let uv = Command::new("uv").arg("--version").output();
    if uv.is_ok_and(|output| output.status.success()) { vec!["uv", "pip"] } else { vec!["pip"] }
}

#[test]
fn hello() {
    let Some(bench) = online() else { return };
    let hello = bench.pack(&[example("hello")]);
    for said in everywhere(&hello, &["a b"]) {
        assert!(said.starts_with("Hello, world!\n") && said.contains("arguments  'a b'"), "{said}");
    }
    let children = hello.start().arg("--check-children").run().succeeded();
    assert_eq!(children.stdout.lines().filter(|line| line.starts_with("OK ")).count(), 6, "{children}");
    everywhere(&hello, &["--check-children"]);
}

#[test]
fn flask_cli_with_each_resolver() {
    let Some(bench) = online() else { return };
    let mut files = Vec::new();
    for resolver in resolvers() {
        let project = example("flask-cli");
        let words = [project.as_os_str(), "--resolver".as_ref(), resolver.as_ref()];
        let app = bench.pack_to(resolver, &words);
        assert!(app.start().arg("--version").run().printed().contains("1.0.0"), "{resolver}");
        assert!(
            app.start().args(&["fetch", "/"]).run().printed().contains("<h1>Served by Python"),
            "{resolver}"
        );
        let lost = app.start().args(&["fetch", "/no"]).run();
        assert!(lost.code() == Some(1) && lost.stderr.contains("404"), "{lost}");
        files.push(app);
    }
    if let [one, other] = files.as_slice() {
        let layers = |packed: &Packed| {
            let manifest =
                Ran::of(bench.coil(&["inspect".as_ref(), "--json".as_ref(), packed.path().as_os_str()]), b"");
            manifest.json()["layers"].clone()
        };
        assert_eq!(layers(one), layers(other), "both resolvers find the same wheels");
    }
    for said in everywhere(&files[0], &["--help"]) {
        assert!(said.contains("Serve the site until Ctrl-C."), "{said}");
    }
    assert_eq!(files[0].start().arg("check").run().succeeded().stdout.matches("ok: ").count(), 4);
}

#[test]
fn science() {
    let Some(bench) = online() else { return };
    let app = bench.pack(&[example("science/science.py")]);
    let said = everywhere(&app, &["--seed", "1", "--station", "Plain"]);
    assert!(said[0].starts_with("A year at 4 stations, seed 1: 1,464 days measured\n"), "{}", said[0]);
    for part in ["coldest", "rain_mm", "Harbour", "Plain, daily mean", "┤", "Jan"] {
        assert!(said[0].contains(part), "{part}: {}", said[0]);
    }
    assert!(said.iter().all(|other| *other == said[0]), "the same everywhere");
}

/// The guestbook with a database of its own.
struct Site {
    app: Packed,
    place: tempfile::TempDir,
}

impl Site {
    fn start(&self, command: &str) -> kit::Start {
        let start = self.app.start().env("COIL_RUN", command).env("DJANGO_DB", self.place.path().join("db"));
        start.env("ALLOWED_HOSTS", "localhost").env("HOME", self.place.path())
    }

    fn manage(&self, words: &[&str]) -> Ran {
        self.start("manage").args(words).run().succeeded()
    }
}

#[test]
fn django_site_with_gunicorn() {
    let Some(bench) = online() else { return };
    let site = Site { app: bench.pack(&[example("django-site")]), place: scratch() };
    assert!(site.manage(&["check"]).stdout.contains("no issues"));
    assert!(site.manage(&["migrate", "--no-color"]).stdout.contains("guestbook.0001_initial... OK"));
    assert!(site.manage(&["seed", "--no-color"]).stdout.contains("3 entries written."));
    assert!(site.manage(&["makemigrations", "--check", "--dry-run"]).stdout.contains("No changes"));
    let tests = site.manage(&["test", "guestbook"]);
    assert!(tests.stderr.contains("Ran 7 tests") && tests.stderr.contains("\nOK\n"), "{tests}");

    // The default command is gunicorn; a path below the test's directory may be too long for a socket.
    let sockets = tempfile::TempDir::new().unwrap();
    let socket = sockets.path().join("web");
    let web = site.start("").args(&["--bind", &format!("unix:{}", socket.display())]).spawn();
    let page = ask(|| UnixStream::connect(&socket), "/");
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("Looks like a virtualenv to me."),
        "{page}"
    );
    let style = ask(|| UnixStream::connect(&socket), "/static/guestbook/style.css");
    assert!(style.contains("Content-Type: text/css") && style.contains("body {"), "{style}");
    let sent = Command::new("kill").args(["-TERM", &web.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = Ran::to_its_end(web, b"");
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stderr.contains("Booting worker") && ended.stderr.contains("Shutting down"), "{ended}");
}

/// Asks a server, as soon as it listens, for a page.
fn ask<S: Read + Write>(connect: impl Fn() -> std::io::Result<S>, path: &str) -> String {
    let start = Instant::now();
    let mut stream = loop {
        match connect() {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "nobody listens: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    };
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("a server answers");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn django_site_in_an_empty_root() {
    let Some(bench) = online() else { return };
    if let Some(reason) = EmptyRoot::unavailable() {
        return skip(&format!("no other root can be entered here: {reason}"));
    }
    let app = bench.pack(&[example("django-site")]);
    let root =
        EmptyRoot::new().with_file("site", app.path()).env("COIL_CACHE", WRITABLE).env("COIL_RUN", "manage");
    let root = root.env("DJANGO_DB", format!("{WRITABLE}/db"));
    for (word, said) in
        [("check", "no issues"), ("migrate", "guestbook.0001_initial"), ("seed", "3 entries written.")]
    {
        let ran = root.run(&["/site", word]);
        assert!(ran.status.success() && ran.stdout.contains(said), "{word}: {ran}");
    }
    assert_eq!(root.strays(), Vec::<PathBuf>::new());
}

#[test]
fn flask_serves_on_a_port_until_it_is_told_to_stop() {
    let Some(bench) = online() else { return };
    let app = bench.pack(&[example("flask-cli")]);
    let mut child = app.start().args(&["serve", "--port", "0"]).env("PYTHONUNBUFFERED", "1").spawn();
    let mut port = None;
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while port.is_none() && reader.read_line(&mut line).is_ok_and(|count| count > 0) {
        port = line.rsplit_once("http://127.0.0.1:").map(|(_, port)| port.trim().to_owned());
    }
    let port = port.unwrap_or_else(|| panic!("no address is told: {line}"));
    let page = ask(|| TcpStream::connect(format!("127.0.0.1:{port}")), "/facts.json");
    assert!(page.contains("\"werkzeug\""), "{page}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_tool_from_the_index() {
    let Some(bench) = online() else { return };
    let http = bench.pack(&["httpie"]);
    for said in everywhere(&http, &["--version"]) {
        assert_eq!(said.trim().split('.').count(), 3, "{said}");
    }
    assert!(http.start().env("COIL_RUN", "https").arg("--help").run().succeeded().stdout.contains("usage:"));
    let lock = Ran::of(bench.coil(&["inspect", "--lock", "app"]), b"").succeeded().stdout;
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"].as_str() == Some("requests")), "{packages:?}");
    let hashed = |package: &toml::Value| {
        package["wheels"][0]["hashes"]["sha256"].as_str().is_some_and(|hash| hash.len() == 64)
    };
    assert!(packages.iter().all(hashed), "{packages:?}");
}

#[test]
fn a_package_that_exists_only_as_sources() {
    let Some(bench) = online() else { return };
    let bench = bench.file("main.py", "import docopt; print(docopt.__version__)");
    for resolver in resolvers() {
        let app = bench.pack(&["main.py", "docopt==0.6.2", "--resolver", resolver]);
        assert_eq!(app.start().run().printed(), "0.6.2", "{resolver}");
    }
}

#[test]
fn a_lock_with_hashes_from_the_index() {
    let Some(bench) = online() else { return };
    let zero = format!("six==1.16.0 --hash=sha256:{}\n", "0".repeat(64));
    let right =
        "six==1.16.0 --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\n";
    let bench = bench
        .file("wrong.txt", zero)
        .file("right.txt", right)
        .file("src/main.py", "import six; print(six.__version__)");
    for resolver in resolvers() {
        let words = |list| ["-r", list, "--app", "src", "-e", "main.py", "--resolver", resolver];
        assert_eq!(
            bench.pack_to("right", &words("right.txt")).start().run().printed(),
            "1.16.0",
            "{resolver}"
        );
        let ran = bench.try_pack(&[words("wrong.txt").as_slice(), &["-o", "wrong"]].concat());
        assert!(ran.code() == Some(1) && ran.stderr.contains("hash"), "{resolver}: {ran}");
        assert!(!fs::exists(bench.path("wrong")).unwrap());
    }
}

#[test]
fn a_lock_of_uv_from_the_index_keeps_its_versions_and_its_bytes() {
    let Some(bench) = online() else { return };
    if resolvers().len() < 2 {
        return skip("uv is not installed");
    }
    let page = "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"six==1.16.0\"]\n\
                optional-dependencies = { x = [\"idna==3.7\"] }\n[dependency-groups]\ndev = [\"iniconfig==2.0.0\"]\n";
    let main = "import importlib.metadata as m\nprint(*sorted(f'{d.name}={d.version}' for d in m.distributions()))\n";
    let bench = bench.file("p/pyproject.toml", page).file("p/main.py", main);
    let locked = Command::new("uv").args(["lock", "--quiet"]).current_dir(bench.path("p")).status().unwrap();
    assert!(locked.success());
    let words = ["p", "-e", "main.py", "--locked"];
    assert_eq!(bench.pack(&words).start().run().printed(), "six=1.16.0");
    let all = [&words[..], &["--extra", "x", "--dev"]].concat();
    let app = bench.pack(&all);
    assert_eq!(app.start().run().printed(), "idna=3.7 iniconfig=2.0.0 six=1.16.0");
    let first = fs::read(app.path()).unwrap();
    assert_eq!(fs::read(bench.pack_to("again", &all).path()).unwrap(), first);
}
