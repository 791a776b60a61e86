//! Room in the interpreter for two absolute paths that are known only where it is unpacked.
//!
//! The kernel takes the loader's name from `PT_INTERP`, and glibc resolves `$ORIGIN` of the main executable
//! through `/proc`, which may not be there. So both the loader and the search path are written into the file as
//! absolute paths when it is unpacked, over reserved room. The room lies in a new segment at the
//! end of the file, because the search path must be part of the (mapped) dynamic string table, and because
//! the loader reads its own name from the mapped `PT_INTERP`:
//!
//! ```text
//! | the file as it was, up to its last loaded byte | ... padding to a page ...
//! | copy of .dynstr | search path, 12288 bytes | loader, 4096 bytes | (.dynamic) | padding |  <- one PT_LOAD
//! | names of sections | section table |
//! ```
//!
//! A new program header would need room as well: one that may be lost (`PT_NOTE`) makes way for it.

use coil_bootstrap::format::manifest::Slot;
use object::LittleEndian as LE;
use object::elf::{self, ProgramFlags};
use object::{U32, U64, pod};

use super::image::{Dynamic, Entry, Image, Segment, put};
use super::search_path::{entry, remove};
use super::sections::Sections;
use super::{ElfError, Machine};

/// The room for the search path, in bytes: three directories of up to PATH_MAX each.
const SEARCH_PATH_SIZE: usize = 12288;

/// The room for the loader's path, in bytes: PATH_MAX, the most that the kernel accepts.
const LOADER_SIZE: usize = 4096;

/// An interpreter with room for absolute paths, and without what is not loaded (see `strip`).
pub struct Prepared {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Where the loader's path is.
    pub loader: Slot,
    /// Where the search path is.
    pub search_path: Slot,
}

/// Makes room in the executable `bytes`, and fills it with `loader` and `search_path`.
///
/// Works for position-independent and for fixed-address executables. Fails for what has no loader
/// (statically linked) and where no program header can be spared.
pub fn prepare(mut bytes: Vec<u8>, loader: &str, search_path: &str) -> Result<Prepared, ElfError> {
    if loader.len() >= LOADER_SIZE || search_path.len() >= SEARCH_PATH_SIZE {
        return Err(ElfError::Unsuitable("the paths for it are too long"));
    }
    remove(&mut bytes)?;
    let image = Image::parse(&bytes)?;
    let segment = NewSegment::plan(&image, loader, search_path)?;
    let sections = segment.sections(&image)?;
    let headers = segment.program_headers(&image)?;
    let old_loader = image.range(required(&image, elf::PT_INTERP, "it is statically linked")?)?;
    let (end, headers_at) = (image.end_of_loaded()?, image.header.e_phoff.get(LE) as usize);
    let dynamic_at = image.dynamic()?.map_or(0, |dynamic| dynamic.offset);

    bytes[old_loader].fill(0);
    bytes.truncate(end);
    bytes.resize(segment.offset, 0);
    bytes.extend_from_slice(&segment.content);
    bytes[headers_at..headers_at + size_of_val(&headers[..])].copy_from_slice(pod::bytes_of_slice(&headers));
    if segment.moved_dynamic.is_none() {
        for (index, entry) in segment.entries.iter().enumerate() {
            put(&mut bytes, dynamic_at + index * size_of::<Entry>(), entry);
        }
    }
    sections.append_to(&mut bytes)?;
    let slot =
        |inner: usize, size: usize| Slot { offset: (segment.offset + inner) as u64, size: size as u64 };
    Ok(Prepared {
        bytes,
        loader: slot(segment.loader_at, LOADER_SIZE),
        search_path: slot(segment.search_path_at, SEARCH_PATH_SIZE),
    })
}

/// The segment that is added. Places in it are counted from its beginning.
struct NewSegment {
    offset: usize,
    address: u64,
    page: u64,
    content: Vec<u8>,
    /// How long the string table is, room included.
    strings: usize,
    /// Where the string table was.
    old_strings: u64,
    search_path_at: usize,
    loader_at: usize,
    /// The dynamic section with its new values, ending in a null entry.
    entries: Vec<Entry>,
    /// Where the dynamic section is, if there was no room for one more entry where it was.
    moved_dynamic: Option<usize>,
}

