//! Harvesting an installed CPython into a tree that runs anywhere.
//!
//! ```text
//! python/bin/python3.12          the interpreter, with room for the paths of its loader and its libraries
//! python/lib/python3.12/...      the standard library without tests and build leftovers
//! python/lib/*.so*               libpython and every library that it and the extension modules need
//! python/libgcc/                 libgcc_s and libstdc++, which wheels expect of the host
//! python/libc/                   glibc and its loader
//! python/share/                  certificates, time zones and a locale, for hosts and images without
//! ```
//!
//! No interpreter is started here and nothing of the installation is changed. The order of files, the clock
//! and the place of the installation do not influence the tree, except where the standard library itself
//! records them.

mod amend;
mod beside;
pub mod brought;
mod certificates;
pub(crate) mod glibc;
mod keep;
mod libraries;
mod locale;
mod origin;
pub mod stdlib;
mod sysconfig;
mod system;
mod tcl;
mod time_zones;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coil_bootstrap::format::manifest::Python;
use coil_bootstrap::format::path::TreePath;

use crate::elf::slots::{self, Prepared};
use crate::elf::{self, ElfError, Machine, View};
use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;
use crate::tree::{Content, Node, Tree};
pub use beside::places;
pub use keep::{Keep, Kept};
use libraries::{Libraries, Scope};
pub use origin::Carried;
use origin::carried;
use stdlib::{Part, Stdlib};
use system::System;

/// The directory of glibc and its loader.
pub const LIBC: &str = glibc::DIRECTORY;

/// The directories that libraries are in, in the order they are searched.
pub const SEARCH_PATH: [&str; 3] = ["python/lib", glibc::COMPILER, glibc::DIRECTORY];

/// A runtime: its files, and what a manifest says of it.
pub struct Harvest {
    /// The files, all below `python/`.
    pub tree: Tree,
    /// What the launcher must know of them.
    pub python: Python,
    /// What this machine's Python has and the runtime cannot have, and why, a sentence each.
    pub notes: Vec<String>,
    /// What no runtime has, by intent, a sentence each.
    pub left_out: Vec<String>,
    /// The shared libraries that came along, and what else of this machine.
    pub carried: Vec<Carried>,
    /// Its OpenSSL, in OpenSSL's own words.
    pub openssl: Option<String>,
}

/// Harvests the installation that `interpreter` belongs to, with the parts in `kept` that are left out otherwise.
///
/// Fails where something is to be kept that it does not have, where the interpreter or a library that it needs itself cannot be found or read, and for machines
/// that are not in the table. An extension module that needs what this machine does not have is left
/// out with a note.
pub fn harvest(interpreter: &Interpreter, kept: Kept) -> Result<Harvest> {
    let executable = &interpreter.base_executable;
    let bytes = fs::read(executable).context(|| format!("cannot read {}", executable.display()))?;
    let view = View::read(&bytes).map_err(|error| unusable(executable, error))?;
    let machine = view.machine.ok_or_else(|| {
        Failure::new(format!("{} is for a machine that coil does not know", executable.display()))
    })?;
    let mut harvester = Harvester {
        interpreter,
        kept,
        machine,
        origin: format!("CPython {}", interpreter.full_version).into(),
        libraries: Libraries::new(System::look(machine), machine),
        tree: Tree::new(),
        notes: Vec::new(),
        left_out: Vec::new(),
        carried: Vec::new(),
        machines: Vec::new(),
        openssl: None,
        libstdcxx: None,
    };
    let scope = Scope::of(executable, &view);
    harvester.add_base_libraries(&scope, &view)?;
    harvester.add_stdlib(&scope)?;
    harvester.add_for_building()?;
    harvester.add_tcl()?;
    harvester.add_machines()?;
    harvester.add_libraries()?;
    let prepared = harvester.add_interpreter(bytes)?;
    let python = harvester.facts(&prepared)?;
    let Harvester { tree, notes, left_out, carried, openssl, .. } = harvester;
    Ok(Harvest { tree, python, notes, left_out, carried, openssl })
}

struct Harvester<'a> {
    interpreter: &'a Interpreter,
    kept: Kept,
    machine: &'static Machine,
    origin: Arc<str>,
    libraries: Libraries,
    tree: Tree,
    notes: Vec<String>,
    left_out: Vec<String>,
    carried: Vec<Carried>,
    machines: Vec<(String, PathBuf)>,
    openssl: Option<String>,
    libstdcxx: Option<String>,
}

