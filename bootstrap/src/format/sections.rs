//! Where the payload is in a bundle: ELF sections of the launcher's file.
//!
//! Sections and not bytes after the end, because `strip`, `dh_strip` and `rpmbuild` keep sections and
//! throw appended bytes away.

use std::ops::Range;

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::ReadRef;
use object::read::elf::{FileHeader, SectionHeader};

use super::{Damage, stamp};

/// The section that holds the manifest.
pub const MANIFEST: &str = ".coil.manifest";

/// The section that holds the layers, one after another.
pub const LAYERS: &str = ".coil.layers";

/// What the offset of every layer in its section is a multiple of, in bytes: a block of every usual file
/// system, so that layers can be copied by reference.
pub const ALIGNMENT: u64 = 4096;

/// The byte ranges of a bundle's payload, in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The manifest.
    pub manifest: Range<u64>,
    /// The layers.
    pub layers: Range<u64>,
    /// The stamp.
    pub stamp: Range<u64>,
}

/// Finds the payload in a file of `file_size` bytes; only headers are read.
pub fn locate<'data, R: ReadRef<'data>>(file: R, file_size: u64) -> Result<Payload, Damage> {
    let elf = FileHeader64::<LittleEndian>::parse(file).map_err(|_| Damage::new("it is not an ELF file"))?;
    let unreadable = |_| Damage::new("its section table cannot be read");
    let endian = elf.endian().map_err(unreadable)?;
    // With more than 65,280 sections their count would be elsewhere, and could claim the whole file.
    if elf.e_shnum(endian) == 0 {
        return Err(Damage::new("it has no section table"));
    }
    let sections = elf.sections(endian, file).map_err(unreadable)?;
    let find = |name: &str| {
        let missing = || Damage::new(format!("it has no section {name}"));
        let (_, section) = sections.section_by_name(endian, name.as_bytes()).ok_or_else(missing)?;
        let (start, size) = section.file_range(endian).ok_or_else(missing)?;
        let end = start.checked_add(size).filter(|end| *end <= file_size);
        end.map(|end| start..end).ok_or_else(|| Damage::new(format!("its section {name} is cut short")))
    };
    Ok(Payload { manifest: find(MANIFEST)?, layers: find(LAYERS)?, stamp: find(stamp::SECTION)? })
}
