//! What lies in site-packages and belongs to no distribution: put there by hand, or left behind.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coil_bootstrap::format::path::TreePath;

use super::files::spill;
use crate::error::{Context, Failure, Result};
use crate::tree::Tree;
use crate::wheel::Metadata;
use crate::wheel::Target;
use crate::wheel::assembly::Assembly;
use crate::wheel::layout::Layout;
use crate::wheel::record::Algorithm;

/// A file that belongs to no distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unowned {
    /// Where it is.
    pub file: PathBuf,
    /// Its path in an image.
    pub path: TreePath,
}

/// Files that tools put into site-packages for the virtualenv itself.
const TOOLS: [&str; 5] = ["_virtualenv.py", "_virtualenv.pth", "README.txt", ".lock", "CACHEDIR.TAG"];

/// What is left when everything that is known is taken away.
pub struct Rest<'a> {
    owned: HashSet<&'a Path>,
    known: &'a BTreeSet<PathBuf>,
    /// What was found.
    pub unowned: Vec<Unowned>,
    /// What was found and is left out, with the reason.
    pub left_out: Vec<String>,
}

impl<'a> Rest<'a> {
    /// `owned` are the files of distributions; `known` are entries that are not looked into.
    pub fn new(owned: impl Iterator<Item = &'a Path>, known: &'a BTreeSet<PathBuf>) -> Self {
        Rest { owned: owned.collect(), known, unowned: Vec::new(), left_out: Vec::new() }
    }

    /// Looks through `directory`, which is `place` in an image.
    pub fn find(&mut self, directory: &Path, place: &TreePath) -> Result<()> {
        let unreadable = || format!("{} cannot be read", directory.display());
        let mut entries: Vec<DirEntry> =
            fs::read_dir(directory).context(unreadable)?.collect::<Result<_, _>>().context(unreadable)?;
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if self.owned.contains(path.as_path()) || self.known.contains(&path) {
                continue;
            }
            let kind = entry.file_type().context(|| format!("{} cannot be read", path.display()))?;
            let Some(inner) = entry.file_name().to_str().and_then(|name| place.join(name).ok()) else {
                self.left_out.push(format!("{path:?} has a name that cannot be packed"));
                continue;
            };
            let name = inner.file_name();
            if name == "__pycache__" || name.ends_with(".pyc") || TOOLS.contains(&name) {
                continue;
            }
            if kind.is_dir() {
                self.find(&path, &inner)?;
            } else if path.is_file() {
                self.unowned.push(Unowned { file: path, path: inner });
            } else if !self.owned.iter().any(|owned| owned.starts_with(&path)) {
                self.left_out.push(format!("{} belongs to no distribution, and is no file", path.display()));
            }
        }
        Ok(())
    }
}

/// The tree of these files, as they are.
pub fn tree(unowned: &[Unowned], venv: &str, target: &Target) -> Result<Tree> {
    let nobody = Metadata {
        name: "unowned".to_owned(),
        version: "0".to_owned(),
        requires_dist: Vec::new(),
        requires_python: None,
    };
    let layout = Layout::new(&nobody, target).context(|| format!("{venv} cannot be packed"))?;
    let origin: Arc<str> = format!("a file of no distribution in {venv}").into();
    let mut assembly = Assembly::new(&layout, &origin);
    for Unowned { file, path } in unowned {
        let read = spill(file, Algorithm::Sha256).context(|| format!("{} cannot be read", file.display()))?;
        let (content, executable) =
            read.ok_or_else(|| Failure::new(format!("{} has just been removed", file.display())))?;
        let place = layout.guard(path.clone(), false).map_err(|why| Failure::new(format!("{path} {why}")))?;
        assembly.add_file(place, executable, content, path)?;
    }
    Ok(assembly.finish_unrecorded().tree)
}
