//! Promise: over real ssh to hosts with a real systemd, `coil deploy` and `coil rollback` leave hosts that are down, full or
//! slow to themselves, say what became of each, cost the clients of the others nothing and touch no settings; what is sent is
//! what changed. Skipped unless COIL_TEST_HOSTS=1 and COIL_TEST_ONLINE=1.

mod kit;

use std::fs;

use kit::outcomes::{json, of};
use kit::production::apps::{self, Asgi};
use kit::production::ssh::{Config, Way};
use kit::production::{Flavour, Host, Lan, Served};
use kit::{Packed, Ran};
use serde_json::Value;

/// The hosts that nothing is wrong with, one that loses its power, one whose disk fills, one with a slow cable.
const WELL: [&str; 5] = ["web1", "web2", "web3", "web4", "web5"];
const DOWN: &str = "web6";
const FULL: &str = "web7";
const SLOW: &str = "web8";

/// All of them.
const ALL: [&str; 8] = ["web1", "web2", "web3", "web4", "web5", DOWN, FULL, SLOW];

/// The hosts that a release can reach whatever is wrong with the others.
const REACHED: [&str; 6] = ["web1", "web2", "web3", "web4", "web5", SLOW];

/// `coil deploy` of the bundle to `hosts`.
fn deploy(config: &Config, bundle: &Packed, hosts: &[&str], words: &[&str]) -> Ran {
    let head = ["deploy", "--bundle", bundle.path().to_str().unwrap()];
    let ran = config.coil(&[&head, hosts, words].concat());
    eprintln!("coil deploy {} {}\n{ran}", hosts.join(" "), words.join(" "));
    ran
}

fn served(host: &Host) -> Served<'_> {
    Served::already(host, "asgi", host.port(8000), "/")
}

/// How it ended for each of these hosts.
fn outcomes<'a>(told: &'a Value, hosts: &[&str]) -> Vec<&'a str> {
    hosts.iter().map(|host| of(told, host)["outcome"].as_str().unwrap()).collect()
}

fn text<'a>(told: &'a Value, host: &str, key: &str) -> &'a str {
    of(told, host)[key].as_str().unwrap_or_default()
}

