//! Promise: what supervisors other than systemd and proxies in front are told makes them do what it says, at a port as well as
//! at a socket file: the same settings as under systemd, byte for byte, the app's own user, a new start after a crash; a proxy
//! whose clients do not notice an exchange of releases. The real programs: skipped unless COIL_TEST_HOSTS=1 and
//! COIL_TEST_ONLINE=1.

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use kit::production::apps::{self, Asgi, Versions};
use kit::production::{Flavour, Host, Lan, Served};
use kit::{Packed, Ran};

/// What administrators write, and what means something else to a shell than to systemd.
const SETTINGS: &str = r#"# A=1
  ; B=2
PLAIN=1
 SPACED = 'x y'
HASH=a#b'c"d$e
WORDS=a b  
ESCAPED="q\"w\$x\\ \n"tail
EMPTY=
LINES="two
lines"
JOINED=a\
b\ c
NOTHING
LAST=x"#;

/// Writes down what it was started with, and stays.
const DUMP: &str = "import json, os, time
with open('dump.new', 'w') as file:
    json.dump(dict(os.environ), file)
os.rename('dump.new', 'dump')
time.sleep(100000)
";

/// The files of `coil units` with these words, in a directory of this machine that stands for the host's root.
fn units(name: &str, bundle: &Packed, words: &[&str]) -> PathBuf {
    let directory = apps::bench().path(name);
    let _ = fs::remove_dir_all(&directory);
    let words =
        [&["units", bundle.path().to_str().unwrap(), "-o", directory.to_str().unwrap()], words].concat();
    Ran::of(apps::bench().coil(&words), b"").succeeded();
    directory
}

/// What comes of the script, which is tried again until there is something.
fn until(host: &Host, script: &str) -> String {
    let start = Instant::now();
    loop {
        let ran = host.run(script);
        if ran.status.success() && !ran.stdout.is_empty() {
            return ran.stdout.trim_end().to_owned();
        }
        let journal = || host.run("journalctl --no-pager -n 50; cat /var/log/supervisor/*").stdout;
        assert!(start.elapsed() < Duration::from_secs(20), "{script}: {ran}{}", journal());
        thread::sleep(Duration::from_millis(100));
    }
}

/// What the process type `dump` was started with, of the settings.
fn dumped(host: &Host) -> BTreeMap<String, String> {
    let told = until(host, "cat /var/lib/asgi/state/dump");
    let mut told: BTreeMap<String, String> = serde_json::from_str(&told).unwrap();
    let ours = |name: &str| {
        ["LEVEL", "b"].contains(&name)
            || SETTINGS
                .lines()
                .any(|line| line.contains(&format!("{name} =")) || line.contains(&format!("{name}=")))
    };
    told.retain(|name, _| ours(name));
    told
}

