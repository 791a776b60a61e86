//! The closed world: what every ELF file of a bundle needs, and whether anything in the bundle provides it.
//!
//! ```text
//! ELF files of a layer -> Needs (once, kept with the layer) -> all layers together: World -> what is missing
//! ```
//!
//! Nothing is loaded or run: files are read, and what they say is compared by name. A file that cannot be
//! read as ELF says nothing; whether it can be packed at all is decided elsewhere.

mod file;
mod imports;
mod layers;
mod roles;
mod version;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use coil_bootstrap::format::path::TreePath;
use serde::{Deserialize, Serialize};

pub use self::layers::{libraries_of_runtime, of_layer};
pub use self::version::{Newest, SymbolVersion};
pub use self::world::{Layer, Missing, Pattern, TooNew, World, is_driver};

use self::file::{Reading, read};
use self::imports::Imports;
use self::roles::{Files, Roles};
use crate::elf::Machine;
use crate::layer::BlobPlace;
use crate::tree::Tree;

/// What the ELF files of one layer need of others, and what they offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The names that its shared libraries can be asked for by: sonames and file names.
    pub provides: BTreeSet<String>,
    /// What its files ask for and the layer does not have.
    pub wants: Vec<Want>,
    /// The newest versions of symbols that it needs.
    pub versions: Vec<Wanted<SymbolVersion>>,
    /// The newest versions of symbols that the libraries of the compiler and of libc in it define.
    pub defines: Newest,
    /// The highest level of x86-64 that a file of it says it needs.
    pub level: Option<Wanted<u8>>,
    /// The newest kernel that a file of it says it needs.
    pub kernel: Option<Wanted<[u32; 3]>>,
    /// Extension modules for this Python that are for another machine.
    pub foreign: Vec<TreePath>,
}

/// A library that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Want {
    /// Its name.
    pub library: String,
    /// Who asks.
    pub file: TreePath,
    /// Whether what is in the layer does not work without this file, as far as that can be seen.
    pub essential: bool,
    /// The names that the file itself can be asked for by.
    pub names: BTreeSet<String>,
}

/// Something that a file says it needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wanted<T> {
    /// What.
    pub what: T,
    /// Who needs it.
    pub file: TreePath,
    /// Whether what is in the layer does not work without this file, as far as that can be seen.
    pub essential: bool,
}

/// What the files of `tree`, which is packed on this machine for this machine, need.
///
/// Fails as reading them fails.
pub fn of_tree(tree: &Tree) -> io::Result<Needs> {
    let Some(machine) = Machine::here() else { return Ok(Needs::default()) };
    let mut files = Files::default();
    for (path, node) in tree.iter() {
        if let Some(reading) = read(path, &node.content, machine)? {
            files.add(reading);
        }
    }
    let mut imports = Imports::default();
    if files.has_modules() {
        for (path, node) in tree.iter().filter(|(path, _)| Imports::wants(path)) {
            imports.add(path, &node.content.read()?);
        }
    }
    Ok(Needs::of(&files, &imports))
}

/// The same of files that are in no layer of a bundle.
pub fn of_files(files: &BTreeMap<TreePath, Vec<u8>>, machine: &Machine) -> Needs {
    let mut all = Files::default();
    for (path, bytes) in files {
        file::of_bytes(path, bytes, machine).into_iter().for_each(|reading| all.add(reading));
    }
    Needs::of(&all, &Imports::default())
}

/// The same of the layer of a runtime for this machine: a blob of `size` bytes.
pub fn of_runtime(place: &BlobPlace, size: u64) -> io::Result<Needs> {
    Machine::here().map_or_else(|| Ok(Needs::default()), |machine| of_layer(place, size, machine))
}

impl Needs {
    /// Boils down what was read of a layer's files.
    fn of(files: &Files, imports: &Imports) -> Needs {
        let roles = Roles::of(files, imports);
        let mut needs = Needs { foreign: files.foreign.clone(), ..Needs::default() };
        for file in &files.all {
            if !file.is_module() {
                needs.provides.extend(file.names.iter().cloned());
            }
        }
        for (index, file) in files.all.iter().enumerate() {
            let essential = roles.is_essential(index);
            for library in file.needed.iter().filter(|name| !needs.provides.contains(*name)) {
                let (library, names) = (library.clone(), file.names.clone());
                needs.wants.push(Want { library, file: file.path.clone(), essential, names });
            }
            for version in file.versions.iter() {
                needs.versions.push(Wanted { what: version, file: file.path.clone(), essential });
            }
            needs.defines.add_all(&file.defines);
            let at = |what| Wanted { what, file: file.path.clone(), essential };
            needs.level = higher(needs.level.take(), (file.level > 0).then_some(file.level).map(at));
            let at = |what| Wanted { what, file: file.path.clone(), essential };
            needs.kernel = higher(needs.kernel.take(), file.kernel.map(at));
        }
        needs.condense();
        needs
    }

    /// Keeps of what every runtime carries one file that asks, of versions the newest of each family, once for
    /// what is essential and once for what is not.
    fn condense(&mut self) {
        let mut seen = BTreeSet::new();
        self.wants.sort_by_key(|want| !want.essential);
        self.wants.retain(|want| !file::is_base(&want.library) || seen.insert(want.library.clone()));
        self.wants.sort();
        self.versions.sort_by(|one, two| two.what.cmp(&one.what).then_with(|| one.file.cmp(&two.file)));
        let mut seen = BTreeSet::new();
        self.versions.retain(|wanted| {
            // The newest comes first; what is essential counts for what is not.
            !seen.contains(&(wanted.what.family.clone(), true))
                && seen.insert((wanted.what.family.clone(), wanted.essential))
        });
    }
}

/// The one with the higher claim; the first of two equal ones.
fn higher<T: PartialOrd>(one: Option<Wanted<T>>, other: Option<Wanted<T>>) -> Option<Wanted<T>> {
    match (one, other) {
        (Some(one), Some(other)) if other.what > one.what => Some(other),
        (None, other) => other,
        (one, _) => one,
    }
}

#[cfg(test)]
mod tests;
