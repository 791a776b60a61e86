//! The ELF file in front: what of it changes when it becomes a bundle.
//!
//! Nothing of it moves. What is added lies behind it: two sections, a new section name table and a new section
//! header table, which the ELF header is made to point to.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use coil_bootstrap::format::sections::{LAYERS, MANIFEST};
use coil_bootstrap::format::stamp;
use object::elf::{FileHeader64, SHT_NOBITS, SHT_PROGBITS, SectionFlags, SectionHeader64};
use object::read::elf::{FileHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};
use object::{LittleEndian, U16, U32, U64, pod};

use crate::error::{Context, Failure, Result};
use crate::launcher::LAUNCHER;

type Header = FileHeader64<LittleEndian>;
type Section = SectionHeader64<LittleEndian>;

const E: LittleEndian = LittleEndian;

/// No launcher is longer, in bytes: a bound for what a damaged file can make us read.
const MAX_LAUNCHER: u64 = 64 << 20;

/// What stands in front of a bundle, and the parts of it that change.
#[derive(Clone)]
pub struct Launcher {
    /// The file up to the payload. Our own, of some megabytes, is not copied.
    pub(super) bytes: Cow<'static, [u8]>,
    header: Header,
    sections: Vec<Section>,
    pub(super) names: Vec<u8>,
    /// Which section `names` is.
    names_index: usize,
    /// The file offset of the stamp.
    pub(super) stamp: usize,
}

impl Launcher {
    /// The launcher that this coil carries.
    pub fn ours() -> Result<Self> {
        let unreadable = || Failure::new("the launcher inside coil is not the ELF file it should be");
        let mut launcher = Launcher::read(LAUNCHER).ok_or_else(unreadable)?;
        launcher.bytes = Cow::Borrowed(LAUNCHER);
        launcher.check().ok_or_else(unreadable)
    }

    /// The launcher of a bundle: with it and the same layers, the same file can be written again.
    ///
    /// Fails where the file cannot be read, and where another tool has moved its sections about.
    pub fn of(bundle: &Path) -> Result<Self> {
        let mut file = File::open(bundle).context(|| format!("cannot open {}", bundle.display()))?;
        let changed = || {
            Failure::new(format!("{} was changed by another tool after it was packed", bundle.display()))
                .hint("pack it again")
        };
        let mut launcher = Launcher::read(&ReadCache::new(&file)).ok_or_else(changed)?;
        let start = launcher.take_payload().ok_or_else(changed)?;
        let read = file.rewind().and_then(|()| file.take(start).read_to_end(launcher.bytes.to_mut()));
        let read = read.context(|| format!("cannot read {}", bundle.display()))?;
        if read as u64 != start {
            return Err(changed());
        }
        launcher.check().ok_or_else(changed)
    }

    /// Everything but the bytes; `None` for what is no ELF file with a stamp.
    fn read<'data, R: ReadRef<'data>>(data: R) -> Option<Self> {
        let header = Header::parse(data).ok()?;
        let sections = header.sections(E, data).ok()?;
        let index = header.section_strings_index(E, data).ok()?;
        let names = sections.section(index).and_then(|section| section.data(E, data)).ok()?;
        let (_, stamp) = sections.section_by_name(E, stamp::SECTION.as_bytes())?;
        let (stamp, size) = stamp.file_range(E)?;
        (size == stamp::SIZE as u64).then_some(Launcher {
            bytes: Cow::default(),
            header: *header,
            sections: sections.iter().copied().collect(),
            names: names.to_vec(),
            names_index: index.0,
            stamp: usize::try_from(stamp).ok()?,
        })
    }

    /// Takes the sections out that were added when the bundle was written, and says where they began; `None` where
    /// they are not as they were left then.
    fn take_payload(&mut self) -> Option<u64> {
        let manifest = self.sections.pop()?;
        let layers = self.sections.pop()?;
        let at = |section: &Section| section.sh_name.get(E) as usize;
        let named = |section: &Section, name: &str| {
            self.names.get(at(section)..)?.strip_prefix(name.as_bytes())?.first().filter(|byte| **byte == 0)
        };
        named(&layers, LAYERS).and(named(&manifest, MANIFEST))?;
        self.names.truncate(at(&layers));
        let start = layers.sh_offset.get(E);
        let below = |(index, section): (usize, &Section)| {
            let end = section.sh_offset.get(E).checked_add(section.sh_size.get(E));
            index == self.names_index
                || section.sh_type.get(E) == SHT_NOBITS
                || end.is_some_and(|end| end <= start)
        };
        (start <= MAX_LAUNCHER && self.sections.iter().enumerate().all(below)).then_some(start)
    }

    /// Whether the stamp is inside the bytes.
    fn check(self) -> Option<Self> {
        let end = self.stamp.checked_add(stamp::SIZE)?;
        (end <= self.bytes.len() && self.bytes.len() >= size_of::<Header>()).then_some(self)
    }

    pub(super) fn add(&mut self, name: &str, offset: u64, size: u64, alignment: u64) {
        let name_at = self.names.len() as u32;
        self.names.extend(name.bytes());
        self.names.push(0);
        self.sections.push(Section {
            sh_name: U32::new(E, name_at),
            sh_type: U32::new(E, SHT_PROGBITS),
            sh_flags: U64::new(E, SectionFlags(0)),
            sh_addr: U64::new(E, 0),
            sh_offset: U64::new(E, offset),
            sh_size: U64::new(E, size),
            sh_link: U32::new(E, 0),
            sh_info: U32::new(E, 0),
            sh_addralign: U64::new(E, alignment),
            sh_entsize: U64::new(E, 0),
        });
    }

    /// The section header table, with the name table at `names_at`.
    pub(super) fn table(&self, names_at: u64) -> Vec<u8> {
        let mut sections = self.sections.clone();
        if let Some(names) = sections.get_mut(self.names_index) {
            names.sh_offset = U64::new(E, names_at);
            names.sh_size = U64::new(E, self.names.len() as u64);
        }
        pod::bytes_of_slice(&sections).to_vec()
    }

    /// The ELF header, with the section header table at `table_at`.
    pub(super) fn header(&self, table_at: u64) -> Header {
        let mut header = self.header;
        header.e_shoff = U64::new(E, table_at);
        header.e_shnum = U16::new(E, self.sections.len() as u16);
        header
    }
}
