//! What the packer reads that others have written: wheels and what they say of themselves, ELF files, locks, projects,
//! archives of images, answers of registries. Each entry point takes any bytes, and panics where a promise is broken.

use std::collections::BTreeSet;
use std::fs;

use coil::elf::{self, View, program, slots};
use coil::image::registry::challenge::Challenge;
use coil::image::{Reference, archive, check};
use coil::installed::direct_url::DirectUrl;
use coil::lock::Lock;
use coil::lock::dependency::Dependency;
use coil::lock::marker::Marker;
use coil::lock::specifier::{Specifiers, Version};
use coil::project::pyproject::PyProject;
use coil::project::requirement::Requirement;
use coil::project::script::ScriptMetadata;
use coil::project::words;
use coil::wheel::{EntryPoints, Metadata, WheelName, record};

/// What takes bytes.
pub type Target = fn(&[u8]);

/// All entry points by their names.
pub const TARGETS: [(&str, Target); 6] = [
    ("elf", read_elf),
    ("oci", read_oci),
    ("metadata", read_metadata),
    ("lock", read_lock),
    ("project", read_project),
    ("words", read_words),
];

/// An ELF file of a wheel or of a Python: read, and changed in every way that there is.
pub fn read_elf(bytes: &[u8]) {
    let _ = View::read(bytes);
    let _ = elf::newest_defined(bytes, "GLIBC_");
    let mut changed = bytes.to_vec();
    if elf::contain(&mut changed) == Ok(true) {
        assert_eq!(changed.len(), bytes.len());
        assert_eq!(elf::contain(&mut changed), Ok(false), "what is contained is not contained");
    }
    let _ = elf::ask_by_name(&mut bytes.to_vec());
    let _ = elf::bind_now(&mut bytes.to_vec());
    let _ = elf::strip(&mut bytes.to_vec());
    let _ = slots::prepare(bytes.to_vec(), "/python/libc/ld.so", "$ORIGIN/../lib");
    let _ = program::slots(bytes);
    if let Ok(Some(room)) = program::room(bytes, "python/libc", &["python/lib"]) {
        room.make_in(&mut bytes.to_vec());
    }
}

/// An archive of images: `coil image --check`, and `--since`.
pub fn read_oci(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("it can be written");
    let _ = check::check(file.path(), &BTreeSet::new());
    let _ = archive::layers_of(file.path());
}

/// What a wheel says of itself.
pub fn read_metadata(bytes: &[u8]) {
    if let Ok(claims) = record::parse(bytes) {
        assert_eq!(record::parse(record::write(&claims).as_bytes()).as_ref(), Ok(&claims));
    }
    let _ = Metadata::parse(bytes);
    if let Ok(points) = EntryPoints::parse(bytes) {
        points.scripts().for_each(|point| drop(point.script("/venv/bin/python")));
    }
    let _ = DirectUrl::parse(bytes).map(DirectUrl::without_the_machine);
}

/// A lock.
pub fn read_lock(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lock) = Lock::from_toml(text) {
        let again = Lock::from_toml(&lock.to_toml()).expect("what was written can be read");
        assert_eq!(again.to_toml(), lock.to_toml());
    }
}

/// A project, or a script with its requirements.
pub fn read_project(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = PyProject::read(text, "pyproject.toml");
    let _ = ScriptMetadata::read(text, "main.py");
}

/// A line: a requirement, a marker, a command, a version, a name, an answer of a registry.
pub fn read_words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = words::split(text);
    let _ = Requirement::parse(text, "requirements.txt");
    let _ = Dependency::parse(text);
    let _ = Marker::parse(text);
    let _ = Challenge::parse(text);
    let _ = Reference::parse(text);
    let _ = WheelName::parse(text);
    if let (Some(specifiers), Some(version)) = (Specifiers::parse(text), Version::parse("1.2rc3")) {
        let _ = specifiers.allow(&version);
    }
    let _ = Version::parse(text);
}
