//! The layers of a bundle as an OCI image that runs `FROM scratch`.
//!
//! ```text
//! environment    /venv/bin/python, pyvenv.cfg, commands    made here, small
//! app            /app                                      the bundle's own bytes
//! dependencies   /venv/lib/...                             the bundle's own bytes; small wheels are joined
//! runtime        /python                                   the bundle's own bytes
//! base           /etc, /tmp, /usr/share/zoneinfo           made here: what scratch lacks, or the image below
//! ```
//! The image that `--base` names is below all of them, and with `--debug` a shell above.
//! Layers of a bundle have the paths of an image already, and their programs name the runtime's loader at its place in an
//! image. So nothing is unpacked and nothing of ours runs in a container. An image depends on its bundle, its
//! settings, its base and its shell alone: no clock, no file of this machine.

pub mod archive;
mod base;
pub mod below;
mod blob;
pub mod check;
mod compression;
pub mod created;
mod environment;
mod frames;
mod grouping;
mod hashing;
mod join;
mod layout;
pub mod oci;
mod overlay;
pub mod push;
mod reference;
pub mod registry;
mod root;
mod settings;
pub mod shell;
mod starts;
pub mod swap;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{Layer, LayerKind, Manifest};
use coil_bootstrap::format::tar::{Entry, Kind};

use self::below::Below;
use self::blob::{Blob, Made};
use self::compression::FromStart;
use self::frames::Frames;
use self::overlay::{Overlay, overlay};
use self::root::Root;
use self::shell::Shell;
use self::starts::Starts;
use crate::error::{Context, Failure, Result};
use crate::layer::BlobPlace;
use crate::rebase;
use crate::runtime_file::Runtime;

pub use self::compression::{Compression, Encoded, EncodedLayer};
pub use self::layout::{Format, write};
pub use self::reference::Reference;
pub use self::settings::Settings;

/// How many layers an image has at most: overlay file systems mount no more.
const MOST_LAYERS: usize = 127;

/// The time of an image whose time nobody states (`SOURCE_DATE_EPOCH`): that of all files in layers.
const CREATED: &str = "1980-02-01T00:00:00Z";

/// Annotation of a layer: which part of the image it is.
pub const PART: &str = "coil.part";

/// The part that a layer of the base is.
pub const BASE_IMAGE: &str = "base image";

/// Annotation of a layer: what is in it.
pub const CONTENT: &str = "coil.content";

/// Label and annotation of an image: what is known of its runtime, as JSON.
pub const RUNTIME: &str = "coil.runtime";

/// Label and annotation of an image: the libraries in its runtime.
pub const LIBRARIES: &str = "coil.libraries";

/// An image, before it is decided how its layers are compressed.
pub struct Image {
    /// The app's name.
    pub name: String,
    /// The app's version.
    pub version: Option<String>,
    /// Where it runs.
    pub platform: oci::Platform,
    /// Its layers, bottom first.
    pub layers: Vec<ImageLayer>,
    /// Its configuration, whose digest is the image's id.
    pub config: Vec<u8>,
    /// What is said of it, on its manifest and in labels.
    pub annotations: BTreeMap<String, String>,
}

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// `base image`, `base`, `runtime`, `libraries`, `dependencies`, `app`, `environment`, `shell`
    pub part: &'static str,
    /// What is in it, for people.
    pub content: String,
    /// The digest of the archive in it.
    pub diff_id: Digest,
    /// The length of the archive in bytes.
    pub unpacked_size: u64,
    /// How it is compressed: our own are always zstd streams.
    pub form: Compression,
    /// The digest of the blob.
    pub digest: Digest,
    /// The length of the blob in bytes.
    pub size: u64,
    /// Where the blob is.
    pub bytes: Bytes,
    /// What a base says of its layer.
    pub annotations: BTreeMap<String, String>,
}

/// What an image has beside its bundle.
#[derive(Default)]
pub struct Around {
    /// What it stands on; scratch where there is none.
    pub base: Option<Below>,
    /// A shell for whoever looks into its containers.
    pub shell: Option<Shell>,
}

/// Where bytes are.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// In memory.
    Here(Arc<[u8]>),
    /// In a bundle or in the store: where, and how many.
    There(BlobPlace, u64),
    /// In a file that is open: from where on, and how many.
    Held(Arc<File>, u64, u64),
}

impl Bytes {
    /// Begins to read them.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Bytes::Here(bytes) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            Bytes::There(place, size) => {
                let mut file = File::open(&place.file)?;
                file.seek(SeekFrom::Start(place.offset))?;
                Ok(Box::new(file.take(*size)))
            }
            Bytes::Held(file, offset, size) => {
                Ok(Box::new(FromStart { file: Arc::clone(file), at: *offset }.take(*size)))
            }
        }
    }
}

