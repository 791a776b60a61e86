//! Where a bundle runs, read out of its own files: machine, processor, kernel, C library, and the libraries that
//! only the host can have.
//!
//! Nothing of it is written down in the manifest: a rebased bundle, or one of another version of coil, tells what
//! its files say and not what was once thought of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::manifest::{CLibraryRule, Manifest};
use serde::Serialize;

use crate::columns::width;
use crate::elf::machine::MACHINES;
use crate::elf::{Machine, Notes};
use crate::error::{Context, Failure, Result};
use crate::layer::BlobPlace;
use crate::needs::{Layer, Needs, Wanted, World, is_driver, of_layer};

/// How much of a bundle is read for its launcher's notes, in bytes: they are at the beginning.
const BEGINNING: u64 = 1 << 20;

/// Where a bundle runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Portability {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`
    pub architecture: String,
    /// The oldest kernel that its files name.
    pub kernel: Option<Claim>,
    /// The highest level of x86-64 that its files name.
    pub cpu: Option<Claim>,
    /// The C library that it carries: `glibc-2.36`.
    pub libc: String,
    /// Which one it runs with: `auto` (the newer one), `bundled`, `host`.
    pub libc_rule: CLibraryRule,
    /// The newest symbols of glibc that its files need: what a host's must have, if that is used.
    pub glibc: Option<Claim>,
    /// The newest symbols of libstdc++ that its files need.
    pub libstdcxx: Option<Claim>,
    /// The libraries that neither the runtime nor a wheel has.
    pub host_libraries: Vec<HostLibrary>,
}

/// What a file says it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// What.
    pub what: String,
    /// The layer it is in, and its path there; the launcher has none.
    pub layer: String,
    /// Its path there.
    pub file: String,
}

/// A library that only the host can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostLibrary {
    /// Its name.
    pub library: String,
    /// Whether it belongs to a driver.
    pub driver: bool,
    /// Whether something essential asks for it; plugins can be done without.
    pub essential: bool,
    /// The layer of the first file that asks for it.
    pub layer: String,
    /// That file.
    pub file: String,
    /// How many files ask for it.
    pub files: usize,
}

/// What each layer of a bundle needs, with its name and version; the first is the runtime's.
pub fn needs_of(bundle: &Bundle) -> Result<Vec<(String, Needs)>> {
    let manifest = bundle.manifest();
    let machine = machine(manifest)?;
    let layers = manifest.layers.iter().map(|layer| {
        let place = BlobPlace { file: bundle.path().to_owned(), offset: bundle.layer_offset(layer) };
        let name = [Some(layer.name.as_str()), layer.version.as_deref()];
        let name = name.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let needs = of_layer(&place, layer.size, machine);
        let needs =
            needs.context(|| format!("cannot read the layer {name} of {}", bundle.path().display()))?;
        Ok((name, needs))
    });
    layers.collect()
}

/// The machine that a bundle is for.
pub fn machine(manifest: &Manifest) -> Result<&'static Machine> {
    let architecture = &manifest.platform.architecture;
    let known = MACHINES.iter().find(|machine| machine.oci == architecture);
    known.ok_or_else(|| {
        Failure::new(format!("{} is for {architecture}, which coil does not know", manifest.name))
    })
}

/// Where `bundle` runs.
///
/// Fails where a layer cannot be read. Digests are not checked: that is what `coil verify` is for.
pub fn of(bundle: &Bundle) -> Result<Portability> {
    let manifest = bundle.manifest();
    let read = needs_of(bundle)?;
    let layers: Vec<Layer> = read.iter().map(|(origin, needs)| Layer { origin, needs }).collect();
    let cpu = layers.iter().filter_map(|layer| claim(layer, layer.needs.level.as_ref()?, |level| *level));
    let mut kernels: Vec<([u32; 3], Claim)> = Vec::new();
    let launcher = launcher_notes(bundle).context(|| format!("cannot read {}", bundle.path().display()))?;
    kernels.extend(launcher.kernel.map(|kernel| {
        (kernel, Claim { what: String::new(), layer: "launcher".into(), file: String::new() })
    }));
    kernels.extend(layers.iter().filter_map(|layer| claim(layer, layer.needs.kernel.as_ref()?, |it| *it)));
    let symbols = |family: &'static str| {
        let wanted = layers.iter().flat_map(|layer| layer.needs.versions.iter().map(move |it| (layer, it)));
        let wanted = wanted.filter(|(_, wanted)| wanted.what.family == family);
        let newest = first_highest(wanted.filter_map(|(layer, it)| claim(layer, it, |it| it.number.clone())));
        newest.map(|(number, claim)| Claim { what: dotted(&number), ..claim })
    };
    Ok(Portability {
        os: manifest.platform.os.clone(),
        architecture: manifest.platform.architecture.clone(),
        kernel: first_highest(kernels.into_iter()).map(|(it, claim)| Claim { what: dotted(&it), ..claim }),
        cpu: first_highest(cpu).map(|(level, claim)| Claim { what: format!("x86-64-v{level}"), ..claim }),
        libc: manifest.python.libc.clone(),
        libc_rule: manifest.c_library,
        glibc: symbols("GLIBC"),
        libstdcxx: symbols("GLIBCXX"),
        host_libraries: host_libraries(&World::new(&layers)),
    })
}

