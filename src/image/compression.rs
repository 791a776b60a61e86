//! An image with its layers compressed one way or another: the manifest differs, the configuration and so the image's
//! id do not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use clap::ValueEnum;
use coil_bootstrap::format::digest::Digest;
use flate2::write::GzEncoder;

use super::hashing::Hashing;
use super::{BASE_IMAGE, Bytes, CONTENT, Image, ImageLayer, PART, oci};
use crate::error::{Context, Failure, Result};

/// How layers are compressed. Those of a base stay as they are where whoever reads this reads them as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// As in the bundle, byte for byte. Docker reads it from version 23 on.
    #[default]
    Zstd,
    /// For everything that is older.
    Gzip,
    /// Not at all.
    None,
}

impl Compression {
    /// How a layer is stored where this is asked for. What a base has is never compressed more than it is.
    fn of(self, layer: &ImageLayer) -> Compression {
        match (self, layer.form) {
            _ if layer.part != BASE_IMAGE => self,
            (Compression::Zstd, form) | (Compression::Gzip, form @ Compression::None) => form,
            _ => self,
        }
    }

    /// What is in bytes that are compressed so.
    fn decoder(self, bytes: &Bytes) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Compression::Zstd => Box::new(zstd::Decoder::new(bytes.open()?)?),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes.open()?)),
            Compression::None => bytes.open()?,
        })
    }
}

/// An image as it is stored.
pub struct Encoded {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The manifest, as an index names it.
    pub descriptor: oci::Descriptor,
    /// The configuration.
    pub config: Vec<u8>,
    /// The layers, bottom first.
    pub layers: Vec<EncodedLayer>,
    /// What the manifest says of it.
    pub annotations: BTreeMap<String, String>,
    /// The app's name and version.
    pub name: (String, Option<String>),
}

/// A layer as it is stored.
#[derive(Clone)]
pub struct EncodedLayer {
    /// What the manifest says of it.
    pub descriptor: oci::Descriptor,
    /// The digest of the archive in it.
    pub diff_id: Digest,
    bytes: EncodedBytes,
}

#[derive(Clone)]
enum EncodedBytes {
    As(Bytes),
    Unpacked(Bytes, Compression),
    Spooled(Arc<File>),
}

impl Encoded {
    /// The digest of the configuration: the image's id.
    pub fn config_digest(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// Compresses the layers of an image, where they are not as they should be.
    pub fn new(image: &Image, compression: Compression) -> Result<Encoded> {
        let cannot = || format!("cannot compress the image of {}", image.name);
        let layers = image.layers.iter().map(|layer| EncodedLayer::new(layer, compression));
        let layers = layers.collect::<io::Result<Vec<_>>>().context(cannot)?;
        Ok(Encoded::of(image, layers))
    }

    /// The image with its layers as they are given, bottom first, each compressed in a way of its own.
    pub fn of(image: &Image, layers: Vec<EncodedLayer>) -> Encoded {
        let config = image.config.clone();
        let annotations = image.annotations.clone();
        let manifest = oci::encode(&oci::Manifest {
            schema_version: 2,
            media_type: oci::MANIFEST.into(),
            config: oci::Descriptor::of(oci::CONFIG, &config),
            layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
            annotations: annotations.clone(),
        });
        let mut own = oci::Descriptor::of(oci::MANIFEST, &manifest);
        own.platform = Some(image.platform.clone());
        let name = (image.name.clone(), image.version.clone());
        Encoded { manifest, descriptor: own, config, layers, annotations, name }
    }
}

impl EncodedLayer {
    /// Compresses a layer, where it is not as it should be.
    pub fn new(layer: &ImageLayer, compression: Compression) -> io::Result<Self> {
        let ImageLayer { diff_id, unpacked_size, .. } = *layer;
        let bytes = layer.bytes.clone();
        let form = compression.of(layer);
        let (digest, size, bytes) = match form {
            _ if form == layer.form => (layer.digest, layer.size, EncodedBytes::As(bytes)),
            Compression::Gzip => {
                let (digest, size, file) = gzip(&bytes, layer.form)?;
                (digest, size, EncodedBytes::Spooled(Arc::new(file)))
            }
            // Nothing is compressed as zstd here: our own layers are already, and those of a base never are anew.
            _ => (diff_id, unpacked_size, EncodedBytes::Unpacked(bytes, layer.form)),
        };
        let suffix = match form {
            Compression::Zstd => "+zstd",
            Compression::Gzip => "+gzip",
            Compression::None => "",
        };
        let mut annotations = layer.annotations.clone();
        for (key, value) in [(PART, layer.part), (CONTENT, layer.content.as_str())] {
            if !value.is_empty() {
                annotations.insert(key.to_owned(), value.to_owned());
            }
        }
        let media_type = format!("{}{suffix}", oci::LAYER);
        let descriptor = oci::Descriptor { media_type, digest, size, annotations, platform: None };
        Ok(EncodedLayer { descriptor, diff_id, bytes })
    }

    /// Begins to read the blob.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match &self.bytes {
            EncodedBytes::As(bytes) => bytes.open(),
            EncodedBytes::Unpacked(bytes, form) => form.decoder(bytes),
            EncodedBytes::Spooled(file) => Ok(Box::new(FromStart { file: Arc::clone(file), at: 0 })),
        }
    }

    /// Writes the blob to `out`.
    ///
    /// Fails, when all is written, if it is not what its digest says: the bundle is damaged.
    pub fn copy(&self, out: &mut dyn Write, cannot: impl Fn() -> String) -> Result<()> {
        let mut hashing = Hashing::new(self.open().context(&cannot)?);
        io::copy(&mut hashing, out).context(&cannot)?;
        if hashing.sum() != (self.descriptor.digest, self.descriptor.size) {
            let annotations = &self.descriptor.annotations;
            if annotations.get(PART).is_some_and(|part| part == BASE_IMAGE) {
                let message = format!("{}: the base has changed while it was read", cannot());
                return Err(Failure::new(message).hint("try again"));
            }
            let what = annotations.get(CONTENT).map_or("of it", String::as_str);
            return Err(Failure::new(format!(
                "{}: the bundle is damaged, its layer {what} has another digest",
                cannot()
            ))
            .hint("copy the bundle again, or pack again; `coil verify` looks at all of it"));
        }
        Ok(())
    }
}

/// The layer as one gzip member, without a time or a name in its header.
fn gzip(bytes: &Bytes, form: Compression) -> io::Result<(Digest, u64, File)> {
    let mut file = tempfile::tempfile()?;
    let mut encoder =
        GzEncoder::new(io::BufWriter::with_capacity(1 << 16, &mut file), flate2::Compression::new(6));
    io::copy(&mut form.decoder(bytes)?, &mut encoder)?;
    encoder.finish()?.flush()?;
    file.seek(SeekFrom::Start(0))?;
    let (digest, size) = Hashing::new(&file).finish()?;
    Ok((digest, size, file))
}

/// A file that several read at once, each from where it is.
pub struct FromStart {
    /// The file.
    pub file: Arc<File>,
    /// Where the next byte is.
    pub at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
