//! The wheels' layers: one for each, made once from the same wheel for the same Python.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::manifest::Python;
use serde::{Deserialize, Serialize};

use crate::bytecode::Compiler;
use crate::error::{Context, Result};
use crate::interpreter::Interpreter;
use crate::report::Report;
use crate::store::{Key, Made, Store, StoredLayer, digest_of_file};
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

/// The layers of the wheels at `paths`, in that order.
pub fn layers(
    paths: &[PathBuf],
    python: &Python,
    interpreter: &Interpreter,
    level: i32,
    store: &Store,
    report: &Report,
) -> Result<Vec<StoredLayer<Facts>>> {
    let target = target(python, interpreter);
    let compiler = Compiler::new(interpreter);
    let one = |path: &PathBuf| layer(path, &target, &compiler, python, level, store, report);
    paths.iter().map(one).collect()
}

fn layer(
    path: &Path,
    target: &Target,
    compiler: &Compiler,
    python: &Python,
    level: i32,
    store: &Store,
    report: &Report,
) -> Result<StoredLayer<Facts>> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let digest = digest_of_file(path).context(|| format!("cannot read {}", path.display()))?;
    let inputs = [file_name.as_bytes(), digest.as_bytes()];
    let python = super::python_key(python);
    let key = Key::new("wheel", &[&inputs[0], &inputs[1], &python, &level.to_string()]);
    store.layer(key, level, || {
        report.doing(&format!("reading {file_name}"));
        let wheel = Wheel::read(path, target)?;
        let mut tree = wheel.tree;
        wheel.warnings.iter().for_each(|warning| report.warning(warning));
        compiler.compile(&mut tree)?.iter().for_each(|warning| report.detail(warning));
        let programs = tree.iter().filter_map(|(path, _)| path.below("venv/bin").map(str::to_owned)).collect();
        let facts = Facts { name: wheel.metadata.name, version: wheel.metadata.version, programs };
        Ok(Made { tree, origin: file_name.to_string(), scripts: wheel.scripts, facts })
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