fn claim<T, K>(layer: &Layer, wanted: &Wanted<T>, key: impl Fn(&T) -> K) -> Option<(K, Claim)> {
    let (layer, file) = (layer.origin.to_owned(), wanted.file.to_string());
    Some((key(&wanted.what), Claim { what: String::new(), layer, file }))
}

fn first_highest<K: PartialOrd>(claims: impl Iterator<Item = (K, Claim)>) -> Option<(K, Claim)> {
    claims.reduce(|best, other| if other.0 > best.0 { other } else { best })
}

fn dotted(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn launcher_notes(bundle: &Bundle) -> io::Result<Notes> {
    let mut bytes = Vec::new();
    File::open(bundle.path())?.take(BEGINNING).read_to_end(&mut bytes)?;
    Ok(Notes::read(&bytes).unwrap_or_default())
}

fn host_libraries(world: &World) -> Vec<HostLibrary> {
    let mut found: BTreeMap<&str, HostLibrary> = BTreeMap::new();
    let mut missing = world.missing();
    // The file that is named is an essential one where there is any.
    missing.sort_by_key(|missing| !missing.essential);
    for missing in missing {
        let library = found.entry(missing.library).or_insert_with(|| HostLibrary {
            library: missing.library.to_owned(),
            driver: is_driver(missing.library),
            essential: missing.essential,
            layer: missing.origin.to_owned(),
            file: missing.file.to_string(),
            files: 0,
        });
        library.files += 1;
    }
    found.into_values().collect()
}

impl Portability {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| text += &format!("  {name:<14}{value}\n");
        line("platform", format!("{}/{}", self.os, self.architecture));
        let told = |claim: &Option<Claim>, none: &str| match claim {
            None => none.to_owned(),
            Some(Claim { what, layer, file }) if file.is_empty() => format!("{what} ({layer})"),
            Some(Claim { what, layer, file }) => format!("{what} ({layer}: {file})"),
        };
        if self.architecture == "amd64" {
            line("processor", told(&self.cpu, "no file says that it needs more than x86-64-v1"));
        }
        line("kernel", format!("Linux {}", told(&self.kernel, "of any version")));
        let carried = self.libc.replace('-', " ");
        let needs = told(&self.glibc, "nothing");
        line(
            "C library",
            match self.libc_rule {
                CLibraryRule::Auto => {
                    format!("its own {carried}, or the host's where that is as new or newer")
                }
                CLibraryRule::Bundled => format!("its own {carried}, whatever the host has"),
                CLibraryRule::Host => "the host's glibc; it does not start without one".to_owned(),
            },
        );
        line("needs glibc", needs);
        line("needs GLIBCXX", told(&self.libstdcxx, "nothing"));
        let group = |title: &str, chosen: &dyn Fn(&HostLibrary) -> bool| {
            let mut text = String::new();
            let chosen = || self.host_libraries.iter().filter(|library| chosen(library));
            let width = width(27, chosen().map(|it| &it.library));
            for it in chosen() {
                let more = if it.files > 1 { format!(" and {} more", it.files - 1) } else { String::new() };
                text += &format!("  {:<width$} {}: {}{more}\n", it.library, it.layer, it.file);
            }
            if text.is_empty() { text } else { format!("\n{title}\n{text}") }
        };
        let needed = group("libraries that the host must have", &|it| it.essential && !it.driver);
        let plugins =
            group("libraries of the host that only plugins need", &|it| !it.essential && !it.driver);
        let drivers = group("drivers of the host", &|it| it.driver);
        if needed.is_empty() {
            text += "\nno library of the host is needed\n";
        }
        text + &needed + &plugins + &drivers
    }
}

#[cfg(test)]
mod tests {
    use super::{CLibraryRule, HostLibrary, Portability};

    #[test]
    fn a_library_with_a_long_name_stays_apart_from_who_needs_it() {
        let library = |library: &str| HostLibrary {
            library: library.to_owned(),
            driver: false,
            essential: true,
            layer: "qt 6".to_owned(),
            file: "a.so".to_owned(),
            files: 1,
        };
        let of = |host_libraries| Portability {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            kernel: None,
            cpu: None,
            libc: "glibc-2.36".to_owned(),
            libc_rule: CLibraryRule::Auto,
            glibc: None,
            libstdcxx: None,
            host_libraries,
        };
        let long = "libQt6WaylandCompositorIviapplication.so.6";
        let text = of(vec![library("libz.so.1"), library(long)]).text();
        assert!(text.contains(&format!("\n  {long} qt 6: a.so\n")), "{text}");
        assert!(text.contains(&format!("\n  {:<42} qt 6: a.so\n", "libz.so.1")), "{text}");
        let text = of(vec![library("libz.so.1")]).text();
        assert!(text.contains(&format!("\n  {:<28}qt 6: a.so\n", "libz.so.1")), "{text}");
    }
}
