//! An archive of images, read by its members.
//!
//! It is strict: what is not as coil writes it is a mismatch. What its JSON says is not believed here but by those who
//! have compared the digests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::tar::{self, BLOCK, Entry, Kind};
use serde::de::DeserializeOwned;

use super::hashing::Hashing;
use super::layout::{self, Format};
use super::oci;
use crate::error::{Context, Failure, Result};

/// The longest JSON that is read, in bytes.
const MAX_JSON: u64 = 16 << 20;

/// The layers of every image in the archive at `path`, bottom first, whether the archive has them or not.
pub fn layers_of(path: &Path) -> Result<Vec<Vec<Digest>>> {
    let archive = Archive::open(path)?;
    let unreadable = |why: &str| {
        Failure::new(format!("{} is no archive of an image: {why}", path.display()))
            .hint("name an archive that `coil image` made, or a bundle")
    };
    let index: oci::Index = archive.json(layout::INDEX).map_err(|why| unreadable(&why))?;
    let mut pending: Vec<_> = index.manifests.iter().map(|it| (it.media_type.clone(), it.digest)).collect();
    let mut images = Vec::new();
    // An index may list itself: no digest is compared here.
    let mut seen = BTreeSet::new();
    while let Some((media_type, digest)) = pending.pop() {
        if !seen.insert(digest) {
            continue;
        }
        let name = layout::place(Format::Oci, &digest);
        if media_type == oci::INDEX {
            let index: oci::Index = archive.json(&name).map_err(|why| unreadable(&why))?;
            pending.extend(index.manifests.iter().map(|it| (it.media_type.clone(), it.digest)));
        } else {
            let manifest: oci::Manifest = archive.json(&name).map_err(|why| unreadable(&why))?;
            images.push(manifest.layers.iter().map(|layer| layer.digest).collect());
        }
    }
    Ok(images)
}

/// An archive, by its members.
pub struct Archive {
    file: File,
    /// Where each member is, and its length, in bytes.
    pub members: BTreeMap<String, (u64, u64)>,
    /// What is not as it should be.
    pub mismatches: Vec<String>,
}

impl Archive {
    /// Lists the archive at `path`. Fails where it cannot be read at all.
    pub fn open(path: &Path) -> Result<Archive> {
        let cannot = || format!("cannot read {}", path.display());
        let file = File::open(path).context(cannot)?;
        let mut archive = Archive { file, members: BTreeMap::new(), mismatches: Vec::new() };
        archive.list().context(cannot)?;
        Ok(archive)
    }

    /// Lists the members. What cannot be one ends the list, and is a mismatch.
    fn list(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let mut reader = BufReader::new(&self.file);
        loop {
            let start = reader.stream_position()?;
            let entry = match Entry::read(&mut reader) {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    reader.seek(SeekFrom::Start(start))?;
                    let mut rest = Vec::new();
                    reader.take(tar::END.len() as u64 + 1).read_to_end(&mut rest)?;
                    if rest != tar::END {
                        self.mismatches.push("the archive does not end where it should".into());
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.mismatches.push(format!("at byte {start} the archive cannot be read: {error}"));
                    return Ok(());
                }
            };
            let mut header = vec![0; entry.encode().len()];
            reader.seek(SeekFrom::Start(start))?;
            reader.read_exact(&mut header)?;
            if header != entry.encode() {
                self.mismatches.push(format!("the header of {} is not as coil writes it", entry.path));
            }
            let Kind::File { size, .. } = entry.kind else { continue };
            let at = reader.stream_position()?;
            if at.saturating_add(size) > length {
                self.mismatches.push(format!("the archive ends inside {}", entry.path));
                return Ok(());
            }
            reader.seek(SeekFrom::Start(at + size))?;
            let mut padding = [0; BLOCK];
            let padding = &mut padding[..tar::padding(size)];
            if reader.read_exact(padding).is_err() || padding.iter().any(|byte| *byte != 0) {
                self.mismatches.push(format!("what follows {} is not zero", entry.path));
            }
            if self.members.insert(entry.path.to_string(), (at, size)).is_some() {
                self.mismatches.push(format!("{} is there twice", entry.path));
            }
        }
    }

    fn open_member(&self, name: &str) -> io::Result<Option<Take<&File>>> {
        let Some((at, size)) = self.members.get(name).copied() else { return Ok(None) };
        (&self.file).seek(SeekFrom::Start(at))?;
        Ok(Some((&self.file).take(size)))
    }

    /// The digest and the length of a member.
    pub fn sum(&self, name: &str) -> io::Result<Option<(Digest, u64)>> {
        self.open_member(name)?.map(|member| Hashing::new(member).finish()).transpose()
    }

    /// The diff_id of a layer, and what is in it.
    pub fn unpack(&self, name: &str, media_type: &str) -> Result<(Digest, Contents), String> {
        let told = |error: io::Error| error.to_string();
        let member = self.open_member(name).map_err(told)?.ok_or("it is missing")?;
        let archive: Box<dyn Read + '_> = match media_type.strip_prefix(oci::LAYER) {
            Some("+zstd") => Box::new(zstd::Decoder::new(member).map_err(told)?),
            Some("+gzip") => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(member))),
            Some("") => Box::new(BufReader::new(member)),
            _ => return Err(format!("it has the media type {media_type}")),
        };
        let mut archive = Hashing::new(archive);
        let contents = Contents::read(&mut archive).map_err(told)?;
        let (digest, _) = archive.finish().map_err(told)?;
        Ok((digest, contents))
    }

    /// A member of JSON; the error is a sentence.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        if self.members.get(name).is_some_and(|(_, size)| *size > MAX_JSON) {
            return Err(format!("{name} is too long"));
        }
        let mut bytes = Vec::new();
        let member = self.open_member(name).map_err(|error| error.to_string())?;
        let mut member = member.ok_or_else(|| format!("{name} is missing"))?;
        member.read_to_end(&mut bytes).map_err(|error| format!("{name} cannot be read: {error}"))?;
        Ok(bytes)
    }

    /// The same, parsed.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let bytes = self.read(name)?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{name} cannot be read: {error}"))
    }
}

/// What is in a layer's archive, as far as rules are about that.
#[derive(Default)]
pub struct Contents {
    /// What breaks a rule.
    pub mismatches: Vec<String>,
    /// Each directory with its mode, user and group.
    pub directories: BTreeMap<String, (u32, u64, u64)>,
}

impl Contents {
    /// "Layer Changesets" of the OCI image specification: no path twice, nothing but what is below the root.
    fn read(reader: &mut dyn Read) -> io::Result<Contents> {
        let mut contents = Contents::default();
        let mut there = BTreeSet::new();
        let mut archive = ::tar::Archive::new(reader);
        for entry in archive.entries()? {
            let entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_end_matches('/').to_owned();
            if path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
                contents.mismatches.push(format!("has the path {path}, which is not below the root"));
            }
            if path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh.")) {
                contents.mismatches.push(format!("has the path {path}, which removes what is below"));
            }
            if entry.header().entry_type().is_dir() {
                let header = entry.header();
                contents.directories.insert(path.clone(), (header.mode()?, header.uid()?, header.gid()?));
            }
            if !there.insert(path.clone()) {
                contents.mismatches.push(format!("has the path {path} twice"));
            }
        }
        Ok(contents)
    }
}
