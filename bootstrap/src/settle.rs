//! Settling a layer: writing the absolute paths of this machine into the programs in it.
//!
//! The kernel takes a program's loader from a string in the program, and the loader its search path from
//! another. The interpreter and the programs of wheels have room for both (`docs/FORMAT.md`, "The slots"),
//! which is filled while a layer is still private, before it is renamed to its place. So a program works by
//! whatever path it is found, copies of it included, and its children get no variable that would mislead them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::c_library::{Choice, HOST_LOADER, host_directories};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::format::manifest::{Layer, Manifest, Slot};
use crate::format::path::TreePath;

/// One program, and what its slots are to hold.
pub struct Settlement<'a> {
    /// The program's path in its layer.
    pub path: &'a TreePath,
    slots: [(Slot, Vec<u8>); 2],
}

/// Settles every program of `layer`, which lies unpacked in `made` and will stand at its place in `cache`.
pub fn settle(manifest: &Manifest, layer: &Layer, cache: &Cache, made: &Path) -> Result<()> {
    settlements(manifest, layer, cache).iter().try_for_each(|settlement| settlement.write(made))
}

/// Whether every program of `layer` was settled for the place it stands at: not one that was moved or
/// copied there.
pub fn is_settled(manifest: &Manifest, layer: &Layer, cache: &Cache) -> bool {
    let place = cache.layer(manifest, layer);
    settlements(manifest, layer, cache).iter().all(|settlement| settlement.is_written(&place))
}

/// What is written into the programs of `layer`.
pub fn settlements<'a>(manifest: &'a Manifest, layer: &'a Layer, cache: &Cache) -> Vec<Settlement<'a>> {
    // A manifest has a first layer, the runtime: the parser saw to it.
    let Some(first) = manifest.layers.first() else { return Vec::new() };
    let python = &manifest.python;
    let (runtime, place) = (cache.layer(manifest, first), cache.layer(manifest, layer));
    let own_loader = runtime.join(&python.loader);
    let loader = if cache.libc().is_host() { Path::new(HOST_LOADER) } else { &own_loader };
    let loader = loader.as_os_str().as_bytes().to_vec();
    let libraries = manifest.libraries().map(|layer| cache.layer(manifest, layer));
    let shared = shared_directories(manifest, cache.libc(), &runtime, libraries.as_deref());
    let programs = layer.programs.iter().map(|(path, program)| {
        let own = program.search_path.iter().map(|path| place.join(path));
        let directories = own.chain(shared.iter().cloned());
        let slots = [(program.loader_slot, loader.clone()), (program.search_path_slot, joined(directories))];
        Settlement { path, slots }
    });
    let interpreter = (first.digest == layer.digest).then(|| {
        let search_path = joined(shared.iter().cloned());
        let slots = [(python.loader_slot, loader.clone()), (python.search_path_slot, search_path)];
        Settlement { path: &python.executable, slots }
    });
    interpreter.into_iter().chain(programs).collect()
}

/// The directories that every program searches, for a runtime at `runtime` and libraries beside it.
fn shared_directories(
    manifest: &Manifest,
    libc: Choice,
    runtime: &Path,
    libraries: Option<&Path>,
) -> Vec<PathBuf> {
    let search_path = &manifest.python.search_path;
    let [first, ..] = search_path;
    let mut own: Vec<PathBuf> =
        search_path.iter().take(libc.searched()).map(|path| runtime.join(path)).collect();
    // Beside those of Python, in an image they have the same directory.
    own.splice(1..1, libraries.map(|libraries| libraries.join(first)));
    // The host's would be searched in any case, but after LD_LIBRARY_PATH.
    let hosts = libc.is_host().then(host_directories).unwrap_or_default();
    own.into_iter().chain(hosts.iter().map(|path| path.into())).collect()
}

fn joined(directories: impl Iterator<Item = PathBuf>) -> Vec<u8> {
    directories.map(|path| path.into_os_string().as_bytes().to_vec()).collect::<Vec<_>>().join(&b':')
}

impl Settlement<'_> {
    /// Writes over `bytes`, which stand at `offset` of the program as it is packed, what stands there once it is settled.
    pub fn apply(&self, offset: u64, bytes: &mut [u8]) {
        for (slot, text) in &self.slots {
            let start = slot.offset.max(offset);
            let end = slot.offset.saturating_add(slot.size).min(offset + bytes.len() as u64);
            for at in start..end {
                let settled = text.get((at - slot.offset) as usize);
                bytes[(at - offset) as usize] = settled.copied().unwrap_or(0);
            }
        }
    }

    fn write(&self, layer: &Path) -> Result<()> {
        let path = layer.join(self.path);
        let file = OpenOptions::new().write(true).open(&path).map_err(Error::at("open", &path))?;
        let length = file.metadata().map_err(Error::at("read", &path))?.len();
        for (slot, text) in &self.slots {
            let fits = (text.len() as u64) < slot.size && slot.offset + slot.size <= length;
            if !fits {
                let source = io::Error::other("a path does not fit into its slot");
                return Err(Error::System { action: "settle", path, source });
            }
            let mut bytes = text.clone();
            bytes.resize(slot.size as usize, 0);
            file.write_all_at(&bytes, slot.offset).map_err(Error::at("write", &path))?;
        }
        Ok(())
    }

    fn is_written(&self, layer: &Path) -> bool {
        let Ok(file) = File::open(layer.join(self.path)) else { return false };
        self.slots.iter().all(|(slot, text)| {
            let mut bytes = vec![0; text.len() + 1];
            file.read_exact_at(&mut bytes, slot.offset).is_ok() && bytes.strip_suffix(b"\0") == Some(text)
        })
    }
}
