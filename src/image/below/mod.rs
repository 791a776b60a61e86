//! The image that `--base` names, on which coil's layers are put.
//!
//! ```text
//! place     what the user named: a layout, an archive, a name in a registry
//! choice    the one image in it for the bundle's platform: configuration and layers
//! scan      a layer read once: digest, diff_id, what is in it
//! seen      what all its layers together show
//! lacks     what it lacks of what an app expects
//! inherit   what an image takes over of its configuration
//! libraries what the app needs of its libraries
//! ```
//! Its layers are taken as they are, byte for byte. Nothing that it says of itself is believed: all of it is read and
//! compared before anything is written. Nothing of it is run.

mod archive;
mod choice;
mod inherit;
mod lacks;
mod libraries;
mod place;
mod scan;
mod seen;

use std::collections::BTreeMap;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{LayerKind, Manifest};
use serde::Deserialize;

use self::choice::Choice;
use self::place::Place;
use self::seen::Seen;
use super::registry::Registry;
use super::root::Root;
use super::settings::Settings;
use super::{BASE_IMAGE, Bytes, ImageLayer, oci};
use crate::error::{Failure, Result};
use crate::layer::BlobPlace;
use crate::report::Report;

/// A base, read and compared with all that it says of itself.
pub struct Below {
    /// What the user called it, for errors.
    named: String,
    /// Its name in a registry (`org.opencontainers.image.base.name`).
    name: Option<String>,
    /// The digest of its manifest (`org.opencontainers.image.base.digest`).
    digest: Option<Digest>,
    /// The host and the repository that it was fetched from.
    pub origin: Option<(String, String)>,
    config: Config,
    /// Its layers, bottom first.
    pub layers: Vec<ImageLayer>,
    seen: Seen,
}

/// The configuration of a base, as far as it matters.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    config: oci::Run,
    rootfs: oci::RootFs,
    #[serde(default)]
    history: Vec<oci::Step>,
}

impl Below {
    /// Reads the base that `text` names for `platform`: a directory or an archive with images, or a name in a registry, which is
    /// talked to without TLS where `insecure` says so.
    ///
    /// Fails where nothing is there, where it is for other platforms, or where it is not what it says.
    pub fn open(text: &str, platform: &oci::Platform, insecure: bool, report: &Report) -> Result<Below> {
        report.doing(&format!("reading the base {text}"));
        let choice = match Place::find(text)? {
            Place::Files(files, tag) => choice::in_files(&files, tag.as_deref(), platform, text)?,
            Place::Registry(reference) => {
                let registry = Registry::open(&reference, insecure)?;
                choice::in_registry(&registry, &reference, platform, report)?
            }
        };
        Below::of(text, choice, platform)
    }

    fn of(named: &str, choice: Choice, platform: &oci::Platform) -> Result<Below> {
        choice::fits(named, &choice.config, platform)?;
        let config: Config = choice::json(&choice.config)
            .map_err(|why| wrong(named, &format!("its configuration cannot be read: {why}")))?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != choice.layers.len() {
            let counts = format!("{} layers, and its configuration {}", choice.layers.len(), diff_ids.len());
            return Err(wrong(named, &format!("it has {counts}")));
        }
        let (mut layers, mut seen) = (Vec::new(), Seen::default());
        for ((claimed, bytes), diff_id) in choice.layers.into_iter().zip(diff_ids) {
            let layer = layer(named, claimed, bytes, *diff_id, &mut seen)?;
            layers.push(layer);
        }
        let Choice { name, digest, origin, .. } = choice;
        Ok(Below { named: named.to_owned(), name, digest, origin, config, layers, seen })
    }

