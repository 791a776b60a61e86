//! What is brought to hosts and activated there, as the order of a deploy sees it; and bundles as such.

use super::offering::Offering;
use super::process::{Host, Ssh};
use super::remote::{self, Said};
use super::transfer::{Transfer, bring};
use crate::error::Result;
use crate::report::Report;

/// An app that hosts have.
pub trait App: Sync {
    /// Puts the release before back on `host`.
    fn go_back(&self, host: &Host) -> Said;
}

/// A release of an app, which hosts get first and change to afterwards.
pub trait Release: App {
    /// Its name: 12 hexadecimal digits.
    fn id(&self) -> &str;

    /// What a host has done that got it, in a word.
    fn arrived(&self) -> &'static str;

    /// Brings it to `host`, where nothing that runs is touched. What is known by then is in `transfer`, whatever happens.
    fn bring(&self, host: &Host, report: &Report, transfer: &mut Transfer) -> Result<()>;

    /// Makes it the current one on `host`, which has it.
    fn activate(&self, host: &Host) -> Said;

    /// Whether it runs well on `host`, some time after that.
    fn check(&self, host: &Host) -> Result<()>;
}

/// An app whose services systemd runs from bundles.
pub struct Services<'a> {
    /// How hosts are reached.
    pub ssh: &'a Ssh,
    /// Its name.
    pub app: &'a str,
}

impl App for Services<'_> {
    fn go_back(&self, host: &Host) -> Said {
        remote::run(self.ssh, host, self.app, None, "rollback")
    }
}

/// A bundle that is offered to such hosts.
pub struct Offered<'a> {
    /// How hosts are reached.
    pub ssh: &'a Ssh,
    /// The bundle.
    pub offering: &'a Offering,
}

impl App for Offered<'_> {
    fn go_back(&self, host: &Host) -> Said {
        Services { ssh: self.ssh, app: self.offering.app() }.go_back(host)
    }
}

impl Release for Offered<'_> {
    fn id(&self) -> &str {
        self.offering.release()
    }

    fn arrived(&self) -> &'static str {
        "installed"
    }

    fn bring(&self, host: &Host, report: &Report, transfer: &mut Transfer) -> Result<()> {
        bring(self.ssh, host, self.offering, report, transfer)
    }

    fn activate(&self, host: &Host) -> Said {
        remote::run(self.ssh, host, self.offering.app(), Some(self.id()), "activate")
    }

    fn check(&self, host: &Host) -> Result<()> {
        remote::check(self.ssh, host, self.offering.app(), self.id())
    }
}
