//! Promise: a bundle says what a server is to run of it, in units that systemd understands and that give its processes no
//! more than they need; without systemd, without services and without being root it says what is missing.
//!
//! What happens on servers is in `production_*.rs`, which boots them.

mod kit;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use kit::{Bench, QUICK, Ran, runtime_file};

const SETTINGS: &str = "\
name = 'site'
[services.web]
listen = '127.0.0.1:8000'
probe = '/health'
drain = 7
[services]
nightly = { schedule = '*-*-* 03:00:00' }
[env]
SECRET_KEY = { required = true, help = 'signs sessions' }
LEVEL = 'info'
[commands]
nightly = 'main.py'
manage = 'main.py'
";

fn bench(settings: &str, procfile: &str) -> Bench {
    let bench = Bench::new()
        .file("site/main.py", "print('main')\n")
        .file("site/coil.toml", settings)
        .file("site/Procfile", procfile);
    bench.pack(&["site", QUICK, "--runtime", runtime_file().to_str().unwrap()]);
    bench
}

/// What `COIL=WHAT ./app` says.
fn told(bench: &Bench, what: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(bench.path("app"));
    command.env("COIL", what).env("COIL_CACHE", bench.path("cache")).args(args);
    Ran::of(command, b"")
}

/// The units, each in a file, in a directory of its own.
fn units(bench: &Bench) -> PathBuf {
    let directory = bench.path("units");
    fs::create_dir_all(&directory).unwrap();
    let mut path = None;
    for line in told(bench, "units", &[]).printed().lines() {
        let name = line.strip_prefix("# /etc/systemd/system/").filter(|name| !name.contains('/'));
        if let Some(name) = name {
            path = Some(directory.join(name));
            continue;
        }
        let mut file = File::options().create(true).append(true).open(path.as_ref().unwrap()).unwrap();
        writeln!(file, "{line}").unwrap();
    }
    directory
}

#[test]
fn process_types_of_a_procfile_become_units_with_what_is_said_of_them() {
    let bench = bench(SETTINGS, "web: main.py serve\nworker: main.py work\nrelease: main.py migrate\n");
    let directory = units(&bench);
    let mut names: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "site-nightly.timer",
        "site-nightly@.service",
        "site-release@.service",
        "site-worker@.service",
        "site.socket",
        "site.target",
        "site@.service",
    ];
    assert_eq!(names, expected);
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    assert!(read("site.socket").contains("\nListenStream=127.0.0.1:8000\n"));
    assert!(read("site@.service").contains("\nTimeoutStopSec=7\n"));
    assert!(read("site-nightly.timer").contains("\nOnCalendar=*-*-* 03:00:00\n"));
    // `COIL=units` of the same bundle says the same through `coil`.
    assert_eq!(Ran::of(bench.coil(&["units", "app"]), b"").printed(), told(&bench, "units", &[]).printed());
}

#[test]
fn units_are_understood_by_systemd_and_keep_processes_to_what_is_theirs() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        kit::skip("there is no systemd-analyze here");
        return;
    }
    let bench = bench(SETTINGS, "web: main.py serve\nworker: main.py work\nrelease: main.py migrate\n");
    let directory = units(&bench);
    // An instance is a template under a name; its program is not installed here.
    for name in ["site", "site-worker", "site-nightly", "site-release"] {
        let text = fs::read_to_string(directory.join(format!("{name}@.service"))).unwrap();
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("ExecStartPre=")).collect();
        let text = text.join("\n").replace("/var/lib/site/releases/%i/site", "/bin/true");
        fs::write(directory.join(format!("{name}@.service")), text).unwrap();
        let path = directory.join(format!("{name}@0123456789ab.service"));
        fs::copy(directory.join(format!("{name}@.service")), &path).unwrap();
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--threshold=20"]).arg(&path);
        let said = Ran::of(command, b"");
        assert_eq!(said.code(), Some(0), "{name} may do too much:\n{said}");
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).env("SYSTEMD_UNIT_PATH", format!("{}:", directory.display()));
    command.args(
        fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.to_str().unwrap().contains("@.")),
    );
    let said = Ran::of(command, b"");
    assert_eq!(said.code(), Some(0), "{said}");
    let about: Vec<&str> = said.stderr.lines().filter(|line| line.contains("site")).collect();
    assert!(about.is_empty(), "{about:#?}");
}

#[test]
fn without_services_there_is_nothing_to_activate_and_without_systemd_nobody_to_do_it() {
    if PathBuf::from("/run/systemd/system").exists() {
        kit::skip("systemd is in charge here");
        return;
    }
    let bench = bench("name = 'site'\ndefault = 'other'\n[commands]\nother = 'main.py'\n", "");
    for what in ["activate", "rollback"] {
        let said = told(&bench, what, &[]);
        assert_eq!(said.code(), Some(125), "{said}");
        let expected = if kit::empty_root::is_root() { "needs systemd" } else { "is for root to do" };
        assert!(said.stderr.contains(expected), "{said}");
    }
    let said = told(&bench, "status", &[]).printed();
    assert!(said.starts_with("site: nothing is installed"), "{said}");
    let json = told(&bench, "status", &["--json"]).json();
    assert_eq!((json["app"].as_str(), json["current"].is_null()), (Some("site"), true));
}

#[test]
fn a_service_that_is_no_command_is_answered_with_the_nearest() {
    let bench = Bench::new()
        .file("site/main.py", "")
        .file("site/coil.toml", "[services]\nwrker = {}\n[commands]\nworker = 'main.py'\n");
    let mut command =
        bench.coil(&["pack", "site", "-o", "app", "--runtime", runtime_file().to_str().unwrap()]);
    bench.limit(&mut command);
    let said = Ran::of(command, b"");
    assert_eq!(said.code(), Some(1), "{said}");
    assert!(said.stderr.contains("did you mean worker?"), "{said}");
}
