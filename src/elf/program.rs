//! Programs in wheels (ruff, uv, cmake): the same room that the interpreter has (see `slots`), added at the
//! end of a file that stays as it is otherwise.
//!
//! ```text
//! | the file as it was, to its last byte | padding to a page |
//! | copy of .dynstr | search path | loader, 4096 bytes | (.dynamic) | padding |  <- one PT_LOAD
//! ```
//!
//! Nothing is stripped, and only headers change before the end, so that a file of hundreds of megabytes can be
//! edited where it is. A program that carries something behind its end (an archive of its own, as self-extracting
//! ones do) looks for it there and cannot be added to.

use std::path::Path;

use coil_bootstrap::format::manifest::Slot;
use object::LittleEndian as LE;
use object::elf;
use object::pod;
use object::read::elf::FileHeader;

use super::image::{Entry, Image, Section};
use super::search_path::is_relative;
use super::segment::{Contents, LOADER_SIZE, NewSegment};
use super::{ElfError, Machine, View};

/// The room for one directory of a search path, in bytes: PATH_MAX.
const DIRECTORY_SIZE: usize = 4096;

/// What has to be written into a program to make room in it.
pub struct Room {
    /// How long the file is then, in bytes.
    pub length: u64,
    /// What to write, and where. Everything else that is new is zeros.
    pub writes: Vec<(u64, Vec<u8>)>,
}

/// The room in a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Slots {
    /// For the loader's path.
    pub loader: Slot,
    /// For the search path.
    pub search_path: Slot,
    /// The entries of its search path that are relative to its own directory.
    pub own: Vec<String>,
}

