//! Bringing a bundle to other machines over ssh, and bringing it up there.
//!
//! First every host gets the file and installs it, several at a time; only when it is everywhere the release is activated,
//! host by host. What is on the other side is the launcher (`bootstrap/src/receive`), which needs nothing to be there
//! before it. ssh is the user's own program; nothing here knows keys, addresses or passwords, and nothing is
//! changed on a host but by the launcher's own commands.

pub mod containers;
mod offering;
mod outcome;
mod process;
mod release;
mod remote;
mod rollout;
mod script;
mod send;
mod transfer;

pub use self::offering::Offering;
pub use self::outcome::{Outcome, State, json, table};
pub use self::process::{Host, Ssh};
pub use self::release::{Offered, Services};
pub use self::rollout::{Course, roll_back, roll_out};
pub use self::send::send;

/// How many hosts are served at a time unless that is said.
pub const PARALLEL: usize = 8;
