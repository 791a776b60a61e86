//! Promise: a release that does not come up, whatever the reason, costs nobody a request: the one before it goes on, its
//! units and settings stay as they are, and what went wrong is said. The same holds for an activation that is killed, and
//! for a server that loses its power. Skipped unless COIL_TEST_HOSTS=1 and COIL_TEST_ONLINE=1.

mod kit;

use std::thread;
use std::time::{Duration, Instant};

use kit::production::apps::{self, Asgi};
use kit::production::{Host, Lan, Served};
use kit::{Packed, Ran};

fn served(host: &Host) -> Served<'_> {
    Served::on(host, apps::asgi(), host.port(8000), "/")
}

/// Activates a bundle that cannot be, under load: what it said. Nobody meets it.
#[track_caller]
fn refused(served: &Served<'_>, what: &str, bundle: &Packed) -> Ran {
    served.bring("bad", bundle);
    let before = served.state();
    let load = served.load(4, 100, false);
    let start = Instant::now();
    let ran = served.own("activate", "bad");
    eprintln!("{what}: refused after {:.1} s\n{}", start.elapsed().as_secs_f64(), ran.stderr);
    assert_eq!(ran.code(), Some(125), "{what}: {ran}");
    thread::sleep(Duration::from_millis(500));
    let tally = load.stop();
    served.no_request_failed(what, &tally);
    assert_eq!(tally.answers.keys().collect::<Vec<_>>(), ["release 1"], "{what}: {tally}");
    assert_eq!(served.state(), before, "{what}");
    served.is_tidy();
    ran
}

#[test]
fn a_release_that_does_not_come_up_changes_nothing() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    let bad = |file: &str, asgi: Asgi<'_>| apps::asgi_with(file, Asgi { release: "bad", ..asgi });
    let of = Asgi::default();
    let quick = "start-timeout = 4";
    let cases = [
        (
            "ends at start",
            bad("ends", Asgi { code: "raise SystemExit('no such luck')", web: quick, ..of }),
            "no such luck",
        ),
        (
            "dies of a signal",
            bad("dies", Asgi { code: "import os; os.kill(os.getpid(), 11)", web: quick, ..of }),
            "",
        ),
        (
            "is never ready",
            bad("never", Asgi { code: "import time; time.sleep(1000)", web: quick, ..of }),
            "",
        ),
        (
            "has a step that fails",
            bad(
                "step",
                Asgi {
                    commands: "release = \"release.py\"",
                    step: "raise SystemExit('cannot migrate')",
                    ..of
                },
            ),
            "cannot migrate",
        ),
        (
            "lacks a setting",
            bad("setting", Asgi { web: "[tool.coil.env]\nWANTED = { required = true }", ..of }),
            "WANTED",
        ),
    ];
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let served = served(&host);
    for (what, bundle, said) in &cases {
        let ran = refused(&served, what, bundle);
        assert!(ran.stderr.contains(said) && ran.stderr.contains("serves as before"), "{what}: {ran}");
    }
    // And the way is free for one that does.
    served.own("activate", "2").succeeded();
    assert_eq!(served.answers(), "release 2");
    served.is_tidy();
}

#[test]
fn a_release_that_answers_its_probe_with_an_error_is_not_activated() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    let probe = "start-timeout = 10\nprobe = \"/\"";
    let bad = apps::asgi_with(
        "errors",
        Asgi { release: "bad", code: "STATUS = 500", web: probe, ..Asgi::default() },
    );
    let good = apps::asgi_with("probed", Asgi { release: "3", web: probe, ..Asgi::default() });
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let served = served(&host);
    let before = served.state();
    served.bring("bad", &bad);
    served.bring("3", &good);
    let load = served.load(4, 100, false);
    let ran = served.own("activate", "bad");
    assert!(ran.code() == Some(125) && ran.stderr.contains("500"), "{ran}");
    assert_eq!(served.state(), before);
    served.is_tidy();
    served.own("activate", "3").succeeded();
    assert_eq!(served.answers(), "release 3");
    let tally = load.stop();
    // It is asked where nobody else is.
    served.no_request_failed("a release that answers with errors", &tally);
    assert!(!tally.answers.contains_key("release bad"), "{tally}");
}

#[test]
fn a_full_disk_refuses_a_release_and_leaves_the_old_one_and_no_litter() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    let other = apps::asgi_with("other", Asgi { release: "3", ..Asgi::default() });
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").var_of(600 << 20).start();
    let served = served(&host);
    let releases = "ls -A /var/lib/asgi/releases";
    let there = host.run(releases).printed();
    for left in [0, 1 << 20, 12 << 20] {
        host.fill("/var", left);
        let ran = refused(&served, &format!("{left} bytes left"), &other);
        assert!(ran.stderr.contains("No space left") || ran.stderr.contains("MB are free"), "{ran}");
        host.unfill("/var");
        assert_eq!(host.run(releases).printed(), there, "{left} bytes left");
    }
    served.own("activate", "bad").succeeded();
    assert_eq!(served.answers(), "release 3");
}

