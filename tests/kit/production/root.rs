//! The files of a server: what Debian's installer makes, once for all tests.
//!
//! Hosts see it read-only, below their own files. It comes from the mirror that this machine installs from, whichever
//! that is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::kit::{Ran, ground};

/// Which programs a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// systemd, sshd, curl: what a fresh server has. No Python.
    Plain,
    /// The same with nginx and haproxy; neither is started.
    Proxies,
    /// The same with sudo, rpm, supervisord, runit and s6; none of them is started.
    Tools,
}

/// The release of Debian.
const RELEASE: &str = "bookworm";

/// What a fresh server has over the smallest Debian. `libnss-systemd` is there on every Debian that was not asked to
/// be minimal; without it, users of `DynamicUser=` have no names.
const PACKAGES: &str =
    "systemd,systemd-sysv,libnss-systemd,dbus,openssh-server,iproute2,curl,ca-certificates,procps";

/// Changes with what is done to a root after it was made, so that old ones are not used.
const EDITION: &str = "1";

impl Flavour {
    /// All of them.
    pub const ALL: [Flavour; 3] = [Flavour::Plain, Flavour::Proxies, Flavour::Tools];

    fn name(self) -> &'static str {
        match self {
            Flavour::Plain => "plain",
            Flavour::Proxies => "proxies",
            Flavour::Tools => "tools",
        }
    }

    fn packages(self) -> String {
        match self {
            Flavour::Plain => PACKAGES.to_owned(),
            Flavour::Proxies => format!("{PACKAGES},nginx-light,haproxy"),
            Flavour::Tools => format!("{PACKAGES},sudo,rpm,supervisor,runit,s6"),
        }
    }

    /// The directory that is the root of such a host. Never written by a host.
    pub fn root(self) -> PathBuf {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let place = ground().join("hosts").join(format!("{RELEASE}-{}-{EDITION}", self.name()));
        if !place.exists() {
            make(self, &place);
        }
        place
    }
}

fn make(flavour: Flavour, place: &Path) {
    let unfinished = place.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished).expect("cargo's directory for tests can be written");
    let mut installer = Command::new("debootstrap");
    installer.arg("--variant=minbase").arg(format!("--include={}", flavour.packages()));
    let path = std::env::var("PATH").unwrap_or_default();
    installer.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    installer.args([RELEASE.as_ref(), unfinished.as_os_str(), mirror().as_ref()]);
    let made = installer.output().expect("debootstrap is on PATH");
    assert!(made.status.success(), "debootstrap: {}", String::from_utf8_lossy(&made.stdout));
    // Timers that would ask the network while something is measured, and every proxy, are off; what is downloaded goes.
    let mut finish = Command::new("chroot");
    finish.arg(&unfinished).args(["/bin/sh", "-ec", FINISH]);
    Ran::of(finish, b"").succeeded();
    fs::rename(&unfinished, place).expect("the root is on one file system");
}

const FINISH: &str = "
    systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer
    systemctl -q disable nginx haproxy supervisor 2>/dev/null || true
    rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /var/log/bootstrap.log /etc/machine-id /var/lib/dbus/machine-id
    passwd -q -d root
    mkdir -p /etc/systemd/journald.conf.d
    printf '[Journal]\\nStorage=persistent\\nRateLimitIntervalSec=0\\n' > /etc/systemd/journald.conf.d/test.conf
";

/// The first package mirror of this machine.
fn mirror() -> String {
    let places = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let lines: Vec<String> = places
        .iter()
        .filter_map(|place| fs::read_to_string(place).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let of = |line: &String| {
        let line = line.trim();
        let rest = line.strip_prefix("URIs:").or_else(|| line.strip_prefix("deb "))?;
        rest.split_whitespace().find(|word| word.contains("://")).map(str::to_owned)
    };
    lines.iter().find_map(of).expect("apt knows a mirror of Debian")
}
