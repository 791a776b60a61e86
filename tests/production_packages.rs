//! Promise: installing a package is a deploy. A newer or an older one, under load, costs nobody a request; a release that does
//! not come up leaves the one before it; a machine that starts again serves; removal and purge leave what the rules of the
//! distribution say. Real apt, dpkg, rpm and systemd, wheels from the index: skipped unless COIL_TEST_HOSTS=1 and
//! COIL_TEST_ONLINE=1.

mod kit;

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use kit::production::apps::{self, Asgi};
use kit::production::{Flavour, Host, Lan, Served};
use kit::{Packed, Ran, scratch};

/// Makes a package of the bundle and brings it there, as `/root/VERSION.KIND`.
fn bring(host: &Host, bundle: &Packed, version: &str, kind: &str) {
    let (place, name) = (scratch(), format!("{version}.{kind}"));
    let (file, made) = (bundle.path().to_str().unwrap(), place.path().join(&name));
    let words = [kind, file, "-o", made.to_str().unwrap(), "--version", version];
    Ran::of(apps::bench().coil(&words), b"").succeeded();
    host.copy_in(&made, &format!("/root/{name}"));
}

/// `apt-get`, which has nobody to ask.
fn apt(host: &Host, words: &str) -> Ran {
    host.run(&format!("DEBIAN_FRONTEND=noninteractive apt-get -y --allow-downgrades {words} </dev/null"))
}

fn served(host: &Host) -> Served<'_> {
    Served::already(host, "asgi", host.port(8000), "/")
}

/// A release that ends at once.
fn broken() -> &'static Packed {
    static BROKEN: OnceLock<Packed> = OnceLock::new();
    let asgi = Asgi { release: "bad", code: "raise SystemExit('no such luck')", ..Asgi::default() };
    BROKEN.get_or_init(|| apps::asgi_with("packaged-bad", asgi))
}

/// What of the app is anywhere: units, releases, what is unpacked, the package's own files.
fn traces(host: &Host) -> String {
    let units = "systemctl list-units --all --no-legend --plain 'asgi*'; find /etc/systemd /usr/lib/systemd /run/systemd -name 'asgi*'";
    let files = "ls -d /usr/lib/asgi /run/asgi /var/lib/asgi/releases/*; ls -d /var/lib/coil/envs/* /var/lib/coil/layers/*";
    host.run(&format!("{units}; {files}")).stdout.trim().to_owned()
}

#[test]
fn apt_deploys_and_goes_back_without_a_request_lost() {
    if !apps::wanted() {
        return;
    }
    let app = apps::asgi();
    let bad = broken();
    let Some(lan) = Lan::wanted() else { return };
    let mut host = lan.host("web1").start();
    for (bundle, version) in [(&app.one, "1.0"), (&app.two, "2.0"), (bad, "3.0")] {
        bring(&host, bundle, version, "deb");
    }
    let state = |host: &Host| host.run("dpkg-query -W -f '${Status} ${Version}' asgi").printed();
    apt(&host, "install /root/1.0.deb").succeeded();
    assert_eq!(served(&host).answers(), "release 1");
    host.run("echo MINE=1 >>/etc/asgi/env").succeeded();
    let before = served(&host).settings();

    let load = served(&host).load(8, 160, false);
    for version in ["2.0", "1.0", "2.0", "1.0", "2.0"] {
        let ran = apt(&host, &format!("install /root/{version}.deb")).succeeded();
        assert!(ran.stdout.contains(" is active"), "{ran}");
        assert_eq!(served(&host).answers(), format!("release {}", &version[..1]));
    }
    let ran = apt(&host, "install /root/3.0.deb");
    assert!(!ran.status.success(), "{ran}");
    assert!((ran.stdout.clone() + &ran.stderr).contains("no such luck"), "{ran}");
    assert_eq!(state(&host), "install ok half-configured 3.0");
    apt(&host, "install /root/1.0.deb").succeeded();
    assert_eq!(state(&host), "install ok installed 1.0");
    thread::sleep(Duration::from_millis(500));
    let tally = load.stop();
    served(&host).no_request_failed("five upgrades and downgrades, one refused, one back", &tally);
    assert_eq!(tally.answers.keys().collect::<Vec<_>>(), ["release 1", "release 2"], "{tally}");
    assert_eq!(served(&host).settings(), before);
    served(&host).is_tidy();

    host.power_off();
    host.power_on();
    assert_eq!(served(&host).answers(), "release 1");
    served(&host).is_tidy();

    apt(&host, "remove asgi").succeeded();
    assert_eq!(traces(&host), "");
    assert_eq!(served(&host).settings(), before);
    apt(&host, "install /root/2.0.deb").succeeded();
    assert_eq!((served(&host).answers().as_str(), served(&host).settings()), ("release 2", before));
    apt(&host, "purge asgi").succeeded();
    let left = "ls -d /etc/asgi /var/lib/asgi /var/lib/private/asgi /usr/share/doc/asgi";
    assert_eq!(traces(&host) + &host.run(left).stdout, "");
    assert_eq!(host.run("systemctl is-system-running").stdout, "running\n");
}

