//! Promise: a bundle becomes a package that the tools of its distribution take, with the same bytes every time; and what
//! other supervisors and proxies are told is complete.

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::clean_up::remove;
use kit::{Bench, Packed, QUICK, Ran, runtime_file, skip, small};
use sha2::{Digest, Sha256};

const PYPROJECT: &str = "\
[project]
name = 'My_Site'
version = '1.5rc1'
description = 'Answers requests'
license = 'MIT'
[project.urls]
Homepage = 'https://site.example/'
[tool.coil.commands]
web = 'main.py'
manage = 'manage.py'
nightly = 'main.py'
[tool.coil.services.web]
static = 'static'
[tool.coil.services.nightly]
schedule = 'daily'
[tool.coil.env]
SECRET_KEY = { required = true }
LEVEL = 'in \"fo\"'
";

/// A bench with the bundle `My_Site`, which has services.
fn site() -> Bench {
    let bench = Bench::new()
        .file("site/main.py", "print('web')\n")
        .file("site/manage.py", "print('manage')\n")
        .file("site/static/a.css", "a {}\n")
        .file("site/pyproject.toml", PYPROJECT);
    bench.pack(&["site", QUICK, "--runtime", runtime_file().to_str().unwrap()]);
    bench
}

fn coil(bench: &Bench, words: &[&str]) -> Ran {
    Ran::of(bench.coil(words), b"")
}

/// A member of a tar archive: mode, owner, time, and what it holds or leads to.
type Member = (u32, u64, u64, Vec<u8>);

fn tar_of(bytes: &[u8]) -> BTreeMap<String, Member> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(target) = entry.link_name_bytes() {
            content = target.into_owned();
        }
        let header = entry.header();
        let described = (header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap(), content);
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), described)
    });
    entries.collect()
}

/// The members of an `ar` archive, in order.
fn ar_of(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n").expect("an ar archive");
    let mut members = Vec::new();
    while !rest.is_empty() {
        let text =
            |range: std::ops::Range<usize>| std::str::from_utf8(&rest[range]).unwrap().trim().to_owned();
        let length: usize = text(48..58).parse().unwrap();
        assert_eq!(&rest[58..60], b"`\n");
        members.push((text(0..16), rest[60..60 + length].to_vec()));
        rest = &rest[60 + length.next_multiple_of(2)..];
    }
    members
}

fn deb_of(path: &Path) -> (BTreeMap<String, Member>, BTreeMap<String, Member>) {
    let members = ar_of(&fs::read(path).unwrap());
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["debian-binary", "control.tar", "data.tar"]);
    assert_eq!(members[0].1, b"2.0\n");
    (tar_of(&members[1].1), tar_of(&members[2].1))
}

fn text(archive: &BTreeMap<String, Member>, name: &str) -> String {
    String::from_utf8(archive.get(name).unwrap_or_else(|| panic!("{name} in {:?}", archive.keys())).3.clone())
        .unwrap()
}

