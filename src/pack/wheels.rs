//! The wheels' layers: one for each, made once from the same wheel for the same Python.

use std::collections::BTreeSet;

use coil_bootstrap::format::manifest::Python;
use serde::{Deserialize, Serialize};

use super::compiler;
use super::resolution::KeptWheel;
use crate::bytecode::Compiler;
use crate::error::Result;
use crate::interpreter::Interpreter;
use crate::report::Report;
use crate::store::{Key, Made, Store, StoredLayer};
use crate::wheel::{Target, Wheel};

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
pub fn layers(
    kept: &[KeptWheel],
    python: &Python,
    interpreter: &Interpreter,
    level: i32,
    store: &Store,
    report: &Report,
) -> Result<Vec<StoredLayer<Facts>>> {
    let target = target(python, interpreter);
    let compiler = compiler(interpreter);
    let one = |wheel: &KeptWheel| layer(wheel, &target, &compiler, python, level, store, report);
    kept.iter().map(one).collect()
}

fn layer(
    kept: &KeptWheel,
    target: &Target,
    compiler: &Compiler,
    python: &Python,
    level: i32,
    store: &Store,
    report: &Report,
) -> Result<StoredLayer<Facts>> {
    let KeptWheel { name, digest } = kept;
    let python = super::python_key(python);
    let key = Key::new("wheel", &[name, digest.as_bytes(), &python, &level.to_string()]);
    store.layer(key, level, || {
        report.doing(&format!("reading {name}"));
        let wheel = Wheel::read(&store.wheel(digest, name), target)?;
        let mut tree = wheel.tree;
        wheel.warnings.iter().for_each(|warning| report.warning(warning));
        compiler.compile(&mut tree, &["venv"])?.iter().for_each(|warning| report.detail(warning));
        let programs =
            tree.iter().filter_map(|(path, _)| path.below("venv/bin").map(str::to_owned)).collect();
        let facts = Facts { name: wheel.metadata.name, version: wheel.metadata.version, programs };
        Ok(Made { tree, origin: name.clone(), scripts: wheel.scripts, facts })
    })
}

fn target(python: &Python, interpreter: &Interpreter) -> Target {
    Target {
        version: (interpreter.version.0, interpreter.version.1),
        abi: python.abi.clone(),
        glibc: interpreter.glibc.unwrap_or_default(),
        machine: interpreter.machine.clone(),
        site_packages: python.site_packages.clone(),
    }
}
