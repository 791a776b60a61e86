//! The wheels' layers: one for each, made once from the same wheel for the same Python.

use std::collections::BTreeSet;

use coil_bootstrap::format::manifest::Python;
use serde::{Deserialize, Serialize};

use super::Packing;
use super::resolution::KeptWheel;
use crate::error::{Context, Result};
use crate::store::{Made, StoredLayer};
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
}

/// The layers of these wheels, in their order.
pub fn layers(packing: &Packing, python: &Python, kept: &[KeptWheel]) -> Result<Vec<StoredLayer<Facts>>> {
    let target = Target::of(packing.interpreter)?;
    kept.iter().map(|wheel| layer(packing, python, &target, wheel)).collect()
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
    store.layer(key, *level, || {
        report.doing(&format!("reading {name}"));
        let wheel = Wheel::read(&store.wheel(digest, name), target)?;
        let mut tree = wheel.tree;
        wheel.warnings.iter().for_each(|warning| report.warning(warning));
        packing.compiler().compile(&mut tree, &["venv"])?.iter().for_each(|warning| report.detail(warning));
        let on_path = tree.iter().filter_map(|(path, _)| path.below("venv/bin").map(str::to_owned)).collect();
        let Metadata { name: own_name, version, .. } = wheel.metadata;
        let facts = Facts { name: own_name, version, programs: on_path };
        let unreadable = || format!("cannot read {name} again");
        let reaching = reaching::directories(&tree).context(unreadable)?;
        let programs = programs::with_room(&tree).context(unreadable)?;
        Ok(Made { tree, origin: name.clone(), scripts: wheel.scripts, reaching, programs, facts })
    })
}
