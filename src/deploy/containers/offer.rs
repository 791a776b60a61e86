//! The image of a bundle as it is offered to hosts: in whatever form an engine reads, without what it has.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::receive::offer::RELEASE_DIGITS;

use super::engine::{Engine, Store};
use crate::error::{Context, Failure, Result};
use crate::image::{Compression, Encoded, EncodedLayer, Format, Image, Reference, Settings, write};
use crate::layer::BlobPlace;

/// An image, and what is said of it to a host.
pub struct Offer {
    image: Image,
    /// As the bundle has it: layers compressed by zstd.
    encoded: Encoded,
    /// The layers compressed by gzip, as far as a host wanted them so.
    gzipped: Mutex<Vec<Option<EncodedLayer>>>,
    repository: String,
    release: String,
}

/// What is sent to a host.
pub struct Archive {
    encoded: Encoded,
    format: Format,
    left_out: BTreeSet<Digest>,
    reference: Reference,
    /// The bytes of the layers in it.
    pub size: u64,
}

impl Offer {
    /// The image of the bundle at `path`, with the time that the user states for it, if he does.
    pub fn of(path: &Path, created: Option<&str>) -> Result<Offer> {
        let bundle = Bundle::open(path).map_err(|error| {
            Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
        })?;
        let manifest = bundle.manifest();
        let place = |layer| BlobPlace { file: path.to_owned(), offset: bundle.layer_offset(layer) };
        let blobs: Vec<BlobPlace> = manifest.layers.iter().map(place).collect();
        let image = Image::of(manifest, &blobs, &Settings::default(), created)?;
        let encoded = Encoded::new(&image, Compression::Zstd)?;
        Ok(Offer {
            gzipped: Mutex::new(image.layers.iter().map(|_| None).collect()),
            repository: repository(&manifest.name),
            release: bundle.digest().hex()[..RELEASE_DIGITS].to_owned(),
            encoded,
            image,
        })
    }

    /// What the app's images are called, without a tag.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The name of the release: the beginning of the bundle's digest.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Where it runs: `linux/amd64`.
    pub fn platform(&self) -> String {
        format!("{}/{}", self.image.platform.os, self.image.platform.architecture)
    }

    /// What engines call the image: the digest of its configuration, or, where containerd stores it, of its manifest.
    pub fn ids(&self) -> [Digest; 2] {
        [self.encoded.config_digest(), self.encoded.descriptor.digest]
    }

    /// The archive for an engine: all of it, or without what the engine has.
    pub fn archive(&self, engine: &Engine, whole: bool) -> Result<Archive> {
        let diff_ids: Vec<Digest> = self.image.layers.iter().map(|layer| layer.diff_id).collect();
        let lacking = if whole { (0..diff_ids.len()).collect() } else { engine.lacks(&diff_ids) };
        let (encoded, format) = match engine.store {
            // What such a one reads names layers and says nothing else of them.
            Store::Docker { zstd: false } => (self.gzipped(&lacking)?, Format::Docker),
            _ => (Encoded::of(&self.image, self.encoded.layers.clone()), Format::Oci),
        };
        let sent = |number: &usize| lacking.contains(number);
        let digest = |number: usize| encoded.layers[number].descriptor.digest;
        let left_out = (0..diff_ids.len()).filter(|number| !sent(number)).map(digest).collect();
        let size = lacking.iter().map(|number| encoded.layers[*number].descriptor.size).sum();
        let reference = Reference::parse(&format!("{}:{}", engine.repository, self.release))?;
        Ok(Archive { encoded, format, left_out, reference, size })
    }

    /// The image with these layers compressed by gzip, and the others not at all, as they are left out. Each is
    /// compressed once for all hosts.
    fn gzipped(&self, lacking: &[usize]) -> Result<Encoded> {
        let mut gzipped = self.gzipped.lock().unwrap_or_else(PoisonError::into_inner);
        let mut layers = Vec::new();
        for (number, layer) in self.image.layers.iter().enumerate() {
            let cannot = || format!("cannot compress the image of {}", self.image.name);
            let made = match (&gzipped[number], lacking.contains(&number)) {
                (Some(made), true) => made.clone(),
                (None, true) => EncodedLayer::new(layer, Compression::Gzip).context(cannot)?,
                (_, false) => EncodedLayer::new(layer, Compression::None).context(cannot)?,
            };
            if lacking.contains(&number) {
                gzipped[number] = Some(made.clone());
            }
            layers.push(made);
        }
        Ok(Encoded::of(&self.image, layers))
    }
}

/// What the images of an app are called, without a tag: as `coil image` calls them.
pub fn repository(app: &str) -> String {
    let name = Reference::of_app(app, None).familiar();
    name.rsplit_once(':').map_or(name.clone(), |(name, _)| name.to_owned())
}

impl Archive {
    /// Whether layers are left out.
    pub fn is_thin(&self) -> bool {
        !self.left_out.is_empty()
    }

    /// Writes it.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        let images = std::slice::from_ref(&self.encoded);
        write(images, &self.reference, self.format, &self.left_out, out, &|| {
            "cannot send the image".to_owned()
        })
    }
}
