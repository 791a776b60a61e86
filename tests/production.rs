//! Promise: under a steady load, releases are exchanged a hundred times, forth and back, and nobody is refused, cut off or
//! left waiting; settings stay as they are. Real systemd, the servers that people use, wheels from the index: skipped
//! unless COIL_TEST_HOSTS=1 and COIL_TEST_ONLINE=1.

mod kit;

use std::time::{Duration, Instant};

use kit::production::apps::{self, Versions};
use kit::production::{Address, Host, Lan, Served};

/// Exchanges the releases so many times: four ways in turn, each to the other release than the one that serves.
fn exchange(served: &Served<'_>, times: usize, clients: u32, per_second: u32, keep_alive: bool) {
    let before = served.settings();
    let load = served.load(clients, per_second, keep_alive);
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
}

/// A host with the app on it, as its socket is.
fn host(lan: &Lan) -> Host {
    lan.host("web1").start()
}

fn served<'a>(host: &'a Host, app: &Versions) -> Served<'a> {
    match app.name {
        "asgi" => Served::on(host, app, host.port(8000), "/"),
        name => Served::on(host, app, host.socket(&format!("/run/{name}/{name}.sock")), "/release"),
    }
}

#[test]
fn django_behind_gunicorn_at_a_unix_socket_is_exchanged_a_hundred_times() {
    if !apps::wanted() {
        return;
    }
    let app = apps::site();
    let Some(lan) = Lan::wanted() else { return };
    let host = host(&lan);
    exchange(&served(&host, app), 100, 8, 80, false);
}

#[test]
fn uvicorn_at_a_port_is_exchanged_a_hundred_times() {
    if !apps::wanted() {
        return;
    }
    let app = apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let host = host(&lan);
    let served = served(&host, app);
    assert!(matches!(served.address, Address::Tcp(_)));
    exchange(&served, 100, 8, 160, false);
    exchange(&served, 20, 8, 160, true);
}
