//! Promise: `coil deploy` brings a release to every host before it is active on any, says of each what became of it, and
//! `coil rollback` brings back what was before; whatever hosts and connections do, what was active stays active until
//! something better is.
//!
//! Hosts are directories: in place of ssh a script runs the line in a mount namespace with that directory's `/var/lib`, `/etc`
//! and `/run`. Of systemd there is as much as answers yes to everything. Real ones are in the production tests.

mod kit;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use coil_bootstrap::bundle::Bundle;
use kit::mounts::cannot_mount;
use kit::outcomes::{json, of};
use kit::{Bench, Packed, Ran, bundle_of, heavy, on_a_server, scratch, skip};
use serde_json::Value;
use tempfile::TempDir;

/// In place of ssh.
const SSH: &str = r#"#!/bin/sh
options=
while :; do case $1 in -T) shift;; -o) options="$options $2"; shift 2;; *) break;; esac; done
host=$1 line=$2 home=HOSTS/$1
case $options in *BatchMode=yes*) ;; *) echo "nobody could answer" >&2; exit 255;; esac
[ -d "$home" ] || { echo "ssh: Could not resolve hostname $host: Name or service not known" >&2; exit 255; }
if [ -e "$home/down" ]; then echo "ssh: connect to host $host port 22: Connection refused" >&2; exit 255; fi
echo "$line" >>"$home/connections"
[ "$(id -u)" = 0 ] && user= || user='--user --map-root-user'
enter() {
    unshare $user --mount -- sh -ec '
        if [ -e "$1/full" ]; then mount -t tmpfs -o size=8m tmpfs /var/lib; else mount --bind "$1/lib" /var/lib; fi
        mount --bind "$1/etc" /etc; mount --bind "$1/run" /run
        exec env -i PATH="$1/bin:/usr/bin:/bin:/usr/sbin:/sbin" HOST="$1" sh -c "$2"' enter "$home" "$line"
}
cat "$home/banner" 2>/dev/null
if [ -e "$home/cut" ]; then
    bytes=$(cat "$home/cut"); rm "$home/cut"
    # Not `head`, which keeps to itself what it has read while it waits for more.
    PATH="$PATH:/usr/bin" python3 -c '
import os, sys
left = int(sys.argv[1])
while left and (piece := os.read(0, min(left, 65536))):
    os.write(1, piece); left -= len(piece)' "$bytes" | enter 2>/dev/null
    echo "Connection to $host closed by remote host." >&2
    exit 255
fi
enter
"#;

/// In place of systemctl: whatever is asked for is so, unless the host refuses to start anything.
const SYSTEMCTL: &str = "#!/bin/sh\n[ \"$1\" = start ] && [ -e \"$HOST/refuses\" ] && exit 1\nexit 0\n";

/// Hosts, and what `coil` is started with.
struct Hosts {
    bench: Bench,
}

impl Hosts {
    /// Hosts of these names, with nothing on them.
    fn named(names: &[&str]) -> Option<Hosts> {
        if let Some(reason) = cannot_mount() {
            skip(&reason);
            return None;
        }
        let bench = Bench::new();
        let script = SSH.replace("HOSTS", bench.root().to_str().unwrap());
        let mut bench = bench.program("ssh", &script);
        for name in names {
            bench = bench.program(&format!("{name}/bin/systemctl"), SYSTEMCTL);
            bench = bench.program(&format!("{name}/bin/journalctl"), "#!/bin/sh\necho it is not my day\n");
            for directory in ["lib", "etc/systemd/system", "run/systemd/system"] {
                fs::create_dir_all(bench.path(name).join(directory)).unwrap();
            }
        }
        Some(Hosts { bench })
    }

    fn path(&self, host: &str, name: &str) -> PathBuf {
        self.bench.path(host).join(name)
    }

    fn mark(&self, host: &str, name: &str, text: &str) {
        fs::write(self.path(host, name), text).unwrap();
    }

    /// `coil` with these words.
    fn coil(&self, words: &[&str]) -> Ran {
        let mut command = self.bench.coil(words);
        Ran::of(
            {
                command.env("COIL_SSH", self.bench.path("ssh"));
                command
            },
            b"",
        )
    }