impl Image {
    /// The image of a bundle from scratch: its manifest, and where the blobs of its layers are.
    pub fn of(
        manifest: &Manifest,
        blobs: &[BlobPlace],
        settings: &Settings,
        created: Option<&str>,
    ) -> Result<Image> {
        Around::default().image(manifest, blobs, settings, created)
    }
}

impl Around {
    /// The image of a bundle with this around it.
    pub fn image(
        &self,
        manifest: &Manifest,
        blobs: &[BlobPlace],
        settings: &Settings,
        created: Option<&str>,
    ) -> Result<Image> {
        let starts = Starts::of(manifest);
        let layers = self.layers(manifest, blobs, &starts)?;
        let created = created.unwrap_or(CREATED);
        let mut annotations = self.base.as_ref().map(Below::annotations).unwrap_or_default();
        annotations.extend(settings.annotations(manifest, created));
        let runtime =
            Runtime::new(manifest.platform.clone(), manifest.python.clone(), manifest.layers[0].clone());
        let runtime = Runtime { kept: rebase::kept(manifest)?, ..runtime };
        annotations.insert(RUNTIME.to_owned(), swap::facts(&runtime));
        annotations.insert(LIBRARIES.to_owned(), swap::libraries(&blobs[0], &manifest.layers[0])?);
        let mut run = settings.run(manifest, starts, &annotations)?;
        let mut history = Vec::new();
        if let Some(base) = &self.base {
            run = base.inherit(run, settings, manifest)?;
            history = base.history();
        }
        if self.shell.is_some() {
            shell::add_to_path(&mut run.env);
        }
        let own = layers.iter().filter(|layer| layer.part != BASE_IMAGE);
        history.extend(own.map(|layer| step(layer, created)));
        let platform = platform_of(manifest);
        let config = oci::Config {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            created: created.to_owned(),
            config: run,
            rootfs: oci::RootFs {
                r#type: "layers".into(),
                diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
            },
            history,
        };
        let (name, version) = (manifest.name.clone(), manifest.version.clone());
        Ok(Image { name, version, platform, layers, config: oci::encode(&config), annotations })
    }

    /// All layers, bottom first.
    fn layers(&self, manifest: &Manifest, blobs: &[BlobPlace], starts: &Starts) -> Result<Vec<ImageLayer>> {
        let groups = grouping::groups(&manifest.layers);
        let below = self.base.as_ref().map_or(0, |base| base.layers.len());
        let count = below + groups.len() + 2 + usize::from(self.shell.is_some());
        if count > MOST_LAYERS {
            return Err(too_many(count, below));
        }
        let overlay = overlaps(manifest, blobs, &groups).map_err(|error| unreadable(manifest, error))?;
        let mut layers = Vec::new();
        if let Some(base) = &self.base {
            base.check(manifest, blobs, self.shell.is_some())?;
            layers.extend(base.layers.iter().cloned());
        }
        layers.extend(base_layer(manifest, &blobs[0], self.base.as_ref())?);
        for group in &groups {
            let whole = match group.as_slice() {
                [alone] => bundled(&manifest.layers[*alone], &blobs[*alone]),
                _ => joined(manifest, blobs, group, &overlay).map_err(|error| unreadable(manifest, error))?,
            };
            layers.push(whole);
        }
        let mut root = environment::environment(manifest, starts)?;
        add_again(&mut root, manifest, blobs, &overlay)?;
        layers.push(made("environment", "virtual environment and commands", &root)?);
        if let Some(shell) = &self.shell {
            shell.check(&manifest.platform.architecture)?;
            layers.push(made("shell", "busybox", &shell.root()?)?);
        }
        Ok(layers)
    }
}

/// Where a bundle runs, as images have it.
pub fn platform_of(manifest: &Manifest) -> oci::Platform {
    let platform = &manifest.platform;
    oci::Platform { architecture: platform.architecture.clone(), os: platform.os.clone() }
}

fn too_many(count: usize, below: usize) -> Failure {
    let of_base = if below > 0 { format!(", {below} of them the base's") } else { String::new() };
    let message =
        format!("the image would have {count} layers{of_base}, and no engine starts more than {MOST_LAYERS}");
    Failure::new(message).hint(match below > MOST_LAYERS / 2 {
        true => "name a base with fewer layers: `docker export` and `docker import` make one of all",
        false => "pack the parts of the app as one source tree or wheel",
    })
}

fn unreadable(manifest: &Manifest, error: io::Error) -> Failure {
    Failure::new(format!("the layers of {} cannot be read; the bundle is damaged", manifest.name))
        .because(error)
        .hint("copy the bundle again, or pack again; `coil verify` looks at all of it")
}

