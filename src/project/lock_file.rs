//! Where a project's lock is, and what it is: found beside the project, or named with `-r`.
//!
//! Files are looked at by name only; nothing is read here but what says where a workspace begins.

use std::path::{Path, PathBuf};

use super::glob::covers;

/// A file that locks what a project needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// The file.
    pub path: PathBuf,
    /// How it is read.
    pub kind: LockKind,
    /// What it locks: a directory or a script; `None` where it was named by itself.
    pub project: Option<PathBuf>,
}

/// The kinds of locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// `pylock.toml` or `pylock.NAME.toml` (PEP 751): read as it is.
    Pylock,
    /// `uv.lock`, through `uv export`.
    Uv,
    /// `SCRIPT.py.lock`, through `uv export --script`.
    UvScript,
    /// `poetry.lock`, through `poetry export`.
    Poetry,
    /// `pdm.lock`, through `pdm export`.
    Pdm,
}

/// The locks of a directory, the best first.
const OF_DIRECTORIES: [(&str, LockKind); 4] = [
    ("pylock.toml", LockKind::Pylock),
    ("uv.lock", LockKind::Uv),
    ("poetry.lock", LockKind::Poetry),
    ("pdm.lock", LockKind::Pdm),
];

impl LockFile {
    /// The lock of the project in `directory` (absolute), and what else is there that could be meant: file
    /// names.
    ///
    /// Members of uv's workspaces have no lock of their own: the one of the workspace's root is theirs. Where
    /// pylock.toml is to be made anew (`relocks`), it is passed over.
    pub fn of_directory(directory: &Path, relocks: bool) -> Option<(LockFile, Vec<String>)> {
        let mut found: Vec<LockFile> = Vec::new();
        for (name, kind) in OF_DIRECTORIES.into_iter().skip(usize::from(relocks)) {
            // Only uv reads its lock without a project, and only where there is a project can it be exported.
            let is_for = kind == LockKind::Pylock || directory.join("pyproject.toml").is_file();
            let own = Some(directory.join(name)).filter(|path| path.is_file());
            let path = own.or_else(|| match kind {
                LockKind::Uv => {
                    workspace_of(directory).map(|root| root.join(name)).filter(|path| path.is_file())
                }
                _ => None,
            });
            let project = Some(directory.to_owned());
            found.extend(path.filter(|_| is_for).map(|path| LockFile { path, kind, project }));
        }
        let mut found = found.into_iter();
        let best = found.next()?;
        let mut others: Vec<String> = found.map(|other| file_name(&other.path)).collect();
        if directory.join("requirements.txt").is_file() {
            others.push("requirements.txt".to_owned());
        }
        Some((best, others))
    }

    /// The lock of a script (absolute): `SCRIPT.py.lock` as uv writes it, else `pylock.SCRIPT.toml`.
    pub fn of_script(script: &Path) -> Option<LockFile> {
        let name = script.file_name()?.to_str()?;
        let project = Some(script.to_owned());
        let of_uv = script.with_file_name(format!("{name}.lock"));
        if of_uv.is_file() {
            return Some(LockFile { path: of_uv, kind: LockKind::UvScript, project });
        }
        let path = script.with_file_name(pylock_name(script.file_stem()?.to_str()?));
        path.is_file().then_some(LockFile { path, kind: LockKind::Pylock, project })
    }

    /// A lock that is named by itself; `None` where the file is not called like one.
    ///
    /// "The filename MUST either be named pylock.toml or match the regular expression
    /// `^pylock\.([^.]+)\.toml$`" (PEP 751).
    pub fn named(path: &Path) -> Option<LockFile> {
        let is_pylock = is_pylock_name(path.file_name()?.to_str()?);
        is_pylock.then(|| LockFile { path: path.to_owned(), kind: LockKind::Pylock, project: None })
    }

    /// What makes it anew, to be typed.
    pub fn relock(&self) -> String {
        let project = self.project.as_deref().map(|path| format!(" {}", path.display())).unwrap_or_default();
        match self.kind {
            LockKind::Pylock => format!("coil lock{project}, or the tool that made it"),
            LockKind::Uv => "uv lock".to_owned(),
            LockKind::UvScript => format!("uv lock --script{project}"),
            LockKind::Poetry => "poetry lock".to_owned(),
            LockKind::Pdm => "pdm lock, with --group :all for its extras".to_owned(),
        }
    }
}

