//! The manifest: the JSON that says what a bundle is made of and how its environment is put together.
//!
//! It is canonical: UTF-8, object keys sorted, no white space, so that equal bundles have equal
//! manifests. Its SHA-256 is the name of the environment. Parsing checks everything the launcher
//! relies on; a manifest that parses can be acted on without further questions.

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Damage;
use super::checksum::Checksum;
use super::digest::Digest;
use super::frames::FrameRange;
use super::image::ImageSettings;
use super::path::TreePath;
use super::production::Production;
use super::recipe::Recipe;

/// The version of the format that this code reads and writes.
pub const SCHEMA: u32 = 1;

/// The media type of every layer, from the OCI image specification.
pub const LAYER_MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The largest manifest that is read, in bytes: a bound for what a damaged file can make us allocate.
pub const MAX_SIZE: u64 = 64 << 20;

/// How many digits of the runtime's digest tell apart the directories of one layer with programs.
const RUNTIME_DIGITS: usize = 16;

/// What the launcher itself puts into an environment; nothing in a plan may be at or below these.
const RESERVED: [&str; 5] = ["pyvenv.cfg", "run", ".launch", "bin/python", "bin/python3"];

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
    /// Which C library it runs with.
    #[serde(default, rename = "libc", skip_serializing_if = "CLibraryRule::is_auto")]
    pub c_library: CLibraryRule,
    /// How the environment is made from the layers.
    pub environment: Environment,
    /// What is said of images that are made of it.
    #[serde(default, skip_serializing_if = "ImageSettings::is_empty")]
    pub image: ImageSettings,
    /// What a server runs of it.
    #[serde(default, skip_serializing_if = "Production::is_empty")]
    pub production: Production,
    /// The exact set of distributions, as `pylock.toml` (PEP 751).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The commit that was packed, where the sources are in git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Revision>,
    /// How the bundle was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
}

/// Which state of the sources was packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// The commit's id: 40 or 64 hexadecimal digits in lower case.
    pub commit: String,
    /// Whether a tracked file of the packed directory differed from the commit.
    pub dirty: bool,
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
    /// The newest version of C++ symbols (`GLIBCXX`) of the libstdc++ it carries: `3.4.30`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libstdcxx: Option<String>,
    /// The interpreter's place in the runtime layer: `python/bin/python3.12`.
    pub executable: TreePath,
    /// The dynamic loader's place in the runtime layer.
    pub loader: TreePath,
    /// Directories of the runtime layer that its libraries are found in, in this order: those of Python,
    /// of the compiler, of the C library. On a host whose own are used the last ones are left aside.
    pub search_path: [TreePath; 3],
    /// Room in the interpreter for the absolute path of the loader (its PT_INTERP).
    pub loader_slot: Slot,
    /// Room in the interpreter for the absolute search path (its DT_RPATH).
    pub search_path_slot: Slot,
    /// The environment's directory for pure and compiled modules: `lib/python3.12/site-packages`.
    pub site_packages: TreePath,
}

/// Which C library an app runs with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CLibraryRule {
    /// The newer one of the carried one and the host's; the host's where they are equally new.
    #[default]
    Auto,
    /// The carried one, wherever it runs.
    Bundled,
    /// The host's; where there is none the app does not start.
    Host,
}

impl CLibraryRule {
    fn is_auto(&self) -> bool {
        *self == CLibraryRule::Auto
    }
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
    /// The BLAKE3 of the blob.
    pub checksum: Checksum,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The SHA-256 of the uncompressed tar archive.
    pub diff_id: Digest,
    /// The length of the uncompressed tar archive in bytes.
    pub unpacked_size: u64,
    /// Where the blob begins, in bytes from the start of the section `.coil.layers`.
    pub offset: u64,
    /// The programs in it that the kernel starts through a dynamic loader, by their paths in the layer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<TreePath, Program>,
    /// Directories whose entries have frames to themselves: whoever does not need one need not decode it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apart: BTreeMap<TreePath, FrameRange>,
}

/// Where in a program of a layer the launcher writes absolute paths, as it does in the interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Program {
    /// Room for the absolute path of the runtime's loader (its PT_INTERP).
    pub loader_slot: Slot,
    /// Room for the absolute search path (its DT_RPATH): its own directories, then the runtime's.
    pub search_path_slot: Slot,
    /// Directories of its layer that its libraries are found in, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_path: Vec<TreePath>,
}

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// `python/...`: the interpreter, its standard library and the shared libraries they need.
    Runtime,
    /// `python/lib/...`: shared libraries that wheels need of a host, found like those of the runtime.
    Libraries,
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
    /// Variables that are set for this command, whatever they were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Whether the arguments and the variables' values are templates ([`template`]).
    #[serde(default, skip_serializing_if = "is_false")]
    pub expand: bool,
}

impl Command {
    /// A command that runs `script` without arguments.
    pub fn of(script: TreePath) -> Self {
        Command { script, args: Vec::new(), variables: BTreeMap::new(), expand: false }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
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

impl Manifest {
    /// The canonical JSON of this manifest.
    pub fn encode(&self) -> Vec<u8> {
        // Through a `Value`, whose maps are sorted: field order in the source does not matter.
        // Neither step can fail: there are no maps with keys that are not strings.
        let value = serde_json::to_value(self).unwrap_or_default();
        value.to_string().into_bytes()
    }

    /// Reads a manifest and checks every claim in it that does not need the layers themselves.
    ///
    /// `payload_size` is the length of the section `.coil.layers`.
    pub fn parse(json: &[u8], payload_size: u64) -> Result<Self, Damage> {
        let manifest: Manifest = serde_json::from_slice(json)
            .map_err(|error| Damage::new(format!("its manifest cannot be read: {error}")))?;
        manifest.check(payload_size).map_err(|what| Damage::new(format!("its manifest is wrong: {what}")))?;
        Ok(manifest)
    }

    /// The name of the directory that a layer of this manifest is unpacked into: its checksum. One with programs
    /// is unpacked for the runtime that they are settled for, whose checksum is in its name as well; and so is that of
    /// the libraries, for whoever searches them.
    pub fn directory_of(&self, layer: &Layer) -> String {
        let mut name = layer.checksum.hex();
        let digits = |layer: &Layer| format!("-{}", &layer.checksum.hex()[..RUNTIME_DIGITS]);
        let settled = layer.kind == LayerKind::Runtime || !layer.programs.is_empty();
        if !layer.programs.is_empty() {
            name.extend(self.layers.first().map(digits));
        }
        name.extend(self.libraries().filter(|_| settled).map(digits));
        name
    }

    /// The layer of libraries that are found like those of the runtime, where there is one.
    pub fn libraries(&self) -> Option<&Layer> {
        self.layers.get(1).filter(|layer| layer.kind == LayerKind::Libraries)
    }

    /// The total length of all layers when unpacked, in bytes.
    pub fn unpacked_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unpacked_size).sum()
    }
}

/// Whether `name` can name a command: a file name that is no option and hides nothing.
pub fn is_command_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    !name.is_empty() && name.len() <= 200 && !name.starts_with(['-', '.']) && name.chars().all(plain)
}

#[cfg(test)]
pub(crate) mod tests;
