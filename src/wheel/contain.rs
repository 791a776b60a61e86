//! Libraries from wheels, made to look for their own libraries inside the bundle only.
//!
//! What must change is decided in [`crate::elf::search_path`]; this knows where the bytes are.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use memmap2::MmapMut;

use crate::elf::ElfError;
use crate::elf::search_path::contain;
use crate::tree::Content;

/// What became of a member's search path.
pub enum Contained {
    /// It is no ELF file, or one that needs no change.
    Unchanged,
    /// These are its bytes now.
    Changed(Content),
    /// It is an ELF file that cannot be read or changed; it stays as it is.
    Impossible(ElfError),
}

/// Turns the search path of `content` into one that stays inside the bundle, if it is an ELF file.
pub fn contain_elf(content: &Content) -> io::Result<Contained> {
    if beginning(content, 4)? != b"\x7fELF" {
        return Ok(Contained::Unchanged);
    }
    let (content, changed) = match content {
        Content::Temporary(path) => (content.clone(), contain_on_disk(path)?),
        _ => {
            let mut bytes = content.read()?;
            let changed = contain(&mut bytes);
            (Content::bytes(bytes), changed)
        }
    };
    Ok(match changed {
        Ok(false) => Contained::Unchanged,
        Ok(true) => Contained::Changed(content),
        Err(error) => Contained::Impossible(error),
    })
}

/// The first bytes of `content`: `length` of them, or all where it is shorter.
pub fn beginning(content: &Content, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some((_, reader)) = content.open()? {
        reader.take(length as u64).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Changes the file itself: libraries of a gigabyte exist, and a few bytes of them change.
fn contain_on_disk(path: &Path) -> io::Result<Result<bool, ElfError>> {
    let file = File::options().read(true).write(true).open(path)?;
    // SAFETY: the file is a temporary one that this process has just written, readable by its owner
    // alone and named at random; nobody else truncates or writes it while it is mapped.
    let mut bytes = unsafe { MmapMut::map_mut(&file) }?;
    Ok(contain(&mut bytes))
}
