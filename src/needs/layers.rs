//! Reading what a layer's files need out of the layer itself, as it lies in a bundle or in the cache.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use coil_bootstrap::format::tar::{Entry, Kind, padding};

use super::Needs;
use super::file::read;
use super::imports::Imports;
use super::roles::Files;
use crate::elf::Machine;
use crate::layer::BlobPlace;
use crate::runtime::SEARCH_PATH;
use crate::tree::Content;

/// Files longer than this, in bytes, are read from disk: a gigabyte need not be in memory.
const IN_MEMORY: u64 = 16 << 20;

/// Behind everything in [`SEARCH_PATH`]'s first directory: the order of a layer is that of its paths' bytes.
const LIBRARIES_END: &str = "python/lib0";

/// What the files of the layer at `place`, a blob of `size` bytes, need on `machine`.
///
/// Fails as reading and decoding fail. The layer's digest is not checked.
pub fn of_layer(place: &BlobPlace, size: u64, machine: &Machine) -> io::Result<Needs> {
    let mut file = File::open(&place.file)?;
    file.seek(SeekFrom::Start(place.offset))?;
    let mut archive = zstd::Decoder::new(file.take(size))?;
    let (mut files, mut imports) = (Files::default(), Imports::default());
    while let Some(Entry { path, kind }) = Entry::read(&mut archive)? {
        let Kind::File { size, .. } = kind else { continue };
        let mut start = Vec::new();
        (&mut archive).take(size.min(4)).read_to_end(&mut start)?;
        let mut rest = (&mut archive).take(size - start.len() as u64);
        if start == b"\x7fELF" {
            let content = content(start, size, &mut rest)?;
            read(&path, &content, machine)?.into_iter().for_each(|reading| files.add(reading));
        } else if Imports::wants(&path) && size <= IN_MEMORY {
            rest.read_to_end(&mut start)?;
            imports.add(&path, &start);
        } else {
            io::copy(&mut rest, &mut io::sink())?;
        }
        archive.read_exact(&mut vec![0; padding(size)])?;
    }
    Ok(Needs::of(&files, &imports))
}

/// The names of the libraries that the runtime in the layer at `place` carries beside libc's and the compiler's, which
/// every runtime has: all of `python/lib` before the standard library, so that little of the layer is read.
///
/// Fails as reading and decoding fail. The layer's digest is not checked.
pub fn libraries_of_runtime(place: &BlobPlace, size: u64) -> io::Result<BTreeSet<String>> {
    let mut file = File::open(&place.file)?;
    file.seek(SeekFrom::Start(place.offset))?;
    let mut archive = zstd::Decoder::new(file.take(size))?;
    let mut names = BTreeSet::new();
    while let Some(Entry { path, kind }) = Entry::read(&mut archive)? {
        let below = path.strip_prefix(SEARCH_PATH[0]).and_then(|rest| rest.strip_prefix('/'));
        if below.is_some_and(|name| name.starts_with("python")) || &*path > LIBRARIES_END {
            break;
        }
        let Kind::File { size, .. } = kind else { continue };
        names.extend(below.filter(|name| name.contains(".so")).map(str::to_owned));
        let whole = size + padding(size) as u64;
        io::copy(&mut (&mut archive).take(whole), &mut io::sink())?;
    }
    Ok(names)
}

fn content(start: Vec<u8>, size: u64, rest: &mut dyn Read) -> io::Result<Content> {
    if size > IN_MEMORY {
        let mut file = tempfile::NamedTempFile::new()?;
        io::copy(&mut start.chain(rest), &mut file)?;
        return Ok(Content::Temporary(Arc::new(file.into_temp_path())));
    }
    let mut bytes = start;
    rest.read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Content::bytes(bytes))
}
