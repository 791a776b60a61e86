//! What an ELF file says of itself: for which machine it is, and what it needs of others.

use std::collections::{BTreeMap, BTreeSet};

use object::LittleEndian as LE;
use object::elf::{self, DynamicTag};

use super::image::{Dynamic, Image};
use super::{ElfError, Machine, Notes, versions};

/// What an ELF file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The machine it runs on; `None` for one that is not in the table.
    pub machine: Option<&'static Machine>,
    /// What it is.
    pub kind: Kind,
    /// The loader it asks the kernel for (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// The libraries it needs, by soname, in its order (`DT_NEEDED`).
    pub needed: Vec<String>,
    /// What it is asked for by (`DT_SONAME`).
    pub soname: Option<String>,
    /// The entries of `DT_RPATH`: searched by it and by all that it loads. glibc ignores them beside a runpath.
    pub rpath: Vec<String>,
    /// The entries of `DT_RUNPATH`: searched by it alone.
    pub runpath: Option<Vec<String>>,
    /// The newest `GLIBC_x.y` it needs of each library.
    pub glibc: BTreeMap<String, (u16, u16)>,
    /// Every version of symbols that it needs of each library, and cannot do without: `GLIBCXX_3.4.29`.
    pub versions: BTreeMap<String, BTreeSet<String>>,
    /// What it says of the kernel and the processor.
    pub notes: Notes,
    /// What follows `PyInit_` in the names of its dynamic symbols: the modules it can be imported as.
    pub modules: BTreeSet<String>,
}

/// What an ELF file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Linked to a fixed address.
    Executable,
    /// A shared library, or an executable that may lie anywhere.
    Shared,
    /// An object file (`.o`), a core dump or something unknown.
    #[default]
    Other,
}

impl View {
    /// Reads what `bytes` says.
    pub fn read(bytes: &[u8]) -> Result<View, ElfError> {
        let image = Image::parse(bytes)?;
        let mut view = View {
            machine: Machine::of(image.header.e_machine.get(LE)),
            kind: match image.header.e_type.get(LE) {
                elf::ET_EXEC => Kind::Executable,
                elf::ET_DYN => Kind::Shared,
                _ => Kind::Other,
            },
            interpreter: interpreter(&image)?,
            needed: Vec::new(),
            soname: None,
            rpath: Vec::new(),
            runpath: None,
            glibc: BTreeMap::new(),
            versions: BTreeMap::new(),
            notes: Notes::of(&image),
            modules: BTreeSet::new(),
        };
        if let Some(dynamic) = image.dynamic()? {
            view.add_dynamic(&image, &dynamic)?;
        }
        Ok(view)
    }

    fn add_dynamic(&mut self, image: &Image, dynamic: &Dynamic) -> Result<(), ElfError> {
        let text = |at: u64| Ok(String::from_utf8_lossy(image.string(dynamic, at)?).into_owned());
        let last = |tag: DynamicTag| dynamic.value(tag).map(text).transpose();
        let list = |text: String| text.split(':').map(str::to_owned).collect::<Vec<_>>();
        for entry in dynamic.entries().iter().filter(|entry| entry.d_tag.get(LE) == elf::DT_NEEDED) {
            self.needed.push(text(entry.d_val.get(LE))?);
        }
        self.soname = last(elf::DT_SONAME)?;
        self.rpath = last(elf::DT_RPATH)?.map(list).unwrap_or_default();
        self.runpath = last(elf::DT_RUNPATH)?.map(list);
        for need in versions::needed(image, dynamic)? {
            let version = image.string(dynamic, need.version.into())?;
            if !need.weak {
                let all = self.versions.entry(text(need.library.into())?).or_default();
                all.insert(String::from_utf8_lossy(version).into_owned());
            }
            if let Some(version) = glibc_version(version) {
                let newest = self.glibc.entry(text(need.library.into())?).or_default();
                *newest = version.max(*newest);
            }
        }
        self.modules = modules(&image.bytes[dynamic.strings.clone()]);
        Ok(())
    }
}

