//! One ELF file, as far as a closed world has to know it.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use coil_bootstrap::format::path::TreePath;

use super::version::{FAMILIES, Newest, SymbolVersion};
use crate::elf::view::Kind;
use crate::elf::{ElfError, Machine, View, newest_defined};
use crate::runtime::glibc;
use crate::tree::Content;
use crate::wheel::contain::beginning;
use crate::wheel::reaching::with_bytes;

/// What was read of a file.
pub enum Reading {
    /// An ELF file that can be loaded on this machine.
    Elf(ElfFile),
    /// An extension module that is not for the machine its own name says it is for.
    Foreign(TreePath),
}

/// An ELF file.
#[derive(Debug, Clone)]
pub struct ElfFile {
    /// Where it is in its layer.
    pub path: TreePath,
    /// What it is for.
    pub role: Role,
    /// The names it can be asked for by.
    pub names: BTreeSet<String>,
    /// The libraries it asks for, without their directories.
    pub needed: Vec<String>,
    /// The newest versions of symbols it needs.
    pub versions: Newest,
    /// The newest versions of symbols it defines, if it is one of the libraries that count.
    pub defines: Newest,
    /// The level of x86-64 it says it needs; 0 where it says none.
    pub level: u8,
    /// The kernel it says it needs.
    pub kernel: Option<[u32; 3]>,
}

/// What an ELF file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Imported by this Python.
    Module,
    /// Started by the kernel.
    Program,
    /// Loaded by another file, or by name; an extension module of another Python is one as well.
    Library,
}

impl ElfFile {
    /// Whether it is an extension module.
    pub fn is_module(&self) -> bool {
        self.role == Role::Module
    }
}

/// Whether every runtime carries it (or its build machine could not have run a wheel either).
pub fn is_base(library: &str) -> bool {
    let loaders = crate::elf::machine::MACHINES.iter().map(|machine| machine.loader);
    glibc::COMPILER_LIBRARIES.contains(&library)
        || glibc::OPTIONAL.contains(&library)
        || ["libc.so.6", "libm.so.6"].contains(&library)
        || loaders.into_iter().any(|loader| loader == library)
}

/// Reads the file at `path`; `None` for what is no ELF file, is not loaded, or is damaged.
pub fn read(path: &TreePath, content: &Content, machine: &Machine) -> io::Result<Option<Reading>> {
    if matches!(content, Content::Symlink(_)) || beginning(content, 4)? != b"\x7fELF" {
        return Ok(None);
    }
    match content {
        Content::File(file) => Ok(of_bytes(path, &fs::read(file)?, machine)),
        _ => with_bytes(content, |bytes| of_bytes(path, bytes, machine)),
    }
}

/// The same of the bytes of a file.
pub fn of_bytes(path: &TreePath, bytes: &[u8], machine: &Machine) -> Option<Reading> {
    let view = match View::read(bytes) {
        Ok(view) => view,
        Err(ElfError::Foreign(_)) => return foreign(path, machine),
        Err(_) => return None,
    };
    if view.kind == Kind::Other {
        return None;
    }
    if view.machine != Some(machine) {
        return foreign(path, machine);
    }
    let name = path.file_name().to_owned();
    let base = |needed: &String| needed.rsplit('/').next().unwrap_or_default().to_owned();
    let mut versions = Newest::default();
    let all = view.versions.values().flatten();
    all.filter_map(|text| SymbolVersion::parse(text)).for_each(|version| versions.add(version));
    Some(Reading::Elf(ElfFile {
        role: role(path, &view),
        defines: if is_base(&name) { defined(bytes) } else { Newest::default() },
        names: view.soname.into_iter().chain([name]).collect(),
        needed: view.needed.iter().map(base).filter(|name| !name.is_empty()).collect(),
        versions,
        level: view.notes.level,
        kernel: view.notes.kernel,
        path: path.clone(),
    }))
}

/// Files for other machines are data, unless Python would load them.
fn foreign(path: &TreePath, machine: &Machine) -> Option<Reading> {
    let suffix = format!("-{}.so", machine.multiarch);
    let module = path.contains(".cpython-") && path.ends_with(&suffix) && is_for_this_python(path);
    module.then(|| Reading::Foreign(path.clone()))
}

fn role(path: &TreePath, view: &View) -> Role {
    let stem = path.file_name().split('.').next().unwrap_or_default();
    if view.modules.contains(stem) && is_for_this_python(path) {
        Role::Module
    } else if view.interpreter.is_some() && view.soname.is_none() {
        Role::Program
    } else {
        Role::Library
    }
}

/// Whether an extension module's file name lets the Python whose `site-packages` it is in import it: with the
/// tag of that Python, the stable ABI's, or none.
pub fn is_for_this_python(path: &TreePath) -> bool {
    let Some((_, tag)) = path.file_name().split_once(".cpython-") else { return true };
    let version = path.split('/').find_map(|part| part.strip_prefix("python")?.split_once('.'));
    let Some((major, minor)) = version else { return true };
    let minor = minor.trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits = tag.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits == format!("{major}{minor}")
}

fn defined(bytes: &[u8]) -> Newest {
    let mut newest = Newest::default();
    for family in FAMILIES {
        let number = newest_defined(bytes, &format!("{family}_")).ok().flatten();
        let version = number.and_then(|number| SymbolVersion::parse(&format!("{family}_{number}")));
        version.into_iter().for_each(|version| newest.add(version));
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_with_the_tag_of_another_python_is_not_for_this_one() {
        let fits = |name: &str| {
            is_for_this_python(&TreePath::new(format!("venv/lib/python3.12/site-packages/{name}")).unwrap())
        };
        assert!(fits("a/x.cpython-312-x86_64-linux-gnu.so"));
        assert!(fits("a/x.abi3.so") && fits("a/x.so"));
        assert!(!fits("a/x.cpython-39-x86_64-linux-gnu.so") && !fits("x.cpython-313t-x86_64-linux-gnu.so"));
    }
}
