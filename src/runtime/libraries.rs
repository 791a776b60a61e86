//! Finding every library that a file needs, as the loader of the build machine would.
//!
//! "If a shared object dependency does not contain a slash, then it is searched for in the following order":
//! `DT_RPATH` of the file and of those that loaded it, unless the file has a runpath; `LD_LIBRARY_PATH`;
//! `DT_RUNPATH` of the file; the cache; the default directories (ld.so(8)). No library is run for this.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::system::System;
use crate::elf::{Machine, View};

/// The libraries found so far, by the name they are asked for.
pub struct Libraries {
    system: System,
    machine: &'static Machine,
    environment: Vec<PathBuf>,
    known: BTreeMap<String, Option<Arc<Library>>>,
    used: BTreeSet<String>,
}

struct Library {
    path: PathBuf,
    needed: Vec<String>,
    scope: Scope,
}

/// The directories a file searches before those of the system.
pub struct Scope {
    /// The file itself.
    file: PathBuf,
    /// Those that what it loads searches as well.
    inherited: Vec<PathBuf>,
    /// Its runpath; where it has one, it does not search those that it inherits.
    own: Option<Vec<PathBuf>>,
}

/// A library that is not on this machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    library: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which is not on this machine", self.library)
    }
}

impl Scope {
    /// The scope of an executable.
    pub fn of(file: &Path, view: &View) -> Self {
        Scope::below(&Scope { file: file.to_owned(), inherited: Vec::new(), own: None }, file, view)
    }

    /// The scope of a file that was loaded by what `above` belongs to.
    pub fn below(above: &Scope, file: &Path, view: &View) -> Self {
        let expanded = |entries: &[String]| -> Vec<PathBuf> {
            entries.iter().filter_map(|entry| expand(entry, file)).collect()
        };
        let own = view.runpath.as_deref().map(expanded);
        let mut inherited = if own.is_none() { expanded(&view.rpath) } else { Vec::new() };
        inherited.extend_from_slice(&above.inherited);
        Scope { file: file.to_owned(), inherited, own }
    }
}

/// An entry of a search path of `file` as a directory; `None` for one relative to the working directory and for
/// one with a variable that glibc derives from the processor.
fn expand(entry: &str, file: &Path) -> Option<PathBuf> {
    let origin = file.parent()?.to_str()?;
    let entry = entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin);
    (entry.starts_with('/') && !entry.contains('$')).then(|| entry.into())
}

impl Libraries {
    /// None so far.
    pub fn new(system: System, machine: &'static Machine) -> Self {
        let environment = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let environment = std::env::split_paths(&environment).filter(|path| path.is_absolute()).collect();
        Libraries { system, machine, environment, known: BTreeMap::new(), used: BTreeSet::new() }
    }

    /// Adds what `names` and all that they need in turn stand for; nothing of it where one is missing.
    pub fn add(&mut self, scope: &Scope, names: &[String]) -> Result<(), Missing> {
        let mut closure = BTreeSet::new();
        self.visit(scope, names, &mut closure)?;
        self.used.extend(closure);
        Ok(())
    }

    /// Every library that was added, and where it is.
    pub fn found(&self) -> Vec<(String, PathBuf)> {
        let library = |name: &String| Some((name.clone(), self.known.get(name)?.as_ref()?.path.clone()));
        self.used.iter().filter_map(library).collect()
    }

    fn visit(
        &mut self,
        scope: &Scope,
        names: &[String],
        closure: &mut BTreeSet<String>,
    ) -> Result<(), Missing> {
        for asked in names {
            // What is needed by its place is carried, and asked for, by its name.
            let name = asked.rsplit('/').next().unwrap_or(asked);
            if self.used.contains(name) || !closure.insert(name.to_owned()) {
                continue;
            }
            if !self.known.contains_key(name) {
                let library = self.find(scope, asked).map(Arc::new);
                self.known.insert(name.to_owned(), library);
            }
            let library = self.known.get(name).cloned().flatten();
            let library = library.ok_or_else(|| Missing { library: asked.clone() })?;
            self.visit(&library.scope, &library.needed, closure)?;
        }
        Ok(())
    }