#[test]
fn of_eight_hosts_one_is_down_one_is_full_and_one_is_slow() {
    if !apps::wanted() {
        return;
    }
    let one = &apps::asgi().one;
    let of_asgi = Asgi::default();
    let two = apps::asgi_with("heavier", Asgi { release: "2", noise: 3 << 20, ..of_asgi });
    let bad = apps::asgi_with(
        "canary",
        Asgi { release: "bad", code: "raise SystemExit('no such luck')", ..of_asgi },
    );
    let Some(lan) = Lan::wanted() else { return };
    let well = WELL.map(|name| lan.host(name).start());
    let mut down = lan.host(DOWN).start();
    let full = lan.host(FULL).var_of(700 << 20).start();
    let slow = lan.host(SLOW).start();
    let reached = || well.iter().chain([&slow]);
    let everybody: Vec<&Host> = well.iter().chain([&down, &full, &slow]).collect();
    let config = Config::new(&lan, &everybody, Way::Direct);

    let told = deploy(&config, one, &ALL, &["--json"]).json();
    assert_eq!(outcomes(&told, &ALL), ["active"; 8]);
    let first = text(&told, "web1", "now").to_owned();
    for host in &everybody {
        host.write("/etc/asgi/env", "# ours\nWEB_CONCURRENCY=1\n\nSECRET_KEY='a b' \nTITLE=x");
    }
    let settings = |host: &Host| {
        let stat = host.run("stat -c '%a %U %s %Y %i' /etc/asgi/env").printed();
        (stat, host.read("/etc/asgi/env"))
    };
    let before: Vec<_> = everybody.iter().map(|host| settings(host)).collect();
    let load = served(&well[0]).load(8, 120, false);

    down.kill();
    full.fill("/var", 1 << 20);
    slow.slow(6_000_000);
    let ran = deploy(&config, &two, &ALL, &[]);
    assert_eq!(ran.code(), Some(1));
    for (host, outcome) in ALL.iter().zip(["installed"; 5].iter().chain(&["failed", "failed", "installed"])) {
        let line = ran.stdout.lines().find(|line| line.starts_with(host)).unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        let was = if *host == DOWN { "-" } else { &first };
        assert_eq!((cells[1], cells[2], *cells.last().unwrap()), (was, was, *outcome), "{line}");
    }
    for said in [
        "warning: web6: ssh cannot reach it: connect to host 10.77.0.16 port 22: ",
        "warning: web7: no space is left in ",
        "is active on 0 of 8 hosts; failed: web6 web7",
        "nothing has changed for anybody",
    ] {
        assert!(ran.stderr.contains(said), "{said}");
    }
    for host in reached().chain([&full]) {
        assert_eq!(served(host).answers(), "release 1", "{}", host.name());
        served(host).is_tidy();
    }

    let ran = deploy(&config, &two, &ALL, &["--keep-going", "--json"]);
    assert_eq!(ran.code(), Some(1));
    let told = json(&ran);
    assert_eq!(outcomes(&told, &REACHED), ["active"; 6]);
    assert_eq!(outcomes(&told, &[DOWN, FULL]), ["failed"; 2]);
    for host in REACHED {
        assert!(text(&told, host, "before") == first && of(&told, host)["now"] == told["release"], "{host}");
        assert!(of(&told, host)["sent"].as_u64().unwrap() < 4096, "it was there: {host}");
    }
    assert!(text(&told, DOWN, "error").starts_with("ssh cannot reach it: connect to host "), "{told}");
    assert!(text(&told, FULL, "error").contains("no space is left in ") && text(&told, FULL, "now") == first);
    assert!(ran.stderr.contains("`coil rollback web1 web2 web3 web4 web5 web8 --app asgi`"), "{ran}");
    for host in reached() {
        assert_eq!(served(host).answers(), "release 2", "{}", host.name());
    }
    assert_eq!(served(&full).answers(), "release 1");

    let ran = deploy(&config, &bad, &REACHED, &["--canary", "1", "--wait", "1s", "--json"]);
    assert_eq!(ran.code(), Some(1));
    let told = json(&ran);
    assert_eq!(
        outcomes(&told, &REACHED),
        ["failed", "installed", "installed", "installed", "installed", "installed"]
    );
    assert!(text(&told, "web1", "error").contains("no such luck"), "{told}");
    for host in reached() {
        assert_eq!(served(host).answers(), "release 2", "{}", host.name());
    }

    let ran = config.coil(&[&["rollback", "--app", "asgi", "--json"], &REACHED[..]].concat());
    assert_eq!(outcomes(&ran.json(), &REACHED), ["rolled-back"; 6]);
    for host in reached() {
        assert_eq!(served(host).answers(), "release 1", "{}", host.name());
    }

    // What was wrong is put right: the same words finish it, and one word takes all of it back.
    down.power_on();
    full.unfill("/var");
    let told = deploy(&config, &two, &ALL, &["--json", "--quiet"]).json();
    assert_eq!(outcomes(&told, &ALL), ["active"; 8]);
    let ran = config.coil(&[&["rollback", "--app", "asgi"], &ALL[..]].concat()).succeeded();
    assert_eq!(ran.stdout.matches("rolled back").count(), 8, "{ran}");
    let tally = load.stop();
    let everybody: Vec<&Host> = well.iter().chain([&down, &full, &slow]).collect();
    for (host, before) in everybody.iter().zip(&before) {
        assert_eq!(served(host).answers(), "release 1", "{}", host.name());
        served(host).is_tidy();
        assert_eq!(&settings(host), before, "{}", host.name());
    }
    served(&well[0]).no_request_failed("three releases and two ways back", &tally);
    assert_eq!(tally.answers.keys().collect::<Vec<_>>(), ["release 1", "release 2"], "{tally}");
}

#[test]
fn a_canary_that_dies_again_and_again_keeps_the_others_from_it() {
    if !apps::wanted() {
        return;
    }
    let one = &apps::asgi().one;
    let code = "import os, threading; threading.Timer(1.5, os._exit, [1]).start()";
    let bad = apps::asgi_with("dying", Asgi { release: "bad", code, ..Asgi::default() });
    let Some(lan) = Lan::wanted() else { return };
    let hosts = [lan.host("web1").start(), lan.host("web2").start()];
    let config = Config::new(&lan, &[&hosts[0], &hosts[1]], Way::Shared);
    deploy(&config, one, &["web1", "web2"], &[]).succeeded();
    let words = ["--canary", "1", "--wait", "6s", "--rollback-on-failure", "--json"];
    let ran = deploy(&config, &bad, &["web1", "web2"], &words);
    assert_eq!(ran.code(), Some(1));
    assert_eq!(outcomes(&json(&ran), &["web1", "web2"]), ["rolled-back", "installed"]);
    assert!(ran.stderr.contains("died and was started again (restarts: "), "{ran}");
    assert!(ran.stderr.contains("is active on 0 of 2 hosts; failed: web1\n"), "{ran}");
    for host in &hosts {
        assert_eq!(served(host).answers(), "release 1", "{}", host.name());
    }
}

