//! `coil lock`: what would be packed, written down.

use crate::cli::Lock;
use crate::error::Result;
use crate::pack::lock;
use crate::report::{Loudness, Report};
use crate::store::Store;

/// Locks, and says where.
pub fn run(options: &Lock) -> Result<()> {
    let report = Report::new(Loudness::Normal);
    let store = Store::open(&super::cache_directory()?)?;
    let locked = lock(&options.project, options.output.as_deref(), &store, &report)?;
    let (count, python) = (locked.count, locked.python);
    report.done(&format!("locked {count} distributions for CPython {python} in {}", locked.path.display()));
    Ok(())
}
