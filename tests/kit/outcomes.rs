//! What `coil deploy --json` says of hosts.

use serde_json::Value;

use super::Ran;

/// What it printed, however it ended.
#[track_caller]
pub fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

/// What it says of the host.
#[track_caller]
pub fn of<'a>(told: &'a Value, host: &str) -> &'a Value {
    let hosts = told["hosts"].as_array().expect("it has hosts");
    hosts.iter().find(|one| one["host"] == host).unwrap_or_else(|| panic!("{host} is not in {told}"))
}
