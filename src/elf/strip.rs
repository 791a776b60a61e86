//! Dropping what is in a file but never loaded: symbols, debugging sections, comments.
//!
//! Nothing that is loaded moves or changes, so that this is safe for libc and the loader itself, which
//! tools that lay files out anew break:
//!
//! ```text
//! before  | header, segments ............ | .symtab .strtab .debug_* .comment | section table |
//! after   | the same bytes, unchanged ... | names of loaded sections | their table |
//! ```

use super::ElfError;
use super::image::Image;
use super::sections::Sections;

/// Drops what is not loaded; returns whether there was anything to drop.
///
/// What is no loadable ELF file of a known class (archives, object files, text) passes unchanged. So
/// does data that somebody appended after the end: a file that carries its payload so must not come here.
pub fn strip(bytes: &mut Vec<u8>) -> Result<bool, ElfError> {
    let image = match Image::parse(bytes) {
        Ok(image) if image.is_loaded() => image,
        Ok(_) | Err(ElfError::NotElf | ElfError::Foreign(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let sections = Sections::loaded(&image)?;
    let mut stripped = bytes[..image.end_of_loaded()?].to_vec();
    sections.append_to(&mut stripped)?;
    if stripped.len() >= bytes.len() {
        return Ok(false);
    }
    *bytes = stripped;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::{View, fixture};

    #[test]
    fn an_executable_without_its_symbols_still_runs() {
        let mut bytes = fixture::this_executable();
        let before = (bytes.len(), View::read(&bytes).unwrap());
        assert!(strip(&mut bytes).unwrap());
        assert!(bytes.len() < before.0);
        assert_eq!(View::read(&bytes).unwrap(), before.1);
        let listed = fixture::run(&bytes, &["--list", "an_executable_without"]);
        assert!(listed.contains("an_executable_without_its_symbols_still_runs: test"), "{listed}");
    }

    #[test]
    fn stripping_twice_changes_nothing_the_second_time() {
        let mut bytes = fixture::this_executable();
        strip(&mut bytes).unwrap();
        let once = bytes.clone();
        assert!(!strip(&mut bytes).unwrap());
        assert!(bytes == once);
    }

    #[test]
    fn what_is_not_loadable_passes_unchanged() {
        for other in [&b"!<arch>\nx"[..], b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01"] {
            let mut bytes = other.to_vec();
            assert!(!strip(&mut bytes).unwrap());
            assert_eq!(bytes, other);
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_an_answer() {
        let library = fixture::Library::new("libx.so.1").needed("liby.so").build();
        for length in 0..library.len() {
            let _ = strip(&mut library[..length].to_vec());
        }
        for at in 0..library.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = library.clone();
                bad[at] = value;
                let _ = strip(&mut bad);
            }
        }
    }
}