#[test]
fn a_package_of_debian_holds_the_file_and_what_belongs_to_it() {
    let bench = site();
    coil(&bench, &["deb", "app", "--maintainer", "Jo <jo@example.com>"]).succeeded();
    let (control, data) = deb_of(&bench.path("my-site_1.5~rc1_amd64.deb"));
    let fields = text(&control, "./control");
    for line in [
        "Package: my-site",
        "Version: 1.5~rc1",
        "Architecture: amd64",
        "Maintainer: Jo <jo@example.com>",
        "Homepage: https://site.example/",
        "Description: Answers requests",
        "Recommends: systemd",
    ] {
        assert!(fields.lines().any(|there| there == line), "{line}: {fields}");
    }
    assert!(!fields.contains("Depends:"));
    assert_eq!(text(&control, "./conffiles"), "/etc/My_Site/env\n");
    assert!(text(&control, "./postinst").contains("COIL=activate /usr/lib/My_Site/My_Site\n"));
    let scripts: Vec<&String> =
        control.iter().filter(|(_, it)| it.0 == 0o755).map(|(name, _)| name).collect();
    assert_eq!(scripts, ["./", "./postinst", "./postrm", "./preinst", "./prerm"]);
    let names: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "./",
            "./etc/",
            "./etc/My_Site/",
            "./etc/My_Site/env",
            "./usr/",
            "./usr/lib/",
            "./usr/lib/My_Site/",
            "./usr/lib/My_Site/My_Site",
            "./usr/lib/systemd/",
            "./usr/lib/systemd/system/",
            "./usr/lib/systemd/system/My_Site-activate.service",
            "./usr/lib/systemd/system/multi-user.target.wants/",
            "./usr/lib/systemd/system/multi-user.target.wants/My_Site-activate.service",
            "./usr/share/",
            "./usr/share/doc/",
            "./usr/share/doc/my-site/",
            "./usr/share/doc/my-site/copyright",
            "./usr/share/doc/my-site/pylock.toml",
        ]
    );
    let bundle = &data["./usr/lib/My_Site/My_Site"];
    assert!((bundle.0, bundle.1) == (0o755, 0) && bundle.3 == fs::read(bench.path("app")).unwrap());
    assert_eq!(data["./etc/My_Site/env"].0, 0o600);
}

#[test]
fn a_program_is_started_by_the_names_of_its_commands() {
    let bench = Bench::new();
    let file = small("1").path().to_str().unwrap().to_owned();
    coil(&bench, &["deb", &file, "-o", "small.deb", "--version", "2:7-3"]).succeeded();
    let (control, data) = deb_of(&bench.path("small.deb"));
    assert!(text(&control, "./control").contains("\nVersion: 2:7-3\n"));
    assert!(!control.contains_key("./conffiles") && !control.contains_key("./postrm"));
    assert_eq!(text(&data, "./usr/bin/small"), "../lib/small/small");
    assert!(!data.keys().any(|name| name.contains("systemd") || name.contains("etc")));
}

#[test]
fn one_bundle_makes_one_package_to_the_last_byte() {
    let bench = Bench::new();
    let file = small("1").path().to_str().unwrap().to_owned();
    for kind in ["deb", "rpm"] {
        let made = |name: &str, epoch: &str| {
            let mut command = bench.coil(&[kind, &file, "-o", name]);
            command.env("TZ", if name == "a" { "UTC" } else { "Asia/Tokyo" });
            if !epoch.is_empty() {
                command.env("SOURCE_DATE_EPOCH", epoch);
            }
            Ran::of(command, b"").succeeded();
            fs::read(bench.path(name)).unwrap()
        };
        assert!(made("a", "") == made("b", ""), "{kind}");
        assert!(made("a", "") != made("b", "1700000000"), "{kind}");
        assert!(made("a", "1700000000") == made("b", "1700000000"), "{kind}");
        let mut command = bench.coil(&[kind, &file, "-o", "c"]);
        command.env("SOURCE_DATE_EPOCH", "yesterday");
        assert!(Ran::of(command, b"").stderr.contains("SOURCE_DATE_EPOCH"));
    }
}

#[test]
fn what_is_no_bundle_or_no_version_is_refused_and_leaves_no_file() {
    let bench = Bench::new().file("text", "text");
    let file = small("1").path().to_str().unwrap().to_owned();
    for kind in ["deb", "rpm"] {
        for words in [
            vec![kind, "text", "-o", "out"],
            vec![kind, &file, "-o", "out", "--version", "one"],
            vec![kind, &file, "-o", "out", "--maintainer", "Jo"],
            vec![kind, &file, "-o", "nowhere/out"],
        ] {
            let ran = coil(&bench, &words);
            assert!(ran.code() == Some(1) && ran.stderr.starts_with("error: "), "{ran}");
            assert!(!bench.path("out").exists());
        }
    }
}

