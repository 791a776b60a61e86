//! Libraries that look for others outside their own wheel.
//!
//! `torch` finds CUDA by `$ORIGIN/../../nvidia/cublas/lib`: up from its own directory and down into that of
//! another wheel. In an environment a wheel's directory is a link, and `..` behind a link leads into the
//! layer, where the other wheel is not. So directories with such libraries must be real ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use coil_bootstrap::format::path::TreePath;
use memmap2::Mmap;

use crate::elf::View;
use crate::tree::{Content, Tree};

/// The directories of the tree that hold libraries which look outside the tree for others.
pub fn directories(tree: &Tree) -> io::Result<Vec<TreePath>> {
    let mut found = BTreeSet::new();
    for (path, node) in tree.iter() {
        let Some(directory) = path.parent() else { continue };
        if !found.contains(&directory) && with_bytes(&node.content, |bytes| reaches_out(bytes, path, tree))? {
            found.insert(directory);
        }
    }
    Ok(found.into_iter().collect())
}

/// Whether the library at `path` names a directory, relative to its own, that this tree does not have.
fn reaches_out(bytes: &[u8], path: &TreePath, tree: &Tree) -> bool {
    let Ok(view) = View::read(bytes) else { return false };
    view.rpath.iter().chain(view.runpath.iter().flatten()).any(|entry| {
        from_origin(entry, path).is_some_and(|there| there.is_none_or(|there| !tree.has_directory(&there)))
    })
}

/// Where an entry of the search path of the file at `path` leads: `None` for one that is not relative to the
/// file's directory, `Some(None)` for one that leads out of every tree.
pub(super) fn from_origin(entry: &str, path: &TreePath) -> Option<Option<TreePath>> {
    let inner = entry.strip_prefix("$ORIGIN").or_else(|| entry.strip_prefix("${ORIGIN}"))?;
    Some(path.follow(inner.trim_start_matches('/')))
}

/// Calls `look` with the content of a file; nothing for a link.
pub(crate) fn with_bytes<T: Default>(content: &Content, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    let path = match content {
        Content::Bytes(bytes) => return Ok(look(bytes)),
        Content::Symlink(_) => return Ok(T::default()),
        Content::Spooled(_) => return Ok(look(&content.read()?)),
        Content::File(path) => path.as_path(),
        Content::Temporary(path) => path,
    };
    // SAFETY: only large members of wheels are files, temporary ones that this process has written,
    // readable by their owner alone; nobody truncates or writes them while they are mapped.
    let bytes = unsafe { Mmap::map(&File::open(path)?)? };
    Ok(look(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::fixture::Library;
    use crate::tree::Node;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, search_path) in files {
            let bytes = Library::new("libx.so").runpath(search_path).build();
            let node = Node { content: Content::bytes(bytes), executable: false, origin: "x.whl".into() };
            tree.insert(TreePath::new(*path).unwrap(), node).unwrap();
        }
        tree
    }

    #[test]
    fn a_library_that_looks_into_another_wheel_is_noticed_and_one_that_stays_at_home_is_not() {
        let tree = tree(&[
            ("venv/s/torch/lib/a.so", "$ORIGIN:$ORIGIN/../../nvidia/cublas/lib"),
            ("venv/s/numpy/core/b.so", "$ORIGIN/../../numpy.libs"),
            ("venv/s/numpy.libs/c.so", "$ORIGIN"),
            ("venv/s/d/d.so", "/usr/lib"),
        ]);
        let found: Vec<_> = directories(&tree).unwrap().iter().map(TreePath::to_string).collect();
        assert_eq!(found, ["venv/s/torch/lib"]);
    }
}
