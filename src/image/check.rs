//! Checks an archive of images: computes every digest, diff_id, size and annotation anew and tells all that differs.
//!
//! It reads archives as coil writes them, and is strict about that: of such a file no byte can change unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::tar::{self, BLOCK, Entry, Kind};
use serde::de::DeserializeOwned;

use super::hashing::Hashing;
use super::layout::{self, Format, Parts};
use super::oci;
use super::reference::Reference;
use crate::error::{Context, Failure, Result};

/// The longest JSON that is read, in bytes.
const MAX_JSON: u64 = 16 << 20;

/// What a check came to.
#[derive(Debug, Default)]
pub struct Checked {
    /// What differs, a sentence each.
    pub mismatches: Vec<String>,
    /// The layers that were looked at.
    pub layers: usize,
    /// The images' ids.
    pub ids: Vec<Digest>,
}

/// Checks the archive at `path`. Layers in `elsewhere` may be missing.
///
/// Fails where the file cannot be read at all.
pub fn check(path: &Path, elsewhere: &BTreeSet<Digest>) -> Result<Checked> {
    let archive = Archive::open(path)?;
    let mut check = Check {
        archive,
        elsewhere,
        checked: Checked::default(),
        used: BTreeSet::new(),
        directories: BTreeMap::new(),
    };
    check.checked.mismatches.append(&mut check.archive.mismatches);
    check.run().context(|| format!("cannot read {}", path.display()))?;
    Ok(check.checked)
}

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
    while let Some((media_type, digest)) = pending.pop() {
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
struct Archive {
    file: File,
    members: BTreeMap<String, (u64, u64)>,
    mismatches: Vec<String>,
}

impl Archive {
    fn open(path: &Path) -> Result<Archive> {
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
    fn sum(&self, name: &str) -> io::Result<Option<(Digest, u64)>> {
        self.open_member(name)?.map(|member| Hashing::new(member).finish()).transpose()
    }

    /// The diff_id of a layer, and what is in it.
    fn unpack(&self, name: &str, media_type: &str) -> Result<(Digest, Contents), String> {
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

    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        if self.members.get(name).is_some_and(|(_, size)| *size > MAX_JSON) {
            return Err(format!("{name} is too long"));
        }
        let mut bytes = Vec::new();
        let member = self.open_member(name).map_err(|error| error.to_string())?;
        let mut member = member.ok_or_else(|| format!("{name} is missing"))?;
        member.read_to_end(&mut bytes).map_err(|error| format!("{name} cannot be read: {error}"))?;
        Ok(bytes)
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let bytes = self.read(name)?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{name} cannot be read: {error}"))
    }
}

struct Check<'a> {
    archive: Archive,
    elsewhere: &'a BTreeSet<Digest>,
    checked: Checked,
    used: BTreeSet<String>,
    /// Mode and owner of every directory in the image that is looked at.
    directories: BTreeMap<String, (u32, u64, u64)>,
}

impl Check<'_> {
    fn run(&mut self) -> io::Result<()> {
        match self.archive.read(layout::VERSION) {
            Ok(bytes) if bytes == layout::VERSION_TEXT => {}
            Ok(_) => self.tell("oci-layout does not say version 1.0.0"),
            Err(why) => self.tell(why),
        }
        let index: oci::Index = match self.archive.json(layout::INDEX) {
            Ok(index) => index,
            Err(why) => {
                self.tell(why);
                return Ok(());
            }
        };
        let images = self.images(&index)?;
        self.lists(&index, &images);
        let known = [layout::VERSION, layout::INDEX, layout::DOCKER];
        let members: Vec<String> = self.archive.members.keys().cloned().collect();
        for name in
            members.iter().filter(|name| !known.contains(&name.as_str()) && !self.used.contains(*name))
        {
            self.checked.mismatches.push(format!("nothing refers to {name}"));
        }
        Ok(())
    }

    /// Every image that the index leads to.
    fn images(&mut self, index: &oci::Index) -> io::Result<Vec<Parts>> {
        let mut images = Vec::new();
        for descriptor in &index.manifests {
            let Some(bytes) = self.blob(descriptor, "the manifest")? else { continue };
            if descriptor.media_type == oci::INDEX {
                match serde_json::from_slice::<oci::Index>(&bytes) {
                    Ok(nested) => images.extend(self.images(&nested)?),
                    Err(error) => self.tell(format!("{} cannot be read: {error}", descriptor.digest)),
                }
                continue;
            }
            match serde_json::from_slice::<oci::Manifest>(&bytes) {
                Ok(manifest) => images.push(self.image(descriptor, &manifest)?),
                Err(error) => self.tell(format!("{} cannot be read: {error}", descriptor.digest)),
            }
        }
        Ok(images)
    }

    fn image(&mut self, descriptor: &oci::Descriptor, manifest: &oci::Manifest) -> io::Result<Parts> {
        self.directories.clear();
        let types = [descriptor.media_type.as_str(), manifest.media_type.as_str()];
        if (manifest.schema_version, types) != (2, [oci::MANIFEST; 2]) {
            self.tell(format!("{} is no manifest by what it says", descriptor.digest));
        }
        let config = match self.blob(&manifest.config, "the configuration")? {
            Some(bytes) => serde_json::from_slice::<oci::Config>(&bytes).map_err(|error| error.to_string()),
            None => Err("it is missing or damaged".into()),
        };
        match config {
            Ok(config) => {
                self.facts(descriptor, manifest, &config);
                let diff_ids = config.rootfs.diff_ids.iter().map(Some).chain(std::iter::repeat(None));
                for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
                    self.layer(layer, diff_id)?;
                }
            }
            Err(why) => {
                self.tell(format!("the configuration {} cannot be read: {why}", manifest.config.digest))
            }
        }
        self.checked.ids.push(manifest.config.digest);
        let layers = manifest.layers.iter().map(|layer| layer.digest).collect();
        let mut descriptor = descriptor.clone();
        descriptor.annotations.clear();
        Ok(Parts { descriptor, config: manifest.config.digest, layers })
    }

    /// What manifest, configuration and index say of one image, beside its layers.
    fn facts(&mut self, descriptor: &oci::Descriptor, manifest: &oci::Manifest, config: &oci::Config) {
        let platform = oci::Platform { architecture: config.architecture.clone(), os: config.os.clone() };
        if descriptor.platform.as_ref() != Some(&platform) {
            self.tell(format!("the platform of {} is not that of its configuration", descriptor.digest));
        }
        if manifest.config.media_type != oci::CONFIG {
            self.tell(format!("the configuration has the media type {}", manifest.config.media_type));
        }
        if manifest.annotations != config.config.labels {
            self.tell(format!(
                "the annotations of {} are not the labels of its configuration",
                descriptor.digest
            ));
        }
        let created = manifest.annotations.get("org.opencontainers.image.created");
        if created != Some(&config.created) {
            self.tell("the annotation of when it was created is not what the configuration says");
        }
        let counts = [config.rootfs.diff_ids.len(), config.history.len()];
        if counts.iter().any(|count| *count != manifest.layers.len()) {
            self.tell(format!(
                "the manifest has {} layers, the configuration {} and its history {}",
                manifest.layers.len(),
                counts[0],
                counts[1]
            ));
        }
    }

    /// A blob in memory; `None`, and a mismatch, where it is missing or is not what is said of it.
    fn blob(&mut self, descriptor: &oci::Descriptor, what: &str) -> io::Result<Option<Vec<u8>>> {
        let name = layout::place(Format::Oci, &descriptor.digest);
        self.used.insert(name.clone());
        let bytes = match self.archive.read(&name) {
            Ok(bytes) => bytes,
            Err(why) => {
                self.tell(format!("{what}: {why}"));
                return Ok(None);
            }
        };
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        Ok(self.compare(what, descriptor, digest, size).then_some(bytes))
    }

    fn compare(&mut self, what: &str, descriptor: &oci::Descriptor, digest: Digest, size: u64) -> bool {
        if size != descriptor.size {
            self.tell(format!("{what} {} has {size} bytes, not {}", descriptor.digest, descriptor.size));
        }
        if digest != descriptor.digest {
            self.tell(format!("{what} {} has the digest {digest}", descriptor.digest));
        }
        (digest, size) == (descriptor.digest, descriptor.size)
    }

    fn layer(&mut self, descriptor: &oci::Descriptor, diff_id: Option<&Digest>) -> io::Result<()> {
        let name = layout::place(Format::Oci, &descriptor.digest);
        self.used.insert(name.clone());
        let digest = descriptor.digest;
        let Some((sum, size)) = self.archive.sum(&name)? else {
            if !self.elsewhere.contains(&digest) {
                self.tell(format!("the layer {digest} is missing"));
            }
            return Ok(());
        };
        self.checked.layers += 1;
        if !self.compare("the layer", descriptor, sum, size) {
            return Ok(());
        }
        let (unpacked, contents) = match self.archive.unpack(&name, &descriptor.media_type) {
            Ok(unpacked) => unpacked,
            Err(why) => {
                self.tell(format!("the layer {digest} cannot be unpacked: {why}"));
                return Ok(());
            }
        };
        if Some(&unpacked) != diff_id {
            self.tell(format!(
                "the layer {digest} has the diff_id {unpacked}, which is not the configuration's"
            ));
        }
        contents.mismatches.into_iter().for_each(|what| self.tell(format!("the layer {digest} {what}")));
        for (path, attributes) in contents.directories {
            if *self.directories.entry(path.clone()).or_insert(attributes) != attributes {
                self.tell(format!(
                    "the directory {path} has other attributes in the layer {digest} than below"
                ));
            }
        }
        Ok(())
    }

    /// `index.json` and Docker's list, made anew of what they lead to.
    fn lists(&mut self, index: &oci::Index, images: &[Parts]) {
        let name = index.manifests.first().and_then(|first| first.annotations.get(layout::IMAGE_NAME));
        let Some(reference) = name.and_then(|name| Reference::parse(name).ok()) else {
            return self.tell("index.json has no name for the image");
        };
        let descriptors = images.iter().map(|image| image.descriptor.clone()).collect();
        let expected = oci::encode(&layout::index(descriptors, &reference).0);
        if self.archive.read(layout::INDEX).ok() != Some(expected) {
            self.tell("index.json says something else than what it leads to");
        }
        let docker = layout::docker_manifest(images, &reference, Format::Oci).to_string().into_bytes();
        match self.archive.read(layout::DOCKER) {
            Ok(bytes) if bytes == docker => {}
            Ok(_) => self.tell("manifest.json says something else than index.json"),
            Err(why) => self.tell(why),
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.checked.mismatches.push(what.into());
    }
}

/// What is in a layer's archive, as far as rules are about that.
#[derive(Default)]
struct Contents {
    mismatches: Vec<String>,
    directories: BTreeMap<String, (u32, u64, u64)>,
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
