//! A server room that a test makes and leaves nothing of: real systemd on hosts with addresses of their own, real ssh
//! to them, and a steady load on what they serve.
//!
//! ```ignore
//! let Some(lan) = Lan::wanted() else { return };
//! let web1 = lan.host("web1").start();
//! web1.copy_in(bundle.path(), "/root/site");
//! web1.run("COIL=install /root/site && COIL=activate /root/site").succeeded();
//! ```
//!
//! It needs root, a package mirror for the hosts' files (fetched once, kept below cargo's directory for tests) and some
//! seconds per test, so that all of this is skipped unless COIL_TEST_HOSTS=1; `.ci/run` installs what it needs.

pub mod apps;
pub mod client;
mod control_group;
pub mod host;
pub mod lan;
pub mod load;
pub mod root;
pub mod served;
pub mod ssh;

pub use host::Host;
pub use lan::Lan;
pub use load::{Address, Load, Pace, Tally};
pub use root::Flavour;
pub use served::Served;
