//! Another commit, checked out into a directory of its own.
//!
//! A second work tree of the user's repository would be written down in it; `git archive` leaves submodules out, and
//! knows nothing of a version that is taken from tags. So a repository of its own is made, which borrows the
//! user's objects: the user's work tree, index and refs are not touched, and whatever looks for git there
//! (filters, LFS, setuptools-scm) finds it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Commit, git, git_text};
use crate::error::{Context, Failure, Result};

/// A commit that is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOut {
    /// The top of the work tree it came from.
    top: PathBuf,
    /// Where it is checked out, called like the original.
    place: PathBuf,
    /// The commit.
    pub commit: Commit,
    /// Submodules that are left out, as the original has not got them.
    pub absent_submodules: Vec<String>,
}

/// What of a repository's own configuration says how files come out of it.
const CONFIGURATION: [&str; 7] =
    ["filter.", "lfs.", "core.autocrlf", "core.eol", "core.symlinks", "core.attributesfile", "remote."];

impl CheckOut {
    /// Checks `revision` of the work tree with this `top` out, below the empty directory `scratch`.
    pub fn new(top: &Path, revision: &str, scratch: &Path) -> Result<CheckOut> {
        let wanted = format!("{revision}^{{commit}}");
        let commit =
            git_text(top, &["rev-parse", "--verify", "--end-of-options", &wanted]).map_err(|failure| {
                Failure::new(format!("--rev {revision}: there is no such commit in {}", top.display()))
                .because(failure)
                .hint(match is_shallow(top) {
                    true => "the clone is shallow: `git fetch --unshallow --tags` brings all commits",
                    false => "name a commit, a tag or a branch that `git log` knows here; `git fetch` may bring it",
                })
            })?;
        let place = scratch.join(top.file_name().unwrap_or("source".as_ref()));
        let mut absent_submodules = Vec::new();
        export(top, &place, &commit, "", &mut absent_submodules).map_err(|failure| {
            Failure::new(format!("--rev {revision} cannot be checked out")).because(failure)
        })?;
        let commit = Commit { directory: top.to_owned(), id: commit };
        Ok(CheckOut { top: top.to_owned(), place, commit, absent_submodules })
    }

    /// Whether it is of the work tree with this top.
    pub fn is_of(&self, top: &Path) -> bool {
        self.top == top
    }

    /// Where `path`, which is in the original, is in this one. Fails where the commit has not got it.
    pub fn path(&self, path: &Path, revision: &str) -> Result<PathBuf> {
        let original = path.canonicalize().context(|| format!("{} cannot be read", path.display()))?;
        let inner = original.strip_prefix(&self.top).unwrap_or(&original);
        let place = self.place.join(inner);
        match place.exists() {
            true => Ok(place),
            false => Err(Failure::new(format!("--rev {revision}: that commit has no {}", inner.display()))),
        }
    }
}

/// Whether a clone has only the last commits. What git cannot say is not so.
fn is_shallow(top: &Path) -> bool {
    git_text(top, &["rev-parse", "--is-shallow-repository"]).is_ok_and(|answer| answer == "true")
}

/// Makes a repository at `place` that borrows the objects of the one at `original`, and checks `commit` out.
fn export(original: &Path, place: &Path, commit: &str, above: &str, absent: &mut Vec<String>) -> Result<()> {
    let written = || format!("{} cannot be written", place.display());
    fs::create_dir_all(place).context(written)?;
    let format = git_text(original, &["rev-parse", "--show-object-format"])?;
    git(place, &["init", "--quiet", "--template=", &format!("--object-format={format}")])?;
    let own = place.join(".git");
    let theirs = |name: &str| -> Result<PathBuf> {
        Ok(original.join(git_text(original, &["rev-parse", "--git-path", name])?))
    };
    let objects = theirs("objects")?;
    fs::create_dir_all(own.join("objects/info")).context(written)?;
    fs::write(own.join("objects/info/alternates"), format!("{}\n", objects.display())).context(written)?;
    fs::create_dir_all(own.join("info")).context(written)?;
    for name in ["shallow", "info/attributes"] {
        let file = theirs(name)?;
        if file.is_file() {
            fs::copy(file, own.join(name)).context(written)?;
        }
    }
    copy_configuration(original, place)?;
    copy_tags(original, place)?;
    let no_hooks = "core.hooksPath=/dev/null";
    git(
        place,
        &[
            "-c",
            no_hooks,
            "-c",
            "advice.detachedHead=false",
            "checkout",
            "--quiet",
            "--detach",
            "--force",
            commit,
        ],
    )?;
    export_submodules(original, place, above, absent)
}

/// Filters, line ends and where LFS has its files are the repository's own affair.
fn copy_configuration(original: &Path, place: &Path) -> Result<()> {
    let listed = git(original, &["config", "--local", "--includes", "--list", "-z"])?;
    for entry in String::from_utf8_lossy(&listed).split('\0') {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
        // The refs of the remote are not fetched: what would fetch has no business here.
        if CONFIGURATION.iter().any(|wanted| key.starts_with(wanted)) && !key.ends_with(".fetch") {
            let is_address = key.ends_with("url");
            let value = if is_address { absolute(original, value) } else { value.to_owned() };
            git(place, &["config", "--add", key, &value])?;
        }
    }
    Ok(())
}

/// The address of a remote, for use in another directory: one that is a relative path is relative to the original.
fn absolute(original: &Path, address: &str) -> String {
    let there = original.join(address);
    if there.exists() { there.display().to_string() } else { address.to_owned() }
}

/// Versions are taken from tags.
fn copy_tags(original: &Path, place: &Path) -> Result<()> {
    let tags = git_text(original, &["for-each-ref", "--format=%(objectname) %(refname)", "refs/tags"])?;
    if tags.is_empty() {
        return Ok(());
    }
    // The header says nothing of being sorted or peeled: git finds both out by itself.
    let packed = place.join(".git/packed-refs");
    fs::write(&packed, format!("{tags}\n")).context(|| format!("{} cannot be written", packed.display()))
}

/// Submodules come from what the original has of them: nothing is fetched.
fn export_submodules(original: &Path, place: &Path, above: &str, absent: &mut Vec<String>) -> Result<()> {
    let listed = git(place, &["ls-files", "-z", "--stage"])?;
    for entry in String::from_utf8_lossy(&listed).split('\0') {
        let Some((head, path)) = entry.split_once('\t') else { continue };
        let (Some("160000"), Some(commit)) = (head.split(' ').next(), head.split(' ').nth(1)) else {
            continue;
        };
        let there = original.join(path);
        if there.join(".git").symlink_metadata().is_err() {
            absent.push(format!("{above}{path}"));
            continue;
        }
        git(&there, &["cat-file", "-e", &format!("{commit}^{{commit}}")]).map_err(|_| {
            Failure::new(format!("the submodule {above}{path} has not got its commit {commit}"))
                .because(format!("git -C {} fetch brings it", there.display()))
        })?;
        export(&there, &place.join(path), commit, &format!("{above}{path}/"), absent)?;
    }
    Ok(())
}
