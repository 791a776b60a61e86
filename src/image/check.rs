//! Checks an archive of images: computes every digest, diff_id, size and annotation anew and tells all that differs.
//!
//! It reads archives as coil writes them, and is strict about that: of such a file no byte can change unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use coil_bootstrap::format::digest::Digest;

use super::archive::Archive;
use super::layout::{self, Format, Parts};
use super::oci;
use super::reference::Reference;
use super::{BASE_IMAGE, PART};
use crate::error::{Context, Result};

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
        let images = self.images(&index, false)?;
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

    /// Every image that the index leads to, itself or through an index in it. Ten that list each other twice would
    /// lead to a thousand images: coil writes no third.
    fn images(&mut self, index: &oci::Index, nested: bool) -> io::Result<Vec<Parts>> {
        let mut images = Vec::new();
        for descriptor in &index.manifests {
            let Some(bytes) = self.blob(descriptor, "the manifest")? else { continue };
            if descriptor.media_type == oci::INDEX {
                match serde_json::from_slice::<oci::Index>(&bytes) {
                    Ok(_) if nested => {
                        self.tell(format!("{} is an index in one in another", descriptor.digest))
                    }
                    Ok(inner) => images.extend(self.images(&inner, true)?),
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
        let annotations = manifest.annotations.clone();
        Ok(Parts { descriptor, config: manifest.config.digest, layers, annotations })
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
        let told = config.history.iter().filter(|step| !step.empty_layer).count();
        let counts = [config.rootfs.diff_ids.len(), told];
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
        if descriptor.annotations.get(PART).is_some_and(|part| part == BASE_IMAGE) {
            // Others made it, by their own rules; what is above it has its directories as it has them.
            let attributes = |(mode, user, group)| (mode & 0o7777, user, group);
            let theirs = contents.directories.into_iter();
            let theirs =
                theirs.map(|(path, its)| (path.trim_start_matches("./").to_owned(), attributes(its)));
            self.directories.extend(theirs);
            return Ok(());
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
        let said = layout::said_of_all(images.iter().map(|image| &image.annotations));
        let expected = oci::encode(&layout::index(descriptors, said, &reference).0);
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