    /// `coil deploy` of the bundle.
    fn deploy(&self, bundle: &App, words: &[&str]) -> Ran {
        self.coil(&[&["deploy", "--bundle", bundle.packed.path().to_str().unwrap()], words].concat())
    }

    /// The release that is current on the host.
    fn current(&self, host: &str) -> Option<String> {
        let link = fs::read_link(self.path(host, "lib/small/current")).ok()?;
        Some(link.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn has(&self, host: &str, app: &App) -> bool {
        let file = self.path(host, &format!("lib/small/releases/{}/small", app.id));
        file.exists() && fs::read(file).unwrap() == fs::read(app.packed.path()).unwrap()
    }
}

/// A bundle, and the name of its release.
struct App {
    _place: TempDir,
    packed: Packed,
    id: String,
}

fn app(version: &str) -> App {
    let place = scratch();
    let packed = bundle_of(place.path(), &heavy(version, 1, 1), on_a_server());
    let id = Bundle::open(packed.path()).unwrap().digest().hex()[..12].to_owned();
    App { _place: place, packed, id }
}

#[test]
fn a_release_is_everywhere_then_active_everywhere_and_the_one_before_comes_back() {
    let Some(hosts) = Hosts::named(&["web1", "web2", "web3"]) else { return };
    let (one, two) = (app("1"), app("2"));
    hosts.mark("web2", "banner", "Welcome to web2\n");
    let told = hosts.deploy(&one, &["web1", "web2", "web3", "--json"]).json();
    assert_eq!((&told["app"], &told["release"]), (&"small".into(), &one.id.as_str().into()));
    for host in ["web1", "web2", "web3"] {
        assert_eq!(of(&told, host)["outcome"], "active");
        assert!(of(&told, host)["before"].is_null() && of(&told, host)["now"] == *one.id, "{told}");
        assert!(hosts.has(host, &one), "{host}");
        assert_eq!(fs::read_dir(hosts.path(host, "lib/coil/incoming")).unwrap().count(), 0, "{host}");
        // One connection installs, one activates.
        assert_eq!(fs::read_to_string(hosts.path(host, "connections")).unwrap().lines().count(), 2);
    }
    let ran = hosts.deploy(&two, &["web1", "web2", "web3"]).succeeded();
    let line = ran.stdout.lines().find(|line| line.starts_with("web2")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((cells[1], cells[2], cells[6]), (one.id.as_str(), two.id.as_str(), "active"), "{ran}");
    let told = hosts.deploy(&two, &["web1", "--json", "--quiet"]).json();
    assert!(of(&told, "web1")["sent"].as_u64().unwrap() < 4096, "{told}");

    let told = hosts.coil(&["rollback", "web1", "web2", "--app", "small", "--json"]).json();
    assert_eq!(of(&told, "web1")["outcome"], "rolled-back");
    assert!(of(&told, "web1")["before"] == *two.id && of(&told, "web1")["now"] == *one.id, "{told}");
    assert_eq!(hosts.current("web1"), Some(one.id.clone()));
    assert_eq!(hosts.current("web3"), Some(two.id.clone()));
    let refused = hosts.coil(&["rollback", "web3", "--app", "large"]);
    assert!(
        refused.code() == Some(1) && refused.stderr.contains("there is no release of large"),
        "{refused}"
    );
}

#[test]
fn a_host_that_is_down_keeps_the_release_from_all_others_unless_told_otherwise() {
    let Some(hosts) = Hosts::named(&["web1", "web2"]) else { return };
    let one = app("1");
    hosts.mark("web2", "down", "");
    let ran = hosts.deploy(&one, &["web1", "web2", "nobody", "--json"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    let told = json(&ran);
    assert_eq!(of(&told, "web1")["outcome"], "installed");
    let why = |host| of(&told, host)["error"].as_str().unwrap().to_owned();
    assert_eq!(why("web2"), "ssh cannot reach it: connect to host web2 port 22: Connection refused");
    assert!(why("nobody").contains("Could not resolve hostname nobody"));
    assert_eq!(hosts.current("web1"), None);
    assert!(
        ran.stderr.contains("warning: web2: ssh cannot reach it")
            && ran.stderr.contains("nothing has changed for anybody"),
        "{ran}"
    );

    let ran = hosts.deploy(&one, &["web1", "web2", "--keep-going"]);
    assert_eq!((ran.code(), hosts.current("web1")), (Some(1), Some(one.id.clone())), "{ran}");
    assert!(ran.stderr.contains("coil rollback web1 --app small"), "{ran}");
}

#[test]
fn a_release_that_a_host_refuses_stops_there_and_can_be_taken_back_by_itself() {
    let Some(hosts) = Hosts::named(&["web1", "web2", "web3", "web4"]) else { return };
    let (one, two, three) = (app("1"), app("2"), app("3"));
    let all = ["web1", "web2", "web3", "web4"];
    hosts.deploy(&one, &all).succeeded();
    // The first one is the canary, and refuses.
    hosts.mark("web1", "refuses", "");
    let ran = hosts.deploy(&two, &[&all[..], &["--canary", "1", "--wait", "0s", "--json"]].concat());
    assert_eq!(ran.code(), Some(1), "{ran}");
    let told = json(&ran);
    assert!(of(&told, "web1")["error"].as_str().unwrap().contains("it is not my day"), "{told}");
    for host in all {
        assert_eq!(hosts.current(host), Some(one.id.clone()), "{host}");
        assert!(hosts.has(host, &two), "{host}");
    }
    fs::remove_file(hosts.path("web1", "refuses")).unwrap();
    // The third one refuses: the fourth is not reached, the first two go back.
    hosts.mark("web3", "refuses", "");
    let ran =
        hosts.deploy(&three, &[&all[..], &["--parallel", "1", "--rollback-on-failure", "--json"]].concat());
    let told = json(&ran);
    let outcomes = all.map(|host| of(&told, host)["outcome"].as_str().unwrap().to_owned());
    assert_eq!(outcomes, ["rolled-back", "rolled-back", "failed", "installed"], "{told}");
    assert!(all.iter().all(|host| hosts.current(host) == Some(one.id.clone())));
}

#[test]
fn a_connection_that_breaks_is_made_again_and_goes_on() {
    let Some(hosts) = Hosts::named(&["web1"]) else { return };
    let one = app("1");
    let size = fs::metadata(one.packed.path()).unwrap().len();
    for cut in ["500", "1000000", "9000000"] {
        let _ = fs::remove_dir_all(hosts.path("web1", "lib"));
        fs::create_dir(hosts.path("web1", "lib")).unwrap();
        hosts.mark("web1", "cut", cut);
        let told = hosts.deploy(&one, &["web1", "--no-activate", "--json"]).json();
        let sent = of(&told, "web1")["sent"].as_u64().unwrap();
        // What is in pipes and was not read is lost, and the launcher came twice.
        assert!(sent < size + (5 << 20), "{sent} bytes were sent for {size}");
        assert!(hosts.has("web1", &one));
        assert_eq!(hosts.current("web1"), None);
    }
}

#[test]
fn what_keeps_a_host_from_it_is_told_in_a_sentence() {
    let Some(hosts) = Hosts::named(&["small", "user", "shell"]) else { return };
    let one = app("1");
    hosts.mark("small", "full", "");
    let program = |host: &str, name: &str, text: &str| {
        let path = hosts.path(host, "bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("user", "id", "#!/bin/sh\necho ${ROOT:-1000}\n");
    let ran = hosts.deploy(&one, &["small", "user", "--json"]);
    let told = json(&ran);
    let why = |told: &Value, host| of(told, host)["error"].as_str().unwrap_or_default().to_owned();
    assert!(why(&told, "small").contains("no space is left in /var/lib/coil"), "{told}");
    assert!(why(&told, "user").contains("the login is not root"), "{told}");
    program("user", "sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n");
    let told = json(&hosts.deploy(&one, &["user", "--sudo", "--json"]));
    assert!(why(&told, "user").contains("may not become root: sudo: a password is required"), "{told}");
    program("user", "sudo", "#!/bin/sh\n[ $1 = -n ] || exit 9\nshift\nROOT=0 exec \"$@\"\n");
    hosts.deploy(&one, &["user", "--sudo"]).succeeded();
    assert!(hosts.has("user", &one));
    // What is no host, and a bundle that is no service.
    let refused = hosts.deploy(&one, &["--", "-oProxyCommand=x"]);
    assert!(refused.code() == Some(2) && refused.stderr.contains("a host is a name"), "{refused}");
    let plain = kit::small("plain");
    let refused = hosts.coil(&["deploy", "user", "--bundle", plain.path().to_str().unwrap()]);
    assert!(refused.code() == Some(1) && refused.stderr.contains("has no services"), "{refused}");
}

#[test]
fn two_deploys_at_once_do_not_disturb_each_other() {
    let Some(hosts) = Hosts::named(&["web1", "web2"]) else { return };
    let (one, two) = (app("1"), app("2"));
    thread::scope(|scope| {
        for app in [&one, &two, &one] {
            let hosts = &hosts;
            scope.spawn(move || hosts.deploy(app, &["web1", "web2", "--no-activate"]).succeeded());
        }
    });
    for host in ["web1", "web2"] {
        assert!(hosts.has(host, &one) && hosts.has(host, &two), "{host}");
    }
}

#[test]
fn what_installs_and_what_removes_wait_for_each_other() {
    let Some(hosts) = Hosts::named(&["web1"]) else { return };
    let (one, two) = (app("1"), app("2"));
    let on_host = |line: &str| {
        let mut ssh = Command::new(hosts.bench.path("ssh"));
        ssh.args(["-o", "BatchMode=yes", "web1", line]);
        Ran::of(ssh, b"").succeeded();
    };
    let install = format!("COIL=install {}", two.packed.path().display());
    let remove = format!("COIL=remove {}", one.packed.path().display());
    let purge = format!("{remove} --purge");
    let lock = || File::open(hosts.path("web1", "lib/small/lock")).unwrap();
    // To try it would be to hold it, in whatever this process starts just then.
    let is_locked = || {
        let file = format!(":{} ", lock().metadata().unwrap().ino());
        fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains(&file))
    };
    // What removes comes while a release is installed.
    for then in [&remove, &purge] {
        hosts.deploy(&one, &["web1", "--no-activate"]).succeeded();
        thread::scope(|scope| {
            let installing = scope.spawn(|| on_host(&install));
            while !is_locked() && !installing.is_finished() {}
            on_host(then);
        });
        assert!(!hosts.has("web1", &one) && !hosts.has("web1", &two), "{then}");
        assert_eq!(hosts.path("web1", "lib/small").exists(), then == &remove);
    }
    // Both have waited, and either may be first: the app is there, or it is not.
    for _ in 0..2 {
        hosts.deploy(&one, &["web1", "--no-activate"]).succeeded();
        let lock = lock();
        lock.lock().unwrap();
        thread::scope(|scope| {
            for line in [&purge, &install] {
                scope.spawn(|| on_host(line));
                thread::sleep(Duration::from_millis(200));
            }
            drop(lock);
        });
        assert_eq!(hosts.path("web1", "lib/small").exists(), hosts.has("web1", &two));
    }
}

#[test]
fn a_release_of_the_same_app_receives_the_next_one_itself() {
    let Some(hosts) = Hosts::named(&["web1"]) else { return };
    let (one, two) = (app("1"), app("2"));
    let sent = |app: &App| {
        let told = hosts.deploy(app, &["web1", "--no-activate", "--json"]).json();
        of(&told, "web1")["sent"].as_u64().unwrap()
    };
    let launcher = coil::launcher::LAUNCHER.len() as u64;
    let (first, second) = (sent(&one), sent(&two));
    assert!(first > launcher, "{first}");
    assert!(second < 4 << 20, "a changed line and the frame it is in: {second}");
}
