//! What of a cache the running processes use, as far as `/proc` tells.
//!
//! A process names its environment in its first argument, as it was started. One that has changed its arguments
//! still names its program's layer, and then every environment with that layer counts as used. Processes of other users
//! and in other process namespaces are not seen: for them there is the time of the last use. A start that is on its way
//! is no such process yet; it is known by the launch record that it holds open.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names of directories below `envs` and `layers` that running processes use.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct InUse {
    /// Environments that processes name.
    pub environments: BTreeSet<String>,
    /// Layers of programs whose processes name no environment.
    pub layers: BTreeSet<String>,
}

impl InUse {
    /// What is used of the cache at `root`, which has no symbolic links in it; `None` where that cannot be known.
    pub fn of(root: &Path) -> Option<Self> {
        InUse::read(Path::new("/proc"), root, false)
    }

    /// The same, with what is about to be used: by starts that have opened a launch record and have yet to become the app.
    pub fn or_started(root: &Path) -> Option<Self> {
        InUse::read(Path::new("/proc"), root, true)
    }

    fn read(proc: &Path, root: &Path, starts: bool) -> Option<Self> {
        // Without the own process, none is to be seen.
        fs::read_link(proc.join("self/exe")).ok()?;
        let mut used = InUse::default();
        for process in fs::read_dir(proc).ok()?.flatten() {
            if !process.file_name().as_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            // Before its program: one that becomes the app meanwhile is seen as the one or as the other.
            if starts {
                used.add_open(root, &process.path().join("fd"));
            }
            // One that is gone by now, or somebody else's.
            let Ok(program) = fs::read_link(process.path().join("exe")) else { continue };
            let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
            used.add(root, &program, &arguments);
        }
        Some(used)
    }

    /// Adds the environments that this process has something open of; `descriptors` is its directory of links to that.
    fn add_open(&mut self, root: &Path, descriptors: &Path) {
        let open = fs::read_dir(descriptors).into_iter().flatten().flatten();
        let paths = open.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        self.environments.extend(paths.filter_map(|path| name_below(&root.join("envs"), &path)));
    }

    fn add(&mut self, root: &Path, program: &Path, arguments: &[u8]) {
        let mut named = false;
        for argument in arguments.split(|byte| *byte == 0) {
            if let Some(name) = name_below(&root.join("envs"), Path::new(OsStr::from_bytes(argument))) {
                named |= true;
                self.environments.insert(name);
            }
        }
        if !named && let Some(layer) = name_below(&root.join("layers"), program) {
            self.layers.insert(layer);
        }
    }
}

/// The first component of `path` below `directory`.
fn name_below(directory: &Path, path: &Path) -> Option<String> {
    let below: PathBuf = path.strip_prefix(directory).ok()?.into();
    below.components().next()?.as_os_str().to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(program: &str, arguments: &str) -> (Vec<String>, Vec<String>) {
        let mut used = InUse::default();
        used.add(Path::new("/c"), Path::new(program), arguments.as_bytes());
        (used.environments.into_iter().collect(), used.layers.into_iter().collect())
    }

    #[test]
    fn a_process_is_known_by_its_arguments_or_by_its_program() {
        let program = "/c/layers/r-host/python/bin/python3.12";
        let named = used(program, "/c/envs/e/bin/python\0/c/envs/e/app/main.py\0");
        assert_eq!(named, (vec!["e".to_owned()], vec![]));
        assert_eq!(used(program, "worker: waiting\0\0"), (vec![], vec!["r-host".to_owned()]));
        assert_eq!(used("/usr/bin/less", "less\0/c/envs/e/pyvenv.cfg"), (vec!["e".to_owned()], vec![]));
        assert_eq!(used("/usr/bin/python3", "python3\0"), (vec![], vec![]));
    }

    #[test]
    fn where_processes_cannot_be_seen_nothing_is_known() {
        assert_eq!(InUse::of(Path::new("/nowhere")), Some(InUse::default()));
        assert_eq!(InUse::read(Path::new("/nowhere"), Path::new("/nowhere"), true), None);
    }
}