impl NewSegment {
    fn plan(image: &Image, loader: &str, search_path: &str) -> Result<Self, ElfError> {
        let machine = Machine::of(image.header.e_machine.get(LE));
        let page = machine.ok_or(ElfError::Unsuitable("it is for a machine that is not known"))?.page;
        let dynamic = image.dynamic()?.ok_or(ElfError::Unsuitable("it is statically linked"))?;
        let mut content = image.bytes[dynamic.strings.clone()].to_vec();
        let search_path_at = content.len();
        let strings = search_path_at + SEARCH_PATH_SIZE;
        content.extend_from_slice(search_path.as_bytes());
        content.resize(strings, 0);
        content.resize(strings.next_multiple_of(16), 0);
        let loader_at = content.len();
        content.extend_from_slice(loader.as_bytes());
        content.resize(loader_at + LOADER_SIZE, 0);

        let old_strings = dynamic.value(elf::DT_STRTAB).unwrap_or_default();
        let offset = image.end_of_loaded()?.next_multiple_of(page as usize);
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
    fn program_headers(&self, image: &Image) -> Result<Vec<Segment>, ElfError> {
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

    /// The loaded sections, with those that have moved at their new places.
    fn sections(&self, image: &Image) -> Result<Sections, ElfError> {
        let mut sections = Sections::loaded(image)?;
        let address = |kind| image.segment(kind).map_or(0, |segment| segment.p_vaddr.get(LE));
        let mut moved = vec![
            (elf::SHT_STRTAB, self.old_strings, 0, self.strings),
            (elf::SHT_PROGBITS, address(elf::PT_INTERP), self.loader_at, LOADER_SIZE),
        ];
        if let Some(at) = self.moved_dynamic {
            moved.push((elf::SHT_DYNAMIC, address(elf::PT_DYNAMIC), at, size_of_val(&self.entries[..])));
        }
        for (kind, old, at, size) in moved {
            if let Some(section) = sections.at(kind, old) {
                section.sh_addr = U64::new(LE, self.address + at as u64);
                section.sh_offset = U64::new(LE, (self.offset + at) as u64);
                section.sh_size = U64::new(LE, size as u64);
            }
        }
        Ok(sections)
    }
}

fn required<'a>(
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

/// The dynamic entries with the string table at its new place, the search path, and a null entry.
fn new_entries(dynamic: &Dynamic, address: u64, strings: usize, search_path: usize) -> Vec<Entry> {
    let changed = dynamic.entries().iter().map(|old| match old.d_tag.get(LE) {
        elf::DT_STRTAB => entry(elf::DT_STRTAB, address),
        elf::DT_STRSZ => entry(elf::DT_STRSZ, strings as u64),
        _ => *old,
    });
    changed.chain([entry(elf::DT_RPATH, search_path as u64), entry(elf::DT_NULL, 0)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::{View, fixture};

    const NOWHERE: &str = "/nonexistent/loader";

    fn filled(prepared: &Prepared, loader: &str) -> Vec<u8> {
        let mut bytes = prepared.bytes.clone();
        let start = prepared.loader.offset as usize;
        bytes[start..start + LOADER_SIZE].fill(0);
        bytes[start..start + loader.len()].copy_from_slice(loader.as_bytes());
        bytes
    }

    /// Prepares `bytes` with a loader that does not exist, writes the real one as a launcher would, runs it.
    fn check(bytes: Vec<u8>) -> View {
        let before = View::read(&bytes).unwrap();
        let prepared = prepare(bytes, NOWHERE, "/somewhere:/else").unwrap();
        let after = View::read(&prepared.bytes).unwrap();
        assert_eq!(after.interpreter.as_deref(), Some(NOWHERE));
        assert_eq!(after.rpath, ["/somewhere", "/else"]);
        assert_eq!((&after.needed, &after.glibc), (&before.needed, &before.glibc));
        assert_eq!(after.runpath, None);
        let at = prepared.search_path.offset as usize;
        assert!(prepared.bytes[at..].starts_with(b"/somewhere:/else\0"));
        let listed = fixture::run(&filled(&prepared, &before.interpreter.unwrap()), &["--list", "slots"]);
        assert!(listed.contains("slots::tests"), "{listed}");
        after
    }

    #[test]
    fn a_prepared_executable_runs_with_the_loader_that_is_written_into_it() {
        check(fixture::this_executable());
    }

    #[test]
    fn a_dynamic_section_without_room_moves() {
        let mut bytes = fixture::this_executable();
        let image = Image::parse(&bytes).unwrap();
        let dynamic = image.dynamic().unwrap().unwrap();
        let (at, used, room) = (dynamic.offset, dynamic.used, dynamic.entries.len());
        let old = image.segment(elf::PT_DYNAMIC).unwrap().p_offset.get(LE);
        // Flags that say nothing fill the room up to the last null entry.
        for index in used..room - 1 {
            put(&mut bytes, at + index * size_of::<Entry>(), &entry(elf::DT_FLAGS_1, 0x0800_0000));
        }
        let prepared = prepare(bytes.clone(), NOWHERE, "/somewhere:/else").unwrap();
        let image = Image::parse(&prepared.bytes).unwrap();
        assert!(image.segment(elf::PT_DYNAMIC).unwrap().p_offset.get(LE) > old);
        check(bytes);
    }

    #[test]
    fn segments_stay_sorted_by_address() {
        let prepared = prepare(fixture::this_executable(), NOWHERE, "").unwrap();
        let image = Image::parse(&prepared.bytes).unwrap();
        let loads = image.segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_LOAD);
        assert!(loads.map(|segment| segment.p_vaddr.get(LE)).is_sorted());
    }

    #[test]
    fn what_cannot_be_prepared_says_why() {
        let refusal = |bytes| prepare(bytes, NOWHERE, "").map(|_| ()).unwrap_err().to_string();
        let library = fixture::Library::new("libx.so").build();
        assert_eq!(refusal(library), "it cannot be prepared: it is statically linked");
        let mut bytes = fixture::this_executable();
        let headers = Image::parse(&bytes).unwrap().segments.to_vec();
        for (index, mut header) in headers.into_iter().enumerate() {
            if [elf::PT_NOTE, elf::PT_GNU_PROPERTY].contains(&header.p_type.get(LE)) {
                header.p_type = U32::new(LE, elf::ProgramType(0x6000_0001));
                put(&mut bytes, 64 + index * size_of::<Segment>(), &header);
            }
        }
        assert_eq!(refusal(bytes), "it cannot be prepared: no program header can be spared");
    }

    #[test]
    fn every_changed_byte_is_an_error_or_an_answer() {
        let library = fixture::Library::new("libx.so").needed("liby.so").runpath("/opt").build();
        for at in 0..library.len() {
            for value in [0, 1, 3, 0x7f, 0x80, 0xff] {
                let mut bad = library.clone();
                bad[at] = value;
                let _ = prepare(bad, NOWHERE, "");
            }
        }
    }
}
