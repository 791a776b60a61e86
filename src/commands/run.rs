//! `coil run`: pack into the cache and start.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use coil_bootstrap::format::digest::Digest;

use super::timing;
use crate::bundle::{self, Launcher};
use crate::cli::Run;
use crate::error::{Context, Failure, Result};
use crate::last_use;
use crate::pack::{default_output, pack};
use crate::report::{Loudness, Report};

/// Packs, unless just that bundle is there already, and becomes the app.
pub fn run(options: &Run) -> Result<()> {
    let store = super::open_store()?;
    let report = Report::new(options.volume.or(Loudness::Passing));
    let parts = pack(&options.project, None, &store, &report)?;
    let digest = Digest::of(parts.manifest.bytes());
    let directory = store.bundles().join(digest.hex());
    fs::create_dir_all(&directory).context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join(default_output(&parts.manifest));
    if path.exists() {
        last_use::mark(&path);
    } else {
        bundle::write(&path, Launcher::ours()?, &parts.manifest, &parts.blobs)?;
    }
    report.leave();
    // What comes next does not return.
    drop(store);
    let mut command = Command::new(&path);
    command.args(&options.args);
    if options.timing {
        std::process::exit(timing::start(&path, command)?);
    }
    let error = command.exec();
    Err(Failure::new(format!("cannot start {}", path.display())).because(error))
}