/// Plans room in `bytes`; `None` for what is no program that the kernel starts through a loader, or has room.
///
/// Until something else is written there, the program names the loader in `libc`, and searches what it
/// searched relative to itself, then the directories `shared`.
pub fn room(bytes: &[u8], libc: &str, shared: &[&str]) -> Result<Option<Room>, ElfError> {
    let image = match Image::parse(bytes) {
        Ok(image) => image,
        Err(ElfError::NotElf | ElfError::Foreign(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (Some(machine), true) = (Machine::of(image.header.e_machine.get(LE)), image.is_loaded()) else {
        return Ok(None);
    };
    let view = View::read(bytes)?;
    let Some(interpreter) = &view.interpreter else { return Ok(None) };
    // Some libraries can be started, to tell their version; as libraries they need no loader.
    if view.soname.is_some() || slots(bytes).is_some() {
        return Ok(None);
    }
    if Path::new(interpreter).file_name().is_none_or(|name| name != machine.loader) {
        return Err(ElfError::Unsuitable("it asks for the loader of another C library"));
    }
    let end = end_of_known(&image)?;
    if bytes[end.min(bytes.len())..].iter().any(|byte| *byte != 0) {
        return Err(ElfError::Unsuitable("it carries something behind its end"));
    }
    let own = own_entries(&view);
    let directories: Vec<&str> = own.iter().map(String::as_str).chain(shared.iter().copied()).collect();
    let contents = Contents {
        loader: &format!("{libc}/{}", machine.loader),
        search_path: &directories.join(":"),
        search_path_size: directories.len() * DIRECTORY_SIZE,
    };
    let segment = NewSegment::plan(&image, bytes.len(), &contents)?;
    writes(&image, segment).map(Some)
}

/// The room that is in `bytes`; `None` where [`room`] has made none.
pub fn slots(bytes: &[u8]) -> Option<Slots> {
    let image = Image::parse(bytes).ok()?;
    let loader = image.range(image.segment(elf::PT_INTERP)?).ok()?;
    let dynamic = image.dynamic().ok()??;
    let at = usize::try_from(dynamic.value(elf::DT_RPATH)?).ok()?;
    let room = image.bytes.get(dynamic.strings.start.checked_add(at)?..dynamic.strings.end)?;
    let length = room.iter().position(|byte| *byte == 0)?;
    let padded = room.len() >= DIRECTORY_SIZE && room[length..].iter().all(|byte| *byte == 0);
    let slot = |start: usize, size: usize| Slot { offset: start as u64, size: size as u64 };
    (padded && loader.len() == LOADER_SIZE).then_some(Slots {
        loader: slot(loader.start, LOADER_SIZE),
        search_path: slot(dynamic.strings.end - room.len(), room.len()),
        own: own_entries(&View::read(bytes).ok()?),
    })
}

fn own_entries(view: &View) -> Vec<String> {
    let all = view.runpath.as_ref().unwrap_or(&view.rpath);
    all.iter().filter(|entry| is_relative(entry.as_bytes())).cloned().collect()
}

fn writes(image: &Image, segment: NewSegment) -> Result<Room, ElfError> {
    let headers = segment.program_headers(image)?;
    let mut writes = moved_sections(image, &segment);
    writes.push((image.header.e_phoff.get(LE), pod::bytes_of_slice(&headers).to_vec()));
    if segment.moved_dynamic.is_none() {
        let at = image.dynamic()?.map_or(0, |dynamic| dynamic.offset);
        writes.push((at as u64, pod::bytes_of_slice::<Entry>(&segment.entries).to_vec()));
    }
    let length = (segment.offset + segment.content.len()) as u64;
    writes.push((segment.offset as u64, segment.content));
    Ok(Room { length, writes })
}

/// The headers of the sections that have moved, for those who go by them. A section table that cannot be read
/// is none of the kernel's business, nor ours.
fn moved_sections(image: &Image, segment: &NewSegment) -> Vec<(u64, Vec<u8>)> {
    let Ok(table) = image.header.sections(LE, image.bytes) else { return Vec::new() };
    let mut writes = Vec::new();
    for moved in segment.moved(image) {
        let there = |section: &&Section| {
            section.sh_type.get(LE) == moved.kind && section.sh_addr.get(LE) == moved.from
        };
        if let Some((index, mut section)) =
            table.enumerate().find(|(_, section)| there(section)).map(|(index, section)| (index.0, *section))
        {
            moved.apply_to(&mut section);
            let at = image.header.e_shoff.get(LE) + (index * size_of::<Section>()) as u64;
            writes.push((at, pod::bytes_of(&section).to_vec()));
        }
    }
    writes
}

/// The end of what the file's own headers know of.
fn end_of_known(image: &Image) -> Result<usize, ElfError> {
    let mut end = image.end_of_loaded()?;
    let damaged = |_| ElfError::Damaged("its section table is outside the file");
    let table = image.header.sections(LE, image.bytes).map_err(damaged)?;
    if !table.is_empty() {
        end = end.max(image.header.e_shoff.get(LE) as usize + table.len() * size_of::<Section>());
    }
    for section in table.iter().filter(|section| section.sh_type.get(LE) != elf::SHT_NOBITS) {
        let last = section.sh_offset.get(LE).saturating_add(section.sh_size.get(LE));
        end = end.max(usize::try_from(last).unwrap_or(usize::MAX));
    }
    Ok(end)
}

impl Room {
    /// Makes the room in a program that is in memory.
    pub fn make_in(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.length as usize, 0);
        for (at, new) in &self.writes {
            // Planned inside `length`; and nothing is written where that were not so.
            if let Some(old) = bytes.get_mut(*at as usize..*at as usize + new.len()) {
                old.copy_from_slice(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::fixture::{self, Library};

    const SHARED: [&str; 2] = ["/python/lib", "/python/libc"];

    fn with_room(mut bytes: Vec<u8>) -> Vec<u8> {
        room(&bytes, "/python/libc", &SHARED).unwrap().expect("it is a program").make_in(&mut bytes);
        bytes
    }

    fn fill(bytes: &mut [u8], slot: Slot, text: &str) {
        let slot = &mut bytes[slot.offset as usize..(slot.offset + slot.size) as usize];
        slot.fill(0);
        slot[..text.len()].copy_from_slice(text.as_bytes());
    }

    #[test]
    fn a_program_with_room_keeps_every_byte_and_runs_with_the_loader_that_is_written_into_it() {
        let original = fixture::this_executable();
        let before = View::read(&original).unwrap();
        let mut bytes = with_room(original.clone());
        let after = View::read(&bytes).unwrap();
        let loader = before.interpreter.unwrap();
        assert_eq!(after.interpreter, Some(loader.replace("/lib64", "/python/libc")));
        assert_eq!(after.rpath, SHARED);
        assert_eq!((&after.needed, &after.glibc, after.runpath), (&before.needed, &before.glibc, None));
        let changed = original.iter().zip(&bytes).filter(|(old, new)| old != new).count();
        assert!(changed < 1000, "{changed} bytes of the program have changed");
        let slots = slots(&bytes).expect("there is room");
        fill(&mut bytes, slots.loader, &loader);
        fill(&mut bytes, slots.search_path, "");
        let listed = fixture::run(&bytes, &["--list", "program::tests"]);
        assert!(listed.contains("program::tests"), "{listed}");
        assert!(room(&bytes, "/python/libc", &SHARED).unwrap().is_none(), "it has room already");
    }

    #[test]
    fn sections_tell_where_things_are_now() {
        use object::{Object as _, ObjectSection as _};
        let bytes = with_room(fixture::this_executable());
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let interp = file.section_by_name(".interp").unwrap();
        assert!(interp.data().unwrap().starts_with(b"/python/libc/ld-linux"));
        assert!(file.section_by_name(".debug_info").is_some() || file.symbols().count() > 0);
        let strings = file.section_by_name(".dynstr").unwrap();
        let has = |text: &[u8]| strings.data().unwrap().windows(text.len()).any(|window| window == text);
        assert!(has(b"/python/lib:/python/libc\0") && has(b"libc.so.6\0"));
    }

    #[test]
    fn what_is_no_program_of_glibcs_gets_no_room() {
        let none = |bytes: &[u8]| room(bytes, "/python/libc", &SHARED).unwrap().is_none();
        assert!(none(b"#!/bin/sh\n") && none(b"\x7fELF\x01\x01"));
        assert!(none(&Library::new("libx.so").build()), "a library");
        let refusal = |bytes: &[u8]| match room(bytes, "/python/libc", &SHARED) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was accepted"),
        };
        let mut appended = fixture::this_executable();
        appended.extend(b"PK\x05\x06");
        assert_eq!(refusal(&appended), "it cannot be prepared: it carries something behind its end");
        let mut musl = fixture::this_executable();
        let at =
            Image::parse(&musl).map(|image| image.range(image.segment(elf::PT_INTERP).unwrap()).unwrap());
        let at = at.unwrap();
        musl[at.clone()].fill(0);
        musl[at.start..at.start + 13].copy_from_slice(b"/lib/ld-musl.");
        assert_eq!(refusal(&musl), "it cannot be prepared: it asks for the loader of another C library");
    }

    #[test]
    fn every_changed_byte_of_the_headers_is_an_error_or_an_answer() {
        let library = Library::new("libx.so").needed("liby.so").runpath("$ORIGIN").build();
        for at in 0..library.len() {
            for value in [0, 1, 3, 0x7f, 0x80, 0xff] {
                let mut bad = library.clone();
                bad[at] = value;
                let _ = slots(&bad);
                if let Ok(Some(room)) = room(&bad, "/python/libc", &SHARED) {
                    room.make_in(&mut bad);
                }
            }
        }
    }
}
