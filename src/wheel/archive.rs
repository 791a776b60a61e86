//! The zip archive that a wheel is: its members, checked, and their content.
//!
//! It believes nothing the archive says of itself: names are checked before anybody sees them, and
//! nothing is allocated because a size is declared. It knows nothing of wheels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::path::TreePath;
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipArchive};

use super::inflate::Inflater;
use crate::error::{Context, ELSEWHERE, Failure, Result, Writing};

/// An open archive.
pub struct Archive {
    label: String,
    digest: Digest,
    zip: ZipArchive<BufReader<File>>,
    members: Vec<Member>,
    inflater: Inflater,
}

/// A file or a symbolic link in the archive.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub path: TreePath,
    /// Its length in bytes, as the archive declares it.
    pub size: u64,
    /// Whether any of the executable bits is set.
    pub executable: bool,
    /// Whether it is a symbolic link, its content being the target.
    pub link: bool,
    deflated: bool,
    index: usize,
}

impl Archive {
    /// Opens the archive at `path`, called `label` in messages, and checks all names.
    pub fn open(path: &Path, label: &str) -> Result<Self> {
        let mut file = File::open(path).context(|| format!("{} cannot be read", path.display()))?;
        let digest = digest(&mut file).context(|| format!("{} cannot be read", path.display()))?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|cause| damaged(label, cause))?;
        if zip.has_duplicate_names() {
            let mut again = File::open(path).context(|| format!("{} cannot be read", path.display()))?;
            refuse_differing_twins(&mut again, zip.central_directory_start(), label)?;
        }
        let mut archive =
            Archive { label: label.to_owned(), digest, zip, members: Vec::new(), inflater: Inflater::new() };
        for index in 0..archive.zip.len() {
            if let Some(member) = archive.check(index)? {
                archive.members.push(member);
            }
        }
        Ok(archive)
    }

    /// The SHA-256 of the whole archive file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The files and links, in the order of the archive. No name is there twice.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Copies the content of `member` into `sink`, `limit` bytes of it at most.
    ///
    /// Fails where there is more than `limit`, and where there is not exactly what the archive declares.
    pub fn copy(&mut self, member: &Member, limit: u64, sink: &mut dyn Write) -> Result<()> {
        let about = |what: &str| format!("{}: the member {} {what}", self.label, member.path);
        let bound = limit.min(member.size);
        if member.size > limit {
            return Err(Failure::new(about(&format!(
                "has {} bytes instead of at most {limit}",
                member.size
            ))));
        }
        let unreadable = |cause| Failure::new(about("cannot be read")).because(cause);
        let copied = if member.deflated {
            let mut raw = self.zip.by_index_raw(member.index).map_err(unreadable)?;
            let crc32 = raw.crc32();
            self.inflater.copy(&mut raw, crc32, bound, sink)
        } else {
            let content = self.zip.by_index(member.index).map_err(unreadable)?;
            io::copy(&mut content.take(bound.saturating_add(1)), sink)
        };
        let copied = copied.writing(&tempfile::env::temp_dir(), ELSEWHERE, || about("cannot be unpacked"))?;
        if copied != member.size {
            return Err(Failure::new(about(&format!("does not have the {bound} bytes that it declares"))));
        }
        Ok(())
    }

    /// Reads the content of a `member` that has a place in memory, `limit` bytes of it at most.
    pub fn read(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.copy(member, limit, &mut bytes)?;
        Ok(bytes)
    }

    /// The member at `index`, or `None` for a directory: those follow from the files in them.
    fn check(&self, index: usize) -> Result<Option<Member>> {
        let entry = self.zip.by_index_data(index).map_err(|cause| damaged(&self.label, cause))?;
        let raw = entry.name_raw();
        let refuse = |why: &str| {
            Failure::new(format!("{}: the member {:?} {why}", self.label, String::from_utf8_lossy(raw)))
                .hint("no installer accepts such a wheel: take it from another source or build it again")
        };
        let name = std::str::from_utf8(raw).map_err(|_| refuse("has a name that is not UTF-8"))?;
        if name.contains('\\') {
            return Err(refuse("has a backslash in its name"));
        }
        let path = TreePath::new(name.strip_suffix('/').unwrap_or(name))
            .map_err(|error| refuse(&format!("has a name that cannot be installed: {}", error.reason)))?;
        if entry.encrypted() {
            return Err(refuse("is encrypted"));
        }
        if name.ends_with('/') {
            return Ok(None);
        }
        // As pip does: the upper half of the attributes is a Unix mode, whatever system made the archive.
        let mode = entry.external_attributes() >> 16;
        let link = mode & TYPE_MASK == TYPE_LINK;
        if !link && !matches!(mode & TYPE_MASK, 0 | TYPE_FILE) {
            return Err(refuse("is neither a file nor a symbolic link"));
        }
        let deflated = entry.compression() == CompressionMethod::Deflated;
        Ok(Some(Member { path, size: entry.size(), executable: mode & 0o111 != 0, link, deflated, index }))
    }
}

const TYPE_MASK: u32 = 0o170_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_FILE: u32 = 0o100_000;

fn damaged(label: &str, cause: zip::result::ZipError) -> Failure {
    Failure::new(format!("{label} is not a zip archive, or not all of one"))
        .because(cause)
        .hint("fetch it again: it looks cut off or damaged")
}

fn digest(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// Looks for members of one name whose content differs.
///
/// The reader keeps the last member of each name; what it leaves out is seen in the directory alone:
///
/// ```text
/// 0        4    16     20          24          28    30     32       34   46
/// P K 1 2  ...  CRC-32 compressed  size        name  extra  comment  ...  name, extra, comment
///                                              (lengths, 16 bit)
/// ```
fn refuse_differing_twins(file: &mut File, start: u64, label: &str) -> Result<()> {
    let read = |cause: io::Error| damaged(label, cause.into());
    file.seek(SeekFrom::Start(start)).map_err(read)?;
    let mut directory = BufReader::new(file);
    let mut seen: BTreeMap<Vec<u8>, [u8; 8]> = BTreeMap::new();
    let mut differing = BTreeSet::new();
    loop {
        let mut header = [0; 46];
        directory.read_exact(&mut header[..4]).map_err(read)?;
        if header[..4] != *b"PK\x01\x02" {
            break;
        }
        directory.read_exact(&mut header[4..]).map_err(read)?;
        let length = |at: usize| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let mut name = Vec::new();
        (&mut directory).take(length(28)).read_to_end(&mut name).map_err(read)?;
        io::copy(&mut (&mut directory).take(length(30) + length(32)), &mut io::sink()).map_err(read)?;
        let mut content = [0; 8];
        content[..4].copy_from_slice(&header[16..20]);
        content[4..].copy_from_slice(&header[24..28]);
        if seen.insert(name.clone(), content).is_some_and(|other| other != content) {
            differing.insert(String::from_utf8_lossy(&name).into_owned());
        }
    }
    match differing.first() {
        None => Ok(()),
        Some(name) => {
            Err(Failure::new(format!("{label}: the member {name} is there twice, with different content"))
                .hint("no two installers agree on such a wheel: build it again"))
        }
    }
}