/// The names of modules among these strings, however many symbols there are beside them.
fn modules(strings: &[u8]) -> BTreeSet<String> {
    const INIT: &[u8] = b"\0PyInit_";
    let after = memchr::memmem::find_iter(strings, INIT).filter_map(|at| strings.get(at + INIT.len()..));
    let name =
        |rest: &[u8]| Some(String::from_utf8_lossy(rest.split(|byte| *byte == 0).next()?).into_owned());
    after.filter_map(name).collect()
}

/// The newest version `PREFIXx.y.z` of symbols that `bytes` defines, without the prefix.
pub fn newest_defined(bytes: &[u8], prefix: &str) -> Result<Option<String>, ElfError> {
    let image = Image::parse(bytes)?;
    let Some(dynamic) = image.dynamic()? else { return Ok(None) };
    let mut newest: Option<(Vec<u32>, String)> = None;
    for name in versions::defined(&image, &dynamic)? {
        let name = String::from_utf8_lossy(image.string(&dynamic, name.into())?);
        let Some(text) = name.strip_prefix(prefix) else { continue };
        let numbers: Option<Vec<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
        newest = newest.max(numbers.map(|numbers| (numbers, text.to_owned())));
    }
    Ok(newest.map(|(_, text)| text))
}

fn interpreter(image: &Image) -> Result<Option<String>, ElfError> {
    let Some(segment) = image.segment(elf::PT_INTERP) else { return Ok(None) };
    let text = image.bytes[image.range(segment)?].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(text).into_owned()))
}

/// `GLIBC_2.36`, `GLIBC_2.2.5`; `None` for `GLIBC_PRIVATE` and other libraries' versions.
fn glibc_version(name: &[u8]) -> Option<(u16, u16)> {
    let numbers = std::str::from_utf8(name.strip_prefix(b"GLIBC_")?).ok()?;
    let mut numbers = numbers.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::fixture;

    #[test]
    fn an_executable_tells_its_machine_its_loader_and_its_libraries() {
        let bytes = fixture::this_executable();
        let view = View::read(&bytes).unwrap();
        let machine = view.machine.unwrap();
        assert_eq!(machine.name, std::env::consts::ARCH);
        assert!(view.interpreter.unwrap().ends_with(machine.loader));
        assert!(view.needed.contains(&"libc.so.6".to_owned()));
        assert!(view.glibc["libc.so.6"] >= (2, 17));
    }

    #[test]
    fn a_library_tells_its_name_and_its_search_paths() {
        let library =
            fixture::Library::new("libx.so.1").needed("liby.so").runpath("$ORIGIN/y:/opt/lib").build();
        let view = View::read(&library).unwrap();
        assert_eq!(view.kind, Kind::Shared);
        assert_eq!(view.soname.as_deref(), Some("libx.so.1"));
        assert_eq!(view.needed, ["liby.so"]);
        assert_eq!(view.runpath.unwrap(), ["$ORIGIN/y", "/opt/lib"]);
        assert!(view.rpath.is_empty());
    }

    #[test]
    fn what_is_not_for_this_kind_of_machine_is_named() {
        assert_eq!(View::read(b"!<arch>\n"), Err(ElfError::NotElf));
        assert_eq!(View::read(b"\x7fELF"), Err(ElfError::Damaged("its header is of no known class")));
        let mut library = fixture::Library::new("libx.so").build();
        library[4] = 1;
        assert_eq!(View::read(&library), Err(ElfError::Foreign("a 32-bit ELF file")));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_an_answer() {
        let library = fixture::Library::new("libx.so.1").needed("liby.so").rpath("/opt").build();
        for length in 0..library.len() {
            let _ = View::read(&library[..length]);
        }
        for at in 0..library.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = library.clone();
                bad[at] = value;
                let _ = View::read(&bad);
            }
        }
    }
}