/// `pylock.NAME.toml`, where the name has no dots.
pub fn pylock_name(name: &str) -> String {
    format!("pylock.{}.toml", name.replace('.', "-"))
}

/// Whether a file may be called like this to be a lock.
pub fn is_pylock_name(name: &str) -> bool {
    let middle = name.strip_prefix("pylock.").and_then(|rest| rest.strip_suffix(".toml"));
    name == "pylock.toml" || middle.is_some_and(|middle| !middle.is_empty() && !middle.contains('.'))
}

/// The root of the workspace of uv that a directory is a member of: the nearest directory above whose
/// pyproject.toml has `[tool.uv.workspace]`, if that lists it.
pub fn workspace_of(directory: &Path) -> Option<PathBuf> {
    for root in directory.ancestors().skip(1) {
        let Ok(text) = std::fs::read_to_string(root.join("pyproject.toml")) else { continue };
        let Ok(page) = text.parse::<toml::Table>() else { continue };
        let Some(workspace) = page.get("tool").and_then(|tool| tool.get("uv")?.get("workspace")) else {
            continue;
        };
        let below = directory.strip_prefix(root).ok()?.to_str()?;
        let lists = |key: &str| {
            let patterns = workspace.get(key).and_then(toml::Value::as_array);
            patterns.into_iter().flatten().filter_map(toml::Value::as_str).any(|pattern| {
                // uv's patterns begin at the root, and cover the directory itself.
                let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
                covers(&format!("/{pattern}"), below) && depth(pattern, below)
            })
        };
        return (lists("members") && !lists("exclude")).then(|| root.to_owned());
    }
    None
}

fn depth(pattern: &str, path: &str) -> bool {
    pattern.contains("**") || pattern.split('/').count() == path.split('/').count()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn the_standard_lock_wins_and_the_others_are_named() {
        let files = ["pyproject.toml", "poetry.lock", "uv.lock", "pdm.lock", "requirements.txt"]
            .map(|name| (name, ""));
        let root = tree(&files);
        let (lock, others) = LockFile::of_directory(root.path(), false).unwrap();
        assert_eq!(
            (lock.kind, others.join(" ").as_str()),
            (LockKind::Uv, "poetry.lock pdm.lock requirements.txt")
        );
        std::fs::write(root.path().join("pylock.toml"), "").unwrap();
        assert_eq!(LockFile::of_directory(root.path(), false).unwrap().0.kind, LockKind::Pylock);
        let plain = tree(&[("uv.lock", ""), ("requirements.txt", "")]);
        assert_eq!(LockFile::of_directory(plain.path(), false), None);
    }

    #[test]
    fn members_of_a_workspace_have_the_lock_of_its_root() {
        let root = tree(&[
            (
                "pyproject.toml",
                "[tool.uv.workspace]\nmembers = [\"packages/*\"]\nexclude = [\"packages/old\"]\n",
            ),
            ("uv.lock", ""),
            ("packages/lib/pyproject.toml", ""),
            ("packages/lib/deep/pyproject.toml", ""),
            ("packages/old/pyproject.toml", ""),
            ("other/pyproject.toml", ""),
        ]);
        let lock =
            |name: &str| LockFile::of_directory(&root.path().join(name), false).map(|(lock, _)| lock.path);
        assert_eq!(lock("packages/lib"), Some(root.path().join("uv.lock")));
        for none in ["packages/old", "other", "packages/lib/deep"] {
            assert_eq!(lock(none), None, "{none}");
        }
    }

    #[test]
    fn a_script_has_its_own_lock_and_names_are_as_the_specification_wants() {
        let root = tree(&[("a.b.py", ""), ("pylock.a-b.toml", "")]);
        let lock = |root: &Path| LockFile::of_script(&root.join("a.b.py")).unwrap().kind;
        assert_eq!(lock(root.path()), LockKind::Pylock);
        std::fs::write(root.path().join("a.b.py.lock"), "").unwrap();
        assert_eq!(lock(root.path()), LockKind::UvScript);
        assert!(is_pylock_name("pylock.toml") && is_pylock_name("pylock.dev.toml"));
        for not in ["pylock..toml", "pylock.a.b.toml", "lock.toml", "pylock.txt"] {
            assert!(!is_pylock_name(not), "{not}");
        }
    }
}
