//! Releases: a bundle that manages itself on a server.
//!
//! ```text
//! /var/lib/APP/releases/ID/APP     the bundle; ID is the beginning of its manifest's digest
//! /var/lib/APP/releases/ID/units/  its units, as it was installed with
//! /var/lib/APP/releases/ID/defaults  values of settings that it declares and nobody has set
//! /var/lib/APP/current, previous   links to the release that serves, and to the one before it
//! /var/lib/APP/activations.log     one line for every change of them
//! /var/lib/APP/state/              what the app itself keeps (`StateDirectory=`)
//! /etc/APP/env                     settings; made once and never written again
//! /etc/systemd/system/APP*         the units of the release that serves
//! ```
//!
//! What is unpacked is in the system's store, as with every `COIL=install`: a release is there before it serves, and the
//! way back transfers and unpacks nothing. Everything else is systemd's: it holds the sockets, starts, watches and ends
//! processes. A release is never changed once it is there. Which one serves is what `current` says, and nothing else;
//! units are written again from that, so that an activation may be killed at any point.

mod activation;
mod app;
mod beside;
mod canary;
mod changes;
mod credentials;
mod deaf;
mod ending;
mod exec;
mod handover;
mod hush;
mod instance;
mod listening;
mod probe;
mod remove;
mod settings;
mod status;
mod store;
mod systemd;
mod trial;
mod units;
mod weights;

pub use activation::{activate, roll_back};
pub use app::{App, UNITS};
pub use canary::{address as canary_address, front};
pub use exec::exec;
pub use remove::remove;
pub use settings::unwritten as unwritten_settings;
pub use status::{RESTARTS, status};
pub use store::{Release, id, install, static_files};
pub use systemd::is_in_charge as is_possible;
pub use units::{Unit, all as units};
