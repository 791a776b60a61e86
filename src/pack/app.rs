//! The app's layer: its source tree, and the scripts that start what is no program by itself.

use std::collections::BTreeMap;
use std::path::{Path, absolute};
use std::sync::Arc;
use std::thread;

use coil_bootstrap::format::manifest::Python;
use coil_bootstrap::format::path::TreePath;

use super::Packing;
use super::commands::Chosen;
use super::compiler::CompiledBy;
use crate::bytecode::{Apart, Earlier};
use crate::checksums::Checksums;
use crate::cli;
use crate::error::{Context, Failure, Result};
use crate::project::Project;
use crate::store::{Key, Made, StoredLayer};
use crate::tree::{Content, Node, Tree};

/// Puts the app's directory on `sys.path`. A path in a `.pth` file is relative to the file's directory.
pub(super) const PTH: &str = "_coil_app.pth";

/// What is to be said of the app in every pack: which of its files have no byte code.
pub type Facts = Vec<String>;

/// The app's layer; `None` where there is nothing to put into one.
pub fn layer(
    packing: &Packing,
    python: &Python,
    project: &Project,
    chosen: &Chosen,
    compiler: &Apart,
) -> Result<Option<StoredLayer<Facts>>> {
    let mut tree = project.app.clone().unwrap_or_default();
    let inside = |text: String| TreePath::new(text).map_err(|error| Failure::new(error.to_string()));
    let add = |tree: &mut Tree, path: TreePath, text: &str| {
        let node =
            Node { content: Content::bytes(text.as_bytes()), executable: false, origin: "coil".into() };
        tree.insert(path, node).map_err(|conflict| Failure::new(conflict.to_string()))
    };
    if !tree.is_empty() {
        let up = "../".repeat(python.site_packages.split('/').count());
        let pth = inside(format!("venv/{}/{PTH}", python.site_packages))?;
        add(&mut tree, pth, &format!("{up}app\n"))?;
    }
    for (path, text) in &chosen.scripts {
        add(&mut tree, path.clone(), text)?;
    }
    if tree.is_empty() {
        return Ok(None);
    }
    let checksums =
        Checksums::of(&tree).context(|| format!("cannot read the sources of {}", project.name))?;
    let key = packing.key("app", python, &[&project.name, checksums.all().as_bytes()]);
    let layer = packing.store.layer(key, packing.level, || {
        let facts = compiler.compile(&mut tree, &["app", "venv"], &checksums)?;
        let origin = project.name.clone();
        let programs = BTreeMap::new();
        Ok(Made { tree, origin, scripts: Vec::new(), reaching: Vec::new(), programs, facts })
    })?;
    layer.facts.iter().for_each(|warning| packing.report.warning(warning));
    Ok(Some(layer))
}

/// Compiles the app's files. What was not compiled earlier is compiled from now on: a line of it has changed, or why
/// pack again?
pub fn compiler(packing: &Packing, project: &Project, words: &cli::Project) -> Arc<Apart> {
    let Packing { interpreter, store, compiler, .. } = packing;
    let by = CompiledBy::new(interpreter);
    let places = words.projects.iter().map(Path::new).chain(words.app.as_deref());
    let places: Vec<_> = places.map(|place| absolute(place).unwrap_or_default()).collect();
    let key = Key::new("compiled", &[&project.name, &format!("{places:?}"), &by.build()]);
    let earlier = Earlier::open(store.compiled(key), store.scratch(), by.build());
    let apart = Arc::new(Apart::new(Arc::clone(compiler), earlier));
    if let Some(app) = project.app.clone() {
        let apart = Arc::clone(&apart);
        thread::spawn(move || apart.foresee(&app, &["app"]));
    }
    apart
}
