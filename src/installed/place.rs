//! Where the files of a distribution are, on disk and in an image.

use std::path::{Component, Path, PathBuf};

use coil_bootstrap::format::path::TreePath;

use super::Virtualenv;
use crate::wheel::ENVIRONMENT;

/// Where a path of RECORD leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Where {
    /// Into the virtualenv.
    Inside {
        /// The file on disk.
        file: PathBuf,
        /// Its path in an image.
        path: TreePath,
    },
    /// Somewhere else on the machine.
    Outside(PathBuf),
    /// Nowhere: it is no path of a file.
    Nowhere,
}

impl Virtualenv {
    /// Where `recorded` leads: a path relative to `site_packages`, one of the virtualenv's, or an absolute
    /// one. `library` is the modules' directory in an image.
    pub fn place(&self, recorded: &str, site_packages: &Path, library: &TreePath) -> Where {
        let path = site_packages.join(recorded);
        let Some(path) = without_dots(&path) else { return Where::Nowhere };
        if let Some(below) = self.site_packages.iter().find_map(|directory| below(&path, directory)) {
            return match library.join(&below) {
                Ok(inside) => Where::Inside { file: path, path: inside },
                Err(_) => Where::Nowhere,
            };
        }
        let Some(inner) = self.names.iter().find_map(|root| below(&path, root)) else {
            return Where::Outside(path);
        };
        // An absolute path that names the virtualenv's old place, or its modules by a link.
        let file = self.root.join(&inner);
        let in_library =
            self.site_packages.iter().find_map(|directory| below(&file, directory)).or_else(|| {
                // `lib64` is a link to `lib` in most virtualenvs.
                let beside = inner.strip_prefix("lib64/").map(|rest| self.root.join("lib").join(rest))?;
                self.site_packages.iter().find_map(|directory| below(&beside, directory))
            });
        let inside = match in_library {
            Some(inner) => library.join(&inner),
            None => TreePath::new(format!("{ENVIRONMENT}/{inner}")),
        };
        inside.map_or(Where::Nowhere, |path| Where::Inside { file, path })
    }
}

/// `path` relative to `directory`, where it is below it and UTF-8.
pub fn below(path: &Path, directory: &Path) -> Option<String> {
    path.strip_prefix(directory).ok()?.to_str().filter(|inner| !inner.is_empty()).map(str::to_owned)
}

/// The path without `.` and `..`, by its text alone; `None` where it climbs above the root.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}
