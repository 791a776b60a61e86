//! Another runtime under an app's image, in the registry: a new configuration, a new manifest and one layer. All other
//! layers stay where they are, and are not even looked at.

use std::collections::BTreeSet;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{CLibraryRule, Environment, Layer, Manifest, SCHEMA};
use coil_bootstrap::format::recipe::Recipe;

use super::compression::{Compression, EncodedLayer};
use super::push::{Moved, bring};
use super::reference::Reference;
use super::registry::{Pushed, Registry};
use super::{LIBRARIES, PART, RUNTIME, bundled, oci};
use crate::error::{Context, Failure, Result};
use crate::layer::BlobPlace;
use crate::needs::libraries_of_runtime;
use crate::rebase::with_runtime;
use crate::report::Report;
use crate::runtime_file::Runtime;

/// What became of an image.
pub struct Swapped {
    /// The version of the CPython that it had.
    pub before: String,
    /// The digest of its new manifest.
    pub digest: Digest,
    /// What was sent.
    pub moved: Moved,
}

/// Puts `runtime`, whose layer is at `place`, under the image `reference`, and calls the outcome `tag`.
///
/// Fails, and changes nothing, where the app could not run on it, or where the image is none of coil's.
pub fn swap(
    registry: &Registry,
    reference: &Reference,
    tag: &str,
    (runtime, place): (&Runtime, &BlobPlace),
    pushed: &Pushed,
    report: &Report,
) -> Result<Swapped> {
    let foreign = || {
        let name = reference.familiar();
        Failure::new(format!("{name} cannot be rebased: it was not made by `coil image`"))
            .hint("make it with `coil image BUNDLE --push`")
    };
    let (bytes, media_type) = registry.manifest(reference.version())?;
    if media_type == oci::INDEX {
        let message = format!("{} is an index of images for several platforms", reference.familiar());
        return Err(Failure::new(message).hint("rebase the bundles, and push them together again"));
    }
    let mut manifest: oci::Manifest = serde_json::from_slice(&bytes).map_err(|_| foreign())?;
    let at = manifest
        .layers
        .iter()
        .position(|layer| layer.annotations.get(PART).is_some_and(|part| part == "runtime"));
    let at = at.ok_or_else(foreign)?;
    let mut config: oci::Config =
        serde_json::from_slice(&registry.small_blob(&manifest.config)?).map_err(|_| foreign())?;
    let old: Runtime = config
        .config
        .labels
        .get(RUNTIME)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(foreign)?;
    let libraries = libraries(place, &runtime.layer)?;
    let carried = config.config.labels.get(LIBRARIES).ok_or_else(foreign)?;
    let there: BTreeSet<&str> = libraries.split(' ').collect();
    let lost = carried.split(' ').filter(|name| !name.is_empty() && !there.contains(name)).map(str::to_owned);
    check(reference, &old, runtime, &lost.collect())?;

    let suffix = manifest.layers[at].media_type.strip_prefix(oci::LAYER);
    let compression = match suffix.ok_or_else(foreign)? {
        "+zstd" => Compression::Zstd,
        "+gzip" => Compression::Gzip,
        _ => Compression::None,
    };
    let layer = bundled(&runtime.layer, place);
    let encoded =
        EncodedLayer::new(&layer, compression).context(|| format!("cannot read {}", place.file.display()))?;
    manifest.layers[at] = encoded.descriptor.clone();
    *config.rootfs.diff_ids.get_mut(at).ok_or_else(foreign)? = layer.diff_id;
    let step = super::step(&layer, &config.created);
    *config.step_of(at).ok_or_else(foreign)? = step;
    let facts = facts(runtime);
    for said in [&mut config.config.labels, &mut manifest.annotations] {
        said.insert(RUNTIME.to_owned(), facts.clone());
        said.insert(LIBRARIES.to_owned(), libraries.clone());
    }
    let config = oci::encode(&config);
    manifest.config = oci::Descriptor::of(oci::CONFIG, &config);
    let json = oci::encode(&manifest);

    let mut moved = Moved::default();
    let task = report.measured("pushing the runtime", encoded.descriptor.size);
    let told = |sent| task.bytes(sent);
    bring(registry, pushed, (&encoded.descriptor, &|| encoded.open(), &told), &mut moved)?;
    drop(task);
    let open = || -> std::io::Result<Box<dyn std::io::Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(config.clone())))
    };
    bring(registry, pushed, (&manifest.config, &open, &|_| {}), &mut moved)?;
    registry.put_manifest(tag, oci::MANIFEST, &json)?;
    moved.sent = (moved.sent.0 + 1, moved.sent.1 + json.len() as u64);
    Ok(Swapped { before: old.python.version, digest: Digest::of(&json), moved })
}

/// What is written into an image of its runtime, so that it is known what can replace it.
pub fn facts(runtime: &Runtime) -> String {
    let short = Runtime { carried: Vec::new(), left_out: Vec::new(), openssl: None, ..runtime.clone() };
    serde_json::to_value(short).unwrap_or_default().to_string()
}

/// What is written into an image of its runtime's libraries: their names, sorted, a space between them.
pub fn libraries(place: &BlobPlace, layer: &Layer) -> Result<String> {
    let names = libraries_of_runtime(place, layer.size);
    let names = names.context(|| format!("cannot read the runtime in {}", place.file.display()))?;
    Ok(names.into_iter().collect::<Vec<_>>().join(" "))
}

/// The rules of `coil rebase` for bundles, applied to an image.
fn check(reference: &Reference, old: &Runtime, new: &Runtime, lost: &BTreeSet<String>) -> Result<()> {
    let bundle = Manifest {
        schema: SCHEMA,
        name: reference.familiar(),
        version: None,
        platform: old.platform.clone(),
        python: old.python.clone(),
        layers: vec![Layer { offset: 0, ..old.layer.clone() }],
        commands: Default::default(),
        default: None,
        c_library: CLibraryRule::Auto,
        environment: Environment::default(),
        image: Default::default(),
        production: Default::default(),
        lock: None,
        source: None,
        recipe: Some(Recipe { keep: old.kept.words(), ..Default::default() }),
    };
    let unknown = || {
        let why = match lost.first() {
            Some(library) => format!("does not carry {library}, as the old one does"),
            None => format!(
                "has an older C library ({}) than {}, or an older libstdc++",
                new.python.libc, old.python.libc
            ),
        };
        let message =
            format!("{} cannot be rebased in the registry: the new runtime {why}", reference.familiar());
        Err(Failure::new(message)
            .hint("rebase the bundle, which is looked into for what it needs of that, and push its image"))
    };
    with_runtime(&bundle, new, lost, unknown).map(drop)
}
