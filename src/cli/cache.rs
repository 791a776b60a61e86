//! The words of `coil cache`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// `coil cache`
#[derive(Debug, Args)]
pub struct Cache {
    /// What to do; without one, `size`.
    #[command(subcommand)]
    pub action: Option<CacheAction>,
}

/// What can be done with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheAction {
    /// Show where the cache is, and what it holds.
    Size,
    /// Print the cache's directory.
    Dir,
    /// Unpack a bundle ahead of its first start, for this user or for all.
    Add(Add),
    /// Remove what packing and apps have not used for a while. It is made again when it is needed again.
    Prune(Prune),
}

/// `coil cache add`
#[derive(Debug, Args)]
pub struct Add {
    /// The bundle. It need not be executable here.
    pub bundle: PathBuf,
    /// Unpack into the system's store, /var/lib/coil, from where every user starts it without writing anything.
    #[arg(long)]
    pub system: bool,
    /// Unpack into this directory, for all users that set COIL_CACHE to it.
    #[arg(long, value_name = "DIR", conflicts_with = "system")]
    pub store: Option<PathBuf>,
}

/// `coil cache prune`
#[derive(Debug, Args)]
pub struct Prune {
    /// How long something must not have been used: 12h, 7d, 4w.
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = parse_age)]
    pub older_than: Duration,
    /// Remove everything, however lately it was used.
    #[arg(long, conflicts_with = "older_than")]
    pub all: bool,
}

/// Reads an age: a number and a unit.
fn parse_age(text: &str) -> Result<Duration, String> {
    let unit = match text.as_bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 24 * 3600,
        Some(b'w') => 7 * 24 * 3600,
        _ => return Err("write a number and m, h, d or w, such as 7d".into()),
    };
    let number: u64 = text[..text.len() - 1]
        .parse()
        .map_err(|_| "write a whole number before the unit, such as 7d".to_owned())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}