#[test]
fn dpkg_reads_the_package_and_its_file_starts() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return skip("dpkg is not installed");
    }
    let bench = Bench::new();
    let file = small("1").path().to_str().unwrap().to_owned();
    coil(&bench, &["deb", &file, "-o", "small.deb"]).succeeded();
    let mut command = Command::new("dpkg-deb");
    command.arg("-x").arg(bench.path("small.deb")).arg(bench.path("root"));
    assert_eq!(Ran::of(command, b"").succeeded().stderr, "");
    let link = bench.path("root/usr/bin/small");
    Packed::at(bench.path("root/usr/lib/small/small")).start_as(&link).run().succeeded();
    let mut command = Command::new("dpkg-deb");
    command.arg("--field").arg(bench.path("small.deb")).arg("Package");
    assert_eq!(Ran::of(command, b"").printed(), "small");
    for (older, newer) in
        [("1.0~~dev1", "1.0~a1"), ("1.0~rc1", "1.0"), ("1.0", "1.0.post1"), ("1.0.post1", "1.1~~dev1")]
    {
        let order = Command::new("dpkg").args(["--compare-versions", older, "lt", newer]).status().unwrap();
        assert!(order.success(), "{older} {newer}");
    }
}

/// A header of an rpm: where it ends, and its values as bytes from where each begins.
fn rpm_header(bytes: &[u8]) -> (usize, BTreeMap<u32, &[u8]>) {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(&bytes[..4], [0x8E, 0xAD, 0xE8, 1]);
    let (count, length) = (number(8) as usize, number(12) as usize);
    let store = 16 + 16 * count;
    let entry =
        |at: usize| (number(16 + 16 * at), &bytes[store + number(24 + 16 * at) as usize..store + length]);
    (store + length, (0..count).map(entry).collect())
}

fn rpm_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next().unwrap()).unwrap()
}

