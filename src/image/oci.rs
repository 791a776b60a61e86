//! The JSON of the OCI image specification, as far as images of coil have it.
//!
//! Everything is written with sorted keys and without white space, so that the same image has the same digests.

use std::collections::BTreeMap;

use coil_bootstrap::format::digest::Digest;
use serde::{Deserialize, Serialize};

/// The media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer that is not compressed; compressed ones add `+gzip` or `+zstd`.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What Docker calls a manifest, an index, a configuration and a layer. They are read, and never written.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// See [`DOCKER_MANIFEST`].
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// See [`DOCKER_MANIFEST`].
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// See [`DOCKER_MANIFEST`]; a compressed one adds `.gzip` or `.zstd`.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// What is known of a blob ("OCI Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where an image runs, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// The descriptor of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

/// Where an image runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`
    pub architecture: String,
    /// `linux`
    pub os: String,
}

/// A manifest ("OCI Image Manifest Specification").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2
    pub schema_version: u32,
    /// [`MANIFEST`]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// What is said of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index ("OCI Image Index Specification").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2
    pub schema_version: u32,
    /// [`INDEX`]
    pub media_type: String,
    /// What it names.
    pub manifests: Vec<Descriptor>,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A configuration ("OCI Image Configuration").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// `amd64`
    pub architecture: String,
    /// `linux`
    pub os: String,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// How containers are started.
    pub config: Run,
    /// The layers.
    pub rootfs: RootFs,
    /// What made the layers: one entry for each, and of a base's also those that made none.
    pub history: Vec<Step>,
}

/// How containers of an image are started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Run {
    /// What always runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments, or what runs, unless a container is given others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `NAME=VALUE`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// `8000/tcp`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Nothing>,
    /// What is said of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `65532:65532`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// What a base says beside that (`Volumes`, `Healthcheck`, `Shell`).
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// `{}`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// The layers of an image, by what is in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`
    pub r#type: String,
    /// The digests of the unpacked archives, bottom first.
    pub diff_ids: Vec<Digest>,
}

/// A line of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, as RFC 3339 has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// By what, and what it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Whether it made no layer, as in bases that a Dockerfile made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// What a base says beside that (`author`, `comment`).
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

impl Config {
    /// The line of the history that tells of the layer `number`, counted from the bottom.
    pub fn step_of(&mut self, number: usize) -> Option<&mut Step> {
        self.history.iter_mut().filter(|step| !step.empty_layer).nth(number)
    }
}

/// The JSON of any of these.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    // Through a `Value`, whose maps are sorted. Neither step can fail: all keys are strings.
    serde_json::to_value(value).unwrap_or_default().to_string().into_bytes()
}
