//! The runtime's layer: harvested once from an interpreter, and again when that changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::manifest::Python;
use serde::{Deserialize, Serialize};

use super::Packing;
use crate::error::{Context, Result};
use crate::interpreter::Interpreter;
use crate::runtime::{Carried, harvest};
use crate::store::{Key, Made, StoredLayer};

/// What is known of a runtime beside its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// What the manifest says of it.
    pub python: Python,
    /// What was left out and why.
    pub left_out: Vec<String>,
    /// The shared libraries that came along.
    pub carried: Vec<Carried>,
    /// Its OpenSSL, in OpenSSL's own words.
    pub openssl: Option<String>,
}

/// The layer of the runtime harvested from the interpreter.
pub fn layer(packing: &Packing) -> Result<StoredLayer<Facts>> {
    let Packing { interpreter, level, store, report } = packing;
    let told = serde_json::to_vec(interpreter).context(|| "cannot describe the interpreter".into())?;
    let state = state(interpreter).context(|| {
        format!("cannot read the standard library of {}", interpreter.base_executable.display())
    })?;
    let key = Key::new("runtime", &[&told, &state, &level.to_string()]);
    let layer = store.layer(key, *level, || {
        report.doing(&format!("harvesting CPython {}", interpreter.full_version));
        let harvest = harvest(interpreter)?;
        let mut tree = harvest.tree;
        let mut left_out = harvest.left_out;
        left_out.extend(packing.compiler().compile(&mut tree, &["python/lib"])?);
        let origin = format!("CPython {}", interpreter.full_version);
        report.done(&format!("harvested {origin} from {}", interpreter.base_prefix.display()));
        harvest.notes.iter().for_each(|note| report.note(note));
        left_out.extend(harvest.notes);
        Ok(Made {
            tree,
            origin,
            scripts: Vec::new(),
            reaching: Vec::new(),
            facts: Facts {
                python: harvest.python,
                left_out,
                carried: harvest.carried,
                openssl: harvest.openssl,
            },
        })
    })?;
    layer.facts.left_out.iter().for_each(|what| report.detail(what));
    Ok(layer)
}

/// What tells whether an installation has changed: every file's path, size and time of change, of the
/// interpreter, its standard library, and the places system libraries come from.
fn state(interpreter: &Interpreter) -> std::io::Result<Vec<u8>> {
    let mut state = Vec::new();
    let mut pending = vec![interpreter.stdlib.clone()];
    pending.extend(interpreter.dynload.clone());
    let mut add = |path: &Path, file: &fs::Metadata| {
        let line = format!("{} {} {} {}\n", path.display(), file.size(), file.mtime(), file.mtime_nsec());
        state.extend(line.into_bytes());
    };
    // The loader's cache changes whenever a package manager changes a library.
    for path in [&interpreter.base_executable, &PathBuf::from("/etc/ld.so.cache")] {
        if let Ok(file) = fs::metadata(path) {
            add(path, &file);
        }
    }
    while let Some(directory) = pending.pop() {
        let mut entries: Vec<_> = fs::read_dir(&directory)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let file = fs::symlink_metadata(&path)?;
            let skipped = ["__pycache__", "site-packages", "dist-packages", "test"];
            if !file.is_dir() {
                add(&path, &file);
            } else if !skipped.iter().any(|name| entry.file_name() == *name) {
                pending.push(path);
            }
        }
    }
    Ok(state)
}
