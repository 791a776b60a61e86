//! The section table: what debuggers and `readelf` go by, and the loader does not.

use object::LittleEndian as LE;
use object::elf::{self, SectionFlags, SectionType};
use object::pod;
use object::read::elf::FileHeader;
use object::{U16, U32, U64};

use super::ElfError;
use super::image::{Header, Image, Section, put};

/// The longest name of a section that is kept, in bytes: a bound for what a damaged file can make us write.
const LONGEST_NAME: usize = 255;

/// The sections that are loaded, by name. The first is the null section, as the format wants it.
pub struct Sections(pub Vec<(Vec<u8>, Section)>);

impl Sections {
    /// Those of `image`'s sections that are loaded (`SHF_ALLOC`), their links to each other kept.
    /// Empty for a file without a section table.
    pub fn loaded(image: &Image) -> Result<Self, ElfError> {
        let damaged = |_| ElfError::Damaged("its section table is outside the file");
        let table = image.header.sections(LE, image.bytes).map_err(damaged)?;
        let end = image.end_of_loaded()? as u64;
        let mut places = vec![None; table.len()];
        let mut kept = Vec::new();
        for (index, section) in table.enumerate() {
            let alloc = section.sh_flags.get(LE).0 & elf::SHF_ALLOC.0 != 0;
            if index.0 != 0 && !alloc {
                continue;
            }
            let in_file = ![elf::SHT_NOBITS, elf::SHT_NULL].contains(&section.sh_type.get(LE));
            let last = section.sh_offset.get(LE).checked_add(section.sh_size.get(LE));
            if in_file && last.is_none_or(|last| last > end) {
                return Err(ElfError::Damaged("a loaded section is in no segment"));
            }
            let name = if index.0 == 0 { b"" } else { table.section_name(LE, section).map_err(damaged)? };
            if name.len() > LONGEST_NAME {
                return Err(ElfError::Damaged("the name of a section does not end"));
            }
            places[index.0] = Some(kept.len() as u32);
            kept.push((name.to_owned(), *section));
        }
        let place = |old: u32| places.get(old as usize).copied().flatten().unwrap_or(0);
        for (_, section) in &mut kept {
            section.sh_link = U32::new(LE, place(section.sh_link.get(LE)));
            if info_is_link(section) {
                section.sh_info = U32::new(LE, place(section.sh_info.get(LE)));
            }
        }
        Ok(Sections(kept))
    }

    /// The section of this type that is loaded at `address`.
    pub fn at(&mut self, kind: SectionType, address: u64) -> Option<&mut Section> {
        let mut all = self.0.iter_mut().map(|(_, section)| section);
        all.find(|section| section.sh_type.get(LE) == kind && section.sh_addr.get(LE) == address)
    }

    /// Writes the names and the table after the end of `bytes`, and their place into the header there.
    pub fn append_to(mut self, bytes: &mut Vec<u8>) -> Result<(), ElfError> {
        let mut header: Header = *Image::parse(bytes)?.header;
        let count = if self.0.is_empty() { 0 } else { self.0.len() + 1 };
        if count >= usize::from(elf::SHN_LORESERVE) {
            return Err(ElfError::Unsuitable("it has too many sections"));
        }
        header.e_shoff = U64::new(LE, 0);
        header.e_shnum = U16::new(LE, count as u16);
        header.e_shstrndx = U16::new(LE, elf::SymbolSection(count.saturating_sub(1) as u16));
        if count > 0 {
            self.append_names(bytes);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            header.e_shoff = U64::new(LE, bytes.len() as u64);
            self.0.iter().for_each(|(_, section)| bytes.extend_from_slice(pod::bytes_of(section)));
        }
        put(bytes, 0, &header);
        Ok(())
    }

    fn append_names(&mut self, bytes: &mut Vec<u8>) {
        let mut own = Section {
            sh_name: U32::new(LE, 0),
            sh_type: U32::new(LE, elf::SHT_STRTAB),
            sh_flags: U64::new(LE, SectionFlags(0)),
            sh_addr: U64::new(LE, 0),
            sh_offset: U64::new(LE, bytes.len() as u64),
            sh_size: U64::new(LE, 0),
            sh_link: U32::new(LE, 0),
            sh_info: U32::new(LE, 0),
            sh_addralign: U64::new(LE, 1),
            sh_entsize: U64::new(LE, 0),
        };
        self.0.push((b".shstrtab".to_vec(), own));
        let start = bytes.len();
        bytes.push(0);
        for (name, section) in self.0.iter_mut().skip(1) {
            section.sh_name = U32::new(LE, (bytes.len() - start) as u32);
            bytes.extend_from_slice(name);
            bytes.push(0);
        }
        if let Some((_, last)) = self.0.last_mut() {
            own.sh_name = last.sh_name;
            own.sh_size = U64::new(LE, (bytes.len() - start) as u64);
            *last = own;
        }
    }
}

/// `sh_info` holds a section's index where this flag says so, and in relocations (System V ABI, "Sections").
fn info_is_link(section: &Section) -> bool {
    section.sh_flags.get(LE).0 & elf::SHF_INFO_LINK.0 != 0
        || [elf::SHT_REL, elf::SHT_RELA].contains(&section.sh_type.get(LE))
}
