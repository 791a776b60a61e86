//! A new segment at the end of an executable, with room for its loader's path and for its search path.
//!
//! A new program header would need room as well: one that may be lost (`PT_NOTE`) makes way for it.

use object::LittleEndian as LE;
use object::elf::{self, ProgramFlags, SectionType};
use object::{U32, U64, pod};

use super::image::{Dynamic, Entry, Image, Section, Segment, entry};
use super::search_path::TAGS;
use super::{ElfError, Machine};

/// The room for the loader's path, in bytes: PATH_MAX, the most that the kernel accepts.
pub const LOADER_SIZE: usize = 4096;

/// What the new segment is to hold.
pub struct Contents<'a> {
    /// The loader's path.
    pub loader: &'a str,
    /// The search path.
    pub search_path: &'a str,
    /// The room for the search path, in bytes.
    pub search_path_size: usize,
}

/// The segment that is added. Places in it are counted from its beginning.
pub struct NewSegment {
    pub offset: usize,
    address: u64,
    page: u64,
    pub content: Vec<u8>,
    /// How long the string table is, room included.
    strings: usize,
    /// Where the string table was.
    old_strings: u64,
    pub search_path_at: usize,
    pub loader_at: usize,
    /// The dynamic section with its new values, ending in a null entry.
    pub entries: Vec<Entry>,
    /// Where the dynamic section is, if there was no room for one more entry where it was.
    pub moved_dynamic: Option<usize>,
}

impl NewSegment {
    /// Plans it for `image`, behind its first `end` bytes.
    pub fn plan(image: &Image, end: usize, contents: &Contents) -> Result<Self, ElfError> {
        let Contents { loader, search_path, search_path_size } = *contents;
        if loader.len() >= LOADER_SIZE || search_path.len() >= search_path_size {
            return Err(ElfError::Unsuitable("the paths for it are too long"));
        }
        let machine = Machine::of(image.header.e_machine.get(LE));
        let page = machine.ok_or(ElfError::Unsuitable("it is for a machine that is not known"))?.page;
        let dynamic = image.dynamic()?.ok_or(ElfError::Unsuitable("it is statically linked"))?;
        let mut content = image.bytes[dynamic.strings.clone()].to_vec();
        let search_path_at = content.len();
        let strings = search_path_at + search_path_size;
        content.extend_from_slice(search_path.as_bytes());
        content.resize(strings, 0);
        content.resize(strings.next_multiple_of(16), 0);
        let loader_at = content.len();
        content.extend_from_slice(loader.as_bytes());
        content.resize(loader_at + LOADER_SIZE, 0);

        let old_strings = dynamic.value(elf::DT_STRTAB).unwrap_or_default();
        let offset = end.next_multiple_of(page as usize);
        let address = first_free_address(image, page)?;
        let entries = new_entries(&dynamic, address, strings, search_path_at);
        let moved_dynamic = (entries.len() > dynamic.entries.len()).then_some(content.len());
        if moved_dynamic.is_some() {
            content.extend_from_slice(pod::bytes_of_slice(&entries));
        }
        content.resize(content.len().next_multiple_of(4096), 0);
        Ok(NewSegment {
            offset,
            address,
            page,
            content,
            strings,
            old_strings,
            search_path_at,
            loader_at,
            entries,
            moved_dynamic,
        })
    }

    /// The program headers with the new segment after the last `PT_LOAD`: they stay sorted by address,
    /// as the specification demands and old kernels rely on.
    pub fn program_headers(&self, image: &Image) -> Result<Vec<Segment>, ElfError> {
        let mut headers = image.segments.to_vec();
        headers.remove(spare(&headers).ok_or(ElfError::Unsuitable("no program header can be spared"))?);
        for header in &mut headers {
            match header.p_type.get(LE) {
                elf::PT_INTERP => self.place(header, self.loader_at, LOADER_SIZE),
                elf::PT_DYNAMIC => {
                    if let Some(at) = self.moved_dynamic {
                        self.place(header, at, size_of_val(&self.entries[..]));
                    }
                }
                _ => {}
            }
        }
        let mut new = *required(image, elf::PT_LOAD, "nothing of it is loaded")?;
        // Only the loader writes to it, and only into a dynamic section.
        let writable = if self.moved_dynamic.is_some() { elf::PF_W.0 } else { 0 };
        new.p_flags = U32::new(LE, ProgramFlags(elf::PF_R.0 | writable));
        new.p_align = U64::new(LE, self.page);
        self.place(&mut new, 0, self.content.len());
        let last = headers.iter().rposition(|header| header.p_type.get(LE) == elf::PT_LOAD);
        headers.insert(last.map_or(0, |last| last + 1), new);
        Ok(headers)
    }

