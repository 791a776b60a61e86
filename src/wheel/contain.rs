//! Libraries from wheels, made to look for their own libraries inside the bundle only, and programs, given room
//! for the loader and the libraries of the runtime they will run with.
//!
//! What must change is decided in [`crate::elf`]; this knows where the bytes are.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::MmapMut;

use crate::elf::ElfError;
use crate::elf::program::{Room, room};
use crate::elf::search_path::contain;
use crate::runtime;
use crate::tree::Content;

/// What became of a member.
pub enum Contained {
    /// It is no ELF file, or one that needs no change.
    Unchanged,
    /// These are its bytes now.
    Changed(Content),
    /// It is an ELF file that cannot be read or changed; it stays as it is.
    Impossible(ElfError),
    /// It is a program that cannot be given room, and goes on asking for the host's loader. Its bytes, where they
    /// have changed all the same.
    OfHost(ElfError, Option<Content>),
}

/// Makes room in `content`, if it is a program; turns its search path into one that stays inside the
/// bundle, if it is another ELF file.
pub fn contain_elf(content: &Content) -> io::Result<Contained> {
    if beginning(content, 4)? != b"\x7fELF" {
        return Ok(Contained::Unchanged);
    }
    let (content, (changed, refusal)) = match content {
        Content::Temporary(path) => (content.clone(), change_on_disk(path)?),
        _ => {
            let mut bytes = content.read()?;
            let outcome = match make_room(&bytes) {
                Ok(Some(room)) => {
                    room.make_in(&mut bytes);
                    (Ok(true), None)
                }
                otherwise => (contain(&mut bytes), otherwise.err()),
            };
            (Content::bytes(bytes), outcome)
        }
    };
    Ok(match (changed, refusal) {
        (Err(error), _) => Contained::Impossible(error),
        (Ok(changed), Some(error)) => Contained::OfHost(error, changed.then_some(content)),
        (Ok(false), None) => Contained::Unchanged,
        (Ok(true), None) => Contained::Changed(content),
    })
}

fn make_room(bytes: &[u8]) -> Result<Option<Room>, ElfError> {
    let shared = runtime::SEARCH_PATH.map(|directory| format!("/{directory}"));
    room(bytes, &format!("/{}", runtime::LIBC), &shared.each_ref().map(String::as_str))
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
fn change_on_disk(path: &Path) -> io::Result<(Result<bool, ElfError>, Option<ElfError>)> {
    let file = File::options().read(true).write(true).open(path)?;
    // SAFETY: the file is a temporary one that this process has just written, readable by its owner
    // alone and named at random; nobody else truncates or writes it while it is mapped.
    let mut bytes = unsafe { MmapMut::map_mut(&file) }?;
    match make_room(&bytes) {
        Ok(Some(room)) => {
            drop(bytes);
            file.set_len(room.length)?;
            for (at, new) in &room.writes {
                file.write_all_at(new, *at)?;
            }
            Ok((Ok(true), None))
        }
        otherwise => Ok((contain(&mut bytes), otherwise.err())),
    }
}
