//! `coil run`: pack into the cache and start.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use coil_bootstrap::format::digest::Digest;

use crate::bundle::{self, Launcher};
use crate::cli::Run;
use crate::error::{Context, Failure, Result};
use crate::pack::{default_output, pack};
use crate::report::{Loudness, Report};
use crate::store::Store;

/// Packs, unless just that bundle is there already, and becomes the app.
pub fn run(options: &Run) -> Result<()> {
    let store = Store::open(&super::cache_directory()?)?;
    let parts = pack(&options.project, None, &store, &Report::new(Loudness::Quiet))?;
    let digest = Digest::of(&parts.manifest.encode());
    let directory = store.bundles().join(digest.hex());
    fs::create_dir_all(&directory).context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join(default_output(&parts.manifest));
    if !path.exists() {
        bundle::write(&path, &Launcher::ours()?, &parts.manifest, &parts.blobs)?;
    }
    let error = Command::new(&path).args(&options.args).exec();
    Err(Failure::new(format!("cannot start {}", path.display())).because(error))
}