    /// What is said of an image on this base.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut all = inherit::labels(&self.config.config);
        let digest = self.digest.map(|digest| digest.to_string());
        for (key, value) in [("name", self.name.clone()), ("digest", digest)] {
            all.extend(value.map(|value| (format!("org.opencontainers.image.base.{key}"), value)));
        }
        all
    }

    /// What of `root`, the base for scratch, this one lacks; `None` where it has all of it.
    pub fn lacks(&self, root: &Root) -> Result<Option<Root>> {
        lacks::lacks(root, &self.seen).map_err(|error| error.because(format!("of the base {}", self.named)))
    }

    /// How the containers of an image on this base are started; `run` is how they would be from scratch.
    pub fn inherit(&self, run: oci::Run, settings: &Settings, manifest: &Manifest) -> Result<oci::Run> {
        let decided = inherit::Decided::of(settings, manifest);
        inherit::inherit(run, &self.config.config, &self.seen, &decided).map_err(|error| match error {
            inherit::Error::Unknown(what) => Failure::new(format!("the base {} runs as {what}", self.named))
                .hint("say who the image runs as, with --user UID:GID"),
            inherit::Error::Unreadable(error) => self.unreadable(error),
        })
    }

    /// The history of its layers, one line for each that is there.
    pub fn history(&self) -> Vec<oci::Step> {
        let told = self.config.history.iter().filter(|step| !step.empty_layer).count();
        if told == self.layers.len() {
            return self.config.history.clone();
        }
        let untold = oci::Step { created_by: "a layer of the base".into(), ..oci::Step::default() };
        vec![untold; self.layers.len()]
    }

    /// Fails where the base has something at a place that is the bundle's, or lacks a library that the bundle
    /// leaves to its host.
    pub fn check(&self, manifest: &Manifest, blobs: &[BlobPlace], shell: bool) -> Result<()> {
        let has = |kind| manifest.layers.iter().any(|layer| layer.kind == kind);
        let tops = [
            ("python", true),
            ("venv", true),
            ("app", has(LayerKind::App)),
            (super::shell::DIRECTORY, shell),
        ];
        for (top, _) in tops.into_iter().filter(|(_, used)| *used) {
            if let Some(there) = self.seen.anything_in(top) {
                let message =
                    format!("{} cannot be the base: it has /{there}, and /{top} is coil's", self.named);
                let hint = match top == super::shell::DIRECTORY {
                    true => "leave out --debug: the base has a shell",
                    false => {
                        "name a base without an app in it, such as the image that this one was made from"
                    }
                };
                return Err(Failure::new(message).hint(hint));
            }
        }
        libraries::check(&self.named, &self.seen, manifest, blobs)
    }

    fn unreadable(&self, error: std::io::Error) -> Failure {
        wrong(&self.named, "a layer of it cannot be read").because(error)
    }
}

/// Reads one layer, compares it with what is said of it, and adds what is in it to `seen`.
fn layer(
    named: &str,
    claimed: Option<oci::Descriptor>,
    bytes: Bytes,
    diff_id: Digest,
    seen: &mut Seen,
) -> Result<ImageLayer> {
    let scanned = scan::scan(&bytes)
        .map_err(|error| wrong(named, &format!("its layer {diff_id} cannot be read")).because(error))?;
    if let Some(claimed) = &claimed
        && (claimed.digest, claimed.size) != (scanned.digest, scanned.size)
    {
        let (digest, size) = (scanned.digest, scanned.size);
        let is = format!("its layer {} has the digest {digest} and {size} bytes", claimed.digest);
        return Err(wrong(named, &is));
    }
    if scanned.diff_id != diff_id {
        let is = format!("its layer {} has the diff_id {}, not {diff_id}", scanned.digest, scanned.diff_id);
        return Err(wrong(named, &is));
    }
    let layer = ImageLayer {
        part: BASE_IMAGE,
        content: String::new(),
        diff_id,
        unpacked_size: scanned.unpacked_size,
        digest: scanned.digest,
        size: scanned.size,
        form: scanned.form,
        annotations: claimed.map(|claimed| claimed.annotations).unwrap_or_default(),
        bytes: bytes.clone(),
    };
    seen.add(scanned.entries, bytes);
    Ok(layer)
}

/// What is told of a base that is not what it says.
fn wrong(named: &str, what: &str) -> Failure {
    Failure::new(format!("the base {named} is damaged: {what}"))
        .hint("fetch it again, for instance with `skopeo copy docker://NAME oci:DIR`")
}
