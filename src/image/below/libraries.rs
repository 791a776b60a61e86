//! What an app needs of its base's libraries.
//!
//! Everything of coil's runs with the C library and the loader in its runtime, whatever the base has; programs of
//! the base run with the base's. The two meet where a bundle leaves a library to its host (`--host-library`): the base's is
//! loaded into a process with the carried C library, which must be as new as that library asks for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::format::path::TreePath;

use super::scan::Kind;
use super::seen::Seen;
use crate::elf::machine::MACHINES;
use crate::elf::{Machine, View};
use crate::error::{Context, Failure, Result};
use crate::layer::BlobPlace;
use crate::needs::{self, Layer, Needs, Pattern, World, is_driver};

/// What the libraries of the base go by among the origins of layers.
const BASE: &str = "the base";

/// Fails where the base lacks a library that the bundle leaves to its host, or where that one cannot be loaded.
pub fn check(named: &str, seen: &Seen, manifest: &Manifest, blobs: &[BlobPlace]) -> Result<()> {
    let hosts = Pattern::all(manifest.recipe.iter().flat_map(|recipe| &recipe.host_libraries));
    let machine = MACHINES.iter().find(|machine| machine.oci == manifest.platform.architecture);
    let Some(machine) = machine.filter(|_| !hosts.is_empty()) else { return Ok(()) };
    let mut all = Vec::new();
    for (layer, blob) in manifest.layers.iter().zip(blobs) {
        let needs = needs::of_layer(blob, layer.size, machine);
        let needs = needs.context(|| format!("the layers of {} cannot be read", manifest.name))?;
        all.push((super::super::title(layer), needs));
    }
    let unreadable = |error| super::wrong(named, "a library of it cannot be read").because(error);
    let app = App { name: &manifest.name, named, seen, machine };
    let theirs = app.libraries(&all, &hosts)?.into_iter();
    let theirs: BTreeMap<TreePath, Vec<u8>> = theirs
        .map(|path| Ok((path.clone(), seen.read(&path)?.unwrap_or_default())))
        .collect::<io::Result<_>>()
        .map_err(unreadable)?;
    app.compare(&all, &needs::of_files(&theirs, machine))
}

struct App<'a> {
    name: &'a str,
    named: &'a str,
    seen: &'a Seen,
    machine: &'static Machine,
}