fn step(layer: &ImageLayer, created: &str) -> oci::Step {
    let created_by = format!("coil: {}: {}", layer.part, layer.content);
    oci::Step { created: created.to_owned(), created_by, ..oci::Step::default() }
}

/// A layer of the bundle, as it is.
fn bundled(layer: &Layer, place: &BlobPlace) -> ImageLayer {
    ImageLayer {
        part: match layer.kind {
            LayerKind::Runtime => "runtime",
            LayerKind::Libraries => "libraries",
            LayerKind::Wheel => "dependencies",
            LayerKind::App => "app",
        },
        content: title(layer),
        diff_id: layer.diff_id,
        unpacked_size: layer.unpacked_size,
        form: Compression::Zstd,
        digest: layer.digest,
        size: layer.size,
        bytes: Bytes::There(place.clone(), layer.size),
        annotations: BTreeMap::new(),
    }
}

fn title(layer: &Layer) -> String {
    let words = [Some(layer.name.as_str()), layer.version.as_deref()];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn joined(
    manifest: &Manifest,
    blobs: &[BlobPlace],
    group: &[usize],
    overlay: &Overlay,
) -> io::Result<ImageLayer> {
    let layers: Vec<_> =
        group.iter().map(|index| (*index, &manifest.layers[*index], &blobs[*index])).collect();
    let titles: Vec<String> = layers.iter().map(|(_, layer, _)| title(layer)).collect();
    Ok(new_layer("dependencies", titles.join(", "), join::join(&layers, &overlay.dropped)?))
}

fn made(part: &'static str, content: &str, root: &Root) -> Result<ImageLayer> {
    let made = Blob::of(&root.archive()).context(|| format!("cannot make the layer {part}"))?;
    Ok(new_layer(part, content.to_owned(), made))
}

fn new_layer(part: &'static str, content: String, made: Made) -> ImageLayer {
    let Made { bytes, diff_id, unpacked_size } = made;
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let (form, bytes) = (Compression::Zstd, Bytes::Here(bytes.into()));
    let annotations = BTreeMap::new();
    ImageLayer { part, content, diff_id, unpacked_size, form, digest, size, bytes, annotations }
}

/// The made base: of what it would be from scratch, what the base below lacks; `None` where that has all of it.
fn base_layer(manifest: &Manifest, runtime: &BlobPlace, below: Option<&Below>) -> Result<Option<ImageLayer>> {
    let carried = carried(&manifest.layers[0], runtime).map_err(|error| unreadable(manifest, error))?;
    let root = base::base(&carried)?;
    match below {
        None => made("base", "what scratch lacks", &root).map(Some),
        Some(below) => below.lacks(&root)?.map(|root| made("base", "what the base lacks", &root)).transpose(),
    }
}

fn carried(layer: &Layer, place: &BlobPlace) -> io::Result<base::Carried> {
    let mut frames = Frames::open(place, layer)?;
    let zones = frames.file("python/share/zoneinfo")?;
    let entries = frames.list()?;
    let has = |path: &str| entries.iter().any(|entry| &*entry.path == path);
    let certificates = has("python/share/certificates.pem");
    Ok(base::Carried { zones, certificates, locale: has("python/share/locale/C.utf8/LC_CTYPE") })
}

/// What overlaps among the layers that lie in one environment.
fn overlaps(manifest: &Manifest, blobs: &[BlobPlace], groups: &[Vec<usize>]) -> io::Result<Overlay> {
    let in_environment = |kind| matches!(kind, LayerKind::Wheel | LayerKind::App);
    let mut entries = BTreeMap::new();
    for (index, layer) in manifest.layers.iter().enumerate().filter(|(_, layer)| in_environment(layer.kind)) {
        entries.insert(index, Frames::open(&blobs[index], layer)?.list()?);
    }
    Ok(overlay(&entries, groups, &manifest.environment))
}

/// Brings the right files again, where an upper layer has others.
fn add_again(root: &mut Root, manifest: &Manifest, blobs: &[BlobPlace], overlay: &Overlay) -> Result<()> {
    for (path, owner) in &overlay.again {
        let found =
            Frames::open(&blobs[*owner], &manifest.layers[*owner]).and_then(|mut frames| frames.entry(path));
        match found.map_err(|error| unreadable(manifest, error))? {
            Some((Entry { kind: Kind::File { executable, .. }, .. }, content)) => {
                root.file(path, content, executable)?
            }
            Some((Entry { kind: Kind::Symlink(target), .. }, _)) => root.link(path, target)?,
            _ => {}
        }
    }
    Ok(())
}
