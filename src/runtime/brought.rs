//! Libraries of this machine that are no part of a runtime: what wheels expect of every host, or of some
//! (libGL, libpq), made relocatable like those of a runtime.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::libraries::{Libraries, Scope};
use super::origin::carried;
use super::system::System;
use super::{SEARCH_PATH, contained, glibc, tree_path};
use crate::elf::{Machine, View};
use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node, Tree};

/// Libraries, and where they came from.
pub struct Brought {
    /// `python/lib/...`
    pub tree: Tree,
    /// A sentence for each.
    pub notes: Vec<String>,
}

/// Finds the libraries `named`, as the loader of this machine would, and all that they need, apart from what
/// the runtime `has`. Likewise those of `welcome` that are on this machine.
///
/// Fails where a named one is not on this machine, or belongs to glibc, which a runtime has whole or not at all.
pub fn bring(
    named: &BTreeSet<&str>,
    welcome: &BTreeSet<&str>,
    has: &dyn Fn(&str) -> bool,
) -> Result<Brought> {
    let machine = Machine::here().ok_or_else(|| Failure::new("this machine is not one that coil knows"))?;
    let mut libraries = Libraries::new(System::look(machine), machine);
    for name in named.iter().filter(|name| !has(name)) {
        if let Some(glibc::DIRECTORY) = glibc::place(name, machine) {
            return Err(Failure::new(format!(
                "{name} cannot be brought: it belongs to glibc, and this runtime is without"
            ))
            .hint("leave it to the host: --host-library"));
        }
        libraries.add(&nobody(), &[(*name).to_owned()]).map_err(|missing| {
            Failure::new(
                format!("{name} cannot be brought: it needs {missing}")
                    .replace(&format!("it needs {name}, which is"), "it is"),
            )
            .hint("install the package it is in, or leave it to the host: --host-library")
        })?;
    }
    for name in welcome.iter().filter(|name| !has(name) && !named.contains(*name)) {
        // What is still missing then is told, or refused, as if it had not been asked for.
        let _ = libraries.add(&nobody(), &[(*name).to_owned()]);
    }
    let mut found = libraries.found();
    found.retain(|(name, _)| !has(name) && glibc::place(name, machine) != Some(glibc::DIRECTORY));
    let mut tree = Tree::new();
    for (name, path) in &found {
        let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
        let content = Content::bytes(contained(path, bytes)?);
        let node = Node { content, executable: false, origin: path.display().to_string().into() };
        tree.insert(tree_path(format!("{}/{name}", SEARCH_PATH[0]))?, node)
            .context(|| "the libraries cannot be put together".into())?;
    }
    let told = carried(&found, Path::new("/usr"));
    let notes = told.iter().map(|library| {
        let package = library.package.as_deref().map(|package| format!(", {package}")).unwrap_or_default();
        format!("brought {} from this machine ({}{package})", library.name, library.from)
    });
    Ok(Brought { tree, notes: notes.collect() })
}

/// The scope of a name that no file asks for.
fn nobody() -> Scope {
    let view = View::default();
    Scope::of(Path::new("/"), &view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_comes_with_what_it_needs_and_without_what_the_runtime_has() {
        // Every machine that tests run on has these two: the compiler needs them.
        let all = bring(&["libstdc++.so.6"].into(), &["libcoil-away.so.1"].into(), &|_| false).unwrap();
        let names =
            |brought: &Brought| brought.tree.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&all), ["python/lib/libgcc_s.so.1", "python/lib/libstdc++.so.6"]);
        assert!(all.notes[1].starts_with("brought libstdc++.so.6 from this machine (/"), "{}", all.notes[1]);
        let rest =
            bring(&["libstdc++.so.6"].into(), &["libcoil-away.so.1"].into(), &|name| name == "libgcc_s.so.1")
                .unwrap();
        assert_eq!(names(&rest), ["python/lib/libstdc++.so.6"]);
    }

    #[test]
    fn what_cannot_be_brought_says_why() {
        let refused = |name: &str| bring(&[name].into(), &BTreeSet::new(), &|_| false).err().unwrap();
        let away = refused("libcoil-away.so.1");
        assert_eq!(away.to_string(), "libcoil-away.so.1 cannot be brought: it is not on this machine");
        assert!(away.advice().is_some());
        assert!(refused("libc.so.6").to_string().contains("belongs to glibc"));
    }
}
