//! The words of `coil deploy` and `coil rollback`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Volume;
use crate::deploy::containers::Kind;
use crate::deploy::{Host, PARALLEL};

/// `coil deploy`
#[derive(Debug, Args)]
pub struct Deploy {
    /// Which hosts, and how they are reached.
    #[command(flatten)]
    pub reach: Reach,
    /// The bundle. Only what a host lacks is sent.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// For hosts that run containers.
    #[command(flatten)]
    pub containers: Containers,
    /// Activate on so many hosts first, the first ones named, and look at them again after --wait.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub canary: usize,
    /// How long those run before the others follow: 30s, 5m, 1h.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_wait, requires = "canary")]
    pub wait: Duration,
    /// Install only: what is active stays active.
    #[arg(long, conflicts_with_all = ["canary", "wait", "keep_going", "rollback_on_failure", "run"])]
    pub no_activate: bool,
    /// Activate on the hosts that have the release, though others could not get it.
    #[arg(long)]
    pub keep_going: bool,
    /// Where a host fails to activate, put back what was before on those that did not.
    #[arg(long)]
    pub rollback_on_failure: bool,
    /// How much to say.
    #[command(flatten)]
    pub volume: Volume,
}

/// `coil rollback`
#[derive(Debug, Args)]
pub struct Rollback {
    /// Which hosts, and how they are reached.
    #[command(flatten)]
    pub reach: Reach,
    /// The app's name.
    #[arg(long, value_name = "NAME", value_parser = parse_app)]
    pub app: Option<String>,
    /// A bundle of the app, instead of its name.
    #[arg(long, value_name = "FILE", conflicts_with = "app")]
    pub bundle: Option<PathBuf>,
    /// For hosts that run containers.
    #[command(flatten)]
    pub containers: Containers,
    /// How much to say.
    #[command(flatten)]
    pub volume: Volume,
}

/// For hosts that run containers.
#[derive(Debug, Args)]
pub struct Containers {
    /// The hosts run containers: their docker or podman gets the bundle's image, as APP:RELEASE and, once it is everywhere,
    /// as APP:current.
    #[arg(long)]
    pub image: bool,
    /// Which engine there is meant [default: docker where it is installed, else podman].
    #[arg(long, value_enum, requires = "image", hide_possible_values = true, value_name = "docker|podman")]
    pub engine: Option<Kind>,
    /// A line for each host's shell once the image is the current one, such as `systemctl restart site`; $COIL_IMAGE and
    /// $COIL_PREVIOUS are the images' names. Where it fails, what was current is again.
    #[arg(long, value_name = "COMMAND", requires = "image")]
    pub run: Option<String>,
}

/// Which hosts, and how they are reached.
#[derive(Debug, Args)]
pub struct Reach {
    /// Hosts, in any words that ssh understands: web1, me@web1, ssh://me@web1:2222.
    #[arg(value_name = "HOST", required = true)]
    pub hosts: Vec<Host>,
    /// How many hosts are served at a time.
    #[arg(long, value_name = "N", default_value_t = PARALLEL, value_parser = parse_parallel)]
    pub parallel: usize,
    /// The command that reaches a host, in place of ssh: it is given ssh's options, the host and a line for its shell.
    #[arg(long, value_name = "COMMAND", env = "COIL_SSH", hide_env_values = true)]
    pub ssh: Option<String>,
    /// Become root with `sudo -n` where the login is not root.
    #[arg(long)]
    pub sudo: bool,
    /// Print what became of each host as JSON.
    #[arg(long)]
    pub json: bool,
}

fn parse_parallel(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=1000).contains(number))
        .ok_or_else(|| "a number from 1 to 1000".into())
}

fn parse_app(text: &str) -> Result<String, String> {
    let sound = coil_bootstrap::format::manifest::is_command_name(text);
    sound.then(|| text.to_owned()).ok_or_else(|| "no app can have this name".into())
}

/// Reads a time: a number and a unit.
fn parse_wait(text: &str) -> Result<Duration, String> {
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        _ => return Err("write a number and s, m or h, such as 60s".into()),
    };
    let number: Option<u32> = text[..text.len() - 1].parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(unit));
    seconds
        .map(|seconds| Duration::from_secs(seconds.into()))
        .ok_or_else(|| "that is too long, or no number".into())
}
