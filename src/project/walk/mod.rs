//! Chooses the files of a source tree that is packed as it is: `app/...`.
//!
//! In a work tree of git these are the files that git tracks, and nothing else but what `artifacts` names.
//! `include` only ever narrows the choice down: if it also added untracked files, a pattern such as `src` would
//! bring in whatever lies there. Elsewhere all files are taken, and `artifacts` adds to `include`.
//!
//! What belongs to the machine and not to the app stays out: version control, byte code, virtualenvs,
//! caches of tools, what editors leave behind. The result does not depend on the order in which the file
//! system lists things.

mod leftovers;
mod links;

use std::fs::{self, DirEntry, FileType};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::path::TreePath;

use self::leftovers::{SECRETS, is_leftover};
use super::git::Tracked;
use super::glob::covers;
use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node, Tree};

pub use leftovers::missed;

/// Which files of a directory are taken.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// Patterns of the files to take; all without any.
    pub include: &'a [String],
    /// Patterns of the files to leave out.
    pub exclude: &'a [String],
    /// Patterns of files to take although git does not track them, or `include` does not cover them.
    pub artifacts: &'a [String],
    /// Files that are never taken, such as the output: absolute, symbolic links resolved.
    pub never: &'a [PathBuf],
}

/// The files of `directory` below `app/`, and notes about what was left out unexpectedly.
///
/// Fails on a name that is not UTF-8 and on a link that leads out of the directory or nowhere.
pub fn walk(directory: &Path, selection: &Selection) -> Result<(Tree, Vec<String>)> {
    let mut walk = Walk::new(directory, selection)?;
    let root = walk.root.clone();
    walk.enter(&root, "", false)?;
    walk.finish()
}

/// The same, where `tracked` are the files of `directory` that git tracks. What usually is a leftover is
/// packed where it is tracked.
pub fn walk_tracked(
    directory: &Path,
    tracked: &[Tracked],
    selection: &Selection,
) -> Result<(Tree, Vec<String>)> {
    let mut walk = Walk::new(directory, selection)?;
    let root = walk.root.clone();
    for Tracked { path: inner, executable } in tracked {
        let path = root.join(inner);
        if walk.is_unwanted(&path, inner) || !walk.is_included(inner) {
            continue;
        }
        let kind = fs::symlink_metadata(&path).context(|| format!("{} cannot be read", path.display()))?;
        match walk.take_special(&path, inner, kind.file_type())? {
            true => {}
            false => walk.take_file(&path, inner, *executable)?,
        }
    }
    if !selection.artifacts.is_empty() {
        walk.enter(&root, "", true)?;
    }
    walk.finish()
}

/// The tree of a script: the one file `app/NAME.py`.
pub fn single_file(path: &Path) -> Result<(Tree, TreePath)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| not_utf8(path))?;
    let place =
        TreePath::new(format!("app/{name}")).context(|| format!("{} cannot be packed", path.display()))?;
    let absolute = path.canonicalize().context(|| format!("{} cannot be read", path.display()))?;
    let mut tree = Tree::new();
    let node = Node {
        content: Content::File(absolute),
        executable: false,
        origin: path.display().to_string().into(),
    };
    tree.insert(place.clone(), node).context(|| format!("{} cannot be packed", path.display()))?;
    Ok((tree, place))
}