#[test]
fn a_package_that_may_start_nothing_is_active_when_the_machine_starts() {
    if !apps::wanted() {
        return;
    }
    let app = apps::asgi();
    let Some(lan) = Lan::wanted() else { return };
    let mut host = lan.host("web1").start();
    bring(&host, &app.one, "1.0", "deb");
    // Settings that were there before the package stay, and nobody is asked about them.
    host.write("/etc/asgi/env", "SECRET=1\n");
    host.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
    host.run("chmod +x /usr/sbin/policy-rc.d").succeeded();
    let ran = apt(&host, "install /root/1.0.deb").succeeded();
    assert!(ran.stdout.contains("it is activated when the machine starts"), "{ran}");
    assert_eq!(
        host.run("ls -d /var/lib/asgi/current /run/asgi; systemctl is-active asgi.socket asgi.target").stdout,
        "inactive\ninactive\n"
    );
    host.power_off();
    host.power_on();
    assert_eq!(served(&host).answers(), "release 1");
    served(&host).is_tidy();
    assert_eq!(served(&host).settings(), b"SECRET=1\n");
}

#[test]
fn rpm_deploys_and_goes_back_without_a_request_lost() {
    if !apps::wanted() {
        return;
    }
    let app = apps::asgi();
    let bad = broken();
    let Some(lan) = Lan::wanted() else { return };
    let host = lan.host("web1").flavour(Flavour::Tools).start();
    for (bundle, version) in [(&app.one, "1.0"), (&app.two, "2.0"), (bad, "3.0")] {
        bring(&host, bundle, version, "rpm");
    }
    // The host is Debian's: what a package needs there, be it the shell, is nothing that rpm knows.
    let rpm = |words: &str| host.run(&format!("rpm --nodeps {words}"));
    host.run("rpm -K -v /root/1.0.rpm").succeeded();
    rpm("-i /root/1.0.rpm").succeeded();
    assert_eq!(served(&host).answers(), "release 1");
    assert_eq!(
        rpm("-V asgi").stdout.replace("/etc/asgi/env", "").lines().count(),
        1,
        "settings were written"
    );
    host.run("echo MINE=1 >>/etc/asgi/env").succeeded();
    let before = served(&host).settings();
    let load = served(&host).load(8, 160, false);
    for (words, then) in [("-U", "2.0"), ("-U --oldpackage", "1.0"), ("-U", "2.0")] {
        rpm(&format!("{words} /root/{then}.rpm")).succeeded();
        assert_eq!(host.run("rpm -q --qf '%{VERSION}' asgi").printed(), then);
        assert_eq!(served(&host).answers(), format!("release {}", &then[..1]));
    }
    // rpm counts it as installed; who serves is another matter.
    let ran = rpm("-U /root/3.0.rpm");
    assert!(ran.stderr.contains("no such luck"), "{ran}");
    assert_eq!(served(&host).answers(), "release 2");
    rpm("-U --oldpackage /root/1.0.rpm").succeeded();
    assert_eq!(served(&host).answers(), "release 1");
    let tally = load.stop();
    served(&host).no_request_failed("upgrades and downgrades with rpm", &tally);
    assert_eq!(served(&host).settings(), before);
    served(&host).is_tidy();
    rpm("-e asgi").succeeded();
    assert_eq!(traces(&host), "");
    assert_eq!(host.read("/etc/asgi/env.rpmsave"), before);
}
