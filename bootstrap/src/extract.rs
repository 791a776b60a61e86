//! Writing all files of a bundle into a directory, to look at them: `COIL=unpack DIR` and `coil unpack`.
//!
//! What comes of it is what stands at `/` in an image: `python`, `venv`, `app`. It needs no cache and does not have to be able
//! to run here, so that any machine can search, scan or compare what is inside of a bundle for any other. Paths in it
//! are those of an image: it runs where the directory is the root.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::bundle::Bundle;
use crate::c_library::Choice;
use crate::cache::OpenUmask;
use crate::error::{Error, Result};
use crate::unpack::unpack;
use crate::workspace::{Workspace, remove_tree};

/// Writes everything into `directory`, which is made, or is empty. After an error nothing is left in it.
pub fn extract(bundle: &Bundle, directory: &Path) -> Result<()> {
    let _umask = OpenUmask::new();
    let there = fs::symlink_metadata(directory).is_ok();
    fs::create_dir_all(directory).map_err(Error::at("create", directory))?;
    let mut entries = fs::read_dir(directory).map_err(Error::at("read", directory))?;
    if entries.next().is_some() {
        return Err(Error::at("unpack into", directory)(io::ErrorKind::DirectoryNotEmpty.into()));
    }
    let done = fill(bundle, directory);
    if done.is_err() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            remove_tree(&entry.path(), None);
        }
        if !there {
            let _ = fs::remove_dir(directory);
        }
    }
    done
}

fn fill(bundle: &Bundle, directory: &Path) -> Result<()> {
    let manifest = bundle.manifest();
    // Each layer by itself, because a later one may replace files of an earlier one, as in an image.
    let workspace = Workspace::create_in(directory)?;
    let mut layers = Vec::with_capacity(manifest.layers.len());
    for (index, layer) in manifest.layers.iter().enumerate() {
        layers.push((layer, workspace.directory(&index.to_string())?));
    }
    unpack(bundle, &layers, Choice::Carried, &|_| ())?;
    layers.iter().try_for_each(|(_, made)| merge(made, directory))?;
    link(bundle, directory)
}

/// Moves everything in `from` into `to`, over files that are there.
fn merge(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(Error::at("read", from))? {
        let entry = entry.map_err(Error::at("read", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
        if is_directory(&path) && is_directory(&target) {
            merge(&path, &target)?;
        } else {
            fs::rename(&path, &target).map_err(Error::at("create", &target))?;
        }
    }
    Ok(())
}

/// Makes a virtualenv of `venv`: its interpreter, its configuration, and what it has from elsewhere.
fn link(bundle: &Bundle, directory: &Path) -> Result<()> {
    let python = &bundle.manifest().python;
    let links = bundle.manifest().environment.links.iter();
    let mut wanted: Vec<(String, &str)> =
        links.map(|(place, source)| (format!("venv/{place}"), source.path.as_str())).collect();
    wanted.extend(["python", "python3"].map(|name| (format!("venv/bin/{name}"), python.executable.as_str())));
    for (path, source) in wanted {
        let target = directory.join(&path);
        if fs::symlink_metadata(&target).is_ok() {
            continue;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(Error::at("create", parent))?;
        }
        let up: PathBuf = "../".repeat(path.matches('/').count()).into();
        symlink(up.join(source), &target).map_err(Error::at("create", &target))?;
    }
    let home = python.executable.parent().map_or(String::new(), |home| home.to_string());
    let text =
        format!("home = /{home}\ninclude-system-site-packages = false\nversion = {}\n", python.version);
    let path = directory.join("venv/pyvenv.cfg");
    fs::write(&path, text).map_err(Error::at("write", &path))
}
