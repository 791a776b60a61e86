//! ELF files for tests: small libraries made by code, and this test's own executable.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use object::elf::{self, DynamicTag, ProgramType, SectionType};

use super::machine::{MACHINES, Machine};

/// The file that runs this test: a real executable with a loader, symbols and debugging sections.
pub fn this_executable() -> Vec<u8> {
    fs::read(std::env::current_exe().unwrap()).unwrap()
}

/// Runs an executable and returns what it prints; it must succeed.
pub fn run(bytes: &[u8], args: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("executable");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let output = start(Command::new(&path).args(args));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Another test's `fork` may hold the file open for writing for a moment.
fn start(command: &mut Command) -> Output {
    loop {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => return output.unwrap(),
        }
    }
}

/// The machine that runs this test, and that the libraries made here are for.
pub fn machine() -> &'static Machine {
    MACHINES.iter().find(|machine| machine.name == std::env::consts::ARCH).unwrap()
}

/// A shared library with a dynamic section, symbols, a version it needs, and a comment to strip.
pub struct Library {
    strings: Vec<u8>,
    entries: Vec<(DynamicTag, u64)>,
    symbols: Vec<u64>,
    version: String,
}

impl Library {
    pub fn new(soname: &str) -> Self {
        let version = "GLIBC_2.17".to_owned();
        let mut library = Library { strings: vec![0], entries: Vec::new(), symbols: vec![0], version };
        library.add(elf::DT_SONAME, soname);
        library
    }

    pub fn needed(mut self, name: &str) -> Self {
        self.add(elf::DT_NEEDED, name);
        self
    }

    pub fn rpath(mut self, path: &str) -> Self {
        self.add(elf::DT_RPATH, path);
        self
    }

    pub fn runpath(mut self, path: &str) -> Self {
        self.add(elf::DT_RUNPATH, path);
        self
    }

    pub fn symbol(mut self, name: &str) -> Self {
        let at = self.string(name);
        self.symbols.push(at);
        self
    }

    /// The version that it needs of libc.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    fn add(&mut self, tag: DynamicTag, text: &str) {
        let at = self.string(text);
        self.entries.push((tag, at));
    }

    /// The place of a string; one that another ends with shares its bytes, as linkers do it.
    fn string(&mut self, text: &str) -> u64 {
        let with_nul = [text.as_bytes(), b"\0"].concat();
        let there = self.strings.windows(with_nul.len()).position(|window| window == with_nul);
        let at = there.unwrap_or(self.strings.len());
        if there.is_none() {
            self.strings.extend(with_nul);
        }
        at as u64
    }

    pub fn build(mut self) -> Vec<u8> {
        let version = [self.string("libc.so.6"), self.string(&self.version.clone())];
        let mut file = vec![0; 64 + 3 * 56];
        let strings = append(&mut file, &self.strings);
        let symbols: Vec<u8> = self.symbols.iter().flat_map(|name| words(&[*name, 0, 0])).collect();
        let symbols = append(&mut file, &symbols);
        let count = self.symbols.len() as u64;
        let hash = append(&mut file, &words(&[1 | count << 32, 0, 0, 0]));
        let versions = [1 | 1 << 16 | version[0] << 32, 16, 0, version[1]];
        let versions = append(&mut file, &words(&versions));
        self.entries.extend([
            (elf::DT_STRTAB, strings.0),
            (elf::DT_STRSZ, strings.1),
            (elf::DT_SYMTAB, symbols.0),
            (elf::DT_HASH, hash.0),
            (elf::DT_VERNEED, versions.0),
            (elf::DT_VERNEEDNUM, 1),
            (elf::DT_NULL, 0),
        ]);
        let dynamic: Vec<u8> =
            self.entries.iter().flat_map(|(tag, value)| words(&[tag.0 as u64, *value])).collect();
        let dynamic = append(&mut file, &dynamic);
        let loaded = file.len() as u64;
        let comment = append(&mut file, &[b'c'; 4096]);
        let names = append(&mut file, b"\0.dynstr\0.dynamic\0.comment\0.shstrtab\0");
        let mut table = vec![0; 64];
        table.extend(section(1, elf::SHT_STRTAB, 2, strings, 0));
        table.extend(section(9, elf::SHT_DYNAMIC, 3, dynamic, 1));
        table.extend(section(18, elf::SHT_PROGBITS, 0, comment, 0));
        table.extend(section(27, elf::SHT_STRTAB, 0, names, 0));
        let table = append(&mut file, &table);
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        let machine = u64::from(machine().elf.0) << 16;
        file[16..64].copy_from_slice(&words(&[
            u64::from(elf::ET_DYN.0) | machine | 1 << 32,
            0,
            64,
            table.0,
            64 << 32 | 56 << 48,
            3 | 64 << 16 | 5 << 32 | 4 << 48,
        ]));
        let headers = [
            segment(elf::PT_LOAD, (0, loaded)),
            segment(elf::PT_DYNAMIC, dynamic),
            segment(elf::PT_NOTE, (0, 0)),
        ];
        file[64..64 + 3 * 56].copy_from_slice(&headers.concat());
        file
    }
}

fn append(file: &mut Vec<u8>, part: &[u8]) -> (u64, u64) {
    file.resize(file.len().next_multiple_of(8), 0);
    let at = file.len() as u64;
    file.extend_from_slice(part);
    (at, part.len() as u64)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn segment(kind: ProgramType, (at, size): (u64, u64)) -> Vec<u8> {
    words(&[u64::from(kind.0) | 6 << 32, at, at, at, size, size, 8])
}

fn section(name: u64, kind: SectionType, flags: u64, (at, size): (u64, u64), link: u64) -> Vec<u8> {
    let address = if flags == 0 { 0 } else { at };
    words(&[name | u64::from(kind.0) << 32, flags, address, at, size, link, 1, 0])
}
