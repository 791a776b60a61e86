//! The files that git tracks, with what lies in the work tree for each of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Listings, WorkTree, git};
use crate::error::{Failure, Result};

/// A file or a symbolic link that is tracked and there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// Its path below the directory that was asked about.
    pub path: String,
    /// Whether git says that it can be executed: the mode on this machine's disk is not looked at.
    pub executable: bool,
}

/// What is tracked in a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Files and links, sorted by path.
    pub files: Vec<Tracked>,
    /// Submodules that are not checked out.
    pub absent_submodules: Vec<String>,
    /// Files that the commit has and a sparse check-out leaves out.
    pub sparse: Vec<String>,
}

impl Listed {
    /// Whether git knows anything of the directory.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.absent_submodules.is_empty() && self.sparse.is_empty()
    }
}

/// The type of an entry of the index that is a submodule.
const SUBMODULE: &str = "160000";

impl WorkTree {
    /// Everything that is tracked below the directory, that of its submodules as well.
    ///
    /// What is tracked and not there (deleted, and not committed yet) is not listed. Git is not asked for what is among `listings`.
    pub fn tracked(&self, listings: &Listings) -> Result<Listed> {
        let answer = listings.of(self, || ask(&self.directory, &self.part))?;
        let mut listed = Listed::default();
        let mut parents = Parents::default();
        read(&answer, &self.directory, "", &mut listed, &mut parents)?;
        listed.files.sort_by(|one, other| one.path.cmp(&other.path));
        // A merge that is under way has up to three entries for a file.
        listed.files.dedup_by(|one, other| one.path == other.path);
        Ok(listed)
    }
}

fn ask(directory: &Path, part: &str) -> Result<Vec<u8>> {
    git(directory, &["--literal-pathspecs", "ls-files", "-z", "-t", "--stage", "--", part])
}

/// Reads what git has listed in `directory`, and asks for what is in submodules.
fn read(
    answer: &[u8],
    directory: &Path,
    above: &str,
    listed: &mut Listed,
    parents: &mut Parents,
) -> Result<()> {
    for entry in answer.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let name = |start: usize| {
            std::str::from_utf8(&entry[start..]).map_err(|_| {
                let shown = String::from_utf8_lossy(&entry[start..]);
                Failure::new(format!("{:?} cannot be packed: its name is not UTF-8", directory.join(&*shown)))
                    .hint("rename it in the repository")
            })
        };
        // "H 100644 6178079822be9b2a1bd3d1a0bc2eb5d9d2f3f3a4 0\tpath"
        let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else { continue };
        let head = String::from_utf8_lossy(&entry[..tab]).into_owned();
        let mut fields = head.split(' ');
        let (tag, mode) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let inner = name(tab + 1)?;
        let path = format!("{above}{inner}");
        let place = directory.join(inner);
        if mode == SUBMODULE {
            match place.join(".git").symlink_metadata() {
                Ok(_) => read(&ask(&place, ".")?, &place, &format!("{path}/"), listed, parents)?,
                Err(_) => listed.absent_submodules.push(path),
            }
        } else if parents.are_directories(directory, inner)
            && place.symlink_metadata().is_ok_and(|there| !there.is_dir())
        {
            listed.files.push(Tracked { path, executable: mode == "100755" });
        } else if tag == "S" {
            listed.sparse.push(path);
        }
    }
    Ok(())
}

/// Whether the directories above tracked files are directories: behind a link that has taken the place of one is
/// something else, which git does not track.
#[derive(Default)]
struct Parents(BTreeMap<std::path::PathBuf, bool>);

impl Parents {
    fn are_directories(&mut self, root: &Path, inner: &str) -> bool {
        let Some((parent, _)) = inner.rsplit_once('/') else { return true };
        let place = root.join(parent);
        if let Some(known) = self.0.get(&place) {
            return *known;
        }
        let is = fs::symlink_metadata(&place).is_ok_and(|there| there.is_dir())
            && self.are_directories(root, parent);
        self.0.insert(place, is);
        is
    }
}
