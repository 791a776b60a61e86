//! What git lists, remembered by all that it follows from.
//!
//! What git tracks stands in its index, and a project that is packed again mostly has that of the last time. To ask again
//! would cost a process, and whoever packs again waits for that. Contents are compared, not times. Remembered is what the
//! plainest of repositories says: anything that could have git look elsewhere, and it is asked.

use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coil_bootstrap::format::checksum::{Checksum, Summing};

use super::WorkTree;
use crate::error::Result;
use crate::sealed::Directory;

/// What a configuration may say that has git look for a work tree, or for its configuration, somewhere else.
const ELSEWHERE: [&[u8]; 2] = [b"worktree", b"include"];

/// The digits of a commit's id: of SHA-1, or of SHA-256.
const DIGITS: [usize; 2] = [40, 64];

/// What git listed earlier, for each directory. Losing it costs time and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Listings(Option<Directory>);

impl Listings {
    /// Those that are kept in `directory`.
    pub fn kept_in(directory: Directory) -> Self {
        Listings(Some(directory))
    }

    /// What `list` says of what is tracked in `tree`: remembered, or asked now.
    pub(super) fn of(&self, tree: &WorkTree, list: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let Some((directory, state)) = self.0.as_ref().zip(state(tree)) else { return list() };
        let sealed =
            directory.file(&format!("tracked-{}", Checksum::of(format!("{tree:?}").as_bytes()).hex()));
        let known = sealed.read().filter(|known| known.starts_with(state.as_bytes()));
        if let Some(mut known) = known {
            known.drain(..state.as_bytes().len());
            return Ok(known);
        }
        let listing = list()?;
        // Git may have read another index than we have.
        if self::state(tree) == Some(state) {
            // Nothing but time is lost without it.
            let _ = sealed.write(&[state.as_bytes(), &listing]);
        }
        Ok(listing)
    }
}

/// What a listing of `tree` follows from; `None` where that is not known for sure (gitrepository-layout(5)).
fn state(tree: &WorkTree) -> Option<Checksum> {
    let git = tree.likely_top.join(".git");
    if !git.symlink_metadata().is_ok_and(|there| there.is_dir()) || !is_repository(&git) {
        return None;
    }
    let config = fs::read(git.join("config")).ok()?;
    let lower = config.to_ascii_lowercase();
    if ELSEWHERE.iter().any(|word| memchr::memmem::find(&lower, word).is_some()) {
        return None;
    }
    let index = fs::read(git.join("index")).ok()?;
    let mut variables: Vec<_> =
        env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(b"GIT_")).collect();
    variables.sort();
    let mut sum = Summing::default();
    for part in [env!("COIL_CODE").as_bytes(), format!("{variables:?}").as_bytes(), &config, &index] {
        sum.update(&(part.len() as u64).to_le_bytes());
        sum.update(part);
    }
    Some(sum.finish())
}

/// Whether git takes this directory for a repository, and looks no further up.
fn is_repository(git: &Path) -> bool {
    let head = fs::read(git.join("HEAD")).unwrap_or_default();
    let id = head.trim_ascii_end();
    let is_id = DIGITS.contains(&id.len()) && id.iter().all(u8::is_ascii_hexdigit);
    (is_id || head.starts_with(b"ref: refs/"))
        && ["objects", "refs"].iter().all(|name| git.join(name).is_dir())
}
