//! Having all calls of a file resolved when it is loaded, as `ld -z now` does.
//!
//! A call into another library is resolved when it is made for the first time, unless the file says otherwise: the loader
//! saves all vector registers, looks the symbol up and takes a microsecond or more. Starting Python makes hundreds of such calls,
//! most of them in a shared libpython, where one function calls another in this way. All at once they take a quarter of that: a
//! start is 0.7 of 13 ms shorter. What is missing is noticed at the start and not in the middle.

use object::LittleEndian as LE;
use object::elf;

use super::ElfError;
use super::image::{Image, entry, put};

/// How many null entries are left alone: the last one, and one for the search path.
const LEFT: usize = 2;

/// Has the calls of `bytes` resolved when it is loaded; returns whether it had to be changed. The file keeps its size.
///
/// What is no ELF file for this kind of machine, what is not linked dynamically and what has no room for another entry
/// passes unchanged.
pub fn bind_now(bytes: &mut [u8]) -> Result<bool, ElfError> {
    let image = match Image::parse(bytes) {
        Ok(image) => image,
        Err(ElfError::NotElf | ElfError::Foreign(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(dynamic) = image.dynamic()? else { return Ok(false) };
    let flags = dynamic.entries().iter().position(|entry| entry.d_tag.get(LE) == elf::DT_FLAGS_1);
    let before = flags.map_or(0, |at| dynamic.entries[at].d_val.get(LE));
    let now = elf::DF_1_NOW.0;
    let has_room = dynamic.entries.len() - dynamic.used > LEFT;
    if before & now != 0 || flags.is_none() && !has_room {
        return Ok(false);
    }
    let at = dynamic.offset + flags.unwrap_or(dynamic.used) * size_of_val(&dynamic.entries[0]);
    put(bytes, at, &entry(elf::DT_FLAGS_1, before | now));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::contain;
    use crate::elf::fixture::{Library, run, this_executable};

    fn flags(bytes: &[u8]) -> Option<u64> {
        Image::parse(bytes).unwrap().dynamic().unwrap().unwrap().value(elf::DT_FLAGS_1)
    }

    #[test]
    fn a_program_whose_calls_are_resolved_at_once_has_its_other_flags_and_runs() {
        let mut bytes = this_executable();
        let image = Image::parse(&bytes).unwrap();
        let dynamic = image.dynamic().unwrap().unwrap();
        let at = dynamic.entries().iter().position(|entry| entry.d_tag.get(LE) == elf::DT_FLAGS_1).unwrap();
        let (at, other) = (dynamic.offset + at * size_of_val(&dynamic.entries[0]), elf::DF_1_PIE.0);
        put(&mut bytes, at, &entry(elf::DT_FLAGS_1, other));
        assert!(bind_now(&mut bytes).unwrap());
        assert_eq!(flags(&bytes), Some(other | elf::DF_1_NOW.0));
        assert!(!bind_now(&mut bytes).unwrap(), "a second time changes it again");
        assert!(run(&bytes, &["--list", "binding"]).contains("binding::tests"));
    }

    #[test]
    fn flags_are_added_where_there_is_room_for_them_and_for_a_search_path() {
        let library = |paths: &[&str]| {
            let library = Library::new("libx.so").needed("liby.so");
            let add = |library: Library, path: &&str| library.rpath(path);
            let mut bytes = paths.iter().fold(library, add).build();
            contain(&mut bytes).unwrap();
            bytes
        };
        // Each search path that is gone leaves room for an entry.
        let mut narrow = library(&["/opt/a"]);
        assert!(!bind_now(&mut narrow).unwrap());
        assert_eq!(flags(&narrow), None);
        let mut wide = library(&["/opt/a", "/opt/b"]);
        let length = wide.len();
        assert!(bind_now(&mut wide).unwrap());
        assert_eq!((flags(&wide), wide.len()), (Some(elf::DF_1_NOW.0), length));
        let mut text = b"#!/bin/sh".to_vec();
        assert!(!bind_now(&mut text).unwrap());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_an_answer() {
        let library = Library::new("libx.so").needed("liby.so").rpath("/opt/a").build();
        for length in 0..library.len() {
            let _ = bind_now(&mut library[..length].to_vec());
        }
        for at in 0..library.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = library.clone();
                bad[at] = value;
                let _ = bind_now(&mut bad);
            }
        }
    }
}
