//! Promise: a release gets the share of the requests that it is told to get, beside the one that serves, from the proxy that
//! is in front of both; neither its coming nor its going costs a request, and where no proxy weights there is no share. Real
//! haproxy and nginx with the texts that `coil units --proxy` prints. Skipped unless COIL_TEST_HOSTS=1 and COIL_TEST_ONLINE=1.

mod kit;

use kit::production::apps::{self, Asgi, Versions};
use kit::production::{Flavour, Host, Lan, Served};
use kit::{Packed, Ran};

/// How many of so many requests the second release answers.
fn second(served: &Served<'_>, of: usize) -> usize {
    (0..of).filter(|_| served.answers() == "release 2").count()
}

fn told(versions: &Versions, proxy: &str) -> String {
    let file = versions.one.path().to_str().unwrap();
    // haproxy insists on the end of the last line.
    Ran::of(apps::bench().coil(&["units", file, "--proxy", proxy]), b"").printed() + "\n"
}

/// What every proxy has to keep.
fn is_shared(served: &Served<'_>, bad: &Packed) {
    served.bring("bad", bad);
    let settings = served.settings();
    let load = served.load(4, 100, true);
    let give =
        |name: &str, share: u8| served.host.run(&format!("COIL=activate /root/{name} --weight {share}"));
    assert!(give("2", 10).printed().contains("gets 10 of 100 requests beside"));
    let few = second(served, 200);
    assert!((14..=26).contains(&few), "{few} of 200");
    let status = served.host.run("COIL=status /root/1 --json").json();
    assert_eq!(status["canary"]["weight"], 10);
    assert_ne!(status["canary"]["id"], status["current"]);
    give("2", 60).succeeded();
    let many = second(served, 200);
    assert!((110..=130).contains(&many), "{many} of 200");
    eprintln!("{}: of 200 requests {few} at 10, {many} at 60", served.name);
    // The one that serves has all requests that no other has.
    assert!(give("1", 10).stderr.contains("serves already"));
    served.host.run("COIL=rollback /root/1").succeeded();
    assert_eq!(second(served, 50), 0);
    served.is_tidy();
    let refused = give("bad", 10);
    assert!(refused.code() == Some(125) && refused.stderr.contains("500"), "{refused}");
    assert_eq!(second(served, 20), 0);
    served.is_tidy();
    give("2", 30).succeeded();
    give("2", 0).succeeded();
    assert_eq!(second(served, 20), 0);
    give("2", 30).succeeded();
    served.own("activate", "2").succeeded();
    assert_eq!(second(served, 50), 50);
    served.is_tidy();
    let left = served.host.run("ls /run/systemd/system; cat /run/asgi/canary* 2>/dev/null; true").printed();
    assert!(!left.contains("canary"), "{left}");
    let tally = load.stop();
    served.no_request_failed("shares", &tally);
    assert!(!tally.answers.contains_key("release bad"), "{tally}");
    assert_eq!(served.settings(), settings);
}

fn bad(listen: &str) -> Packed {
    let web = "probe = \"/\"";
    // Two tests pack theirs at the same time.
    apps::asgi_with(
        if listen.is_empty() { "weights-bad" } else { "weights-bad-file" },
        Asgi { release: "bad", code: "STATUS = 500", listen, web, ..Asgi::default() },
    )
}

fn host(lan: &Lan) -> Host {
    let host = lan.host("web1").flavour(Flavour::Proxies).start();
    host.run("rm -f /etc/nginx/sites-enabled/default").succeeded();
    host
}

#[test]
fn haproxy_gives_a_release_at_a_port_its_share() {
    if !apps::wanted() {
        return;
    }
    let (app, bad) = (apps::asgi(), bad(""));
    let Some(lan) = Lan::wanted() else { return };
    let host = host(&lan);
    host.write("/etc/haproxy/asgi.cfg", &told(app, "haproxy"));
    host.write("/etc/default/haproxy", "EXTRAOPTS=\"-f /etc/haproxy/asgi.cfg\"\n");
    let started = host.run("systemctl start haproxy");
    assert!(started.status.success(), "{started}{}", host.journal("haproxy*"));
    is_shared(&Served::on(&host, app, host.port(80), "/"), &bad);
}

#[test]
fn nginx_gives_a_release_at_a_socket_its_share() {
    if !apps::wanted() {
        return;
    }
    let (app, bad) = (apps::asgi_at_a_file(), bad("/run/asgi/asgi.sock"));
    let Some(lan) = Lan::wanted() else { return };
    let host = host(&lan);
    host.write("/etc/nginx/conf.d/asgi.conf", &told(app, "nginx"));
    host.run("systemctl start nginx").succeeded();
    is_shared(&Served::on(&host, app, host.port(80), "/"), &bad);
}

#[test]
fn without_a_proxy_that_weights_nobody_gets_a_share_and_what_to_do_is_said() {
    if !apps::wanted() {
        return;
    }
    let app = apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let host = host(&lan);
    let served = Served::on(&host, app, host.port(8000), "/");
    let before = served.state();
    let ran = host.run("COIL=activate /root/2 --weight 10");
    assert!(ran.code() == Some(125) && ran.stderr.contains("coil units FILE --proxy haproxy"), "{ran}");
    for wrong in ["--weight", "--weight 100", "--share 10", "10"] {
        let ran = host.run(&format!("COIL=activate /root/2 {wrong}"));
        assert!(ran.code() == Some(125) && ran.stderr.contains("from 0 to 99"), "{wrong}: {ran}");
    }
    assert_eq!((served.answers(), served.state()), ("release 1".into(), before));
    served.is_tidy();
}