struct Walk<'a> {
    root: PathBuf,
    selection: &'a Selection<'a>,
    origin: Arc<str>,
    tree: Tree,
    links: Vec<(PathBuf, TreePath)>,
    notes: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(directory: &Path, selection: &'a Selection<'a>) -> Result<Walk<'a>> {
        let root = directory.canonicalize().context(|| format!("{} cannot be read", directory.display()))?;
        let origin: Arc<str> = directory.display().to_string().into();
        Ok(Walk { root, selection, origin, tree: Tree::new(), links: Vec::new(), notes: Vec::new() })
    }

    fn finish(self) -> Result<(Tree, Vec<String>)> {
        self.check_links()?;
        Ok((self.tree, self.notes))
    }

    fn is_unwanted(&self, path: &Path, inner: &str) -> bool {
        self.selection.never.iter().any(|never| never == path)
            || self.selection.exclude.iter().any(|pattern| covers(pattern, inner))
    }

    fn is_included(&self, inner: &str) -> bool {
        let include = self.selection.include;
        include.is_empty() || include.iter().any(|pattern| covers(pattern, inner)) || self.is_artifact(inner)
    }

    fn is_artifact(&self, inner: &str) -> bool {
        self.selection.artifacts.iter().any(|pattern| covers(pattern, inner))
    }

    /// Whether `artifacts` ends with just this name: then even a directory of leftovers is meant.
    fn is_named(&self, name: &str, inner: &str) -> bool {
        let last = |pattern: &String| pattern.trim_end_matches('/').rsplit('/').next() == Some(name);
        self.selection.artifacts.iter().any(|pattern| last(pattern) && covers(pattern, inner))
    }

    /// Takes what is in a directory: all of it, or only the artifacts.
    fn enter(&mut self, directory: &Path, below: &str, artifacts: bool) -> Result<()> {
        let unreadable = || format!("{} cannot be read", directory.display());
        let mut entries: Vec<DirEntry> =
            fs::read_dir(directory).context(unreadable)?.collect::<Result<_, _>>().context(unreadable)?;
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().context(|| format!("{} cannot be read", path.display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                // A leftover with a strange name is still only a leftover, and what is not looked for is none.
                if artifacts || is_leftover(&name.to_string_lossy(), &path, kind) {
                    continue;
                }
                return Err(not_utf8(&path));
            };
            let inner = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let leftover = is_leftover(name, &path, kind) && (name == ".git" || !self.is_named(name, &inner));
            if leftover || self.is_unwanted(&path, &inner) {
                continue;
            }
            if kind.is_dir() {
                self.enter(&path, &inner, artifacts)?;
            } else if !artifacts
                || (self.is_artifact(&inner) && self.tree.get(&format!("app/{inner}")).is_none())
            {
                self.take(&path, &inner, kind)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, inner: &str, kind: FileType) -> Result<()> {
        if !self.is_included(inner) || self.take_special(path, inner, kind)? {
            return Ok(());
        }
        let cannot = || format!("{} cannot be packed", path.display());
        let Selection { include, artifacts, .. } = self.selection;
        let named = include.iter().chain(*artifacts).any(|pattern| pattern == inner);
        if !named && SECRETS.contains(&path.file_name().and_then(|name| name.to_str()).unwrap_or_default()) {
            self.notes
                .push(format!("{} is left out: it may hold secrets (include it by name)", path.display()));
            return Ok(());
        }
        let executable = fs::metadata(path).context(cannot)?.permissions().mode() & 0o111 != 0;
        if executable && Bundle::open(path).is_ok() {
            self.notes.push(format!("{} is left out: it is a bundle itself", path.display()));
            return Ok(());
        }
        self.take_file(path, inner, executable)
    }

    /// Takes care of what is no file: a link is taken, a device is left out. Whether it was one of these.
    fn take_special(&mut self, path: &Path, inner: &str, kind: FileType) -> Result<bool> {
        if kind.is_symlink() {
            let place = TreePath::new(format!("app/{inner}"));
            self.take_link(path, place.context(|| format!("{} cannot be packed", path.display()))?)?;
        } else if !kind.is_file() {
            self.notes.push(format!("{} is left out: it is {}", path.display(), name_of(kind)));
        }
        Ok(!kind.is_file())
    }

    fn take_file(&mut self, path: &Path, inner: &str, executable: bool) -> Result<()> {
        let cannot = || format!("{} cannot be packed", path.display());
        let place = TreePath::new(format!("app/{inner}")).context(cannot)?;
        let node =
            Node { content: Content::File(path.to_owned()), executable, origin: Arc::clone(&self.origin) };
        self.tree.insert(place, node).context(cannot)
    }
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else {
        "a device"
    }
}

fn not_utf8(path: &Path) -> Failure {
    Failure::new(format!("{path:?} cannot be packed: its name is not UTF-8"))
        .hint("rename it, or leave its directory out with exclude in [tool.coil]")
}

#[cfg(test)]
mod tests;
