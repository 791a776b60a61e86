//! Chooses the files of a source tree that is packed as it is: `app/...`.
//!
//! In a work tree of git these are the files that git tracks, and nothing else but what `artifacts` names.
//! `include` only ever narrows the choice down: if it also added untracked files, a pattern such as `src` would
//! bring in whatever lies there. Elsewhere all files are taken, and `artifacts` adds to `include`.
//!
//! What belongs to the machine and not to the app stays out: version control, byte code, virtualenvs,
//! caches of tools, what editors leave behind. The result does not depend on the order in which the file
//! system lists things.

use std::fs::{self, DirEntry, FileType};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::path::TreePath;

use super::git::Tracked;
use super::glob::covers;
use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node, Tree};

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
const SECRETS: [&str; 2] = [".env", ".env.local"];

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

    /// A link is kept as a link, with a relative target, when it stays inside.
    fn take_link(&mut self, path: &Path, place: TreePath) -> Result<()> {
        let cannot = || format!("the link {} cannot be packed", path.display());
        let target = fs::read_link(path).context(cannot)?;
        let outside = || {
            let reason =
                format!("{}: it leads out of {}, to {}", cannot(), self.root.display(), target.display());
            Failure::new(reason).hint("copy what it leads to, or leave it out with exclude in [tool.coil]")
        };
        let real = path.canonicalize().map_err(|error| {
            Failure::new(format!("{}: it leads to {}", cannot(), target.display())).because(error)
        })?;
        if !real.starts_with(&self.root) {
            return Err(outside());
        }
        let text = match target.strip_prefix(&self.root) {
            Ok(inner) => format!("{}{}", "../".repeat(place.matches('/').count() - 1), inner.display()),
            Err(_) => target.to_str().ok_or_else(|| not_utf8(path))?.to_owned(),
        };
        if !place.follow(&text).is_some_and(|there| &*there == "app" || there.below("app").is_some()) {
            return Err(outside());
        }
        self.links.push((path.to_owned(), place.clone()));
        let node =
            Node { content: Content::Symlink(text), executable: false, origin: Arc::clone(&self.origin) };
        self.tree.insert(place, node).context(cannot)
    }

    /// A link to something that was left out would lead nowhere in the bundle.
    fn check_links(&self) -> Result<()> {
        for (path, place) in &self.links {
            let Some(Node { content: Content::Symlink(target), .. }) = self.tree.get(place) else { continue };
            let Some(there) = place.follow(target) else { continue };
            // It is there itself, or something below it, or a link above it.
            let mut above = std::iter::successors(Some(there.clone()), TreePath::parent);
            let packed = self.tree.has_directory(&there) || above.any(|name| self.tree.get(&name).is_some());
            if !packed {
                let failure = Failure::new(format!(
                    "the link {} cannot be packed: what it leads to, {target}, is left out",
                    path.display()
                ));
                return Err(failure.hint("leave the link out as well, with exclude in [tool.coil]"));
            }
        }
        Ok(())
    }
}

