//! An archive of images: an OCI image layout that carries Docker's `manifest.json` as well, because Docker without
//! containerd's store refuses one without.
//!
//! ```text
//! oci-layout  index.json  manifest.json       what is in it, twice
//! blobs/sha256/HEX                            manifests, configurations, layers
//! ```
//! It is written front to back, to a pipe as well as to a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::ValueEnum;
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::{self, Entry, Kind};
use serde_json::json;

use super::compression::Encoded;
use super::oci;
use super::reference::Reference;
use crate::error::{Context, Failure, Result};

/// The member that says which version of the layout it is.
pub const VERSION: &str = "oci-layout";
/// What is in it.
pub const VERSION_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The member that lists the images.
pub const INDEX: &str = "index.json";
/// The member that lists them for Docker.
pub const DOCKER: &str = "manifest.json";
/// The directory of all blobs.
pub const BLOBS: &str = "blobs/sha256";
/// Annotation in `index.json`: the tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation in `index.json`: the whole name.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// The form of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An OCI image layout that Docker loads, too.
    #[default]
    Oci,
    /// What `docker save` wrote before version 25; its layers are not compressed.
    Docker,
}

/// Writes an archive of images to `out`, without the blobs in `left_out`. `cannot` is the beginning of what is said
/// when that fails.
pub fn write(
    images: &[Encoded],
    reference: &Reference,
    format: Format,
    left_out: &BTreeSet<Digest>,
    out: &mut dyn Write,
    cannot: &dyn Fn() -> String,
) -> Result<()> {
    let mut archive = Archive { out, cannot, there: left_out.clone() };
    let place = |digest: &Digest| place(format, digest);
    let parts: Vec<Parts> = images.iter().map(Parts::of).collect();
    let docker = docker_manifest(&parts, reference, format);
    match format {
        Format::Oci => {
            let descriptors = images.iter().map(|image| image.descriptor.clone()).collect();
            let said = said_of_all(parts.iter().map(|parts| &parts.annotations));
            let (index, nested) = index(descriptors, said, reference);
            archive.file(VERSION, VERSION_TEXT)?;
            archive.file(INDEX, &oci::encode(&index))?;
            archive.file(DOCKER, docker.to_string().as_bytes())?;
            archive.directory("blobs")?;
            archive.directory(BLOBS)?;
            if let Some(nested) = nested {
                archive.blob(&place(&Digest::of(&nested)), &nested)?;
            }
            for image in images {
                archive.blob(&place(&image.descriptor.digest), &image.manifest)?;
                archive.blob(&place(&Digest::of(&image.config)), &image.config)?;
            }
        }
        Format::Docker => {
            archive.file(DOCKER, docker.to_string().as_bytes())?;
            for image in images {
                archive.file(&format!("{}.json", Digest::of(&image.config).hex()), &image.config)?;
            }
        }
    }
    for layer in images.iter().flat_map(|image| &image.layers) {
        let digest = layer.descriptor.digest;
        if archive.there.insert(digest) {
            archive.begin(&place(&digest), layer.descriptor.size)?;
            layer.copy(archive.out, cannot)?;
            archive.pad(layer.descriptor.size)?;
        }
    }
    archive.put(&tar::END)?;
    archive.out.flush().context(cannot)
}

/// What the lists in an archive say of an image.
pub struct Parts {
    /// Its manifest.
    pub descriptor: oci::Descriptor,
    /// Its configuration.
    pub config: Digest,
    /// Its layers, bottom first.
    pub layers: Vec<Digest>,
    /// What its manifest says of it.
    pub annotations: BTreeMap<String, String>,
}

impl Parts {
    fn of(image: &Encoded) -> Parts {
        let layers = image.layers.iter().map(|layer| layer.descriptor.digest).collect();
        let annotations = image.annotations.clone();
        Parts { descriptor: image.descriptor.clone(), config: Digest::of(&image.config), layers, annotations }
    }
}

/// What an index says of its images: what all of them say, but for what coil alone reads, which is theirs.
pub fn said_of_all<'a>(
    mut annotations: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut common = annotations.next().cloned().unwrap_or_default();
    common.retain(|key, _| !key.starts_with("coil."));
    annotations.for_each(|other| common.retain(|key, value| other.get(key) == Some(value)));
    common
}

/// `index.json`, which says `said`. Images for several platforms are behind an index of their own, which is given as well.
pub fn index(
    mut manifests: Vec<oci::Descriptor>,
    said: BTreeMap<String, String>,
    reference: &Reference,
) -> (oci::Index, Option<Vec<u8>>) {
    let of = |manifests| oci::Index {
        schema_version: 2,
        media_type: oci::INDEX.into(),
        manifests,
        annotations: said.clone(),
    };
    let names = [
        (REF_NAME, reference.tag().to_owned()),
        // Where Docker's and containerd's own importers look for the whole name.
        (IMAGE_NAME, reference.full()),
    ];
    let names = names.map(|(key, value)| (key.to_owned(), value));
    if let [one] = manifests.as_mut_slice() {
        one.annotations.extend(names);
        return (of(manifests), None);
    }
    let nested = oci::encode(&of(manifests));
    let descriptor = oci::Descriptor {
        media_type: oci::INDEX.into(),
        digest: Digest::of(&nested),
        size: nested.len() as u64,
        annotations: names.into(),
        platform: None,
    };
    (of(vec![descriptor]), Some(nested))
}

/// Docker's own list of images (moby, `image/spec/v1.2.md`, "Combined Image JSON + Filesystem Changeset Format"). It knows
/// one platform for a name: the first.
pub fn docker_manifest(images: &[Parts], reference: &Reference, format: Format) -> serde_json::Value {
    let config = |digest: &Digest| match format {
        Format::Oci => place(format, digest),
        Format::Docker => format!("{}.json", digest.hex()),
    };
    let entry = |(number, image): (usize, &Parts)| {
        let layers: Vec<String> = image.layers.iter().map(|layer| place(format, layer)).collect();
        let names: Vec<String> = (number == 0).then(|| reference.familiar()).into_iter().collect();
        json!({ "Config": config(&image.config), "Layers": layers, "RepoTags": names })
    };
    images.iter().enumerate().map(entry).collect()
}

/// Where a blob is in an archive.
pub fn place(format: Format, digest: &Digest) -> String {
    match format {
        Format::Oci => format!("{BLOBS}/{}", digest.hex()),
        Format::Docker => format!("{}.tar", digest.hex()),
    }
}

struct Archive<'a> {
    out: &'a mut dyn Write,
    cannot: &'a dyn Fn() -> String,
    there: BTreeSet<Digest>,
}

impl Archive<'_> {
    fn directory(&mut self, name: &str) -> Result<()> {
        self.header(name, Kind::Directory)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.put(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn blob(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.there.insert(Digest::of(bytes)) { self.file(name, bytes) } else { Ok(()) }
    }

    fn begin(&mut self, name: &str, size: u64) -> Result<()> {
        self.header(name, Kind::File { size, executable: false })
    }

    fn header(&mut self, name: &str, kind: Kind) -> Result<()> {
        let path = TreePath::new(name).map_err(|error| Failure::new(error.to_string()))?;
        self.put(&Entry { path, kind }.encode())
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        self.put(&[0; tar::BLOCK][..tar::padding(size)])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).context(self.cannot)
    }
}