#[test]
fn an_activation_that_is_killed_at_any_moment_costs_no_request() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let served = served(&host);
    let settings = served.settings();
    let load = served.load(4, 100, false);
    let mut killed = 0;
    for moment in 0..40 {
        let (name, other) = if served.answers() == "release 1" { ("2", "1") } else { ("1", "2") };
        let after = moment as f64 * 0.075 + 0.01;
        let ran = host.run(&format!("timeout -s KILL {after} env COIL=activate /root/{name}"));
        killed += u32::from(ran.code() == Some(137));
        let answers = served.answers();
        assert!(answers == "release 1" || answers == "release 2", "{after} s: {answers}");
        served.own("status", "1").succeeded();
        // Either way on is free from wherever it was left.
        if moment % 2 == 0 {
            served.own("activate", name).succeeded();
            assert_eq!(served.answers(), format!("release {name}"), "killed after {after} s");
        } else {
            served.own("activate", other).succeeded();
            assert_eq!(served.answers(), format!("release {other}"), "killed after {after} s");
        }
        served.is_tidy();
    }
    let tally = load.stop();
    served.no_request_failed(&format!("{killed} of 40 killed"), &tally);
    assert!(killed > 10, "{killed}");
    assert_eq!(served.settings(), settings);
}

#[test]
fn the_way_back_is_free_when_an_activation_dies_while_it_ends_the_old_release() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let served = served(&host);
    let load = served.load(4, 100, false);
    let mut deaf = 0;
    // The old instance hears of no connection for a tenth of a second before it is told to end: it dies in there.
    for moment in 0..10 {
        let (name, other) = if served.answers() == "release 1" { ("2", "1") } else { ("1", "2") };
        let log = "/var/lib/asgi/activations.log";
        let ran = host.run(&format!(
            "before=$(wc -l <{log}); COIL=activate /root/{name} & activation=$!
             until [ $(wc -l <{log}) -gt $before ] || ! [ -e /proc/$activation/exe ]; do :; done
             sleep 0.0{moment}; kill -KILL $activation"
        ));
        assert_eq!(ran.code(), Some(0), "{ran}");
        deaf += u32::from(served.instances().len() == 2);
        served.own("activate", other).succeeded();
        assert_eq!(served.answers(), format!("release {other}"), "killed 0.0{moment} s after the switch");
        served.is_tidy();
    }
    let tally = load.stop();
    served.no_request_failed(&format!("{deaf} of 10 died before the old release had ended"), &tally);
    assert!(deaf > 2, "{deaf}");
}

#[test]
fn the_way_back_is_free_when_an_activation_dies_while_the_new_release_starts() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    // A server that is told to end while it imports the app may accept connections all the same, when it has, and drop them.
    let code = "import time\nuntil = time.monotonic() + 0.4\nwhile time.monotonic() < until: pass";
    let slow = apps::asgi_with("slow", Asgi { release: "slow", code, ..Asgi::default() });
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let served = served(&host);
    served.bring("slow", &slow);
    served.own("install", "slow").succeeded();
    let load = served.load(16, 800, false);
    let mut starting = 0;
    for moment in 0..40 {
        let ran = host.run(&format!(
            "COIL=activate /root/slow & activation=$!
             both() {{ [ $(systemctl list-units --plain --no-legend 'asgi@*.service' | wc -l) = 2 ]; }}
             until both || ! [ -e /proc/$activation/exe ]; do :; done
             sleep 0.{:03}; kill -KILL $activation",
            moment * 15
        ));
        assert_eq!(ran.code(), Some(0), "{ran}");
        starting += u32::from(served.answers() == "release 1");
        served.own("activate", "1").succeeded();
        assert_eq!(served.answers(), "release 1");
        served.is_tidy();
    }
    let tally = load.stop();
    served.no_request_failed(&format!("{starting} of 40 died while the new release started"), &tally);
    assert!(starting > 10, "{starting}");
}

#[test]
fn a_release_that_is_installed_again_with_another_launcher_is_replaced_as_a_whole() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").start();
    let served = served(&host);
    let release = format!("/var/lib/asgi/releases/{}", served.current());
    let sums = format!("cd {release} && find . -type f -exec sha256sum {{}} + | sort -k 2");
    let before = host.run(&sums).printed();
    let other = host.run(&format!(
        "printf x >>{release}/asgi; sed -i s/^TimeoutStopSec=.*/TimeoutStopSec=1/ {release}/units/asgi@.service; {sums}"
    ));
    assert_ne!(other.printed(), before);
    served.own("install", "1").succeeded();
    assert_eq!(host.run(&sums).printed(), before);
    assert_eq!(host.run("ls -A /var/lib/asgi/releases").printed().lines().count(), 1);
    assert_eq!(served.answers(), "release 1");
}

#[test]
fn a_server_comes_back_with_the_release_that_was_active_also_after_a_power_cut() {
    if !apps::wanted() {
        return;
    }
    apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let mut host = lan.host("web1").start();
    let settings = {
        let served = served(&host);
        served.own("activate", "2").succeeded();
        served.settings()
    };
    host.power_off();
    host.power_on();
    again(&host).is_tidy();
    assert_eq!(again(&host).answers(), "release 2");
    for moment in 0..6 {
        let name = if again(&host).answers() == "release 1" { "2" } else { "1" };
        let mut activation =
            host.command(&["env", "COIL=activate", &format!("/root/{name}")]).spawn().unwrap();
        thread::sleep(Duration::from_millis(100 + moment * 350));
        host.kill();
        let _ = activation.wait();
        host.power_on();
        let served = again(&host);
        let answers = served.answers();
        eprintln!("power cut {} ms into an activation of {name}: {answers}", 100 + moment * 350);
        served.is_tidy();
        assert_eq!(served.settings(), settings);
        served.own("activate", name).succeeded();
        assert_eq!(served.answers(), format!("release {name}"));
        served.is_tidy();
    }
}

/// What is on the host already.
fn again(host: &Host) -> Served<'_> {
    Served::already(host, "asgi", host.port(8000), "/")
}
