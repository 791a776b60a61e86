//! The one image among those that a base offers: the one with the tag, for the platform.

use std::collections::BTreeSet;
use std::io::{self, Read};

use coil_bootstrap::format::digest::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::archive::{Files, MAX_JSON};
use super::wrong;
use crate::error::{Failure, Result};
use crate::image::registry::Registry;
use crate::image::{Bytes, Reference, layout, oci};
use crate::report::Report;

/// How many indexes may be inside each other.
const MAX_DEPTH: usize = 4;

/// An image, before its layers are looked at.
pub struct Choice {
    /// Its name in a registry.
    pub name: Option<String>,
    /// The digest of its manifest; what old Dockers wrote has none.
    pub digest: Option<Digest>,
    /// The host and the repository that it comes from.
    pub origin: Option<(String, String)>,
    /// The JSON of its configuration.
    pub config: Vec<u8>,
    /// Its layers, bottom first: what is said of each, and where it is.
    pub layers: Vec<(Option<oci::Descriptor>, Bytes)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    config: oci::Descriptor,
    layers: Vec<oci::Descriptor>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<oci::Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    config: String,
    #[serde(default)]
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// The image with this tag in a layout or an archive, where it has several.
pub fn in_files(files: &Files, tag: Option<&str>, platform: &oci::Platform, named: &str) -> Result<Choice> {
    let broken = |error: io::Error| wrong(named, &error.to_string());
    let Ok(index) = files.read(layout::INDEX) else { return of_docker(files, tag, named) };
    let mut index: Index = json(&index).map_err(|why| wrong(named, &format!("index.json: {why}")))?;
    if let Some(tag) = tag {
        index.manifests.retain(|image| names(image).any(|name| is_called(name, tag)));
    } else if index.manifests.len() > 1 {
        let tags = index.manifests.iter().filter_map(|image| image.annotations.get(layout::REF_NAME));
        let tags: BTreeSet<&str> = tags.map(String::as_str).collect();
        let digests: BTreeSet<&Digest> = index.manifests.iter().map(|image| &image.digest).collect();
        if let Some(first) = tags.first().filter(|_| tags.len() > 1 && digests.len() > 1) {
            let all = Vec::from_iter(tags.iter().copied()).join(", ");
            return Err(Failure::new(format!("the base {named} has several images: {all}"))
                .hint(format!("name one of them, as {named}:{first}")));
        }
    }
    if let (Some(tag), true) = (tag, index.manifests.is_empty()) {
        return Err(no_tag(named, tag));
    }
    let name = match index.manifests.as_slice() {
        [one] => names(one).find_map(full_name),
        _ => None,
    };
    let blob = |digest: &Digest| -> Result<Vec<u8>> {
        let bytes = files.read(&layout::place(layout::Format::Oci, digest)).map_err(broken)?;
        match Digest::of(&bytes) {
            is if is == *digest => Ok(bytes),
            is => Err(wrong(named, &format!("what is called {digest} has the digest {is}"))),
        }
    };
    let (digest, bytes) = manifest_of(named, index.manifests, platform, &blob)?;
    let manifest = manifest(named, &bytes)?;
    let config = blob(&manifest.config.digest)?;
    let layers = manifest.layers.into_iter().map(|layer| {
        let bytes = files.find(&layout::place(layout::Format::Oci, &layer.digest)).map_err(broken)?;
        Ok((Some(layer), bytes))
    });
    Ok(Choice { name, digest: Some(digest), origin: None, config, layers: layers.collect::<Result<_>>()? })
}

/// The same, of what `docker save` wrote before version 25.
fn of_docker(files: &Files, tag: Option<&str>, named: &str) -> Result<Choice> {
    let broken = |error: io::Error| wrong(named, &error.to_string());
    let list = files.read(layout::DOCKER).map_err(broken)?;
    let mut list: Vec<Docker> = json(&list).map_err(|why| wrong(named, &format!("manifest.json: {why}")))?;
    if let Some(tag) = tag {
        list.retain(|image| image.repo_tags.iter().any(|name| is_called(name, tag)));
    }
    let image = match (list.pop(), tag) {
        (Some(image), _) if list.is_empty() => image,
        (None, Some(tag)) => return Err(no_tag(named, tag)),
        (None, None) => return Err(wrong(named, "there is no image in it")),
        (Some(_), _) => {
            return Err(Failure::new(format!("the base {named} has several images"))
                .hint(format!("name one of them, as {named}:NAME:TAG")));
        }
    };
    let config = files.read(&image.config).map_err(broken)?;
    let hex = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    let digest = Digest::of(&config);
    if Digest::from_hex(hex).is_some_and(|claimed| claimed != digest) {
        return Err(wrong(named, &format!("its configuration {hex} has the digest {digest}")));
    }
    let layers = image.layers.iter().map(|name| Ok((None, files.find(name).map_err(broken)?)));
    let layers = layers.collect::<Result<_>>()?;
    let name = image.repo_tags.iter().find_map(|name| full_name(name));
    Ok(Choice { name, digest: None, origin: None, config, layers })
}

/// The image of this name in a registry; its layers are fetched.
pub fn in_registry(
    registry: &Registry,
    reference: &Reference,
    platform: &oci::Platform,
    report: &Report,
) -> Result<Choice> {
    let named = reference.familiar();
    let (top, _) = registry.manifest(reference.version())?;
    let fetch = |digest: &Digest| Ok(registry.manifest(&digest.to_string())?.0);
    let descriptor = oci::Descriptor::of("", &top);
    let known = |digest: &Digest| if *digest == descriptor.digest { Ok(top.clone()) } else { fetch(digest) };
    let (digest, bytes) = manifest_of(&named, vec![descriptor.clone()], platform, &known)?;
    let manifest = manifest(&named, &bytes)?;
    let config = config(registry, &manifest.config, &named)?;
    fits(&named, &config, platform)?;
    let mut layers = Vec::new();
    for layer in manifest.layers {
        let _task = report.task(&format!("fetching {} of {} bytes", layer.digest, layer.size));
        let file = registry.fetch(&layer)?;
        let bytes = Bytes::Held(file.into(), 0, layer.size);
        layers.push((Some(layer), bytes));
    }
    let origin = Some((registry.host().to_owned(), registry.repository().to_owned()));
    Ok(Choice { name: Some(reference.full_version()), digest: Some(digest), origin, config, layers })
}

/// A configuration, fetched as layers are: what breaks off goes on.
fn config(registry: &Registry, descriptor: &oci::Descriptor, named: &str) -> Result<Vec<u8>> {
    if descriptor.size > MAX_JSON {
        return Err(wrong(named, "its configuration is too long"));
    }
    let bytes = Bytes::Held(registry.fetch(descriptor)?.into(), 0, descriptor.size);
    let mut config = Vec::new();
    bytes
        .open()
        .and_then(|mut bytes| bytes.read_to_end(&mut config))
        .map_err(|error| wrong(named, "its configuration cannot be read").because(error))?;
    match Digest::of(&config) {
        digest if digest == descriptor.digest => Ok(config),
        digest => {
            Err(wrong(named, &format!("its configuration {} has the digest {digest}", descriptor.digest)))
        }
    }
}

/// The manifest for the platform among these, with its digest.
fn manifest_of(
    named: &str,
    mut among: Vec<oci::Descriptor>,
    platform: &oci::Platform,
    blob: &dyn Fn(&Digest) -> Result<Vec<u8>>,
) -> Result<(Digest, Vec<u8>)> {
    for _ in 0..MAX_DEPTH {
        let others: Vec<String> = among.iter().filter_map(|it| it.platform.as_ref()).map(words).collect();
        // What says nothing of a platform tells it by its configuration.
        among.retain(|it| it.platform.as_ref().is_none_or(|its| its == platform));
        let Some(first) = among.first() else { return Err(other_platform(named, &others, platform)) };
        let (digest, bytes) = (first.digest, blob(&first.digest)?);
        match json::<Index>(&bytes) {
            Ok(index) => among = index.manifests,
            Err(_) => return Ok((digest, bytes)),
        }
    }
    Err(wrong(named, "its indexes name each other without an end"))
}

fn manifest(named: &str, bytes: &[u8]) -> Result<Manifest> {
    let manifest: Manifest =
        json(bytes).map_err(|why| wrong(named, &format!("its manifest cannot be read: {why}")))?;
    let unknown = |what: &str, kind: &str| {
        Failure::new(format!("{named} cannot be the base: {what} has the media type {kind:?}"))
            .hint("name an image whose layers are tar archives: one for Linux, of this decade")
    };
    if manifest.schema_version != 2 {
        return Err(unknown("its manifest", "of schema 1"));
    }
    if ![oci::CONFIG, oci::DOCKER_CONFIG].contains(&manifest.config.media_type.as_str()) {
        return Err(unknown("its configuration", &manifest.config.media_type));
    }
    for layer in &manifest.layers {
        let kind = layer.media_type.as_str();
        let suffix = kind.strip_prefix(oci::LAYER).or_else(|| kind.strip_prefix(oci::DOCKER_LAYER));
        if !suffix.is_some_and(|suffix| ["", "+gzip", "+zstd", ".gzip", ".zstd"].contains(&suffix)) {
            return Err(unknown(&format!("its layer {}", layer.digest), kind));
        }
    }
    Ok(manifest)
}

/// JSON in which `null` stands for what is not there, as Docker writes it.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    without_null(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn without_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Fails where a configuration says that its image is for another platform.
pub fn fits(named: &str, config: &[u8], platform: &oci::Platform) -> Result<()> {
    let its: oci::Platform =
        json(config).map_err(|why| wrong(named, &format!("its configuration cannot be read: {why}")))?;
    if its == *platform { Ok(()) } else { Err(other_platform(named, &[words(&its)], platform)) }
}

/// What is told of a base that is for other platforms only.
fn other_platform(named: &str, its: &[String], platform: &oci::Platform) -> Failure {
    let its = if its.is_empty() { "nothing".to_owned() } else { its.join(", ") };
    let (bundle, message) = (words(platform), format!("{named} cannot be the base: it is for {its}"));
    Failure::new(format!("{message}, and the bundle is for {bundle}")).hint(format!(
        "name a base for {bundle}, such as with `skopeo copy --override-arch {}`",
        platform.architecture
    ))
}

fn words(platform: &oci::Platform) -> String {
    format!("{}/{}", platform.os, platform.architecture)
}

fn names(image: &oci::Descriptor) -> impl Iterator<Item = &str> {
    [layout::IMAGE_NAME, layout::REF_NAME]
        .into_iter()
        .filter_map(|key| Some(image.annotations.get(key)?.as_str()))
}

/// Whether `tag` is this name, or the end of it.
fn is_called(name: &str, tag: &str) -> bool {
    name == tag || name.strip_suffix(tag).is_some_and(|rest| rest.ends_with([':', '/']))
}

/// A name as it is written where no registry is assumed; `None` for what is a tag alone.
fn full_name(name: &str) -> Option<String> {
    let named = name.contains([':', '/']);
    Reference::parse(name).ok().filter(|_| named).map(|reference| reference.full_version())
}

fn no_tag(named: &str, tag: &str) -> Failure {
    Failure::new(format!("the base {named} has no image {tag}"))
        .hint("`skopeo list-tags` and the file index.json tell what is in it")
}
