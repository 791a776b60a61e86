//! Promise: the hosts that other tests deploy to are what they are taken for: real systemd, real ssh, addresses and
//! disks of their own; and nothing of them is left. Skipped unless COIL_TEST_HOSTS=1.

mod kit;

use std::fs;
use std::time::{Duration, Instant};

use kit::production::client::{self, Failed};
use kit::production::ssh::{Config, Way};
use kit::production::{Address, Flavour, Lan, Load, Pace};

#[test]
fn a_host_boots_keeps_its_files_and_is_gone_without_a_trace() {
    let Some(lan) = Lan::wanted() else { return };
    let mut web1 = lan.host("web1").start();
    assert_eq!(web1.run("hostname; cat /proc/1/comm").printed(), "web1\nsystemd");
    web1.write("/var/lib/thing", "kept");
    web1.run("systemd-run --unit=lasts sleep 1000").succeeded();
    web1.power_off();
    web1.power_on();
    assert_eq!(web1.read("/var/lib/thing"), b"kept");
    assert_eq!(web1.run("systemctl is-active lasts").stdout, "inactive\n");
    web1.kill();
    web1.power_on();
    assert_eq!(web1.read("/var/lib/thing"), b"kept");
    drop(web1);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/hosts/bookworm"), "{mounts}");
}

#[test]
fn systemd_holds_services_to_their_limits() {
    let Some(lan) = Lan::wanted() else { return };
    let web1 = lan.host("web1").start();
    let run = |options: &str, script: &str| {
        web1.run(&format!("systemd-run -q --wait --pipe {options} sh -c '{script}'"))
    };
    assert_eq!(run("-p DynamicUser=yes -p User=site", "id -un").printed(), "site");
    let state = run(
        "-p DynamicUser=yes -p User=site -p StateDirectory=site/state",
        "touch /var/lib/site/state/it; id -u",
    );
    assert!(state.printed().parse::<u32>().unwrap() > 60000);
    assert!(run("-p ProtectSystem=strict", "touch /usr/it").stderr.contains("Read-only file system"));
    assert_ne!(run("-p RestrictAddressFamilies=AF_UNIX", "curl -s telnet://127.0.0.1:22").code(), Some(0));
    assert_ne!(run("-p SystemCallFilter=@system-service", "mount -t tmpfs it /mnt").code(), Some(0));
    assert_eq!(
        run("-p PrivateNetwork=yes", "ls /sys/class/net; ip -br a | wc -l").printed().lines().last(),
        Some("1")
    );
    assert_eq!(run("-p ProcSubset=pid", "test -e /proc/meminfo || echo hidden").printed(), "hidden");
    let frozen = "systemd-run -q --unit=it sleep 100; systemctl freeze it; systemctl show -P FreezerState it; systemctl stop it";
    assert_eq!(web1.run(frozen).printed(), "frozen");
}

#[test]
fn hosts_are_reached_by_ssh_directly_through_another_and_over_one_connection() {
    let Some(lan) = Lan::wanted() else { return };
    let hosts = [lan.host("web1").start(), lan.host("web2").start(), lan.host("web3").start()];
    let hosts: Vec<_> = hosts.iter().collect();
    for way in [Way::Direct, Way::Jump, Way::Shared] {
        let config = Config::new(&lan, &hosts, way);
        for name in ["web1", "web2", "web3", "web2"] {
            assert_eq!(config.ssh(name, "hostname; id -un").printed(), format!("{name}\nroot"), "{way:?}");
        }
        let from = config.ssh("web2", "echo ${SSH_CONNECTION%% *}").printed();
        assert_eq!(from, if way == Way::Jump { "10.77.0.11" } else { "10.77.0.1" }, "{way:?}");
    }
    hosts[1].unplug();
    let config = Config::new(&lan, &hosts, Way::Direct);
    assert_eq!(config.ssh("web2", "true").code(), Some(255));
    let greeted = config.ssh("web3", "curl -s --max-time 1 telnet://10.77.0.11:22 | head -c 7");
    assert_eq!(greeted.printed(), "SSH-2.0");
}

#[test]
fn disks_are_full_and_cables_slow_when_they_are_to_be() {
    let Some(lan) = Lan::wanted() else { return };
    let web1 = lan.host("web1").var_of(200 << 20).start();
    web1.fill("/var", 1 << 20);
    let full = web1.run("head -c 2M /dev/zero > /var/it");
    assert!(full.stderr.contains("No space left"), "{full}");
    web1.unfill("/var");
    web1.run("head -c 2M /dev/zero > /var/it").succeeded();
    web1.slow(8_000_000);
    let config = Config::new(&lan, &[&web1], Way::Direct);
    let start = Instant::now();
    assert_eq!(config.ssh("web1", "cat /var/it").succeeded().stdout.len(), 2 << 20);
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[test]
fn a_load_counts_what_it_meets() {
    let Some(lan) = Lan::wanted() else { return };
    let web1 = lan.host("web1").flavour(Flavour::Proxies).start();
    web1.write(
        "/etc/nginx/sites-enabled/default",
        "server { listen 80; location / { return 200 'release 1\n'; }
        location = /bad { return 503; } location = /cut { return 444; } keepalive_requests 7; }",
    );
    web1.run("systemctl start nginx").succeeded();
    let pace = Pace { clients: 4, per_second: 200, keep_alive: false, path: "/" };
    let load = Load::start(web1.port(80), pace.clone());
    std::thread::sleep(Duration::from_secs(2));
    let tally = load.stop();
    assert!((300..=420).contains(&tally.requests) && tally.failed() == 0, "{tally}");
    assert_eq!(tally.answers["release 1"], tally.requests);
    let kept = Pace { keep_alive: true, ..pace.clone() };
    let load = Load::start(web1.port(80), kept.clone());
    std::thread::sleep(Duration::from_secs(1));
    let tally = load.stop();
    assert!(tally.requests > 100 && tally.failed() == 0, "{tally}");
    // No request is on its way when the server goes: nginx may close a connection that it has accepted.
    web1.run("systemctl stop nginx").succeeded();
    let load = Load::start(web1.port(80), kept);
    std::thread::sleep(Duration::from_millis(500));
    let tally = load.stop();
    assert!(tally.errors.len() == 1 && tally.errors["Refused"] > 20, "{tally}");
    assert!(tally.answers.is_empty(), "{tally}");
    web1.run("systemctl start nginx").succeeded();
    assert_eq!(client::get(&web1.port(80), "/bad").unwrap().status, 503);
    assert_eq!(client::get(&web1.port(80), "/cut"), Err(Failed::ClosedBefore));
    assert_eq!(client::get(&Address::Unix("/nothing".into()), "/"), Err(Failed::Refused));
}
