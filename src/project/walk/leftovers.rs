//! What belongs to the machine and not to the app: version control, byte code, virtualenvs, caches of tools,
//! what editors leave behind.

use std::fs::FileType;
use std::path::Path;

use coil_bootstrap::bundle::Bundle;

use super::Selection;
use crate::project::glob::covers;

/// Directories that never belong to an app.
const DIRECTORIES: [&str; 18] = [
    ".git",
    ".hg",
    ".svn",
    ".jj",
    ".bzr",
    "__pycache__",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    "node_modules",
    ".venv",
    ".eggs",
    ".idea",
    ".vscode",
    ".ipynb_checkpoints",
];

/// Files that never belong to an app.
const FILES: [&str; 4] = [".DS_Store", "Thumbs.db", "desktop.ini", ".coverage"];

/// Files of settings that belong to a machine, and often hold what nobody else should read.
pub const SECRETS: [&str; 2] = [".env", ".env.local"];

/// Of these untracked files, those that somebody may miss in the bundle.
pub fn missed(directory: &Path, untracked: &[String], selection: &Selection) -> Vec<String> {
    let root = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let is_missed = |inner: &&String| {
        let path = root.join(inner.trim_end_matches('/'));
        let Ok(there) = path.symlink_metadata() else { return false };
        let plain = inner.trim_end_matches('/');
        let name = plain.rsplit('/').next().unwrap_or(plain);
        let covered = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, plain));
        !is_leftover(name, &path, there.file_type())
            && !selection.never.contains(&path)
            && !covered(selection.exclude)
            && !covered(selection.artifacts)
            && Bundle::open(&path).is_err()
    };
    untracked.iter().filter(is_missed).cloned().collect()
}

/// Whether a file or a directory of this name is one of them, wherever it lies.
pub fn is_leftover(name: &str, path: &Path, kind: FileType) -> bool {
    if kind.is_dir() {
        return DIRECTORIES.contains(&name)
            || name.ends_with(".egg-info")
            || path.join("pyvenv.cfg").is_file()
            || path.join("conda-meta").is_dir();
    }
    // A work tree of git has a file of this name; a virtualenv may be a link.
    if kind.is_symlink() && (DIRECTORIES.contains(&name) || path.join("pyvenv.cfg").is_file()) {
        return true;
    }
    FILES.contains(&name)
        || name == ".git"
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || [".pyc", ".pyo", "~", ".swp", ".swo"].iter().any(|end| name.ends_with(end))
}
