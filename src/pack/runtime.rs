//! The runtime's layer: harvested once from an interpreter, and again when that changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::manifest::Python;
use serde::{Deserialize, Serialize};

use super::Packing;
use crate::error::{Context, Result};
use crate::interpreter::Interpreter;
use crate::runtime::{Carried, Keep, Kept, harvest, places};
use crate::store::{Key, Made, StoredLayer};

/// What is known of a runtime beside its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// What the manifest says of it.
    pub python: Python,
    /// What was left out and why.
    pub left_out: Vec<String>,
    /// The shared libraries that came along, and what else of the build machine.
    pub carried: Vec<Carried>,
    /// What was kept that is left out otherwise.
    pub kept: Kept,
    /// Its OpenSSL, in OpenSSL's own words.
    pub openssl: Option<String>,
}

/// The layer of the runtime harvested from the interpreter.
pub fn layer(packing: &Packing) -> Result<StoredLayer<Facts>> {
    let Packing { interpreter, kept, level, store, report, .. } = packing;
    let told = essence(interpreter);
    let state = state(interpreter, *kept)
        .context(|| format!("cannot read the standard library of {}", interpreter.base_executable.display()));
    let state = state.map_err(|failure| {
        failure.hint("name an interpreter with its standard library in a directory with --python")
    })?;
    let key = Key::new("runtime", &[&told, &kept.to_string(), &state, &level.to_string()]);
    let mut task = None;
    let layer = store.layer(key, *level, || {
        let task = task.insert(report.task(&format!("CPython {}", interpreter.full_version)));
        task.now("harvesting");
        let harvest = harvest(interpreter, *kept)?;
        let mut tree = harvest.tree;
        let mut left_out = harvest.left_out;
        task.now("compiling");
        let compiled = |done, all| task.at(done, all);
        left_out.extend(packing.compiler().compile_told(&mut tree, &["python/lib"], &compiled)?);
        if kept.has(Keep::Sourceless) {
            packing.compiler().drop_sources(&mut tree, &["python/lib"]);
        }
        task.now("compressing");
        let origin = format!("CPython {}", interpreter.full_version);
        report.done(&format!("harvested {origin} from {}", interpreter.base_prefix.display()));
        harvest.notes.iter().for_each(|note| report.note(note));
        left_out.extend(harvest.notes);
        Ok(Made {
            tree,
            origin,
            scripts: Vec::new(),
            reaching: Vec::new(),
            programs: BTreeMap::new(),
            facts: Facts {
                python: harvest.python,
                left_out,
                carried: harvest.carried,
                kept: *kept,
                openssl: harvest.openssl,
            },
        })
    })?;
    layer.facts.left_out.iter().for_each(|what| report.detail(what));
    Ok(layer)
}

/// What a harvest depends on beside files: not which virtualenv the interpreter was found in, nor the kernel.
fn essence(interpreter: &Interpreter) -> String {
    let Interpreter { base_executable, full_version, abi_flags, base_prefix, base_exec_prefix, .. } =
        interpreter;
    let Interpreter { stdlib, dynload, magic, glibc, machine, .. } = interpreter;
    let places = (base_executable, base_prefix, base_exec_prefix, stdlib, dynload);
    format!("{:?}", (places, full_version, abi_flags, magic, glibc, machine))
}

/// What tells whether an installation has changed: every file's path, size and time of change, of the
/// interpreter, its standard library, and the places system libraries come from.
fn state(interpreter: &Interpreter, kept: Kept) -> std::io::Result<Vec<u8>> {
    let mut state = Vec::new();
    let mut pending = vec![interpreter.stdlib.clone()];
    pending.extend(interpreter.dynload.clone());
    let mut add = |path: &Path, file: &fs::Metadata| {
        state.extend(path.as_os_str().as_bytes());
        let (seconds, nanoseconds) = (file.mtime(), file.mtime_nsec());
        for number in [0, file.size() as i64, seconds, nanoseconds] {
            state.extend(number.to_le_bytes());
        }
    };
    // The loader's cache changes whenever a package manager changes a library.
    let single = [interpreter.base_executable.clone(), PathBuf::from("/etc/ld.so.cache")];
    for path in single.into_iter().chain(places()) {
        if let Ok(file) = fs::metadata(&path) {
            add(&path, &file);
        }
    }
    while let Some(directory) = pending.pop() {
        let mut entries: Vec<_> = fs::read_dir(&directory)?.collect::<Result<_, _>>()?;
        entries.sort_by_cached_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let file = entry.metadata()?;
            let skipped = [
                ("site-packages", false),
                ("dist-packages", false),
                ("__pycache__", kept.has(Keep::Pycache)),
                ("test", kept.has(Keep::Tests)),
            ];
            if !file.is_dir() {
                add(&path, &file);
            } else if !skipped.iter().any(|(name, kept)| entry.file_name() == *name && !kept) {
                pending.push(path);
            }
        }
    }
    Ok(state)
}
