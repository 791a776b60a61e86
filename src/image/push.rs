//! Bringing an image to a registry: what is missing there, the manifest last.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use coil_bootstrap::format::digest::Digest;

use super::compression::Encoded;
use super::oci::{self, Descriptor};
use super::reference::Reference;
use super::registry::{Arrival, Pushed, Registry, Upload};
use super::{CONTENT, PART, layout};
use crate::error::Result;
use crate::report::Report;

/// How many characters of a layer's content are shown.
const ROOM: usize = 30;

/// What a push came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Moved {
    /// How many blobs were sent, and their bytes.
    pub sent: (usize, u64),
    /// How many were taken over from other repositories.
    pub mounted: usize,
    /// How many were there.
    pub there: usize,
}

/// Pushes images for one or several platforms under one name; the digest of what the name then stands for.
pub fn push(
    images: &[Encoded],
    reference: &Reference,
    registry: &Registry,
    pushed: &Pushed,
    report: &Report,
) -> Result<(Digest, Moved)> {
    let mut moved = Moved::default();
    for image in images {
        for layer in &image.layers {
            let descriptor = &layer.descriptor;
            let task = report.measured(&format!("pushing {}", shown(descriptor)), descriptor.size);
            let open: &Open = &|| layer.open();
            bring(registry, pushed, (descriptor, open, &|sent| task.bytes(sent)), &mut moved)?;
        }
        let config: Arc<[u8]> = image.config.clone().into();
        let descriptor = oci::Descriptor::of(oci::CONFIG, &config);
        let open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(Cursor::new(Arc::clone(&config)))) };
        bring(registry, pushed, (&descriptor, &open, &|_| {}), &mut moved)?;
    }
    let descriptors = images.iter().map(|image| image.descriptor.clone()).collect();
    let said = layout::said_of_all(images.iter().map(|image| &image.annotations));
    if let (_, Some(index)) = layout::index(descriptors, said, reference) {
        for image in images {
            registry.put_manifest(&image.descriptor.digest.to_string(), oci::MANIFEST, &image.manifest)?;
        }
        registry.put_manifest(reference.tag(), oci::INDEX, &index)?;
        return Ok((Digest::of(&index), moved));
    }
    let [image] = images else { return Ok((Digest::of(b""), moved)) };
    registry.put_manifest(reference.tag(), oci::MANIFEST, &image.manifest)?;
    Ok((image.descriptor.digest, moved))
}

/// Begins to read a blob.
pub type Open<'a> = dyn Fn() -> io::Result<Box<dyn Read + Send>> + 'a;

/// A blob, how it is read, and who is told how many bytes of it were sent.
pub type Blob<'a> = (&'a oci::Descriptor, &'a Open<'a>, &'a dyn Fn(u64));

/// Brings one blob there, and counts how.
pub fn bring(
    registry: &Registry,
    pushed: &Pushed,
    (descriptor, open, sent): Blob,
    moved: &mut Moved,
) -> Result<()> {
    let from = pushed.repository(&descriptor.digest);
    let Descriptor { digest, size, .. } = *descriptor;
    let upload = Upload { digest, size, from: from.as_deref(), open, sent };
    match registry.upload(&upload)? {
        Arrival::There => moved.there += 1,
        Arrival::Mounted => moved.mounted += 1,
        Arrival::Sent => moved.sent = (moved.sent.0 + 1, moved.sent.1 + descriptor.size),
    }
    pushed.remember(&descriptor.digest, registry.repository());
    Ok(())
}

/// What a layer is called while it is pushed: as much of what is in it as has room in a line.
fn shown(descriptor: &Descriptor) -> String {
    let part = descriptor.annotations.get(PART).map_or("a layer", String::as_str);
    let content = descriptor.annotations.get(CONTENT).map_or("", String::as_str);
    match content.char_indices().nth(ROOM) {
        Some((cut, _)) => format!("{part}: {}...", &content[..cut]),
        None => format!("{part}: {content}"),
    }
}
