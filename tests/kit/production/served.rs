//! An app on a host, in two versions, and what goes on there.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::apps::Versions;
use super::client;
use super::host::Host;
use super::load::{Address, Load, Pace, Tally};
use crate::kit::{Packed, Ran};

/// An app that is installed and active on a host; the first of its versions serves.
pub struct Served<'a> {
    /// The host.
    pub host: &'a Host,
    /// The app.
    pub name: &'static str,
    /// The socket.
    pub address: Address,
    path: &'static str,
}

impl<'a> Served<'a> {
    /// Brings both versions there, as `/root/1` and `/root/2`, and activates the first.
    pub fn on(host: &'a Host, app: &Versions, address: Address, path: &'static str) -> Served<'a> {
        let served = Served::already(host, app.name, address, path);
        served.bring("1", &app.one);
        served.bring("2", &app.two);
        // Django's hosts, and one value that whoever writes this file anew would write otherwise.
        let settings = format!("/etc/{}/env", app.name);
        served.own("install", "1").succeeded();
        host.write(&settings, "# ours\nALLOWED_HOSTS=*\n\nSECRET_KEY='a b' \nWEB_CONCURRENCY=2");
        served.own("activate", "1").succeeded();
        assert_eq!(served.answers(), "release 1");
        served
    }

    /// What is there already.
    pub fn already(host: &'a Host, name: &'static str, address: Address, path: &'static str) -> Served<'a> {
        Served { host, name, address, path }
    }

    /// Brings a bundle there, as `/root/NAME`.
    pub fn bring(&self, name: &str, bundle: &Packed) {
        self.host.copy_in(bundle.path(), &format!("/root/{name}"));
    }

    /// One of the launcher's own commands: `COIL=WORD /root/NAME`.
    pub fn own(&self, word: &str, name: &str) -> Ran {
        self.host.run(&format!("COIL='{word}' /root/{name}"))
    }

    /// The release that serves, by what the bundle itself says.
    pub fn current(&self) -> String {
        let told = self.host.run(&format!("COIL=status /var/lib/{0}/current/{0} --json", self.name)).json();
        told["current"].as_str().unwrap_or_default().to_owned()
    }

    /// What is answered now.
    pub fn answers(&self) -> String {
        let answer = client::get(&self.address, self.path).unwrap_or_else(|failed| panic!("{failed:?}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body.trim_end().to_owned()
    }

    /// A load on it.
    pub fn load(&self, clients: u32, per_second: u32, keep_alive: bool) -> Load {
        Load::start(self.address.clone(), Pace { clients, per_second, keep_alive, path: self.path })
    }

    /// The settings and the units, byte for byte, and where the links lead.
    pub fn state(&self) -> BTreeMap<String, String> {
        let name = self.name;
        let script = format!(
            "for file in /etc/{name}/* /etc/systemd/system/{name}*; do test -f $file && echo \"$file $(base64 -w0 $file)\"; done
             for link in current previous; do echo \"$link $(readlink /var/lib/{name}/$link)\"; done
             stat -c '%n %a %U %s %Y' /etc/{name}/env"
        );
        let told = self.host.run(&script).printed();
        told.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect()
    }

    /// The settings.
    pub fn settings(&self) -> Vec<u8> {
        self.host.read(&format!("/etc/{}/env", self.name))
    }

    /// The instances that systemd has in any state, `ID active`, and whatever failed.
    pub fn instances(&self) -> Vec<String> {
        let words = "--all --no-legend --plain --no-pager";
        let told =
            self.host.run(&format!("systemctl list-units {words} '{}*@*.service'", self.name)).printed();
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let (unit, state) = (words.next()?, words.nth(1)?);
            Some(format!("{unit} {state}"))
        };
        told.lines().filter_map(line).collect()
    }

    /// Insists that exactly the release that is current runs.
    #[track_caller]
    pub fn is_tidy(&self) {
        let wanted = format!("{}@{}.service active", self.name, self.current());
        let start = Instant::now();
        while self.instances() != [wanted.clone()] {
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}, not {wanted}", self.instances());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What its units wrote last.
    pub fn journal(&self) -> String {
        self.host.journal(&format!("{}*", self.name))
    }

    /// Insists that nobody met an error, and says what was met.
    #[track_caller]
    pub fn no_request_failed(&self, what: &str, tally: &Tally) {
        eprintln!("{}, {what}: {tally}", self.name);
        assert_eq!(tally.failed(), 0, "{what}: {tally}\n{}", self.journal());
    }
}

/// The median, and the longest, of some times.
pub fn told(times: &mut [Duration]) -> String {
    times.sort();
    let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
    format!("median {:.2} s, longest {:.2} s", seconds(times.get(times.len() / 2)), seconds(times.last()))
}
