//! The private copy of the app's tree that steps work on, and what they have made of it.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::outcome::{Changed, Outcome};
use crate::error::{Context, Result};
use crate::project::sources::SOURCE_DATE;
use crate::project::walk::{Selection, walk};
use crate::tree::{Content, Node, Tree};

/// A directory with a copy of the app's tree.
pub struct Workplace {
    scratch: TempDir,
}

impl Workplace {
    /// Copies the tree into a fresh directory below `work`. All files have the same time.
    pub fn make(work: &Path, tree: &Tree) -> Result<Workplace> {
        let cannot = || format!("the app's tree cannot be copied to {}", work.display());
        let scratch = tempfile::Builder::new().prefix("work-").tempdir_in(work).context(cannot)?;
        let workplace = Workplace { scratch };
        fs::create_dir(workplace.app()).context(cannot)?;
        for (path, node) in tree.iter() {
            copy(node, &workplace.scratch.path().join(path))
                .context(|| format!("{path} cannot be copied"))?;
        }
        Ok(workplace)
    }

    /// The copy: what is `app` in the tree.
    pub fn app(&self) -> PathBuf {
        self.scratch.path().join("app")
    }

    /// How the copy differs from the tree it was made of. Leftovers (byte code, caches of tools) and what
    /// `exclude` covers do not count.
    pub fn outcome(&self, before: &Tree, exclude: &[String]) -> Result<Outcome> {
        let root = self.scratch.path();
        let (after, notes) = walk(&self.app(), &Selection { exclude, ..Selection::default() })?;
        let shown = format!("{}/", self.app().display());
        let mut outcome = Outcome {
            warnings: notes.iter().map(|note| note.replace(&shown, "")).collect(),
            ..Outcome::default()
        };
        for (path, node) in before.iter() {
            let place = root.join(path);
            let unreadable = || format!("{path} cannot be read after the build steps");
            match fs::symlink_metadata(&place) {
                Err(_) => outcome.removed.push(path.clone()),
                Ok(there) if there.is_dir() => outcome.removed.push(path.clone()),
                Ok(there) => {
                    let now = match after.get(path) {
                        Some(now) => now.clone(),
                        // Packed because it is tracked, though it looks like a leftover.
                        None if there.is_symlink() => continue,
                        None => Node {
                            content: Content::File(place),
                            executable: there.permissions().mode() & 0o111 != 0,
                            origin: node.origin.clone(),
                        },
                    };
                    if !same(node, &now).context(unreadable)? {
                        outcome.changed.push(Changed::of(path, &now));
                    }
                }
            }
        }
        let new = after.iter().filter(|(path, _)| before.get(path).is_none());
        outcome.changed.extend(new.map(|(path, node)| Changed::of(path, node)));
        outcome.changed.sort_by(|one, other| one.path.cmp(&other.path));
        self.look_for_paths(&mut outcome)?;
        Ok(outcome)
    }

    /// A file that names the directory it was made in will be another one tomorrow.
    fn look_for_paths(&self, outcome: &mut Outcome) -> Result<()> {
        let name = self.scratch.path().as_os_str().as_encoded_bytes();
        for changed in &outcome.changed {
            let Some(file) = &changed.file else { continue };
            if holds(file, name).context(|| format!("{} cannot be read", file.display()))? {
                outcome.warnings.push(format!(
                    "{} names the directory that the build steps ran in: it will differ with every pack",
                    changed.path.below("app").unwrap_or(&changed.path)
                ));
            }
        }
        Ok(())
    }
}

fn copy(node: &Node, place: &Path) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    if let Content::Symlink(target) = &node.content {
        return symlink(target, place);
    }
    let mut file = File::create_new(place)?;
    if let Some((_, mut reader)) = node.content.open()? {
        io::copy(&mut reader, &mut file)?;
    }
    file.set_permissions(Permissions::from_mode(if node.executable { 0o755 } else { 0o644 }))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_DATE);
    file.set_times(FileTimes::new().set_accessed(time).set_modified(time))
}

fn same(one: &Node, other: &Node) -> io::Result<bool> {
    match (&one.content, &other.content) {
        (Content::Symlink(one), Content::Symlink(other)) => Ok(one == other),
        (Content::Symlink(_), _) | (_, Content::Symlink(_)) => Ok(false),
        (before, after) => Ok(one.executable == other.executable && before.read()? == after.read()?),
    }
}

/// Whether a file holds `name` anywhere.
fn holds(file: &Path, name: &[u8]) -> io::Result<bool> {
    let mut file = File::open(file)?;
    let mut window = Vec::new();
    loop {
        let kept = window.len();
        let read = file.by_ref().take(1 << 20).read_to_end(&mut window)?;
        if read == 0 {
            return Ok(false);
        }
        if window.windows(name.len()).any(|part| part == name) {
            return Ok(true);
        }
        let keep = (kept + read).min(name.len().saturating_sub(1));
        window.drain(..window.len() - keep);
    }
}
