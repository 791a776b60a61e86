//! Where sources are read from: where they lie, or from a check-out of another commit; and what git says of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coil_bootstrap::format::manifest::Revision;
use tempfile::TempDir;

use super::git::{CheckOut, Commit, Found, Listed, Listings, State, WorkTree, lfs};
use crate::error::{Context, Failure, Result};
use crate::meanwhile::both;

/// How many names a sentence lists before it counts the rest.
const NAMED: usize = 3;

/// Why there is no commit.
const NO_WORK_TREE: &str = "it is in no work tree of git";

/// The date of sources that have none: 1980-01-01, the first that a zip archive can hold.
pub const SOURCE_DATE: u64 = 315_532_800;

/// The value of SOURCE_DATE_EPOCH for what is built: the user's, else the commit's time, else a fixed one.
pub fn source_date(commit: Option<u64>) -> OsString {
    let stated = std::env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty());
    stated.unwrap_or_else(|| commit.unwrap_or(SOURCE_DATE).max(SOURCE_DATE).to_string().into())
}

/// What the user wants of git.
#[derive(Debug, Default, Clone)]
pub struct Wanted {
    /// `--rev REV`: pack this commit and not what lies there.
    pub revision: Option<String>,
    /// `--require-clean`: refuse what differs from its commit.
    pub clean: bool,
    /// Where commits are checked out; the system's place for temporary files without it.
    pub scratch: Option<PathBuf>,
    /// What git listed earlier.
    pub listings: Listings,
}

/// Where a directory or a file is read, and what git says of it.
#[derive(Debug, Default)]
pub struct Place {
    /// Where it is read.
    pub path: PathBuf,
    /// What git tracks there; `None` where git knows nothing of it.
    pub tracked: Option<Listed>,
    /// Files beside it that git neither tracks nor ignores.
    pub untracked: Vec<String>,
    /// Its commit.
    pub commit: Option<Commit>,
}

/// All sources of one pack.
#[derive(Default)]
pub struct Sources {
    wanted: Wanted,
    /// Commits that are checked out. They are there as long as these values.
    pub check_outs: Vec<(CheckOut, Arc<TempDir>)>,
    /// The first commit that was met; dirty if anything that was met is.
    pub revision: Option<Revision>,
    /// The same, for git.
    pub commit: Option<Commit>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// What may be wrong.
    pub warnings: Vec<String>,
}

impl Sources {
    /// No sources yet.
    pub fn new(wanted: &Wanted) -> Sources {
        Sources { wanted: wanted.clone(), ..Sources::default() }
    }

    /// Where `path`, a directory or a script, is to be read.
    pub fn enter(&mut self, path: &Path) -> Result<Place> {
        let plain = Place { path: path.to_owned(), ..Place::default() };
        let Some(tree) = WorkTree::near(path)? else {
            return self.without_git(plain, NO_WORK_TREE);
        };
        if let Some(revision) = self.wanted.revision.clone() {
            return match tree.top()? {
                Found::Here(top) => self.enter_check_out(&top, path, &revision),
                Found::Nothing => self.without_git(plain, NO_WORK_TREE),
                Found::NotInstalled => self.without_program(plain),
            };
        }
        // What git says of the commit takes as long as what it says of the files.
        let (state, tracked) = both(|| tree.state(), || tree.tracked(&self.wanted.listings));
        let mut state = match state? {
            Found::Here(state) => state,
            Found::Nothing => return self.without_git(plain, NO_WORK_TREE),
            Found::NotInstalled => return self.without_program(plain),
        };
        let tracked = tracked?;
        if tracked.is_empty() {
            if path.is_dir() && !tree.is_ignored()? {
                self.notes
                    .push(format!("git tracks no file in {}, so all of them are packed", path.display()));
            }
            return self.without_git(plain, "git does not track it");
        }
        state.changed.extend(tracked.sparse.iter().cloned());
        self.remember(path, &state)?;
        self.say_what_is_missing(path, &tracked);
        Ok(Place { tracked: Some(tracked), untracked: state.untracked, commit: state.commit, ..plain })
    }

    /// Where a file that is only read, and packed by nobody, is to be read.
    pub fn file(&mut self, path: &Path) -> Result<PathBuf> {
        let Some(revision) = self.wanted.revision.clone() else { return Ok(path.to_owned()) };
        let Some(tree) = WorkTree::near(path)? else { return Ok(path.to_owned()) };
        match tree.top()? {
            Found::Here(top) if !tree.tracked(&self.wanted.listings)?.is_empty() => {
                self.enter_check_out(&top, path, &revision).map(|place| place.path)
            }
            _ => Ok(path.to_owned()),
        }
    }

    /// Refuses untracked files beside a wheel that is built, where a clean tree is wanted: only the build
    /// backend knows which files it packs.
    pub fn check_untracked(&mut self, path: &Path, untracked: &[String]) -> Result<()> {
        if untracked.is_empty() {
            return Ok(());
        }
        let what = format!("{} has {} that git does not track", path.display(), counted(untracked));
        if self.wanted.clean {
            return Err(Failure::new(format!("{what}, and its build backend may pack them"))
                .hint("commit them, remove them or have git ignore them"));
        }
        self.notes.push(format!("{what}; which of them are packed is up to its build backend"));
        Ok(())
    }

