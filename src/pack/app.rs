//! The app's layer: its source tree, and the scripts that start what is no program by itself.

use std::collections::BTreeMap;

use coil_bootstrap::format::manifest::Python;
use coil_bootstrap::format::path::TreePath;
use sha2::{Digest as _, Sha256};

use super::Packing;
use super::commands::Chosen;
use crate::error::{Context, Failure, Result};
use crate::project::Project;
use crate::store::{Made, StoredLayer, digest_of};
use crate::tree::{Content, Node, Tree};

/// Puts the app's directory on `sys.path`. A path in a `.pth` file is relative to the file's directory.
pub(super) const PTH: &str = "_coil_app.pth";

/// The app's layer; `None` where there is nothing to put into one.
pub fn layer(
    packing: &Packing,
    python: &Python,
    project: &Project,
    chosen: &Chosen,
) -> Result<Option<StoredLayer<()>>> {
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
    let content = content_key(&tree).context(|| format!("cannot read the sources of {}", project.name))?;
    let key = packing.key("app", python, &[&project.name, &content]);
    let layer = packing.store.layer(key, packing.level, || {
        let warnings = packing.compiler().compile(&mut tree, &["app", "venv"])?;
        warnings.iter().for_each(|warning| packing.report.warning(warning));
        let origin = project.name.clone();
        let programs = BTreeMap::new();
        Ok(Made { tree, origin, scripts: Vec::new(), reaching: Vec::new(), programs, facts: () })
    })?;
    Ok(Some(layer))
}

/// A digest of everything in the tree.
pub(super) fn content_key(tree: &Tree) -> std::io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (path, node) in tree.iter() {
        add(path.as_bytes());
        match &node.content {
            Content::Symlink(target) => add(format!("link {target}").as_bytes()),
            content => {
                add(if node.executable { b"program" } else { b"file" });
                add(digest_of(content)?.as_bytes());
            }
        }
    }
    Ok(hasher.finalize().into())
}
