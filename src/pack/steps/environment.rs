//! The environment that steps run in: unpacked and assembled as on a target, by the same code.

use std::path::PathBuf;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::c_library::{Choice, Order, made_for};
use coil_bootstrap::cache::Candidate;
use coil_bootstrap::environment::is_usable;
use coil_bootstrap::first_start;
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{CLibraryRule, LayerKind, Manifest, SCHEMA};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::host::Host;

use super::Installed;
use crate::bundle::{self, Launcher};
use crate::error::{Context, Failure, Result};
use crate::layer::BlobPlace;
use crate::pack::{Layers, Packing, app, platform};
use crate::plan::plan;
use crate::store::{Made, StoredLayer};
use crate::tree::{Content, Node, Tree};

/// The variable that names the directory which stands for `app` while steps run.
pub const APP: &str = "COIL_APP";

/// The environment's directory. It has the runtime, the libraries that are brought and the wheels, and finds the app's modules where `COIL_APP`
/// says, at the same place in `sys.path` as on a target.
pub fn prepare(
    packing: &Packing,
    installed: &Installed,
    brought: Option<StoredLayer<()>>,
) -> Result<PathBuf> {
    let Packing { store, report, .. } = packing;
    let manifest = manifest(packing, installed, brought)?;
    let candidate = Candidate::at(store.runtimes());
    let directory = candidate.environment(&Digest::of(&manifest.encode()), Choice::Carried);
    let directory = directory.canonicalize().unwrap_or(directory);
    if is_usable(&directory, &made_for(&manifest, Order::None)) {
        return Ok(directory);
    }
    report.doing("unpacking the environment of the build steps");
    let scratch = tempfile::tempdir_in(store.scratch())
        .context(|| format!("{} cannot be written", store.scratch().display()))?;
    let path = scratch.path().join("steps");
    let blobs: Vec<BlobPlace> =
        manifest.layers.iter().map(|layer| store.blob(&layer.digest).into()).collect();
    bundle::write(&path, Launcher::ours()?, &manifest, &blobs)?;
    let host = Host { candidates: vec![candidate], libc: None, ..Host::observe() };
    let made = Bundle::open(&path).and_then(|opened| first_start::prepare(&opened, &host, false));
    made.map_err(|error| {
        Failure::new("the environment of the build steps cannot be made").because(error.to_string())
    })
}

fn manifest(packing: &Packing, installed: &Installed, brought: Option<StoredLayer<()>>) -> Result<Manifest> {
    let python = installed.python();
    let mut layers = Layers::default();
    let runtime = installed.runtime.clone();
    layers.add(LayerKind::Runtime, ("cpython", Some(&python.version)), runtime.blob, runtime.listing);
    if let Some(StoredLayer { blob, listing, .. }) = brought {
        layers.add(LayerKind::Libraries, ("from the machine that packed", None), blob, listing);
    }
    for wheel in installed.wheels.iter().cloned() {
        layers.add(
            LayerKind::Wheel,
            (&wheel.facts.name, Some(&wheel.facts.version)),
            wheel.blob,
            wheel.listing,
        );
    }
    if let Some(unowned) = installed.unowned.cloned() {
        layers.add(LayerKind::App, ("files of no distribution", None), unowned.blob, unowned.listing);
    }
    let finder = finder(packing, installed)?;
    layers.add(LayerKind::App, ("steps", None), finder.blob, finder.listing);
    Ok(Manifest {
        schema: SCHEMA,
        // Not the project's: projects with the same wheels share it.
        name: "build steps".to_owned(),
        version: None,
        platform: platform(packing.interpreter)?,
        python: python.clone(),
        environment: plan(&layers.listings, &python.site_packages)?.environment,
        layers: layers.layers,
        commands: Default::default(),
        default: None,
        // The same one on every machine.
        c_library: CLibraryRule::Bundled,
        image: Default::default(),
        production: Default::default(),
        lock: None,
        source: None,
        recipe: None,
    })
}

/// A layer with the `.pth` file that stands for the one in the app's layer.
fn finder(packing: &Packing, installed: &Installed) -> Result<StoredLayer<()>> {
    let python = installed.python();
    packing.store.layer(packing.key("steps", python, &[]), packing.level, || {
        let path = TreePath::new(format!("venv/{}/{}", python.site_packages, app::PTH))
            .context(|| "the site-packages of the runtime have no usable path".to_owned())?;
        // The lines of a `.pth` file that begin with `import` are executed.
        let text = format!("import os, sys; sys.path.extend(filter(None, [os.environ.get('{APP}')]))\n");
        let mut tree = Tree::new();
        let node =
            Node { content: Content::bytes(text.as_bytes()), executable: false, origin: "coil".into() };
        tree.insert(path, node).map_err(|conflict| Failure::new(conflict.to_string()))?;
        let (scripts, reaching, programs) = Default::default();
        Ok(Made { tree, origin: "coil".into(), scripts, reaching, programs, facts: () })
    })
}
