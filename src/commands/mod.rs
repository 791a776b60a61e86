//! The commands of `coil`, one file each.

pub mod cache;
pub mod deploy;
pub mod image;
pub mod init;
pub mod inspect;
pub mod lock;
pub mod pack;
pub mod package;
pub mod rebase;
pub mod release;
mod retype;
pub mod run;
pub mod runtime;
mod timing;
pub mod units;
pub mod unpack;
pub mod verify;

use std::path::PathBuf;

use coil_bootstrap::bundle::Bundle;

use crate::error::{Failure, Result};
use crate::store::Store;

/// Opens the packer's cache for this process. Temporary files go there, too: what does not fit into memory
/// should not end up in a `/tmp` that is memory, and what a killed pack leaves is swept by the next one.
fn open_store() -> Result<Store> {
    let store = Store::open(&cache_directory()?)?;
    // It can be chosen once in a process, and this is the one place that does.
    let _ = tempfile::env::override_temp_dir(store.scratch());
    Ok(store)
}

/// Refuses a bundle for other machines than this one.
fn runs_here(bundle: &Bundle) -> Result<()> {
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let platform = &bundle.manifest().platform;
    if (platform.os.as_str(), platform.architecture.as_str()) == ("linux", own) {
        return Ok(());
    }
    let platform = format!("{}/{}", platform.os, platform.architecture);
    Err(Failure::new(format!("{} is for {platform} and cannot start here", bundle.path().display())))
}

/// The directory of coil's cache: `COIL_CACHE`, else below `XDG_CACHE_HOME` or the home directory.
fn cache_directory() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let usable = |path: &PathBuf| path.is_absolute();
    variable("COIL_CACHE")
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| std::path::absolute(&path).unwrap_or(path))
        .or_else(|| variable("XDG_CACHE_HOME").filter(usable).map(|path| path.join("coil")))
        .or_else(|| variable("HOME").filter(usable).map(|path| path.join(".cache/coil")))
        .ok_or_else(|| {
            Failure::new("there is no place for the cache: HOME is not set")
                .hint("set COIL_CACHE to a directory")
        })
}