#[test]
fn an_rpm_says_what_is_in_it_and_vouches_for_every_byte() {
    let bench = site();
    coil(&bench, &["rpm", "app"]).succeeded();
    let bytes = fs::read(bench.path("my-site-1.5~rc1-1.x86_64.rpm")).unwrap();
    assert_eq!(&bytes[..4], [0xED, 0xAB, 0xEE, 0xDB]);
    let (end, signature) = rpm_header(&bytes[96..]);
    let begin = 96 + end.next_multiple_of(8);
    let (length, header) = rpm_header(&bytes[begin..]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(rpm_text(signature[&273]), hex(&Sha256::digest(&bytes[begin..begin + length])));
    let payload = &bytes[begin + length..];
    assert_eq!(rpm_text(header[&5092]), hex(&Sha256::digest(payload)));
    for (tag, value) in [(1000, "my-site"), (1001, "1.5~rc1"), (1002, "1"), (1022, "x86_64"), (1014, "MIT")] {
        assert_eq!(rpm_text(header[&tag]), value);
    }
    assert!(rpm_text(header[&1024]).contains("COIL=activate /usr/lib/My_Site/My_Site\n"));
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(payload).read_to_end(&mut archive).unwrap();
    assert_eq!(rpm_text(header[&5097]), hex(&Sha256::digest(&archive)));
    let file = fs::read(bench.path("app")).unwrap();
    assert!(archive.windows(4096).any(|window| window == &file[..4096]));
    assert!(archive.ends_with(b"TRAILER!!!\0\0\0\0"));
}

#[test]
fn systemd_gets_the_same_units_as_from_the_bundle_itself() {
    let bench = site();
    let own = Packed::at(bench.path("app")).start().env("COIL", "units").run().printed();
    assert_eq!(coil(&bench, &["units", "app"]).printed(), own);
}

#[test]
fn other_supervisors_are_told_what_to_keep_running_and_how_it_is_started() {
    let bench = site();
    let file = bench.path("app");
    let start = format!("COIL=python {} /etc/My_Site/supervised.py web", file.display());
    for (supervisor, path) in [
        ("supervisord", "etc/supervisor/conf.d/My_Site.conf"),
        ("runit", "etc/sv/My_Site/run"),
        ("s6", "etc/s6/sv/My_Site/run"),
    ] {
        coil(&bench, &["units", "app", "--supervisor", supervisor, "-o", supervisor]).succeeded();
        let text = fs::read_to_string(bench.path(supervisor).join(path)).unwrap();
        assert!(text.contains(&start), "{text}");
        assert!(!text.contains("nightly"));
        let script = fs::read_to_string(bench.path(supervisor).join("etc/My_Site/supervised.py")).unwrap();
        for line in [
            "ADDRESSES = {\"web\": \"/run/My_Site/My_Site.sock\"}",
            "DEFAULTS = {\"LEVEL\": \"in \\\"fo\\\"\"}",
            "REQUIRED = [\"SECRET_KEY\"]",
        ] {
            assert!(script.lines().any(|there| there == line), "{line}: {script}");
        }
        assert!(script.contains("# nightly runs by a schedule (daily)"), "{script}");
        let left = script.split('@').count();
        assert_eq!(left, 1, "{script}");
    }
}

#[test]
fn a_proxy_is_told_the_socket_that_outlives_every_release() {
    let bench = site();
    let nginx = coil(&bench, &["units", "app", "--proxy", "nginx"]).printed();
    assert!(nginx.contains("server unix:/run/My_Site/My_Site.sock weight=100;"), "{nginx}");
    assert!(nginx.contains("try_files /current/static/$1 /previous/static/$1 =404;"));
    let haproxy = coil(&bench, &["units", "app", "--proxy", "haproxy"]).printed();
    assert!(haproxy.contains("server active unix@/run/My_Site/My_Site.sock weight 100"), "{haproxy}");
    assert!(
        haproxy.contains("server canary unix@/run/My_Site/My_Site-canary.sock weight 0 disabled"),
        "{haproxy}"
    );
    let file = small("1").path().to_str().unwrap().to_owned();
    let ran = coil(&bench, &["units", &file, "--proxy", "nginx"]);
    assert!(ran.stderr.contains("has no service that answers requests"), "{ran}");
}

#[test]
fn removing_an_app_from_a_store_leaves_what_others_need() {
    let store = kit::scratch();
    for version in ["1", "2"] {
        let installed = small(version).start().env("COIL", "install").arg(store.path());
        installed.run().succeeded();
    }
    let layers = || fs::read_dir(store.path().join("layers")).unwrap().count();
    assert_eq!(layers(), 4);
    let [first, second] =
        ["1", "2"].map(|version| Bundle::open(small(version).path()).unwrap().digest().hex());
    let removed = remove(store.path(), std::slice::from_ref(&first)).unwrap();
    assert_eq!((removed.environments, removed.layers, layers()), (1, 1, 3));
    small("2").start().cache(store.path()).run().succeeded();
    let removed = remove(store.path(), &[first]).unwrap();
    assert_eq!((removed.environments, removed.layers, layers()), (0, 0, 3));
    let removed = remove(store.path(), &[second]).unwrap();
    assert_eq!((removed.environments, removed.layers, layers()), (1, 3, 0));
}

#[test]
fn the_examples_for_orchestrators_are_read_by_their_tools() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy");
    let tools: [&[&str]; 2] = [
        &["docker", "stack", "config", "-c", "swarm.yaml"],
        &["kubernetes-validate", "-k", "1.30", "--strict", "kubernetes.yaml"],
    ];
    for words in tools {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&examples);
        let is_there =
            Command::new(words[0]).arg("--version").output().is_ok_and(|output| output.status.success());
        let knows = words[0] != "docker" || {
            let help = Command::new("docker").args(["stack", "config", "--help"]).output();
            help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("config [OPTIONS]"))
        };
        if !is_there || !knows {
            skip(&format!("{} is not installed, or is an old one", words[0]));
            continue;
        }
        let ran = Ran::of(command, b"").succeeded();
        assert!(ran.stdout.len() + ran.stderr.len() > 0, "{ran}");
    }
}
