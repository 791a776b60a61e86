//! Programs in wheels that are no Python, as a manifest lists them: where in each of them the launcher writes the
//! paths of the loader and the libraries.

use std::collections::BTreeMap;
use std::io;

use coil_bootstrap::format::manifest::Program;
use coil_bootstrap::format::path::TreePath;

use super::reaching::{from_origin, with_bytes};
use crate::elf::program::{Slots, slots};
use crate::tree::Tree;

/// The programs of the tree that have room for paths (see `contain`).
///
/// glibc finds what a program searches relative to itself through `/proc`, which may not be there: so the
/// launcher writes those directories absolutely, as many as the tree has.
pub fn with_room(tree: &Tree) -> io::Result<BTreeMap<TreePath, Program>> {
    let mut found = BTreeMap::new();
    for (path, node) in tree.iter() {
        let Some(Slots { loader, search_path, own }) = with_bytes(&node.content, slots)? else { continue };
        let mut directories: Vec<TreePath> = Vec::new();
        for directory in own.iter().filter_map(|entry| from_origin(entry, path).flatten()) {
            if tree.has_directory(&directory) && !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        let program =
            Program { loader_slot: loader, search_path_slot: search_path, search_path: directories };
        found.insert(path.clone(), program);
    }
    Ok(found)
}