#[test]
fn supervisors_start_the_app_as_systemd_does() {
    if !apps::wanted() {
        return;
    }
    let of_asgi = Asgi {
        release: "1",
        commands: "dump = \"release.py\"",
        web: "[tool.coil.services]\ndump = {}\n[tool.coil.env]\nLEVEL = 'in \"fo\" $x'\nPLAIN = \"0\"\nLAST = { required = true }",
        step: DUMP,
        ..Asgi::default()
    };
    let everywhere = apps::asgi_with("everywhere", of_asgi);
    let here = apps::asgi_with("here", Asgi { listen: "127.0.0.1:8000", ..of_asgi });
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").flavour(Flavour::Tools).start();
    host.run("useradd --system --no-create-home asgi").succeeded();
    let scan =
        |place: &str, sv: &str| format!("mkdir -p {place} && ln -s {sv}/asgi {sv}/asgi-dump {place}/ && ");
    let cases = [
        (
            "runit",
            &everywhere,
            scan("/srv/runit", "/etc/sv") + "systemd-run -q --unit runit runsvdir -P /srv/runit",
            "sv -w 10 stop /srv/runit/asgi /srv/runit/asgi-dump && systemctl stop runit",
        ),
        (
            "s6",
            &here,
            scan("/srv/s6", "/etc/s6/sv") + "systemd-run -q --unit s6 s6-svscan /srv/s6",
            "s6-svc -wD -d /srv/s6/asgi && s6-svc -wD -d /srv/s6/asgi-dump && systemctl stop s6",
        ),
        (
            "supervisord",
            &here,
            "systemctl start supervisor".into(),
            "supervisorctl stop asgi asgi-dump && systemctl stop supervisor",
        ),
    ];
    let mut seen = BTreeMap::new();
    for (supervisor, bundle, start, stop) in &cases {
        host.copy_all_in(&units(supervisor, bundle, &["--supervisor", supervisor]));
        let file = bundle.path().to_str().unwrap();
        host.copy_in(bundle.path(), file);
        host.run(&format!("COIL=install {file} /var/lib/coil")).succeeded();
        // A setting that is required is missed first.
        host.write("/etc/asgi/env", "PLAIN=1\n");
        let ran = host.run(&format!("COIL=python timeout 10 {file} /etc/asgi/supervised.py web"));
        assert!(ran.stderr.contains("asgi does not start without LAST"), "{supervisor}: {ran}");
        host.write("/etc/asgi/env", SETTINGS);
        host.run(start).succeeded();
        let answer = "curl -sf http://127.0.0.1:8000/";
        assert_eq!(until(&host, answer), "release 1", "{supervisor}");
        let outside = kit::production::client::get(&host.port(8000), "/").is_ok();
        let on_six = host.run("curl -sf 'http://[::1]:8000/'").status.success();
        assert_eq!([outside, on_six], [*supervisor == "runit"; 2], "{supervisor}");
        seen.insert(*supervisor, dumped(&host));
        let web = "pgrep -u asgi -f 'uvicorn --fd 3'";
        let first = until(&host, web);
        host.run(&format!("kill -KILL {}", first.replace('\n', " "))).succeeded();
        assert_eq!(until(&host, answer), "release 1", "{supervisor}");
        assert_ne!(until(&host, web), first, "{supervisor}");
        host.run(stop).succeeded();
        assert_eq!(host.run("pgrep -u asgi -a").stdout, "", "{supervisor}");
        assert!(!host.run(answer).status.success());
        host.run("rm -r /var/lib/asgi").succeeded();
    }
    host.run("userdel asgi").succeeded();
    let file = here.path().to_str().unwrap();
    host.run(&format!("COIL=install {file} && COIL=activate {file}")).succeeded();
    let by_systemd = dumped(&host);
    assert_eq!(by_systemd.len(), 10, "{by_systemd:?}");
    for (supervisor, environment) in seen {
        assert_eq!(environment, by_systemd, "{supervisor}");
    }
}

#[test]
fn behind_a_proxy_an_exchange_of_releases_is_not_noticed() {
    if !apps::wanted() {
        return;
    }
    let of_release = |release: &str| {
        let asgi = Asgi { release, listen: "127.0.0.1:8000", ..Asgi::default() };
        apps::asgi_with(&format!("behind-{release}"), asgi)
    };
    let app = Versions { name: "asgi", one: of_release("1"), two: of_release("2") };
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").flavour(Flavour::Proxies).start();
    host.run("rm /etc/nginx/sites-enabled/default; echo 'EXTRAOPTS=\"-f /etc/haproxy/asgi.cfg\"' >>/etc/default/haproxy").succeeded();
    for (proxy, check) in [
        ("nginx", "nginx -t"),
        ("haproxy", "haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/asgi.cfg"),
    ] {
        host.copy_all_in(&units(proxy, &app.one, &["--proxy", proxy]));
        host.run(check).succeeded();
        host.run(&format!("systemctl start {proxy}")).succeeded();
        let served = Served::on(&host, &app, host.port(80), "/");
        for keep_alive in [false, true] {
            let load = served.load(8, 160, keep_alive);
            for name in ["2", "1", "2", "1"] {
                served.own("activate", name).succeeded();
                assert_eq!(served.answers(), format!("release {name}"));
            }
            let tally = load.stop();
            served.no_request_failed(&format!("behind {proxy}, keep-alive {keep_alive}"), &tally);
            assert_eq!((tally.answers.len(), tally.closed_while_idle), (2, 0), "{tally}");
        }
        host.run(&format!("systemctl stop {proxy}")).succeeded();
    }
}
