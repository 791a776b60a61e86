//! The files of an image layout: in a directory, or as members of an archive of anybody's making.
//!
//! What `docker save`, `skopeo copy`, `podman save` and `coil image` write is read, compressed as a whole or not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Context, Failure, Result};
use crate::image::Bytes;
use crate::image::layout;

/// The longest JSON that is read, in bytes.
pub const MAX_JSON: u64 = 16 << 20;

/// How many links to other members are followed.
const MAX_LINKS: usize = 8;

/// The files of a layout.
pub struct Files {
    from: From,
}

enum From {
    Directory(PathBuf),
    Archive(Arc<File>, BTreeMap<String, Member>),
}

enum Member {
    /// Where its content begins, and how long it is, in bytes.
    At(u64, u64),
    /// The name of the member that it stands for.
    Link(String),
}

impl Files {
    /// Opens what is at `path`.
    pub fn open(path: &Path) -> Result<Files> {
        let cannot = || format!("cannot read the base {}", path.display());
        let from = if path.is_dir() {
            From::Directory(path.to_owned())
        } else {
            let file = whole(path).context(cannot)?;
            let members = list(&file).map_err(|error| none(path).because(error))?;
            From::Archive(Arc::new(file), members)
        };
        let files = Files { from };
        match files.has(layout::INDEX) || files.has(layout::DOCKER) {
            true => Ok(files),
            false => Err(none(path)),
        }
    }

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Where the content of a file is.
    pub fn find(&self, name: &str) -> io::Result<Bytes> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
        match &self.from {
            From::Directory(directory) => {
                let inside = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
                let path = directory.join(name);
                let file = File::open(path).ok().filter(|_| inside).ok_or_else(missing)?;
                let status = file.metadata()?;
                if !status.is_file() {
                    return Err(missing());
                }
                Ok(Bytes::Held(Arc::new(file), 0, status.len()))
            }
            From::Archive(file, members) => {
                let mut name = name;
                for _ in 0..MAX_LINKS {
                    match members.get(name).ok_or_else(missing)? {
                        Member::At(at, size) => return Ok(Bytes::Held(Arc::clone(file), *at, *size)),
                        Member::Link(other) => name = other,
                    }
                }
                Err(missing())
            }
        }
    }

    /// The whole content of a file of JSON.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.find(name)?.open()?.take(MAX_JSON + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MAX_JSON {
            true => Err(io::Error::other(format!("{name} is too long"))),
            false => Ok(bytes),
        }
    }
}

fn none(path: &Path) -> Failure {
    Failure::new(format!("{} is no base: there is no image in it", path.display())).hint(
        "name an image layout, or an archive that `docker save`, `skopeo copy` or `coil image` wrote; \
         `docker import` makes an image of a root file system",
    )
}

/// The archive as a file that can be read anywhere: one that is compressed as a whole is unpacked.
fn whole(path: &Path) -> io::Result<File> {
    let mut file = File::open(path)?;
    let mut magic = Vec::new();
    (&file).take(4).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let mut decoder: Box<dyn Read> = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file)?),
        _ => return Ok(file),
    };
    let mut unpacked = tempfile::tempfile()?;
    io::copy(&mut decoder, &mut unpacked)?;
    Ok(unpacked)
}

fn list(mut file: &File) -> io::Result<BTreeMap<String, Member>> {
    file.seek(SeekFrom::Start(0))?;
    let mut members = BTreeMap::new();
    for entry in ::tar::Archive::new(file).entries_with_seek()? {
        let entry = entry?;
        let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
        let kind = entry.header().entry_type();
        if kind.is_file() {
            members.insert(name, Member::At(entry.raw_file_position(), entry.size()));
        } else if let Some(target) = entry.link_name_bytes() {
            let target = String::from_utf8_lossy(&target).into_owned();
            let here = name.rsplit_once('/').map_or("", |(here, _)| here).to_owned();
            let target = if kind.is_symlink() { format!("{here}/{target}") } else { target };
            members.insert(name, Member::Link(plain(&target)));
        }
    }
    Ok(members)
}

/// A member's name without `./` in front and with `..` resolved.
fn plain(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