impl Harvester<'_> {
    /// Finds what the interpreter needs, and what is carried in any case.
    fn add_base_libraries(&mut self, scope: &Scope, view: &View) -> Result<()> {
        let executable = self.interpreter.base_executable.display().to_string();
        self.libraries.add(scope, &view.needed).map_err(|missing| {
            Failure::new(format!("{executable} needs {missing}"))
                .hint("install that library, or name another interpreter with --python")
        })?;
        for name in glibc::required(self.machine) {
            self.libraries.add(scope, &[name.to_owned()]).map_err(|missing| {
                Failure::new(format!("glibc is not complete: {missing}"))
                    .hint(format!("coil needs the glibc that {executable} runs with, loader included"))
            })?;
        }
        for name in glibc::OPTIONAL.into_iter().chain([glibc::COMPILER_OPTIONAL]) {
            // Whether these exist as files depends on glibc's version.
            let _ = self.libraries.add(scope, &[name.to_owned()]);
        }
        for name in glibc::COMPILER_LIBRARIES {
            if let Err(missing) = self.libraries.add(scope, &[name.to_owned()]) {
                self.notes.push(format!("{missing}: wheels that need it find it on the host or not at all"));
            }
        }
        Ok(())
    }

    fn add_stdlib(&mut self, scope: &Scope) -> Result<()> {
        let stdlib = Stdlib::read(self.interpreter, self.kept)?;
        self.left_out.extend(stdlib.notes());
        if let Some(part) = stdlib.nothing_to_keep() {
            return Err(self.nothing_to_keep(part));
        }
        for part in &stdlib.parts {
            if part.name.contains(".so") {
                self.add_module(scope, part)?;
                continue;
            }
            let read = || fs::read(&part.path).context(|| format!("cannot read {}", part.path.display()));
            let content = if sysconfig::records_paths(&part.name) {
                let text = sysconfig::relocated(read()?, &self.interpreter.base_prefix);
                let addition = sysconfig::addition(&part.name, self.interpreter);
                Content::bytes(amend::amended(text, &addition))
            } else if let Some(addition) = amend::addition(&part.name) {
                Content::bytes(amend::amended(read()?, addition))
            } else {
                Content::File(part.path.clone())
            };
            self.insert(self.stdlib_path(part)?, content, part.executable, &self.origin.clone())?;
        }
        Ok(())
    }

    /// An extension module, with the libraries it needs.
    fn add_module(&mut self, scope: &Scope, part: &Part) -> Result<()> {
        let bytes = fs::read(&part.path).context(|| format!("cannot read {}", part.path.display()))?;
        let path = self.stdlib_path(part)?;
        let module = path.file_name().split('.').next().unwrap_or_default().to_owned();
        if module == "_tkinter" && !self.kept.has(Keep::Tkinter) {
            self.left_out
                .push("tkinter is left out, with Tcl and Tk: `--keep tkinter` brings them along".into());
            return Ok(());
        }
        let view = match View::read(&bytes) {
            Ok(view) => view,
            Err(ElfError::NotElf) => {
                return self.insert(path, Content::bytes(bytes), part.executable, &self.origin.clone());
            }
            Err(error) => return Err(unusable(&part.path, error)),
        };
        if view.machine != Some(self.machine) {
            self.notes.push(format!("{module} is left out: it is for another machine"));
            return Ok(());
        }
        if let Err(missing) = self.libraries.add(&Scope::below(scope, &part.path, &view), &view.needed) {
            let message = format!("{module} is left out: it needs {missing}");
            if module == "_tkinter" {
                return Err(
                    Failure::new(message).hint("install Tcl and Tk, or leave tkinter out of what is kept")
                );
            }
            self.notes.push(message);
            return Ok(());
        }
        // Where it is linked into the modules themselves.
        self.openssl = self.openssl.take().or_else(|| origin::openssl(&bytes));
        let content = Content::bytes(contained(&part.path, bytes)?);
        self.insert(path, content, false, &self.origin.clone())
    }

    /// Every library that was found to be needed, each once, under the name it is asked for.
    fn add_libraries(&mut self) -> Result<()> {
        let found = self.libraries.found();
        let told = [&found[..], &self.machines].concat();
        self.carried = carried(&told, &self.interpreter.base_prefix);
        for (name, source) in found {
            let directory = glibc::place(&name, self.machine).unwrap_or(SEARCH_PATH[0]);
            let path = tree_path(format!("{directory}/{name}"))?;
            let bytes = fs::read(&source).context(|| format!("cannot read {}", source.display()))?;
            self.openssl = self.openssl.take().or_else(|| origin::openssl(&bytes));
            if name == glibc::CXX {
                let unusable = |error| unusable(&source, error);
                self.libstdcxx = elf::newest_defined(&bytes, "GLIBCXX_").map_err(unusable)?;
            }
            let mut bytes = contained(&source, bytes)?;
            if name.starts_with("libpython") {
                elf::bind_now(&mut bytes).map_err(|error| unusable(&source, error))?;
            }
            let content = Content::bytes(bytes);
            // The kernel executes the loader; all others are only mapped.
            self.insert(path, content, name == self.machine.loader, &source.display().to_string().into())?;
        }
        Ok(())
    }

    fn add_interpreter(&mut self, mut bytes: Vec<u8>) -> Result<Prepared> {
        let loader = format!("/{}/{}", glibc::DIRECTORY, self.machine.loader);
        let search_path = SEARCH_PATH.map(|directory| format!("/{directory}")).join(":");
        let unusable = |error| unusable(&self.interpreter.base_executable, error);
        elf::ask_by_name(&mut bytes).map_err(unusable)?;
        elf::bind_now(&mut bytes).map_err(unusable)?;
        let mut prepared = slots::prepare(bytes, &loader, &search_path).map_err(unusable)?;
        let content = Content::bytes(std::mem::take(&mut prepared.bytes));
        let executable = self.executable()?;
        let origin = self.origin.clone();
        for name in ["python", "python3", &format!("python{}", self.interpreter.minor_version())] {
            let path = tree_path(format!("python/bin/{name}"))?;
            if path != executable {
                self.insert(path, Content::Symlink(executable.file_name().to_owned()), false, &origin)?;
            }
        }
        self.insert(executable, content, true, &origin)?;
        Ok(prepared)
    }

    fn facts(&self, prepared: &Prepared) -> Result<Python> {
        let interpreter = self.interpreter;
        let [lib, compiler, libc] = SEARCH_PATH;
        let (major, minor) = interpreter.glibc.ok_or_else(|| {
            Failure::new(format!("{} does not run on glibc", interpreter.base_executable.display()))
        })?;
        Ok(Python {
            implementation: interpreter.implementation.clone(),
            version: interpreter.full_version.clone(),
            abi: interpreter.abi(),
            magic: interpreter.magic.clone(),
            libc: format!("glibc-{major}.{minor}"),
            libstdcxx: self.libstdcxx.clone(),
            executable: self.executable()?,
            loader: tree_path(format!("{}/{}", glibc::DIRECTORY, self.machine.loader))?,
            search_path: [tree_path(lib.into())?, tree_path(compiler.into())?, tree_path(libc.into())?],
            loader_slot: prepared.loader,
            search_path_slot: prepared.search_path,
            site_packages: tree_path(format!("lib/{}/site-packages", stdlib::directory(interpreter)))?,
        })
    }

    fn executable(&self) -> Result<TreePath> {
        let interpreter = self.interpreter;
        tree_path(format!("python/bin/python{}{}", interpreter.minor_version(), interpreter.abi_flags))
    }

    fn stdlib_path(&self, part: &Part) -> Result<TreePath> {
        let (lib, name) = (stdlib::parent(self.interpreter), stdlib::directory(self.interpreter));
        tree_path(format!("python/{lib}/{name}/{}", part.name))
    }

    fn insert(
        &mut self,
        path: TreePath,
        content: Content,
        executable: bool,
        origin: &Arc<str>,
    ) -> Result<()> {
        let node = Node { content, executable, origin: Arc::clone(origin) };
        self.tree.insert(path, node).context(|| "the runtime cannot be put together".into())
    }
}

/// The file without what is never loaded, looking for its libraries inside the tree.
fn contained(path: &Path, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    elf::strip(&mut bytes).map_err(|error| unusable(path, error))?;
    elf::contain(&mut bytes).map_err(|error| unusable(path, error))?;
    elf::ask_by_name(&mut bytes).map_err(|error| unusable(path, error))?;
    Ok(bytes)
}

fn unusable(path: &Path, error: ElfError) -> Failure {
    Failure::new(format!("{} cannot be packed", path.display())).because(error)
}

fn tree_path(path: String) -> Result<TreePath> {
    TreePath::new(path).context(|| "the runtime cannot be put together".into())
}

#[cfg(test)]
mod tests;