fn is_leftover(name: &str, path: &Path, kind: FileType) -> bool {
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
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn site(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        directory
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.iter().map(|(path, _)| path.to_string()).collect()
    }

    fn all(directory: &tempfile::TempDir) -> Result<(Tree, Vec<String>)> {
        walk(directory.path(), &Selection::default())
    }

    #[test]
    fn settings_with_secrets_stay_behind_unless_they_are_named() {
        let site = site(&["app.py", ".env", "deep/.env.local", ".env.example"]);
        let packed = |include: &[String]| {
            let selection = Selection { include, ..Selection::default() };
            let (tree, notes) = walk(site.path(), &selection).unwrap();
            (tree.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(), notes.len())
        };
        assert_eq!(packed(&[]), (vec!["app/.env.example".to_owned(), "app/app.py".to_owned()], 2));
        assert_eq!(packed(&[".env".to_owned()]).0, ["app/.env"]);
    }

    #[test]
    fn leftovers_stay_out_and_files_keep_their_bits() {
        let site = site(&[
            "manage.py",
            "run.sh",
            "a/__init__.py",
            "a/__pycache__/x.pyc",
            "a/old.pyc",
            ".git/HEAD",
            "env/pyvenv.cfg",
            "env/lib/x.py",
            "node_modules/x.js",
            "x.egg-info/PKG-INFO",
            "a/b.py~",
            ".#manage.py",
            ".env",
        ]);
        fs::set_permissions(site.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        let (tree, notes) = all(&site).unwrap();
        assert_eq!(names(&tree), ["app/a/__init__.py", "app/manage.py", "app/run.sh"]);
        assert!(tree.get("app/run.sh").unwrap().executable && !tree.get("app/manage.py").unwrap().executable);
        assert_eq!(notes.len(), 1, "of what is left out only .env is worth a word");
    }

    #[test]
    fn include_exclude_and_the_output_are_obeyed() {
        let site = site(&["src/a.py", "src/tests/t.py", "docs/x.md", "tool"]);
        let never = [site.path().canonicalize().unwrap().join("tool")];
        let (include, exclude) = (["src".to_owned(), "tool".to_owned()], ["tests".to_owned()]);
        let selection =
            Selection { include: &include, exclude: &exclude, never: &never, ..Selection::default() };
        assert_eq!(names(&walk(site.path(), &selection).unwrap().0), ["app/src/a.py"]);
    }

    #[test]
    fn of_a_work_tree_only_what_is_tracked_is_taken_and_what_artifacts_names() {
        let site = site(&[
            "a.py",
            "b.py",
            "notes",
            "dist/x.js",
            "dist/x.py",
            "node_modules/y.js",
            "node_modules/.git/z",
        ]);
        let tracked = ["a.py", "b.py"].map(|path| Tracked { path: path.into(), executable: path == "b.py" });
        let packed =
            |selection: &Selection| names(&walk_tracked(site.path(), &tracked, selection).unwrap().0);
        assert_eq!(packed(&Selection::default()), ["app/a.py", "app/b.py"]);
        let artifacts =
            |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        let (dist, modules) = (artifacts(&["dist/*.js"]), artifacts(&["/node_modules"]));
        assert_eq!(
            packed(&Selection { artifacts: &dist, ..Selection::default() }),
            ["app/a.py", "app/b.py", "app/dist/x.js"]
        );
        let include = artifacts(&["a.py", "notes"]);
        assert_eq!(
            packed(&Selection { artifacts: &modules, include: &include, ..Selection::default() }),
            ["app/a.py", "app/node_modules/y.js"]
        );
        let everything = artifacts(&["*"]);
        assert_eq!(
            packed(&Selection { artifacts: &everything, exclude: &include, ..Selection::default() }),
            ["app/b.py", "app/dist/x.js", "app/dist/x.py"],
        );
        let (tree, _) = walk_tracked(site.path(), &tracked, &Selection::default()).unwrap();
        assert!(tree.get("app/b.py").unwrap().executable, "git says so, whatever the disk says");
    }

    #[test]
    fn nobody_misses_a_leftover_or_what_was_left_out_on_purpose() {
        let site = site(&["notes", ".venv/x", "x.pyc", "out", "docs/x", "dist/x"]);
        let never = [site.path().canonicalize().unwrap().join("out")];
        let (exclude, artifacts) = (["docs".to_owned()], ["dist".to_owned()]);
        let selection =
            Selection { exclude: &exclude, artifacts: &artifacts, never: &never, ..Selection::default() };
        let untracked = ["notes", ".venv/", "x.pyc", "out", "docs/", "dist/", "gone"].map(str::to_owned);
        assert_eq!(missed(site.path(), &untracked, &selection), ["notes"]);
    }

    #[test]
    fn links_are_kept_inside_and_refused_outside() {
        let site = site(&["data/x", "a/y"]);
        let root = site.path().canonicalize().unwrap();
        symlink("../data", site.path().join("a/data")).unwrap();
        symlink(root.join("data/x"), site.path().join("a/absolute")).unwrap();
        let (tree, _) = all(&site).unwrap();
        let target = |path: &str| match &tree.get(path).unwrap().content {
            Content::Symlink(target) => target.clone(),
            _ => panic!("{path} is no link"),
        };
        assert_eq!((target("app/a/data"), target("app/a/absolute")), ("../data".into(), "../data/x".into()));
        symlink("/etc/passwd", site.path().join("leak")).unwrap();
        assert!(all(&site).err().unwrap().to_string().contains("it leads out of"));
    }

    #[test]
    fn a_link_to_nothing_or_to_what_is_left_out_is_refused() {
        let site = site(&["x", ".tox/y"]);
        symlink(".tox/y", site.path().join("link")).unwrap();
        assert!(all(&site).err().unwrap().to_string().contains("is left out"));
        fs::remove_file(site.path().join(".tox/y")).unwrap();
        assert!(all(&site).is_err());
    }

    #[test]
    fn a_name_that_is_not_utf8_is_refused_and_a_pipe_is_noted() {
        let site = site(&["x"]);
        let socket = std::os::unix::net::UnixListener::bind(site.path().join("socket")).unwrap();
        let (tree, notes) = all(&site).unwrap();
        assert_eq!(names(&tree), ["app/x"]);
        assert!(notes[0].ends_with("it is a socket"));
        drop(socket);
        fs::write(site.path().join(OsStr::from_bytes(b"\xff.py")), "").unwrap();
        assert!(all(&site).err().unwrap().to_string().contains("not UTF-8"));
    }
}
