//! The commit that is checked out, and how the work tree differs from it.

use std::path::{Path, PathBuf};

use super::{Found, WorkTree, git_text};
use crate::error::Result;

/// How a part of a work tree stands to its commit.
///
/// Only that part is looked at: in a repository of several projects, work on one does not make the
/// others dirty.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    /// The commit; `None` before the first one.
    pub commit: Option<Commit>,
    /// Tracked files that differ from it, below the directory.
    pub changed: Vec<String>,
    /// Files and whole directories (with `/` at the end) that are neither tracked nor ignored.
    pub untracked: Vec<String>,
}

/// A commit of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// A directory in the repository.
    pub(super) directory: PathBuf,
    /// 40 or 64 hexadecimal digits in lower case.
    pub id: String,
}

impl Commit {
    /// When it was committed, in seconds since 1970: asked for now, as most packs need no date.
    pub fn time(&self) -> Result<Option<u64>> {
        let text = git_text(&self.directory, &["cat-file", "commit", &self.id])?;
        // "committer NAME <ADDRESS> SECONDS ZONE"
        let line = text.lines().find(|line| line.starts_with("committer "));
        Ok(line.and_then(|line| line.rsplit(' ').nth(1)?.parse().ok()))
    }
}

impl WorkTree {
    /// Compares the work tree with its commit.
    pub fn state(&self) -> Result<Found<State>> {
        let words = [
            "--literal-pathspecs",
            "status",
            "--porcelain=v2",
            "-z",
            "--branch",
            "--no-ahead-behind",
            "--no-renames",
            "--untracked-files=normal",
            "--ignore-submodules=none",
            "--",
            &self.part,
        ];
        Ok(self.ask(&words)?.map(|entries| {
            let mut state = State::default();
            for entry in entries.split(|byte| *byte == 0) {
                self.take(&mut state, &String::from_utf8_lossy(entry));
            }
            state
        }))
    }

    /// One entry of git-status(1), "Porcelain Format Version 2".
    fn take(&self, state: &mut State, entry: &str) {
        // Names are for people: where the top is somewhere else, they are seen from there.
        let prefix = self.directory.strip_prefix(&self.likely_top).unwrap_or(Path::new(""));
        let below = |path: &str| {
            let inner = Path::new(path).strip_prefix(prefix).unwrap_or(Path::new(path));
            let end = if path.ends_with('/') { "/" } else { "" };
            format!("{}{end}", inner.display())
        };
        let field = |count: usize| entry.splitn(count, ' ').last().unwrap_or_default();
        match entry.split(' ').next() {
            // "# branch.oid <commit> | (initial)"
            Some("#") => {
                let id = entry.strip_prefix("# branch.oid ").filter(|id| !id.starts_with('('));
                let commit = |id: &str| Commit { directory: self.directory.clone(), id: id.to_owned() };
                state.commit = state.commit.take().or(id.map(commit));
            }
            // "1 <XY> <sub> <mH> <mI> <mW> <hH> <hI> <path>"
            Some("1") if !is_only_untracked(entry) => state.changed.push(below(field(9))),
            // "u <XY> <sub> <m1> <m2> <m3> <mW> <h1> <h2> <h3> <path>"
            Some("u") => state.changed.push(below(field(11))),
            Some("?") => state.untracked.push(below(field(2))),
            _ => {}
        }
    }
}

/// Whether all that is new about a submodule is files that git does not track: "`S<c><m><u>` ... `<m>` is M
/// if it has tracked changes; `<u>` is U if there are untracked changes".
fn is_only_untracked(entry: &str) -> bool {
    let mut fields = entry.split(' ').skip(1);
    (fields.next(), fields.next()) == (Some(".M"), Some("S..U"))
}
