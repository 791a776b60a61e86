//! A release with a share of the requests: it runs beside the one that serves, at a socket of its own, and a proxy in front
//! gives it as much as it was told.
//!
//! coil weights nothing: where no proxy of this machine knows both sockets, there is no canary. A restart of the machine, an
//! activation and a rollback end it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::app::{App, write_whole};
use super::beside::{Beside, Role};
use super::changes::{self, note};
use super::deaf::deafen;
use super::instance::Instance;
use super::listening;
use super::store::Release;
use super::units;
use super::weights::Proxies;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::production::{Kind, Service};

/// How much of a hundred requests a release is to get, where the words of an activation say so: 0 is none any more.
pub fn asked(words: &[OsString]) -> Result<Option<u8>> {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let share = match words[..] {
        [] => return Ok(None),
        ["--weight", share] => share,
        [word] => word.strip_prefix("--weight=").unwrap_or_default(),
        _ => "",
    };
    match share.parse() {
        Ok(share @ 0..=99) => Ok(Some(share)),
        _ => Err(Error::Release(
            "an activation takes nothing, or `--weight` and how many of a hundred requests the release is to get, from 0 \
             to 99; all of them it gets without"
                .into(),
        )),
    }
}

/// The process type that a proxy asks: `web`, or the first that answers requests.
pub fn front(manifest: &Manifest) -> Option<(&String, &Service)> {
    let services = &manifest.production.services;
    let answers = |(_, service): &(&String, &Service)| service.kind == Kind::Web;
    services.get_key_value("web").filter(answers).or_else(|| services.iter().find(answers))
}

/// Where a canary of this process type listens: beside the socket that outlives every release, or at the next port.
pub fn address(app: &App, name: &str, service: &Service) -> String {
    let own = units::address(app, name, service);
    let (host, port) = own.rsplit_once(':').unwrap_or(("", &own));
    match port.parse::<u16>() {
        Ok(port) if !own.starts_with('/') => {
            let host = if matches!(host, "" | "[::]" | "0.0.0.0") { "127.0.0.1" } else { host };
            format!("{host}:{}", port.checked_add(1).unwrap_or(port - 1))
        }
        _ => format!("/run/{}/{}-canary.sock", app.name(), app.stem(name)),
    }
}

/// What gets a share.
pub struct Canary {
    beside: Beside,
    weight: u8,
    address: String,
}

impl Canary {
    /// The one of this app.
    pub fn there(app: &App) -> Option<Canary> {
        let text = fs::read_to_string(record(app)).ok()?;
        let mut words = text.split_whitespace();
        let (stem, weight, address) = (words.next()?, words.next()?.parse().ok()?, words.next()?.to_owned());
        Some(Canary { beside: Beside::there(stem, Role::Canary)?, weight, address })
    }

    /// Its release.
    pub fn id(&self) -> &str {
        self.beside.id()
    }

    /// How many of a hundred requests it gets.
    pub fn weight(&self) -> u8 {
        self.weight
    }

    /// Gives the release this share: it is brought up where it is not yet, and answers its probe before it gets any.
    pub fn set(app: &App, manifest: &Manifest, release: &Release, weight: u8) -> Result<()> {
        let Some((name, service)) = front(manifest) else {
            return Err(Error::Release(format!("{} has no service that answers requests", app.name())));
        };
        let proxies = Proxies::of(app)?;
        let address = address(app, name, service);
        let canary =
            Canary { beside: Beside::new(&app.stem(name), Role::Canary, release.id()), weight, address };
        let brought_up = || {
            if Canary::there(app).is_none_or(|there| there.id() != release.id()) {
                Canary::withdraw(app);
                canary.bring_up(app, release, service)?;
            }
            canary.record(app, weight)?;
            proxies.give(&canary.address, weight)
        };
        brought_up().inspect_err(|_| {
            Canary::withdraw(app);
            // What was not far enough to be known as one.
            if canary.beside.has_units() {
                canary.beside.close();
            }
        })
    }

    /// Ends it, where there is one: first it gets no more requests, then it ends those that it has.
    pub fn withdraw(app: &App) {
        let Some(canary) = Canary::there(app) else { return };
        if let Ok(proxies) = Proxies::of(app) {
            proxies.take_back();
        }
        let _ = note(app, &format!("withdrawn {}", canary.id()));
        deafen(&[canary.beside.unit()], &listening::sockets(&canary.address));
        canary.beside.close();
        let _ = fs::remove_file(record(app));
        let _ = fs::remove_dir(run(app));
    }

    fn bring_up(&self, app: &App, release: &Release, service: &Service) -> Result<()> {
        let since = changes::now();
        self.beside.close();
        fs::create_dir_all(run(app)).map_err(Error::at("create", &run(app)))?;
        // First, so that what a kill leaves of it is known.
        self.record(app, 0)?;
        self.beside.open(app, &release.units()?, &self.address)?;
        let instance = Instance::beside(service, &self.beside, self.address.clone());
        instance.start()?;
        instance.wait(since)?;
        instance.probe(since)
    }

    fn record(&self, app: &App, weight: u8) -> Result<()> {
        let line = format!("{} {weight} {}\n", self.beside.stem(), self.address);
        write_whole(&record(app), 0o644, line.as_bytes())
    }
}

fn run(app: &App) -> PathBuf {
    PathBuf::from("/run").join(app.name())
}

/// What is known of it: the beginning of its units' names, its weight and its address.
fn record(app: &App) -> PathBuf {
    run(app).join("canary")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::tests::manifest;

    #[test]
    fn a_share_is_a_number_of_a_hundred_requests() {
        let asked = |words: &[&str]| asked(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&[]).unwrap(), None);
        assert_eq!(asked(&["--weight", "10"]).unwrap(), Some(10));
        assert_eq!(asked(&["--weight=0"]).unwrap(), Some(0));
        for wrong in
            [&["--weight", "100"][..], &["--weight"], &["10"], &["--weight", "-1"], &["--weight", "1", "2"]]
        {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_canary_listens_where_a_proxy_can_know_it_beforehand() {
        let app = App::of(&Manifest { name: "site".into(), ..manifest() });
        let at = |listen: &str| Service { listen: Some(listen.into()), ..Service::of(Kind::Web) };
        assert_eq!(address(&app, "web", &Service::of(Kind::Web)), "/run/site/site-canary.sock");
        assert_eq!(address(&app, "api", &at("/srv/api.sock")), "/run/site/site-api-canary.sock");
        assert_eq!(address(&app, "web", &at("127.0.0.1:8000")), "127.0.0.1:8001");
        assert_eq!(address(&app, "web", &at("8000")), "127.0.0.1:8001");
        assert_eq!(address(&app, "web", &at("[::]:65535")), "127.0.0.1:65534");
        assert_eq!(address(&app, "web", &at("[::1]:80")), "[::1]:81");
    }
}