    /// Refuses files of a tree, by their names in it, in whose place there is a pointer of Git LFS.
    pub fn check_pointers<'a>(
        &self,
        path: &Path,
        place: &Place,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        match pointers(path, place, names)? {
            Some(what) => Err(Failure::new(what).hint(lfs::bring(path))),
            None => Ok(()),
        }
    }

    /// The same where a wheel is built: only the build backend knows which files it packs.
    pub fn warn_of_pointers(&mut self, path: &Path, place: &Place) -> Result<()> {
        let tracked = place.tracked.iter().flat_map(|tracked| &tracked.files);
        if let Some(what) = pointers(path, place, tracked.map(|file| file.path.as_str()))? {
            self.warnings.push(format!("{what}; which of them are packed is up to its build backend"));
        }
        Ok(())
    }

    /// Refuses a wish for a commit where nothing came from one.
    pub fn check_met(&self) -> Result<()> {
        match &self.wanted.revision {
            Some(revision) if self.check_outs.is_empty() => {
                Err(Failure::new(format!("--rev {revision}: nothing that is packed comes from git"))
                    .hint("name a directory or a script of a git work tree"))
            }
            _ => Ok(()),
        }
    }

    fn enter_check_out(&mut self, top: &Path, path: &Path, revision: &str) -> Result<Place> {
        let at = match self.check_outs.iter().position(|(known, _)| known.is_of(top)) {
            Some(at) => at,
            None => {
                let scratch = self.wanted.scratch.clone().unwrap_or_else(std::env::temp_dir);
                let scratch = tempfile::Builder::new()
                    .prefix("rev-")
                    .tempdir_in(&scratch)
                    .context(|| format!("{} cannot be written", scratch.display()))?;
                let check_out = CheckOut::new(top, revision, scratch.path())?;
                self.check_outs.push((check_out, Arc::new(scratch)));
                self.check_outs.len() - 1
            }
        };
        let (check_out, _) = &self.check_outs[at];
        let place = check_out.path(path, revision)?;
        // Nobody asks for this place again.
        let listings = Listings::default();
        let tracked = WorkTree::near(&place)?.map(|tree| tree.tracked(&listings)).transpose()?;
        let tracked = tracked.unwrap_or_default();
        let state = State { commit: Some(check_out.commit.clone()), ..State::default() };
        self.remember(path, &state)?;
        self.say_what_is_missing(path, &tracked);
        Ok(Place { path: place, tracked: Some(tracked), untracked: Vec::new(), commit: state.commit })
    }

    fn without_program(&mut self, place: Place) -> Result<Place> {
        self.warnings.push(format!(
            "{} is in a work tree of git, and git is not installed: all its files are packed, tracked or not",
            place.path.display()
        ));
        self.without_git(place, "git is not installed")
    }

    fn without_git(&self, place: Place, why: &str) -> Result<Place> {
        let option = match &self.wanted {
            Wanted { clean: true, .. } => "--require-clean",
            Wanted { revision: Some(_), .. } => "--rev",
            _ => return Ok(place),
        };
        Err(Failure::new(format!(
            "{option}: {} cannot be compared with a commit: {why}",
            place.path.display()
        )))
    }

    fn remember(&mut self, path: &Path, state: &State) -> Result<()> {
        let dirty = !state.changed.is_empty();
        if self.wanted.clean && (dirty || state.commit.is_none()) {
            let what = match &state.commit {
                Some(commit) => {
                    let id = &commit.id[..12.min(commit.id.len())];
                    format!("{} differs from commit {id}", path.display())
                }
                None => format!("{} is in a repository without a commit", path.display()),
            };
            let names = if dirty { format!(": {}", counted(&state.changed)) } else { String::new() };
            return Err(Failure::new(format!("{what}{names}"))
                .hint("commit or stash the changes, or pack the commit itself with --rev HEAD"));
        }
        match (&mut self.revision, &state.commit) {
            (Some(known), _) => known.dirty |= dirty,
            (None, Some(commit)) => {
                self.revision = Some(Revision { commit: commit.id.clone(), dirty });
                self.commit = Some(commit.clone());
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn say_what_is_missing(&mut self, path: &Path, tracked: &Listed) {
        let path = path.display();
        let Listed { absent_submodules, sparse, .. } = tracked;
        if !absent_submodules.is_empty() {
            let names = absent_submodules.join(", ");
            self.warnings.push(format!(
                "{path}: submodules that are not checked out are left out: {names} (git submodule update --init)"
            ));
        }
        if !sparse.is_empty() {
            let names = counted(sparse);
            self.warnings.push(format!("{path}: left out, as a sparse check-out has not got them: {names}"));
        }
    }
}

/// That there are pointers of Git LFS among these files of a work tree, in words.
fn pointers<'a>(path: &Path, place: &Place, names: impl Iterator<Item = &'a str>) -> Result<Option<String>> {
    if place.tracked.is_none() {
        return Ok(None);
    }
    let found = lfs::pointers(&place.path, names)?;
    let here =
        if found.len() == 1 { "only a pointer to it is here" } else { "only pointers to them are here" };
    let words = || format!("{}: Git LFS keeps {}, and {here}", path.display(), counted(&found));
    Ok((!found.is_empty()).then(words))
}

/// How many there are, and the first of them: `5 files (a, b, c, ...)`.
pub fn counted(names: &[String]) -> String {
    let files = if names.len() == 1 { "1 file".to_owned() } else { format!("{} files", names.len()) };
    let more = if names.len() > NAMED { ", ..." } else { "" };
    format!("{files} ({}{more})", names[..NAMED.min(names.len())].join(", "))
}