impl App<'_> {
    /// The libraries of the base that the bundle loads, with all that these need of the base.
    fn libraries(&self, all: &[(String, Needs)], hosts: &[Pattern]) -> Result<BTreeSet<TreePath>> {
        let layers: Vec<Layer> = all.iter().map(|(origin, needs)| Layer { origin, needs }).collect();
        let provided: BTreeSet<&str> =
            all.iter().flat_map(|(_, needs)| &needs.provides).map(String::as_str).collect();
        let missing = World::new(&layers).missing();
        let left = missing.iter().filter(|it| {
            it.essential && !is_driver(it.library) && hosts.iter().any(|host| host.matches(it.library))
        });
        let mut pending: VecDeque<(String, String)> =
            left.map(|it| (it.library.to_owned(), format!("{} of {}", it.file, it.origin))).collect();
        let directories = self.directories()?;
        let mut found = BTreeSet::new();
        while let Some((library, who)) = pending.pop_front() {
            let path = directories.iter().find_map(|directory| self.find(directory, &library));
            let path = path.ok_or_else(|| self.lacks(&library, &who))?;
            if !found.insert(path.clone()) {
                continue;
            }
            for needed in self.needed(&path)? {
                if needed.starts_with("libc.musl") {
                    return Err(self.of_musl(&path));
                }
                if !provided.contains(needed.as_str()) {
                    pending.push_back((needed, format!("/{path} of the base")));
                }
            }
        }
        Ok(found)
    }

    /// Where the loader looks: its own directories, and those of the base's settings.
    fn directories(&self) -> Result<Vec<String>> {
        let mut all: Vec<String> = Vec::new();
        for top in ["lib", "usr/lib", "usr/local/lib"] {
            all.extend([format!("{top}/{}", self.machine.multiarch), format!("{top}64"), top.to_owned()]);
        }
        let mut files = self.seen.names_in("etc/ld.so.conf.d");
        files.iter_mut().for_each(|name| name.insert_str(0, "etc/ld.so.conf.d/"));
        files.insert(0, "etc/ld.so.conf".to_owned());
        for file in files {
            let lines =
                self.seen.lines(&file).context(|| format!("cannot read /{file} of {}", self.named))?;
            let own = lines.iter().filter_map(|line| line.trim().strip_prefix('/'));
            all.extend(own.map(|directory| directory.trim_end_matches('/').to_owned()));
        }
        Ok(all)
    }

    fn find(&self, directory: &str, library: &str) -> Option<TreePath> {
        let place = self.seen.place(&format!("{directory}/{library}"), true)?;
        let is_file = self.seen.get(&place).is_some_and(|node| node.kind == Kind::File);
        TreePath::new(place).ok().filter(|_| is_file)
    }

    fn needed(&self, path: &TreePath) -> Result<Vec<String>> {
        let content = self.seen.read(path).context(|| format!("cannot read /{path} of {}", self.named))?;
        Ok(View::read(&content.unwrap_or_default()).map(|view| view.needed).unwrap_or_default())
    }

    /// Compares what the base's libraries ask for with what the runtime carries.
    fn compare(&self, all: &[(String, Needs)], theirs: &Needs) -> Result<()> {
        let own = all.iter().map(|(origin, needs)| Layer { origin, needs });
        let layers: Vec<Layer> = own.chain([Layer { origin: BASE, needs: theirs }]).collect();
        let too_new = World::new(&layers).too_new();
        let Some(new) = too_new.iter().find(|new| new.origin == BASE) else { return Ok(()) };
        let carried = new.carried.as_ref().map_or("none".to_owned(), ToString::to_string);
        let (file, what) = (&new.wanted.file, &new.wanted.what);
        let needs = format!("/{file} needs {what} of {}, and the bundle carries {carried}", what.library());
        Err(self.cannot(&needs).hint(
            "pack with a runtime that was made on a newer system, name an older base, or bring the library \
             along with `--bring-library`",
        ))
    }

    fn lacks(&self, library: &str, who: &str) -> Failure {
        self.cannot(&format!("{who} needs {library}, which the base does not have"))
            .hint(format!("name a base with it, or pack again with `--bring-library {library}`"))
    }

    fn of_musl(&self, path: &TreePath) -> Failure {
        self.cannot(&format!("its /{path} is for the C library musl"))
            .hint("name a base with glibc, or bring the library along with `--bring-library`")
    }

    fn cannot(&self, why: &str) -> Failure {
        Failure::new(format!("{} cannot run on the base {}: {why}", self.name, self.named))
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::with_files;
    use super::*;
    use crate::elf::fixture::Library;
    use crate::needs::{Want, Wanted};

    /// Extension modules that want `libx.so.1` of the host, on a runtime with glibc 2.36.
    fn bundle() -> Vec<(String, Needs)> {
        let version = |text: &str| needs::SymbolVersion::parse(text).unwrap();
        let mut runtime = Needs::default();
        runtime.provides.insert("libc.so.6".into());
        runtime.defines.add(version("GLIBC_2.36"));
        let file = TreePath::new("venv/lib/m.so").unwrap();
        let want = |library: &str, essential| Want {
            library: library.into(),
            file: file.clone(),
            essential,
            names: BTreeSet::new(),
        };
        let wants = vec![want("libx.so.1", true), want("libother.so.1", true), want("libplugin.so", false)];
        let versions = vec![Wanted { what: version("GLIBC_2.30"), file: file.clone(), essential: true }];
        let wheel = Needs { wants, versions, ..Needs::default() };
        vec![("cpython".into(), runtime), ("m 1".into(), wheel)]
    }

    fn on(files: &[(&str, Vec<u8>)]) -> Result<()> {
        let seen = with_files(files);
        let machine = Machine::here().unwrap();
        let app = App { name: "app", named: "r.example/base:1", seen: &seen, machine };
        let hosts = Pattern::all(&["libx*".to_owned(), "libplugin.so".to_owned()]);
        let all = bundle();
        let found = app.libraries(&all, &hosts)?;
        let found = found.iter().map(|path| (path.clone(), seen.read(path).unwrap().unwrap())).collect();
        app.compare(&all, &needs::of_files(&found, machine))
    }

    fn library(needed: &[&str], version: &str) -> Vec<u8> {
        let mut library = Library::new("libx.so.1");
        for name in needed {
            library = library.needed(name);
        }
        library.version(version).build()
    }

    #[test]
    fn a_library_of_the_host_is_one_of_the_base_and_its_libc_must_be_carried() {
        let good = library(&["libc.so.6"], "GLIBC_2.36");
        on(&[("usr/lib/libx.so.1", good.clone())]).unwrap();
        let settings = ("etc/ld.so.conf.d/own.conf", b"# ours\n/opt/own/lib\n".to_vec());
        on(&[settings, ("opt/own/lib/libx.so.1", good)]).unwrap();
        let new = on(&[("usr/lib/libx.so.1", library(&["libc.so.6"], "GLIBC_2.38"))]).unwrap_err();
        let told = "app cannot run on the base r.example/base:1: /usr/lib/libx.so.1 needs GLIBC_2.38 of libc.so.6, \
                    and the bundle carries GLIBC_2.36";
        assert_eq!(new.to_string(), told);
    }

    #[test]
    fn what_the_base_lacks_is_named_with_who_needs_it() {
        let failure = on(&[]).unwrap_err();
        assert!(
            failure
                .to_string()
                .ends_with("venv/lib/m.so of m 1 needs libx.so.1, which the base does not have")
        );
        assert!(failure.advice().unwrap().contains("--bring-library libx.so.1"));
        let x = library(&["libc.so.6", "liby.so.2"], "GLIBC_2.30");
        let failure = on(&[("lib/libx.so.1", x.clone())]).unwrap_err();
        let told = "/lib/libx.so.1 of the base needs liby.so.2, which the base does not have";
        assert!(failure.to_string().ends_with(told), "{failure}");
        let y = library(&["libc.so.6"], "GLIBC_2.99");
        let failure = on(&[("lib/libx.so.1", x), ("lib/liby.so.2", y)]).unwrap_err();
        assert!(failure.to_string().contains("/lib/liby.so.2 needs GLIBC_2.99"), "{failure}");
        let musl = library(&["libc.musl-x86_64.so.1"], "GLIBC_2.2.5");
        let failure = on(&[("lib/libx.so.1", musl)]).unwrap_err();
        assert!(failure.to_string().ends_with("/lib/libx.so.1 is for the C library musl"), "{failure}");
    }
}
