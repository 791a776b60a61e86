//! A proxy in front of an app: nginx or haproxy, at the socket that outlives every release, with room for another release
//! that gets a share of the requests. Which share is the proxy's to say, and only while it runs.

use super::{Definition, Place};
use crate::error::{Failure, Result};

/// A program that passes requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Proxy {
    /// nginx, 1.18 or later.
    Nginx,
    /// haproxy, 2.2 or later.
    Haproxy,
}

/// What it is told.
pub fn proxy(place: &Place, proxy: Proxy) -> Result<Definition> {
    let app = place.app();
    let Some((active, canary)) = place.front() else {
        return Err(Failure::new(format!("{} has no service that answers requests", place.manifest.name))
            .hint("call one web, or say listen in [tool.coil.services], and pack it again"));
    };
    let has_static =
        place.manifest.production.services.values().any(|service| service.static_files.is_some());
    let (text, unix, path) = match proxy {
        Proxy::Nginx => {
            let text = include_str!("../../runtime-templates/nginx.conf");
            let fragment = include_str!("../../runtime-templates/nginx-static.conf");
            let text = text.replace("@STATIC@\n", if has_static { fragment } else { "" });
            (text, "unix:", "/etc/nginx/conf.d/@APP@.conf")
        }
        Proxy::Haproxy => (
            include_str!("../../runtime-templates/haproxy.cfg").to_owned(),
            "unix@",
            "/etc/haproxy/@APP@.cfg",
        ),
    };
    let server = |address: &str| {
        if address.starts_with('/') { format!("{unix}{address}") } else { address.to_owned() }
    };
    // Names of apps need no quoting; dots mean something in names of backends to nobody.
    let fill = |text: &str| {
        let text = text.replace("@APP@", app.name()).replace("@NAME@", app.name());
        text.replace("@SERVER@", &server(&active)).replace("@CANARY@", &server(&canary))
    };
    Ok(Definition { path: fill(path), text: fill(&text), executable: false })
}