    fn place(&self, header: &mut Segment, at: usize, size: usize) {
        header.p_offset = U64::new(LE, (self.offset + at) as u64);
        header.p_vaddr = U64::new(LE, self.address + at as u64);
        header.p_paddr = header.p_vaddr;
        header.p_filesz = U64::new(LE, size as u64);
        header.p_memsz = header.p_filesz;
    }

    /// What has moved into the segment, as section tables tell it.
    pub fn moved(&self, image: &Image) -> Vec<Moved> {
        let address = |kind| image.segment(kind).map_or(0, |segment| segment.p_vaddr.get(LE));
        let moved = |kind, from, at: usize, size: usize| {
            let (address, offset) = (self.address + at as u64, (self.offset + at) as u64);
            Moved { kind, from, address, offset, size: size as u64 }
        };
        let mut all = vec![
            moved(elf::SHT_STRTAB, self.old_strings, 0, self.strings),
            moved(elf::SHT_PROGBITS, address(elf::PT_INTERP), self.loader_at, LOADER_SIZE),
        ];
        if let Some(at) = self.moved_dynamic {
            let size = size_of_val(&self.entries[..]);
            all.push(moved(elf::SHT_DYNAMIC, address(elf::PT_DYNAMIC), at, size));
        }
        all
    }
}

/// A section that has moved into the new segment.
pub struct Moved {
    /// Its type.
    pub kind: SectionType,
    /// The address it was loaded at.
    pub from: u64,
    address: u64,
    offset: u64,
    size: u64,
}

impl Moved {
    /// Lets a section's header say where it is now.
    pub fn apply_to(&self, section: &mut Section) {
        section.sh_addr = U64::new(LE, self.address);
        section.sh_offset = U64::new(LE, self.offset);
        section.sh_size = U64::new(LE, self.size);
    }
}

/// The segment of this type, or why the file is unsuitable without it.
pub fn required<'a>(
    image: &Image<'a>,
    kind: elf::ProgramType,
    why: &'static str,
) -> Result<&'a Segment, ElfError> {
    image.segment(kind).ok_or(ElfError::Unsuitable(why))
}

/// The program header that is missed least: an unused one, a note that `PT_GNU_PROPERTY` names as well, else any note, else
/// `PT_GNU_PROPERTY`. The sections of notes stay, for those who look for a build id.
fn spare(headers: &[Segment]) -> Option<usize> {
    let is = |header: &Segment, kind| header.p_type.get(LE) == kind;
    let property = headers.iter().find(|header| is(header, elf::PT_GNU_PROPERTY));
    let twice =
        |header: &&Segment| property.is_some_and(|other| other.p_offset.get(LE) == header.p_offset.get(LE));
    headers
        .iter()
        .position(|header| is(header, elf::PT_NULL))
        .or_else(|| headers.iter().position(|header| is(header, elf::PT_NOTE) && twice(&header)))
        .or_else(|| headers.iter().position(|header| is(header, elf::PT_NOTE)))
        .or_else(|| headers.iter().position(|header| is(header, elf::PT_GNU_PROPERTY)))
}

fn first_free_address(image: &Image, page: u64) -> Result<u64, ElfError> {
    let loads = image.segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_LOAD);
    let end = loads
        .map(|segment| segment.p_vaddr.get(LE).checked_add(segment.p_memsz.get(LE)))
        .try_fold(0, |end: u64, this| this.map(|this| end.max(this)));
    // Addresses of programs end far below this; it leaves room for the sums that follow.
    end.filter(|end| *end < 1 << 47)
        .map(|end| end.next_multiple_of(page))
        .ok_or(ElfError::Damaged("a segment has an impossible address"))
}

/// The dynamic entries with the string table at its new place, the one search path, and a null entry.
fn new_entries(dynamic: &Dynamic, address: u64, strings: usize, search_path: usize) -> Vec<Entry> {
    let others = dynamic.entries().iter().filter(|old| !TAGS.contains(&old.d_tag.get(LE)));
    let changed = others.map(|old| match old.d_tag.get(LE) {
        elf::DT_STRTAB => entry(elf::DT_STRTAB, address),
        elf::DT_STRSZ => entry(elf::DT_STRSZ, strings as u64),
        _ => *old,
    });
    changed.chain([entry(elf::DT_RPATH, search_path as u64), entry(elf::DT_NULL, 0)]).collect()
}
