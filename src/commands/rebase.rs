//! `coil rebase`: another runtime under the same app, or another app on the same runtime.

use std::collections::BTreeSet;
use std::path::Path;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::manifest::Manifest;

use super::inspect::size;
use crate::bundle::{self, Launcher};
use crate::cli::Rebase;
use crate::error::{Context, Failure, Result};
use crate::image::Reference;
use crate::image::registry::{Pushed, Registry};
use crate::image::swap::swap;
use crate::layer::BlobPlace;
use crate::needs::{libraries_of_runtime, of_layer};
use crate::pack::Asked;
use crate::portability;
use crate::rebase::{AllNeeds, kept, with_runtime};
use crate::report::{Loudness, Report};
use crate::runtime_file::Runtime;

/// Writes the new bundle and says what of it is new.
pub fn run(options: &Rebase) -> Result<()> {
    let report = Report::new(Loudness::Normal);
    let Some(output) = &options.output else { return in_registry(options, &report) };
    bundle::check_output(output)?;
    let (app, (runtime, place)) = match &options.app {
        Some(app) => (app, Runtime::open(&options.bundle)?),
        None => {
            let store = super::open_store()?;
            // What the app was packed with stays; more can be asked for.
            let (runtime, python) = (options.runtime.as_deref(), options.python.as_deref());
            let kept = options.shape.kept()?.and(kept(open(&options.bundle)?.manifest())?);
            let asked = Asked { runtime, python, kept };
            (&options.bundle, asked.alone(options.shape.level(), &store, &report)?)
        }
    };
    let app_bundle = open(app)?;
    let old = app_bundle.manifest();
    let lost = lost(&app_bundle, &runtime, &place)?;
    let rebased = with_runtime(old, &runtime, &lost, || needs(&app_bundle, &runtime, &place))?;
    let blobs = blobs(&app_bundle, app, place);
    bundle::write(output, Launcher::of(app)?, &rebased, &blobs)?;
    report.done(&summary(output, old, &rebased));
    Ok(())
}

/// The same for an image in a registry: one layer is exchanged there.
fn in_registry(options: &Rebase, report: &Report) -> Result<()> {
    let name = options.bundle.to_string_lossy();
    if options.bundle.exists() {
        return Err(
            Failure::new(format!("it is not said where the rebased {name} goes")).hint("name a file with -o")
        );
    }
    if options.app.is_some() {
        return Err(Failure::new("an image in a registry is rebased onto a runtime, not onto an app")
            .hint("make the app's image with `coil image BUNDLE --push`"));
    }
    let reference = Reference::parse(&name)?;
    let tag = options.tag.as_deref().unwrap_or(reference.tag());
    let tagged = Reference::parse(&format!("{}/{}:{tag}", reference.host(), reference.repository()))?;
    let store = super::open_store()?;
    let kept = options.shape.kept()?;
    let asked = Asked { runtime: options.runtime.as_deref(), python: options.python.as_deref(), kept };
    let (runtime, place) = asked.alone(options.shape.level(), &store, report)?;
    let registry = Registry::open(&reference, options.insecure)?;
    let pushed = Pushed::open(&super::cache_directory()?, reference.host());
    report.doing(&format!("rebasing {}", reference.familiar()));
    let swapped = swap(&registry, &reference, tagged.tag(), (&runtime, &place), &pushed, report)?;
    report.done(&format!(
        "rebased {}: CPython {} instead of {}; {} sent, digest {}",
        tagged.familiar(),
        runtime.python.version,
        swapped.before,
        size(swapped.moved.sent.1),
        swapped.digest
    ));
    Ok(())
}

/// The libraries that the bundle's own runtime carries and the new one does not.
fn lost(app: &Bundle, runtime: &Runtime, place: &BlobPlace) -> Result<BTreeSet<String>> {
    let own = &app.manifest().layers[0];
    if own.digest == runtime.layer.digest {
        return Ok(BTreeSet::new());
    }
    let carried = |place: &BlobPlace, size| {
        libraries_of_runtime(place, size)
            .context(|| format!("cannot read the runtime in {}", place.file.display()))
    };
    let old = BlobPlace { file: app.path().to_owned(), offset: app.layer_offset(own) };
    let new = carried(place, runtime.layer.size)?;
    Ok(carried(&old, own.size)?.into_iter().filter(|name| !new.contains(name)).collect())
}

/// What the app's layers need, behind what the new runtime has.
fn needs(app: &Bundle, runtime: &Runtime, place: &BlobPlace) -> Result<AllNeeds> {
    let machine = portability::machine(app.manifest())?;
    let own = of_layer(place, runtime.layer.size, machine);
    let own = own.context(|| format!("cannot read the runtime in {}", place.file.display()))?;
    let mut needs = portability::needs_of(app)?;
    needs[0] = (format!("CPython {}", runtime.python.version), own);
    Ok(needs)
}

fn open(path: &Path) -> Result<Bundle> {
    Bundle::open(path)
        .map_err(|error| Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?"))
}

fn blobs(bundle: &Bundle, path: &Path, runtime: BlobPlace) -> Vec<BlobPlace> {
    let others = bundle.manifest().layers.iter().skip(1);
    let place = |layer| BlobPlace { file: path.to_owned(), offset: bundle.layer_offset(layer) };
    std::iter::once(runtime).chain(others.map(place)).collect()
}

fn summary(output: &Path, old: &Manifest, new: &Manifest) -> String {
    let (before, after) = (&old.python.version, &new.python.version);
    let runtime = &new.layers[0];
    match old.layers[0].digest == runtime.digest {
        true => format!("{} has the same runtime as before: CPython {after}", output.display()),
        false => format!(
            "rebased {}: CPython {after} instead of {before}; its layer of {} is new, {} layers are as they were",
            output.display(),
            size(runtime.size),
            new.layers.len() - 1,
        ),
    }
}
