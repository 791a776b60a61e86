//! What steps have made of a tree, and the memory of it.
//!
//! ```text
//! steps-HEX/outcome.json   which files are new or changed, which are gone
//! steps-HEX/N              the content of file N of the list
//! ```
//! The directory appears by a rename; one that cannot be read counts as missing.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::path::TreePath;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node, Tree};

const LIST: &str = "outcome.json";

/// The difference between the tree before the steps and after them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Files and links that are new or changed, sorted by path.
    pub changed: Vec<Changed>,
    /// Files and links that are gone.
    pub removed: Vec<TreePath>,
    /// What the user should know of it.
    pub warnings: Vec<String>,
}

/// A file or link that is new or changed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Its path in the tree: `app/static/x.css`.
    pub path: TreePath,
    /// Whether it can be executed.
    pub executable: bool,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
    /// Where its content is, before it is kept.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

impl Changed {
    /// What is at `path` now.
    pub fn of(path: &TreePath, node: &Node) -> Changed {
        let (link, file) = match &node.content {
            Content::Symlink(target) => (Some(target.clone()), None),
            Content::File(file) => (None, Some(file.clone())),
            _ => (None, None),
        };
        Changed { path: path.clone(), executable: node.executable, link, file }
    }
}

impl Outcome {
    /// The outcome that is kept at `place`, if there is one.
    pub fn read(place: &Path) -> Option<Outcome> {
        let outcome: Outcome = serde_json::from_slice(&fs::read(place.join(LIST)).ok()?).ok()?;
        let is_there = |(number, changed): (usize, &Changed)| {
            changed.link.is_some() || place.join(number.to_string()).is_file()
        };
        outcome.changed.iter().enumerate().all(is_there).then_some(outcome)
    }

    /// Keeps it at `place`, in place of what is there; it is put together in `scratch`.
    pub fn keep(self, place: &Path, scratch: &Path) -> Result<Outcome> {
        let write = || -> io::Result<()> {
            let made = tempfile::Builder::new().prefix("outcome-").tempdir_in(scratch)?;
            for (number, changed) in self.changed.iter().enumerate() {
                if let Some(file) = &changed.file {
                    fs::copy(file, made.path().join(number.to_string()))?;
                }
            }
            fs::write(made.path().join(LIST), serde_json::to_vec(&self)?)?;
            if place.exists() {
                // Another pack may be reading it; what it has not read yet it will miss and say so.
                fs::rename(place, made.path().join("replaced"))?;
            }
            let made = made.keep();
            fs::rename(&made, place).or_else(|error| {
                let _ = fs::remove_dir_all(&made);
                // Somebody else was quicker, with the same.
                if place.is_dir() { Ok(()) } else { Err(error) }
            })
        };
        write().context(|| format!("{} cannot be written", place.display()))?;
        let _ = fs::remove_dir_all(place.join("replaced"));
        Ok(self)
    }

    /// The tree after the steps, where `before` is the one before them and `place` where this is kept.
    pub fn apply(&self, before: Tree, place: &Path) -> Result<Tree> {
        let mut tree = before;
        for path in self.removed.iter().chain(self.changed.iter().map(|changed| &changed.path)) {
            tree.remove(path);
        }
        for (number, Changed { path, executable, link, .. }) in self.changed.iter().enumerate() {
            let content = match link {
                Some(target) => Content::Symlink(target.clone()),
                None => Content::File(place.join(number.to_string())),
            };
            let node = Node { content, executable: *executable, origin: "the build steps".into() };
            tree.insert(path.clone(), node).map_err(|conflict| Failure::new(conflict.to_string()))?;
        }
        Ok(tree)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        write!(f, "{} made or changed", files(self.changed.len()))?;
        match self.removed.len() {
            0 => Ok(()),
            count => write!(f, ", {} removed", files(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_kept_and_read_back_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("steps-x");
        assert_eq!(Outcome::read(&place), None);
        let path = |text: &str| TreePath::new(text).unwrap();
        let node = |content: Content| Node { content, executable: true, origin: "x".into() };
        for text in ["one", "two"] {
            let file = directory.path().join("file");
            fs::write(&file, text).unwrap();
            let changed = vec![
                Changed::of(&path("app/a"), &node(Content::File(file))),
                Changed::of(&path("app/b"), &node(Content::Symlink("a".into()))),
            ];
            let outcome = Outcome { changed, removed: vec![path("app/gone")], warnings: Vec::new() };
            assert_eq!(
                outcome.keep(&place, directory.path()).unwrap().to_string(),
                "2 files made or changed, 1 file removed"
            );
            let mut before = Tree::new();
            for name in ["app/a", "app/gone", "app/stays"] {
                before.insert(path(name), node(Content::bytes(*b"x"))).unwrap();
            }
            let after = Outcome::read(&place).unwrap().apply(before, &place).unwrap();
            let names: Vec<&str> = after.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(names, ["app/a", "app/b", "app/stays"]);
            assert_eq!(after.get("app/a").unwrap().content.read().unwrap(), text.as_bytes());
        }
        fs::remove_file(place.join("0")).unwrap();
        assert_eq!(Outcome::read(&place), None);
    }
}
