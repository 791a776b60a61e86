//! A bundle as it is offered to hosts: its pieces with their checksums, summed up once for all of them.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::checksum::{Checksum, Summing};
use coil_bootstrap::receive::cut::{self, Part};
use coil_bootstrap::receive::offer::{Group, Item, Offer, RELEASE_DIGITS};
use coil_bootstrap::receive::wire::MAX_MESSAGE;
use coil_bootstrap::release::App;

use crate::error::{Context, Failure, Result};

/// The longest an item is in an offer, in bytes.
const ITEM: usize = 64;

/// How much of the file is read at a time, in bytes.
const STEP: u64 = 1 << 20;

/// A bundle, and what is said of it to a host.
pub struct Offering {
    bundle: Bundle,
    app: App,
    offer: Offer,
}

impl Offering {
    /// Reads the bundle at `path` from its beginning to its end. One whose layers are not what its manifest says is refused
    /// here, before it is sent anywhere.
    pub fn of(path: &Path) -> Result<Self> {
        let bundle = Bundle::open(path).map_err(|error| {
            Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
        })?;
        if bundle.manifest().production.services.is_empty() {
            let message = format!("{} has no services that a host could run", path.display());
            return Err(Failure::new(message)
                .hint("name them in a Procfile or under [tool.coil.services], and pack it again"));
        }
        let mut offer = Offer {
            size: bundle.size(),
            checksum: Checksum::of(b""),
            release: bundle.digest().hex()[..RELEASE_DIGITS].to_owned(),
            items: Vec::new(),
            layers: Vec::new(),
        };
        // An offer is one message: of a file with very many frames the layers are offered whole.
        let frames: u64 = bundle.manifest().layers.iter().map(|layer| layer.unpacked_size >> 20).sum();
        let finely = frames < (MAX_MESSAGE / ITEM) as u64;
        for (range, part) in cut::parts(&bundle) {
            add(&mut offer, &bundle, range, part, finely)?;
        }
        offer.checksum = sum(&bundle, 0..offer.size)?;
        Ok(Offering { app: App::of(bundle.manifest()), bundle, offer })
    }

    /// The app's name, as its directory has it.
    pub fn app(&self) -> &str {
        self.app.name()
    }

    /// The name of the release: the beginning of the manifest's digest.
    pub fn release(&self) -> &str {
        &self.offer.release
    }

    /// The file that is sent.
    pub fn file(&self) -> &File {
        self.bundle.file()
    }

    /// What it is made of.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The launcher in front of the bundle, which runs by itself where it is told to receive.
    pub fn launcher(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.bundle.payload().layers.start as usize];
        let read = self.bundle.file().read_exact_at(&mut bytes, 0);
        read.context(|| format!("cannot read {}", self.bundle.path().display()))?;
        Ok(bytes)
    }
}

fn add(offer: &mut Offer, bundle: &Bundle, range: Range<u64>, part: Part, finely: bool) -> Result<()> {
    let known = |range: Range<u64>| -> Result<Item> {
        let checksum = Some(sum(bundle, range.clone())?);
        Ok(Item { range, checksum })
    };
    match part {
        Part::Changing => offer.items.push(Item { range, checksum: None }),
        Part::Fixed => offer.items.push(known(range)?),
        Part::Layer(layer) => {
            if sum(bundle, range.clone())? != layer.checksum {
                let (path, name) = (bundle.path().display(), &layer.name);
                let message =
                    format!("{path} is damaged: the layer {name} has another checksum than it should");
                return Err(Failure::new(message).hint("pack it again, or copy it from where it was whole"));
            }
            let frames = cut::frames(bundle, layer);
            if frames.len() == 1 || !finely {
                offer.items.push(Item { range, checksum: Some(layer.checksum) });
                return Ok(());
            }
            let first = offer.items.len();
            for (frame, worth) in frames {
                offer.items.push(if worth { known(frame)? } else { Item { range: frame, checksum: None } });
            }
            offer.layers.push(Group { items: first..offer.items.len(), range, checksum: layer.checksum });
        }
    }
    Ok(())
}

fn sum(bundle: &Bundle, range: Range<u64>) -> Result<Checksum> {
    let mut summing = Summing::default();
    let mut buffer = vec![0; (range.end - range.start).min(STEP) as usize];
    let mut at = range.start;
    while at < range.end {
        let step = (range.end - at).min(STEP) as usize;
        let read = bundle.file().read_exact_at(&mut buffer[..step], at);
        read.context(|| format!("cannot read {}", bundle.path().display()))?;
        summing.update(&buffer[..step]);
        at += step as u64;
    }
    Ok(summing.finish())
}
