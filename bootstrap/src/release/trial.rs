//! A release on trial: it answers what it must answer, before it is started where clients can meet it.

use std::net::{Ipv4Addr, TcpListener};

use super::app::App;
use super::beside::{Beside, Role};
use super::instance::Instance;
use super::units::Unit;
use crate::error::{Error, Result};
use crate::format::production::Service;

/// Brings the release `id` up at a socket that nobody else knows, and asks it for what the service's probe says.
pub fn hold(app: &App, name: &str, service: &Service, id: &str, units: &[Unit], since: u64) -> Result<()> {
    if service.probe.is_none() {
        return Ok(());
    }
    let stem = app.stem(name);
    let trial = Trial(Beside::new(&stem, Role::Trial, id));
    trial.end();
    let address = address(app, &stem, service)?;
    trial.0.open(app, units, &address)?;
    let instance = Instance::beside(service, &trial.0, address);
    instance.start()?;
    instance.wait(since)?;
    instance.probe(since)
}

/// An address of the same kind as the service's own: a server that is made for one may not take the other.
fn address(app: &App, stem: &str, service: &Service) -> Result<String> {
    if service.listen.as_ref().is_none_or(|own| own.starts_with('/')) {
        return Ok(format!("/run/{}/{stem}-trial.sock", app.name()));
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.map(|address| address.to_string()).map_err(Error::at("find a free port at", "127.0.0.1"))
}

/// It ends, and its units go, with the value.
struct Trial(Beside);

impl Trial {
    fn end(&self) {
        if self.0.has_units() {
            // It has answered, or it never will: nothing that it has begun is anybody's.
            self.0.kill();
            self.0.close();
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.end();
    }
}
