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
//! Programs in wheels get the same room in another way: see `program`.

use coil_bootstrap::format::manifest::Slot;
use object::LittleEndian as LE;
use object::elf;
use object::pod;

use super::ElfError;
use super::image::{Entry, Image, put};
use super::search_path::remove;
use super::sections::Sections;
use super::segment::{Contents, LOADER_SIZE, NewSegment, required};

/// The room for the search path, in bytes: three directories of up to PATH_MAX each.
const SEARCH_PATH_SIZE: usize = 12288;

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
    let contents = Contents { loader, search_path, search_path_size: SEARCH_PATH_SIZE };
    let segment = NewSegment::plan(&image, image.end_of_loaded()?, &contents)?;
    let sections = sections(&image, &segment)?;
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

/// The loaded sections, with those that have moved at their new places.
fn sections(image: &Image, segment: &NewSegment) -> Result<Sections, ElfError> {
    let mut sections = Sections::loaded(image)?;
    for moved in segment.moved(image) {
        if let Some(section) = sections.at(moved.kind, moved.from) {
            moved.apply_to(section);
        }
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use object::U32;

    use super::*;
    use crate::elf::image::{Segment, entry};
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
