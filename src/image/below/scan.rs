//! A layer of a base, read from the first byte to the last: what it is, whatever is said of it, and what is in it.
//!
//! Archives of all dialects are read here, with the `tar` crate; only what coil itself writes is held to its own rules.

use std::io::{self, BufReader, Cursor, Read};

use coil_bootstrap::format::digest::Digest;

use crate::image::hashing::Hashing;
use crate::image::{Bytes, Compression};

/// What a layer is.
pub struct Scanned {
    /// The digest of the blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// How it is compressed.
    pub form: Compression,
    /// The digest of the archive in it.
    pub diff_id: Digest,
    /// The length of the archive in bytes.
    pub unpacked_size: u64,
    /// What is in the archive, in its order.
    pub entries: Vec<Listed>,
}

/// An entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path from the root on, without a slash at either end.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its mode.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symbolic link, and its target.
    Symlink(String),
    /// Another name of the file at this path.
    Hardlink(String),
    /// A device, a pipe.
    Other,
}

/// Reads a layer.
pub fn scan(bytes: &Bytes) -> io::Result<Scanned> {
    let mut raw = Hashing::new(BufReader::with_capacity(1 << 16, bytes.open()?));
    let (form, decoder) = decoder(&mut raw)?;
    let mut archive = Hashing::new(decoder);
    let mut entries = Vec::new();
    for entry in ::tar::Archive::new(&mut archive).entries()? {
        entries.push(listed(&entry?)?);
    }
    let (diff_id, unpacked_size) = archive.finish()?;
    let (digest, size) = raw.finish()?;
    Ok(Scanned { digest, size, form, diff_id, unpacked_size, entries })
}

/// The content of the entry `number` of a layer, which is a file of at most `limit` bytes.
pub fn content(bytes: &Bytes, number: usize, limit: u64) -> io::Result<Vec<u8>> {
    let mut raw = BufReader::new(bytes.open()?);
    let (_, decoder) = decoder(&mut raw)?;
    let mut archive = ::tar::Archive::new(decoder);
    let entry = archive.entries()?.nth(number).ok_or(io::ErrorKind::UnexpectedEof)??;
    if entry.size() > limit {
        return Err(io::Error::other(format!("{} is too long", entry.path()?.display())));
    }
    let mut content = Vec::new();
    entry.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// How a stream is compressed, by its first bytes, and what is in it.
fn decoder<'r>(raw: &'r mut (dyn Read + 'r)) -> io::Result<(Compression, Box<dyn Read + 'r>)> {
    let mut start = Vec::new();
    (&mut *raw).take(4).read_to_end(&mut start)?;
    let form = match start.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    };
    let stream = BufReader::new(Cursor::new(start).chain(raw));
    let decoder: Box<dyn Read> = match form {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(stream)?),
        Compression::None => Box::new(stream),
    };
    Ok((form, decoder))
}

fn listed(entry: &::tar::Entry<impl Read>) -> io::Result<Listed> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = entry.header();
    let target = || entry.link_name_bytes().map(|bytes| text(&bytes)).unwrap_or_default();
    let kind = header.entry_type();
    let kind = match kind {
        _ if kind.is_dir() => Kind::Directory,
        _ if kind.is_symlink() => Kind::Symlink(target()),
        _ if kind.is_hard_link() => Kind::Hardlink(plain(&target())),
        _ if kind.is_file() || kind.is_contiguous() => Kind::File,
        _ => Kind::Other,
    };
    // Some write nothing where they mean root.
    let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let owner = (id(header.uid()), id(header.gid()));
    Ok(Listed { path: plain(&text(&entry.path_bytes())), kind, mode: header.mode()? & 0o7777, owner })
}

/// A path without `./`, a slash in front or empty parts.
fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}
