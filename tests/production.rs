//! Promise: under a steady load, releases are exchanged a hundred times, forth and back, and nobody is refused, cut off or
//! left waiting; settings stay as they are. Real systemd, the servers that people use, wheels from the index: skipped
//! unless COIL_TEST_HOSTS=1 and COIL_TEST_ONLINE=1. Every tenth of the exchanges is made, all of them (a quarter of an
//! hour) with COIL_TEST_EXCHANGES=all.

mod kit;

use std::time::{Duration, Instant};

use kit::production::apps::{self, Versions};
use kit::production::client;
use kit::production::{Lan, Served};

/// Exchanges the releases so many times: four ways in turn, each to the other release than the one that serves.
fn exchange(served: &Served<'_>, times: usize, keep_alive: bool) {
    let before = served.settings();
    let load = served.load(8, 80, keep_alive);
    let mut took = Vec::new();
    for number in 0..times {
        let (word, name, then) = match number % 4 {
            0 => ("activate", "2", "release 2"),
            1 => ("activate", "1", "release 1"),
            2 => ("rollback", "1", "release 2"),
            _ => ("rollback", "2", "release 1"),
        };
        let start = Instant::now();
        let ran = served.own(word, name);
        took.push(start.elapsed());
        assert!(ran.status.success(), "exchange {number}: {ran}{}", served.journal());
        assert_eq!(served.answers(), then, "exchange {number}: {ran}");
    }
    let tally = load.stop();
    let way = if keep_alive { "keep-alive" } else { "one connection each" };
    eprintln!("{} exchanges: {}", times, kit::production::served::told(&mut took));
    served.no_request_failed(&format!("{times} exchanges, {way}"), &tally);
    assert!(tally.answers.len() == 2 && tally.longest < Duration::from_secs(5), "{tally}");
    assert_eq!(served.settings(), before);
    served.is_tidy();
    let log =
        String::from_utf8(served.host.read(&format!("/var/lib/{}/activations.log", served.name))).unwrap();
    assert!(log.lines().count() > times, "{log}");
    assert!(!log.contains("refused"), "{log}");
    // What is done before each start is no news.
    let said = format!("journalctl --no-pager -u '{}*' | grep /var/lib/coil/", served.name);
    assert_eq!(served.host.run(&said).stdout, "");
}

/// Does that with an app at a place, `:PORT` or the path of a socket.
fn exchanged(app: fn() -> &'static Versions, place: &str, path: &'static str, rounds: &[(usize, bool)]) {
    if !apps::wanted() {
        return;
    }
    let app = app();
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let address = match place.strip_prefix(':') {
        Some(port) => host.port(port.parse().unwrap()),
        None => host.socket(place),
    };
    let served = Served::on(&host, app, address, path);
    let all = std::env::var_os("COIL_TEST_EXCHANGES").is_some_and(|value| value == "all");
    for (times, keep_alive) in rounds {
        exchange(&served, if all { *times } else { (times / 10).max(4) }, *keep_alive);
    }
}

#[test]
fn django_behind_gunicorn_at_a_unix_socket_is_exchanged() {
    exchanged(apps::site, "/run/site/site.sock", "/release", &[(100, false)]);
}

#[test]
fn uvicorn_at_a_port_is_exchanged() {
    exchanged(apps::asgi, ":8000", "/", &[(100, false), (20, true)]);
}

#[test]
fn gunicorn_at_a_port_whose_workers_load_the_app_themselves_is_exchanged() {
    exchanged(apps::site_unloaded, ":8000", "/release", &[(20, false)]);
}

#[test]
fn uvicorn_at_a_unix_socket_is_exchanged() {
    exchanged(apps::asgi_at_a_file, "/run/asgi/asgi.sock", "/", &[(20, false), (8, true)]);
}

#[test]
fn the_django_example_is_migrated_and_asked_before_anybody_meets_it() {
    if !apps::wanted() {
        return;
    }
    let site = apps::example();
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    host.copy_in(site.path(), "/root/site");
    let own = |words: &str| {
        let ran = host.run(&format!("cd /root && COIL={words}"));
        eprintln!("COIL={words}: {ran}");
        ran
    };
    own("install ./site").succeeded();
    let refused = own("activate ./site");
    assert!(refused.stderr.contains("site does not start without SECRET_KEY"), "{refused}");
    // A site that answers to its own name is asked by another one.
    host.run("sed -i 's/^#SECRET_KEY=/SECRET_KEY=x/; s/^ALLOWED_HOSTS=.*/ALLOWED_HOSTS=site.example/' /etc/site/env");
    own("activate ./site").succeeded();
    let page = || client::get(&host.socket("/run/site/site.sock"), "/").unwrap().body;
    assert!(page().contains("0 entries so far"), "{}", page());
    assert!(own("exec ./site manage seed").succeeded().stdout.contains("3 entries written."));
    assert!(page().contains("3 entries so far"), "{}", page());
    own("status ./site").succeeded();
}
