//! The runtime's layer: harvested once from an interpreter, and again when that changes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use coil_bootstrap::format::manifest::Python;
use serde::{Deserialize, Serialize};

use super::Packing;
use crate::error::{Context, Result};
use crate::interpreter::Interpreter;
use crate::runtime::{Carried, Keep, Kept, harvest, places, stdlib};
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

/// What tells whether an installation has changed: the size and the time of change of every file that is harvested, of the
/// interpreter, and of the places system libraries come from.
fn state(interpreter: &Interpreter, kept: Kept) -> io::Result<Vec<u8>> {
    let mut state = State { kept, told: Vec::new() };
    // The loader's cache changes whenever a package manager changes a library.
    let single = [interpreter.base_executable.clone(), PathBuf::from("/etc/ld.so.cache")];
    for path in single.into_iter().chain(places()) {
        if let Ok(file) = fs::metadata(&path) {
            state.add(path.as_os_str(), &file);
        }
    }
    stdlib::roots(interpreter).into_iter().try_for_each(|(root, prefix)| state.walk(&root, &prefix))?;
    Ok(state.told)
}

struct State {
    kept: Kept,
    told: Vec<u8>,
}

impl State {
    /// Adds what is in `directory`, whose name in the standard library is `prefix`. Where a symbolic link leads is not looked at.
    fn walk(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            entries.push((entry.file_name(), entry));
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, entry) in entries {
            let Some(name) = name.to_str().map(|name| format!("{prefix}{name}")) else { continue };
            let is_directory = entry.file_type()?.is_dir();
            if stdlib::is_left_out(&name, is_directory, self.kept) {
                continue;
            } else if is_directory {
                self.walk(&entry.path(), &format!("{name}/"))?;
            } else {
                self.add(name.as_ref(), &entry.metadata()?);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &OsStr, file: &fs::Metadata) {
        self.told.extend(name.as_bytes());
        for number in [0, file.size() as i64, file.mtime(), file.mtime_nsec()] {
            self.told.extend(number.to_le_bytes());
        }
    }
}
