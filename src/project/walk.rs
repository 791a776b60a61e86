//! Chooses the files of a source tree that is packed as it is: `app/...`.
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
    let root = directory.canonicalize().context(|| format!("{} cannot be read", directory.display()))?;
    let origin: Arc<str> = directory.display().to_string().into();
    let mut walk = Walk { root, selection, origin, tree: Tree::new(), links: Vec::new(), notes: Vec::new() };
    let root = walk.root.clone();
    walk.enter(&root, "")?;
    walk.check_links()?;
    Ok((walk.tree, walk.notes))
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

impl Walk<'_> {
    fn enter(&mut self, directory: &Path, below: &str) -> Result<()> {
        let unreadable = || format!("{} cannot be read", directory.display());
        let mut entries: Vec<DirEntry> =
            fs::read_dir(directory).context(unreadable)?.collect::<Result<_, _>>().context(unreadable)?;
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().context(|| format!("{} cannot be read", path.display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                // A leftover with a strange name is still only a leftover.
                if is_leftover(&name.to_string_lossy(), &path, kind) {
                    continue;
                }
                return Err(not_utf8(&path));
            };
            if is_leftover(name, &path, kind) || self.selection.never.contains(&path) {
                continue;
            }
            let inner = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            if self.selection.exclude.iter().any(|pattern| covers(pattern, &inner)) {
                continue;
            }
            self.take(&path, &inner, kind)?;
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, inner: &str, kind: FileType) -> Result<()> {
        if kind.is_dir() {
            return self.enter(path, inner);
        }
        let include = self.selection.include;
        if !include.is_empty() && !include.iter().any(|pattern| covers(pattern, inner)) {
            return Ok(());
        }
        let cannot = || format!("{} cannot be packed", path.display());
        let place = TreePath::new(format!("app/{inner}")).context(cannot)?;
        if kind.is_symlink() {
            return self.take_link(path, place);
        }
        if !kind.is_file() {
            self.notes.push(format!("{} is left out: it is {}", path.display(), name_of(kind)));
            return Ok(());
        }
        let named = include.iter().any(|pattern| pattern == inner);
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
            let selection = Selection { include, exclude: &[], never: &[] };
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
        let selection = Selection { include: &include, exclude: &exclude, never: &never };
        assert_eq!(names(&walk(site.path(), &selection).unwrap().0), ["app/src/a.py"]);
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