    fn find(&self, scope: &Scope, name: &str) -> Option<Library> {
        if name.contains('/') {
            return self.usable(scope, expand(name, &scope.file)?);
        }
        let inherited = if scope.own.is_none() { &scope.inherited[..] } else { &[] };
        let own = scope.own.as_deref().unwrap_or_default();
        let directories = inherited.iter().chain(&self.environment).chain(own);
        let candidates =
            directories.map(|directory| directory.join(name)).chain(self.system.candidates(name));
        candidates.into_iter().find_map(|path| self.usable(scope, path))
    }

    /// The library at `path`, if there is one for this machine.
    fn usable(&self, scope: &Scope, path: PathBuf) -> Option<Library> {
        let view = View::read(&fs::read(&path).ok()?).ok()?;
        if view.machine != Some(self.machine) {
            return None;
        }
        let scope = Scope::below(scope, &path, &view);
        Some(Library { path, needed: view.needed, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::fixture;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Place(tempfile::tempdir().unwrap());
            fs::create_dir(place.0.path().join("bin")).unwrap();
            place
        }

        fn write(&self, name: &str, library: fixture::Library) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, library.build()).unwrap();
        }

        /// What a program with this file's search paths and needs gets.
        fn find(&self, library: fixture::Library) -> Result<Vec<String>, Missing> {
            let view = View::read(&library.build()).unwrap();
            let machine = fixture::machine();
            let mut libraries = Libraries::new(System::look(machine), machine);
            libraries.add(&Scope::of(&self.0.path().join("bin/program"), &view), &view.needed)?;
            let inside = |path: PathBuf| path.strip_prefix(self.0.path()).unwrap().display().to_string();
            Ok(libraries.found().into_iter().map(|(_, path)| inside(path).replace("bin/../", "")).collect())
        }
    }

    fn library(name: &str) -> fixture::Library {
        fixture::Library::new(name)
    }

    #[test]
    fn an_rpath_is_searched_by_all_below_and_a_runpath_by_its_own_file_only() {
        let place = Place::new();
        place.write("lib/libcoil-a.so", library("libcoil-a.so").needed("libcoil-b.so"));
        place.write("lib/libcoil-b.so", library("libcoil-b.so"));
        let program = || library("program").needed("libcoil-a.so");
        assert_eq!(
            place.find(program().rpath("$ORIGIN/../lib")).unwrap(),
            ["lib/libcoil-a.so", "lib/libcoil-b.so"]
        );
        let missing = place.find(program().runpath("$ORIGIN/../lib")).unwrap_err();
        assert_eq!(missing.to_string(), "libcoil-b.so, which is not on this machine");
    }

    #[test]
    fn a_runpath_hides_an_rpath_and_a_library_for_another_machine_is_passed_over() {
        let place = Place::new();
        place.write("old/libcoil-a.so", library("libcoil-a.so"));
        place.write("new/libcoil-a.so", library("libcoil-a.so"));
        let both =
            library("program").needed("libcoil-a.so").rpath("$ORIGIN/../old").runpath("$ORIGIN/../new");
        assert_eq!(place.find(both).unwrap(), ["new/libcoil-a.so"]);
        let mut foreign = library("libcoil-a.so").build();
        foreign[18] = 0x08;
        fs::write(place.0.path().join("old/libcoil-a.so"), foreign).unwrap();
        let program = library("program").needed("libcoil-a.so").rpath("$ORIGIN/../old:$ORIGIN/../new");
        assert_eq!(place.find(program).unwrap(), ["new/libcoil-a.so"]);
    }

    #[test]
    fn a_library_that_is_needed_by_its_place_is_found_there_under_its_name() {
        let place = Place::new();
        place.write("lib/libcoil-a.so", library("libcoil-a.so"));
        let program = library("program").needed("$ORIGIN/../lib/libcoil-a.so");
        assert_eq!(place.find(program).unwrap(), ["lib/libcoil-a.so"]);
        let missing = place.find(library("program").needed("/nonexistent/libcoil-b.so")).unwrap_err();
        assert_eq!(missing.to_string(), "/nonexistent/libcoil-b.so, which is not on this machine");
    }

    #[test]
    fn libraries_that_need_each_other_are_found_once() {
        let place = Place::new();
        place.write("lib/libcoil-a.so", library("libcoil-a.so").needed("libcoil-b.so"));
        place.write("lib/libcoil-b.so", library("libcoil-b.so").needed("libcoil-a.so"));
        let program = library("program").needed("libcoil-b.so").rpath("$ORIGIN/../lib");
        assert_eq!(place.find(program).unwrap(), ["lib/libcoil-a.so", "lib/libcoil-b.so"]);
    }
}
