//! The manifest: the JSON that says what a bundle is made of and how its environment is put together.
//!
//! It is canonical: UTF-8, object keys sorted, no white space, so that equal bundles have equal
//! manifests. Its SHA-256 is the name of the environment. Parsing checks everything the launcher
//! relies on; a manifest that parses can be acted on without further questions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::path::TreePath;

/// The version of the format that this code reads and writes.
pub const SCHEMA: u32 = 1;

/// The media type of every layer, from the OCI image specification.
pub const LAYER_MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The largest manifest that is read, in bytes: a bound for what a damaged file can make us allocate.
pub const MAX_SIZE: u64 = 256 << 20;

/// What a bundle is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The name of the app: a command's name is shown beside it, a file is called after it.
    pub name: String,
    /// The version of the app, where the project says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it runs, in the words of the OCI image specification.
    pub platform: Platform,
    /// The Python inside.
    pub python: Python,
    /// The layers in the order of the payload; the first is the runtime.
    pub layers: Vec<Layer>,
    /// Every named way to start the app.
    pub commands: BTreeMap<String, Command>,
    /// The command that runs when none is named. Without one, the first argument names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// How the environment is made from the layers.
    pub environment: Environment,
    /// The exact set of distributions, as `pylock.toml` (PEP 751).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
}

/// Where a bundle runs (OCI image specification, "Platform").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
}

/// The interpreter, and where in it the launcher writes absolute paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Python {
    /// `cpython`.
    pub implementation: String,
    /// `3.12.1`.
    pub version: String,
    /// The ABI tag: `cp312`, `cp313t`.
    pub abi: String,
    /// The first bytes of its byte code (`importlib.util.MAGIC_NUMBER`), as hexadecimal digits.
    pub magic: String,
    /// The C library it carries: `glibc-2.36`.
    pub libc: String,
    /// The interpreter's place in the runtime layer: `python/bin/python3.12`.
    pub executable: TreePath,
    /// The dynamic loader's place in the runtime layer.
    pub loader: TreePath,
    /// Directories of the runtime layer that its libraries are found in, in this order.
    pub search_path: Vec<TreePath>,
    /// Room in the interpreter for the absolute path of the loader (its PT_INTERP).
    pub loader_slot: Slot,
    /// Room in the interpreter for the absolute search path (its DT_RPATH).
    pub search_path_slot: Slot,
    /// The environment's directory for pure and compiled modules: `lib/python3.12/site-packages`.
    pub site_packages: TreePath,
}

/// Room for a NUL-padded string in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// How long it is, in bytes, the final NUL included.
    pub size: u64,
}

/// One layer: an OCI descriptor and what coil adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Layer {
    /// What it holds.
    pub kind: LayerKind,
    /// The distribution's name, or the app's.
    pub name: String,
    /// The distribution's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// [`LAYER_MEDIA_TYPE`].
    pub media_type: String,
    /// The SHA-256 of the blob.
    pub digest: Digest,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The SHA-256 of the uncompressed tar archive.
    pub diff_id: Digest,
    /// The length of the uncompressed tar archive in bytes.
    pub unpacked_size: u64,
    /// Where the blob begins, in bytes from the start of the section `.coil.layers`.
    pub offset: u64,
}

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// `python/...`: the interpreter, its standard library and the shared libraries they need.
    Runtime,
    /// `venv/...`: what one installed wheel puts under a prefix.
    Wheel,
    /// `app/...`: source trees that are not wheels, and the scripts that start the app.
    App,
}

/// A named way to start the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The Python file that is run, in the environment: `bin/flask`, `app/manage.py`.
    pub script: TreePath,
    /// Arguments that come before the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

/// How the environment is made. All paths on the left are inside the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Environment {
    /// Variables that are set where the user has not set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// What is linked into the environment: a path in it, and where that is in a layer. A link stands
    /// for a file or for a whole directory that one layer alone provides.
    pub links: BTreeMap<TreePath, Source>,
    /// Scripts whose first line names the interpreter, which is known only on the target.
    pub scripts: BTreeMap<TreePath, Source>,
}

/// Something in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Which layer, counted from 0.
    pub layer: usize,
    /// The path in that layer.
    pub path: TreePath,
}