#[test]
fn what_is_sent_is_what_changed() {
    if !apps::wanted() {
        return;
    }
    let app = apps::asgi();
    let of_asgi = Asgi { release: "2", ..Asgi::default() };
    let wheel = apps::asgi_with("wheel", Asgi { requirements: "h11==0.14.0", ..of_asgi });
    let file = apps::bench().path("other.rt");
    let words = ["runtime", "build", "--level", "3", "-o", file.to_str().unwrap()];
    Ran::of(apps::bench().coil(&words), b"").succeeded();
    let runtime = apps::asgi_with("runtime", Asgi { runtime: Some(&file), ..of_asgi });
    let size = |bundle: &Packed| fs::metadata(bundle.path()).unwrap().len();
    let (whole, part) = (size(&app.one), fs::metadata(&file).unwrap().len());
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let config = Config::new(&lan, &[&host], Way::Direct);
    for (what, bundle, bounds) in [
        ("everything", &app.one, whole * 95 / 100..whole * 105 / 100),
        ("a line of the app", &app.two, 1000..100_000),
        ("a wheel", &wheel, 10_000..300_000),
        ("the runtime", &runtime, part / 4..part * 105 / 100),
        ("nothing", &runtime, 0..4096),
    ] {
        let told = config.coil(&[
            "deploy",
            "web1",
            "--no-activate",
            "--json",
            "--bundle",
            bundle.path().to_str().unwrap(),
        ]);
        let told = told.json();
        let sent = of(&told, "web1")["sent"].as_u64().unwrap();
        eprintln!("sent where {what} changed: {sent} bytes of {}", size(bundle));
        assert!(bounds.contains(&sent), "{what}: {sent}, not {bounds:?}");
        let there = format!("/var/lib/asgi/releases/{}/asgi", told["release"].as_str().unwrap());
        assert!(host.read(&there) == fs::read(bundle.path()).unwrap(), "{what}");
    }
}

#[test]
fn a_login_that_is_not_root_becomes_root_with_sudo_where_it_may() {
    if !apps::wanted() {
        return;
    }
    let app = apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").flavour(Flavour::Tools).start();
    host.run(
        "useradd --create-home --shell /bin/bash jo
         install -d -m 700 -o jo -g jo /home/jo/.ssh
         install -m 600 -o jo -g jo /root/.ssh/authorized_keys /home/jo/.ssh/",
    )
    .succeeded();
    let config = Config::new(&lan, &[&host], Way::Direct);
    let why = |words: &[&str]| {
        let ran = deploy(&config, &app.one, &["jo@web1"], &[&["--json"], words].concat());
        assert_eq!(ran.code(), Some(1));
        (text(&json(&ran), "jo@web1", "error").to_owned(), ran.stderr)
    };
    let (error, said) = why(&[]);
    assert!(error.contains("the login is not root") && said.contains("--sudo"), "{said}");
    let (error, _) = why(&["--sudo"]);
    assert_eq!(error, "the login may not become root: sudo: a password is required");
    assert_eq!(host.run("ls /var/lib/coil /var/lib/asgi 2>/dev/null").stdout, "");
    // As later releases of Debian have it: a terminal of sudo's own, which must change no byte.
    let rules = "Defaults use_pty\njo ALL=(ALL) NOPASSWD: ALL\n";
    host.write("/etc/sudoers.d/jo", rules);
    for bundle in [&app.one, &app.two] {
        deploy(&config, bundle, &["jo@web1"], &["--sudo"]).succeeded();
    }
    assert_eq!(served(&host).answers(), "release 2");
    config.coil(&["rollback", "jo@web1", "--app", "asgi", "--sudo"]).succeeded();
    assert_eq!(served(&host).answers(), "release 1");
    assert_eq!(
        host.run("id -u jo; find /home/jo /tmp -user jo -newer /etc/sudoers.d/jo").stdout.lines().count(),
        1
    );
}
