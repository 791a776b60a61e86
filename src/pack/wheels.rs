//! The wheels' layers: one for each, made once from the same wheel for the same Python.

use std::collections::BTreeSet;

use coil_bootstrap::format::manifest::Python;
use coil_bootstrap::format::path::TreePath;
use serde::{Deserialize, Serialize};

use super::Packing;
use super::resolution::KeptWheel;
use super::side_by_side::each;
use crate::error::{Context, Result};
use crate::store::{Made, StoredLayer};
use crate::tree::Tree;
use crate::wheel::{Metadata, Target, Wheel, programs, reaching};

/// What is known of a wheel beside its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// The distribution's name, as its author writes it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The programs it puts on PATH.
    pub programs: BTreeSet<String>,
    /// What is to be said of it in every pack.
    pub warnings: Vec<String>,
}

/// The layers of these wheels, in their order, several being made at a time.
pub fn layers(packing: &Packing, python: &Python, kept: &[KeptWheel]) -> Result<Vec<StoredLayer<Facts>>> {
    let Packing { store, report, .. } = packing;
    let target = Target::of(packing.interpreter)?;
    let progress = report.counted("packing wheels", kept.len());
    // The largest first: what is left for the end is small and keeps nobody waiting.
    let size =
        |wheel: &KeptWheel| store.wheel(&wheel.digest, &wheel.name).metadata().map_or(0, |it| it.len());
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by_cached_key(|index| std::cmp::Reverse(size(&kept[*index])));
    each(kept, &order, store.pool().size(), report, |wheel, report| {
        let layer = layer(&packing.saying(report), python, &target, wheel);
        progress.advance(1);
        layer
    })
}

fn layer(
    packing: &Packing,
    python: &Python,
    target: &Target,
    kept: &KeptWheel,
) -> Result<StoredLayer<Facts>> {
    let Packing { level, store, report, .. } = packing;
    let KeptWheel { name, digest } = kept;
    let key = packing.key("wheel", python, &[name, digest.as_bytes()]);
    let mut task = None;
    let layer = store.layer(key, *level, || {
        let task = task.insert(report.task(name));
        task.now("reading");
        let wheel = Wheel::read(&store.wheel(digest, name), target)?;
        let tree = wheel.tree;
        task.now("compiling");
        let Metadata { name: own_name, version, .. } = &wheel.metadata;
        let mut made = complete(packing, tree, wheel.scripts, name, (own_name, version))?;
        made.facts.warnings = wheel.warnings;
        task.now("compressing");
        Ok(made)
    })?;
    layer.facts.warnings.iter().for_each(|warning| report.warning(warning));
    Ok(layer)
}

/// The files of a distribution, `venv/...`, with their byte code and with what the plan wants to know of them.
pub fn complete(
    packing: &Packing,
    mut tree: Tree,
    scripts: Vec<TreePath>,
    origin: &str,
    (name, version): (&str, &str),
) -> Result<Made<Facts>> {
    let warnings = packing.compiler().compile(&mut tree, &["venv"])?;
    warnings.iter().for_each(|warning| packing.report.detail(warning));
    let on_path = tree.iter().filter_map(|(path, _)| path.below("venv/bin").map(str::to_owned)).collect();
    let (name, version) = (name.to_owned(), version.to_owned());
    let facts = Facts { name, version, programs: on_path, warnings: Vec::new() };
    let unreadable = || format!("cannot read {origin} again");
    let reaching = reaching::directories(&tree).context(unreadable)?;
    let programs = programs::with_room(&tree).context(unreadable)?;
    Ok(Made { tree, origin: origin.to_owned(), scripts, reaching, programs, facts })
}
