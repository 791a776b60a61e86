//! Which files a distribution does not work without.
//!
//! A wheel may hold plugins that somebody loads if he can, and whose libraries no bundle has: those of Qt for
//! databases, a threading layer of numba. To refuse them would refuse what works. What is essential:
//!
//! - an extension module that a module of the same layer imports as it is imported itself, unless its package tries
//!   to do without; or that none is seen to import,
//!   unless another one beside it can be loaded;
//! - in a layer without extension modules, the libraries (which are opened through ctypes), unless another one beside them can be
//!   loaded; of the programs on PATH likewise;
//! - what these need in turn.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use coil_bootstrap::format::path::TreePath;

use super::Reading;
use super::file::{ElfFile, Role, is_base};
use super::imports::{Imported, Imports};

/// The ELF files of a layer.
#[derive(Default)]
pub struct Files {
    /// Those for this machine.
    pub all: Vec<ElfFile>,
    /// Extension modules that are for another machine than their names say.
    pub foreign: Vec<TreePath>,
}

impl Files {
    /// Adds a file.
    pub fn add(&mut self, reading: Reading) {
        match reading {
            Reading::Elf(file) => self.all.push(file),
            Reading::Foreign(path) => self.foreign.push(path),
        }
    }

    /// Whether there is any extension module.
    pub fn has_modules(&self) -> bool {
        self.all.iter().any(ElfFile::is_module)
    }

    /// The files by the names they are asked for by.
    fn by_name(&self) -> HashMap<&str, Vec<usize>> {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, file) in self.all.iter().enumerate() {
            file.names.iter().for_each(|name| by_name.entry(name).or_default().push(index));
        }
        by_name
    }
}

/// Which files are essential.
pub struct Roles(HashSet<usize>);

impl Roles {
    /// Decides for the files of a layer.
    pub fn of(files: &Files, imports: &Imports) -> Roles {
        let by_name = files.by_name();
        let loads = |index: usize| -> Vec<usize> {
            let needed = files.all[index].needed.iter();
            needed.filter_map(|name| by_name.get(name.as_str())).flatten().copied().collect()
        };
        let broken = broken(files, &by_name);
        let roots = (0..files.all.len()).filter(|index| is_root(files, imports, &broken, *index));
        Roles(closure(roots.collect(), loads))
    }

    /// Whether the layer does not work without the file with this index.
    pub fn is_essential(&self, index: usize) -> bool {
        self.0.contains(&index)
    }
}

fn is_root(files: &Files, imports: &Imports, broken: &HashSet<usize>, index: usize) -> bool {
    let file = &files.all[index];
    let alone = || !has_whole_sibling(files, broken, index);
    match file.role {
        Role::Module => match imports.of(&file.path) {
            Imported::Always => true,
            Imported::Perhaps => false,
            Imported::Unseen => !broken.contains(&index) || alone(),
        },
        Role::Library => !files.has_modules() && (!broken.contains(&index) || alone()),
        Role::Program => on_path(&file.path) && (!broken.contains(&index) || alone()),
    }
}

/// Whether a file of the same role can be loaded: a module of the same directory, a library anywhere.
fn has_whole_sibling(files: &Files, broken: &HashSet<usize>, index: usize) -> bool {
    let file = &files.all[index];
    let beside = |other: &ElfFile| other.role == Role::Library || other.path.parent() == file.path.parent();
    let mut others = files.all.iter().enumerate();
    others.any(|(at, other)| other.role == file.role && !broken.contains(&at) && beside(other))
}

fn on_path(path: &TreePath) -> bool {
    path.parent().is_some_and(|parent| &*parent == "venv/bin")
}

/// The files that ask for what neither the layer nor every runtime has, themselves or through what they load.
fn broken(files: &Files, by_name: &HashMap<&str, Vec<usize>>) -> HashSet<usize> {
    let mut asked_by: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, file) in files.all.iter().enumerate() {
        for name in &file.needed {
            match by_name.get(name.as_str()) {
                Some(loaded) => loaded.iter().for_each(|at| {
                    asked_by.entry(*at).or_default().insert(index);
                }),
                None if is_base(name) => {}
                None => found.push(index),
            }
        }
    }
    closure(found, |index| asked_by.get(&index).into_iter().flatten().copied().collect())
}

/// All that can be reached.
fn closure(mut pending: Vec<usize>, next: impl Fn(usize) -> Vec<usize>) -> HashSet<usize> {
    let mut reached = HashSet::new();
    while let Some(index) = pending.pop() {
        if reached.insert(index) {
            pending.extend(next(index));
        }
    }
    reached
}
