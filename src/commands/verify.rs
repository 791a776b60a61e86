//! `coil verify`: whether a bundle is whole, and whether it can be made again.

use std::path::{Path, PathBuf};

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::error::Error;
use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::verify::{check_layer, check_stamp};

use super::cache_directory;
use super::inspect::size;
use super::retype::Rebuild;
use crate::bundle::{self, Launcher};
use crate::cli::Verify;
use crate::compare::first_difference;
use crate::error::{Context, Failure, Result};
use crate::layer::compressor;
use crate::lock::Lock;
use crate::pack::{Given, pack_with};
use crate::report::{Loudness, Report};
use crate::store::Store;

/// Checks the bundle, and with `--rebuild` packs it again and compares.
pub fn run(options: &Verify) -> Result<()> {
    let shown = options.bundle.display();
    let bundle = Bundle::open(&options.bundle).map_err(|error| {
        Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
    })?;
    let report = Report::new(if options.quiet { Loudness::Quiet } else { Loudness::Normal });
    check(&bundle)?;
    let layers = &bundle.manifest().layers;
    let packed = size(layers.iter().map(|layer| layer.size).sum());
    report.done(&format!("{shown} is whole: {} layers, {packed}", layers.len()));
    if options.rebuild {
        rebuild(options, &bundle, &report)?;
        report.done(&format!("{shown} packed again is the same, bit for bit"));
    }
    Ok(())
}

/// Checks the stamp and all layers, and tells everything that is wrong.
fn check(bundle: &Bundle) -> Result<()> {
    let layers = 0..bundle.manifest().layers.len();
    let checks = [check_stamp(bundle)].into_iter().chain(layers.map(|index| check_layer(bundle, index)));
    let mut damages = Vec::new();
    for error in checks.filter_map(coil_bootstrap::error::Result::err) {
        match error {
            Error::Damaged { damage, .. } => damages.push(damage.to_string()),
            other => return Err(Failure::new(other.to_string())),
        }
    }
    if damages.is_empty() {
        return Ok(());
    }
    let message = format!("{} is damaged: {}", bundle.path().display(), damages.join("; "));
    Err(Failure::new(message).hint(match forget_damaged(bundle.manifest()) {
        true => "the cache had the same damage, which is removed: pack again",
        false => "copy the file again, from where it was whole",
    }))
}

/// Removes from the cache those of the layers that are damaged there, too: a pack copies them without a look inside. Says
/// whether there were any.
fn forget_damaged(manifest: &Manifest) -> bool {
    let Ok(cache) = cache_directory() else { return false };
    manifest.layers.iter().filter(|layer| Store::forget_damaged(&cache, &layer.digest)).count() > 0
}

fn rebuild(options: &Verify, bundle: &Bundle, report: &Report) -> Result<()> {
    let shown = bundle.path().display();
    let manifest = bundle.manifest();
    let Some(recipe) = &manifest.recipe else {
        return Err(Failure::new(format!("{shown} does not say how it was made"))
            .hint("`coil pack` writes that down; `coil rebase` changes what it was made of"));
    };
    for (what, then, now) in [
        ("coil", recipe.coil.as_str(), env!("CARGO_PKG_VERSION")),
        ("the compressor", recipe.compressor.as_str(), compressor().as_str()),
    ] {
        if then != now {
            report.warning(&format!("{shown} was packed with another version of {what}: {then}, not {now}"));
        }
    }
    let store = super::open_store()?;
    let scratch = tempfile::tempdir_in(store.scratch())
        .context(|| format!("cannot write to {}", store.scratch().display()))?;
    let lock = manifest.lock.as_deref().map(Lock::from_toml).transpose()?;
    let packages = lock.as_ref().map_or(&[][..], |lock| &lock.packages);
    let rebuild = Rebuild { options, manifest, recipe, store: &store, scratch: scratch.path(), packages };
    let mut pack = rebuild.words()?;
    pack.project.index = options.index.clone();
    pack.project.index.find_links.extend(rebuild.known_wheels());
    // A store of its own: a layer that was made before would prove nothing.
    let store = Store::open(scratch.path())?;
    let again = scratch.path().join("bundle");
    let given = Given { lock: manifest.lock.as_deref(), ahead: None };
    let parts = pack_with(&pack.project, called(manifest, scratch.path()), given, &store, report)?;
    let (then, now) = (&manifest.python.version, &parts.manifest.python.version);
    if then != now {
        let message = format!("{shown} has CPython {then}, and {now} was packed again");
        return Err(Failure::new(message).hint(format!("name a CPython {then} with --python")));
    }
    bundle::write(&again, Launcher::ours()?, &parts.manifest, &parts.blobs)?;
    let again = Bundle::open(&again).context(|| "what was packed again cannot be read".into())?;
    match first_difference(bundle, &again)? {
        None => Ok(()),
        Some(difference) => Err(Failure::new(format!("{shown} packed again is not the same: {difference}"))),
    }
}

/// A file that makes the same console script the default: the bundle's own name may have chosen it.
fn called(manifest: &Manifest, scratch: &Path) -> Option<PathBuf> {
    let default = manifest.default.as_ref()?;
    let is_script = manifest.commands.get(default)?.script.as_str() == format!("bin/{default}");
    is_script.then(|| scratch.join("called").join(default))
}
