//! What a machine has to be told about a bundle's services: units of systemd, definitions for other supervisors, and a proxy
//! in front.
//!
//! Texts alone: nothing is written to a machine. systemd's are the launcher's own (`COIL=units`). Other supervisors start
//! processes and start them again; what systemd does beside that, a script in the bundle's own Python does for them.

mod proxy;
mod supervisor;

use std::path::Path;

use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::release::{self, App};

pub use self::proxy::{Proxy, proxy};
pub use self::supervisor::{Supervisor, supervised};

/// A file that somebody has to write.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its absolute path.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Whether it must be executable.
    pub executable: bool,
}

/// The bundle, and where it is on the machine.
pub struct Place<'a> {
    /// What is in it.
    pub manifest: &'a Manifest,
    /// Its absolute path.
    pub file: &'a Path,
}

impl Place<'_> {
    fn app(&self) -> App {
        App::of(self.manifest)
    }

    /// The address of a process type that answers requests: `/PATH`, or `HOST:PORT`.
    fn address(&self, service: &str) -> Option<String> {
        use coil_bootstrap::format::production::Kind;
        let said = self.manifest.production.services.get(service).filter(|it| it.kind == Kind::Web)?;
        let app = self.app();
        let own = || format!("/run/{}/{}.sock", app.name(), app.stem(service));
        let address = said.listen.clone().unwrap_or_else(own);
        // `ListenStream=` takes a port alone for every address of the machine.
        Some(if address.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("[::]:{address}")
        } else {
            address
        })
    }

    /// Where a proxy asks: the address of the release that serves, and of one beside it.
    fn front(&self) -> Option<(String, String)> {
        let (name, service) = release::front(self.manifest)?;
        // A service that listens everywhere is reached here.
        let address = self.address(name)?.replace("[::]:", "127.0.0.1:").replace("0.0.0.0:", "127.0.0.1:");
        Some((address, release::canary_address(&self.app(), name, service)))
    }
}
