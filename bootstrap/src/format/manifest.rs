//! The manifest: the JSON that says what a bundle is made of and how its environment is put together.
//!
//! It is canonical: UTF-8, object keys sorted, no white space, so that equal bundles have equal
//! manifests. Its SHA-256 is the name of the environment. Parsing checks everything the launcher
//! relies on; a manifest that parses can be acted on without further questions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Damage;
use super::checksum::Checksum;
use super::digest::Digest;
use super::path::TreePath;
use super::recipe::Recipe;
use super::template;

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

    fn check(&self, payload_size: u64) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema {} is not {SCHEMA}", self.schema));
        }
        self.check_layers(payload_size)?;
        self.check_python()?;
        self.check_plan()?;
        self.recipe.as_ref().map_or(Ok(()), Recipe::check)?;
        if let Some(default) = &self.default
            && !self.commands.contains_key(default)
        {
            return Err(format!("the default command {default:?} does not exist"));
        }
        if let Some(name) = self.commands.keys().find(|name| !is_command_name(name)) {
            return Err(format!("{name:?} cannot be the name of a command"));
        }
        let strange = |name: &str| name.is_empty() || name.contains(['=', '\0']);
        let of_commands = || self.commands.values().flat_map(|command| &command.variables);
        let mut variables = self.environment.variables.iter().chain(of_commands());
        if let Some((name, _)) = variables.find(|(name, _)| strange(name)) {
            return Err(format!("{name:?} cannot be the name of a variable"));
        }
        let values = self.environment.variables.values().chain(of_commands().map(|(_, value)| value));
        let mut texts = values.chain(self.commands.values().flat_map(|command| &command.args));
        if texts.any(|text| text.contains('\0')) {
            return Err("a variable or an argument holds a NUL byte".into());
        }
        self.check_templates()?;
        self.check_source()
    }

    fn check_templates(&self) -> Result<(), String> {
        for command in self.commands.values().filter(|command| command.expand) {
            let mut texts = command.args.iter().chain(command.variables.values());
            if let Some(text) = texts.find(|text| template::parse(text).is_none()) {
                return Err(format!("the argument {text:?} names a variable in a way that does not exist"));
            }
        }
        Ok(())
    }

    fn check_source(&self) -> Result<(), String> {
        let Some(Revision { commit, .. }) = &self.source else { return Ok(()) };
        let digits = commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match digits && matches!(commit.len(), 40 | 64) {
            true => Ok(()),
            false => Err(format!("{commit:?} is not the id of a commit")),
        }
    }

    fn check_layers(&self, payload_size: u64) -> Result<(), String> {
        let mut end = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            let name = &layer.name;
            if (index == 0) != (layer.kind == LayerKind::Runtime) {
                return Err("the first layer, and no other, is the runtime".into());
            }
            if index != 1 && layer.kind == LayerKind::Libraries {
                return Err(format!("the layer {name:?} of libraries does not follow the runtime"));
            }
            if layer.media_type != LAYER_MEDIA_TYPE {
                return Err(format!("the layer {name:?} has the media type {:?}", layer.media_type));
            }
            let next = layer.offset.checked_add(layer.size).filter(|next| *next <= payload_size);
            if layer.offset < end || layer.offset % super::sections::ALIGNMENT != 0 {
                return Err(format!("the layer {name:?} is not where a layer can begin"));
            }
            end = next.ok_or_else(|| format!("the layer {name:?} goes past the end of the payload"))?;
            if index == 0 && !layer.programs.is_empty() {
                return Err("the runtime has programs beside its interpreter".into());
            }
            let impossible = |program: &Program| {
                !is_possible(program.loader_slot) || !is_possible(program.search_path_slot)
            };
            if let Some((path, _)) = layer.programs.iter().find(|(_, program)| impossible(program)) {
                return Err(format!("a slot in {path} is impossible"));
            }
        }
        // No sum of sizes that is computed later can overflow.
        let total = self.layers.iter().try_fold(0u64, |sum, layer| sum.checked_add(layer.unpacked_size));
        match total {
            _ if self.layers.is_empty() => Err("it has no layers".into()),
            None => Err("the layers are too large together".into()),
            Some(_) => Ok(()),
        }
    }

    fn check_python(&self) -> Result<(), String> {
        let python = &self.python;
        let files = [&python.executable, &python.loader];
        if files.into_iter().chain(&python.search_path).any(|path| path.top() != "python") {
            return Err("a path of the runtime is outside python/".into());
        }
        if !is_possible(python.loader_slot) || !is_possible(python.search_path_slot) {
            return Err("a slot in the interpreter is impossible".into());
        }
        Ok(())
    }

    fn check_plan(&self) -> Result<(), String> {
        let plan = &self.environment;
        for (path, source) in plan.links.iter().chain(&plan.scripts) {
            let layer = self.layers.get(source.layer);
            let layer = layer.ok_or_else(|| format!("{path} is in a layer that does not exist"))?;
            if matches!(layer.kind, LayerKind::Runtime | LayerKind::Libraries) {
                return Err(format!("{path} is linked into the runtime"));
            }
            if RESERVED.iter().any(|taken| **path == **taken || path.below(taken).is_some()) {
                return Err(format!("{path} is not for a layer to provide"));
            }
            let mut above = path.parent();
            while let Some(directory) = above {
                if plan.links.contains_key(&directory) || plan.scripts.contains_key(&directory) {
                    return Err(format!("{path} lies below {directory}, which is a link itself"));
                }
                above = directory.parent();
            }
            if plan.links.contains_key(path) && plan.scripts.contains_key(path) {
                return Err(format!("{path} is a link and a script"));
            }
        }
        Ok(())
    }
}

fn is_possible(slot: Slot) -> bool {
    slot.size > 0 && slot.size <= 1 << 20 && slot.offset.checked_add(slot.size).is_some()
}

/// Whether `name` can name a command: a file name that is no option and hides nothing.
pub fn is_command_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    !name.is_empty() && name.len() <= 200 && !name.starts_with(['-', '.']) && name.chars().all(plain)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn layer(kind: LayerKind, offset: u64) -> Layer {
        Layer {
            kind,
            name: "x".into(),
            version: None,
            media_type: LAYER_MEDIA_TYPE.into(),
            digest: Digest::of(b"blob"),
            checksum: Checksum::of(b"blob"),
            size: 100,
            diff_id: Digest::of(b"tar"),
            unpacked_size: 1000,
            offset,
            programs: BTreeMap::new(),
        }
    }

    pub(crate) fn manifest() -> Manifest {
        let slot = Slot { offset: 64, size: 4096 };
        let source = |name: &str| Source { layer: 1, path: path(name) };
        Manifest {
            schema: SCHEMA,
            name: "hello".into(),
            version: Some("1.0".into()),
            platform: Platform { os: "linux".into(), architecture: "amd64".into() },
            python: Python {
                implementation: "cpython".into(),
                version: "3.12.1".into(),
                abi: "cp312".into(),
                magic: "cb0d0d0a".into(),
                libc: "glibc-2.36".into(),
                libstdcxx: Some("3.4.30".into()),
                executable: path("python/bin/python3.12"),
                loader: path("python/libc/ld-linux-x86-64.so.2"),
                search_path: ["python/lib", "python/libgcc", "python/libc"].map(path),
                loader_slot: slot,
                search_path_slot: slot,
                site_packages: path("lib/python3.12/site-packages"),
            },
            layers: vec![layer(LayerKind::Runtime, 0), layer(LayerKind::App, 4096)],
            commands: [("hello".into(), Command::of(path("app/hello.py")))].into(),
            default: Some("hello".into()),
            c_library: CLibraryRule::Auto,
            environment: Environment {
                variables: BTreeMap::new(),
                links: [(path("app"), source("app"))].into(),
                scripts: [(path("bin/hello"), source("venv/bin/hello"))].into(),
            },
            lock: None,
            source: None,
            recipe: None,
        }
    }

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let mut bad = manifest();
        change(&mut bad);
        Manifest::parse(&bad.encode(), 8192).expect_err("the change went unnoticed").to_string()
    }

    #[test]
    fn a_manifest_reads_back_what_was_written() {
        let json = manifest().encode();
        assert_eq!(Manifest::parse(&json, 8192), Ok(manifest()));
        assert!(json.starts_with(br#"{"commands":{"hello":{"script":"app/hello.py"}},"default":"hello","#));
    }

    #[test]
    fn every_cut_is_an_error_and_no_flipped_bit_panics() {
        let json = manifest().encode();
        for length in 0..json.len() {
            assert!(Manifest::parse(&json[..length], 8192).is_err());
        }
        for bit in 0..json.len() * 8 {
            let mut bad = json.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let _ = Manifest::parse(&bad, 8192);
        }
    }

    #[test]
    fn lying_offsets_and_sizes_are_refused() {
        refused(|bad| bad.layers[1].size = u64::MAX);
        refused(|bad| bad.layers[1].size = 5000);
        refused(|bad| bad.layers[1].offset = 0);
        refused(|bad| bad.layers[1].offset = 4097);
        refused(|bad| bad.layers.iter_mut().for_each(|layer| layer.unpacked_size = u64::MAX));
        refused(|bad| bad.python.loader_slot.size = u64::MAX);
        refused(|bad| bad.python.search_path_slot.offset = u64::MAX);
        refused(|bad| bad.layers.clear());
        refused(|bad| bad.layers[1].kind = LayerKind::Runtime);
    }

    #[test]
    fn who_searches_libraries_is_unpacked_for_them() {
        let mut with = manifest();
        let plain = with.directory_of(&with.layers[0]);
        with.layers[1].kind = LayerKind::Libraries;
        with.environment = Environment::default();
        with.commands.clear();
        with.default = None;
        assert_eq!(Manifest::parse(&with.encode(), 8192), Ok(with.clone()));
        let digits = &with.layers[1].checksum.hex()[..16];
        assert_eq!(with.directory_of(&with.layers[0]), format!("{plain}-{digits}"));
        assert_eq!(with.directory_of(&with.layers[1]), with.layers[1].checksum.hex());
        with.layers.insert(1, Layer { kind: LayerKind::App, size: 10, ..layer(LayerKind::App, 4096) });
        with.layers[2].offset = 8192;
        assert!(Manifest::parse(&with.encode(), 80_000).is_err(), "libraries do not come later");
        refused(|bad| bad.layers[1].kind = LayerKind::Libraries);
    }

    #[test]
    fn a_layer_with_programs_is_unpacked_for_its_runtime() {
        let program = |slot| Program { loader_slot: slot, search_path_slot: slot, search_path: Vec::new() };
        let slot = Slot { offset: 64, size: 4096 };
        let mut with = manifest();
        let plain = with.directory_of(&with.layers[1]);
        assert_eq!(plain, with.layers[1].checksum.hex());
        with.layers[1].programs.insert(path("venv/bin/ruff"), program(slot));
        assert_eq!(Manifest::parse(&with.encode(), 8192), Ok(with.clone()));
        let directory = with.directory_of(&with.layers[1]);
        assert_eq!(directory, format!("{plain}-{}", &with.layers[0].checksum.hex()[..16]));
        refused(|bad| drop(bad.layers[0].programs.insert(path("python/x"), program(slot))));
        let slot = Slot { offset: u64::MAX, size: 2 };
        refused(|bad| drop(bad.layers[1].programs.insert(path("venv/bin/x"), program(slot))));
    }

    #[test]
    fn a_plan_cannot_write_through_its_own_links_or_over_what_the_launcher_makes() {
        let source = Source { layer: 1, path: path("app/x") };
        let link = |name: &str| {
            let (name, source) = (path(name), source.clone());
            refused(move |bad| drop(bad.environment.links.insert(name, source)))
        };
        assert!(link("app/below").contains("is a link itself"));
        link("bin/python");
        link("run/hello");
        link("pyvenv.cfg");
        link("bin/hello");
        refused(|bad| drop(bad.environment.links.insert(path("x"), Source { layer: 7, ..source.clone() })));
    }

    #[test]
    fn a_command_that_could_be_mistaken_for_something_else_is_refused() {
        refused(|bad| bad.default = Some("other".into()));
        for name in ["", "-x", "a/b", "..", "a b", "a\0"] {
            let command = Command::of(path("bin/x"));
            refused(|bad| drop(bad.commands.insert(name.into(), command)));
        }
    }

    #[test]
    fn what_a_command_is_started_with_is_checked() {
        let change = |change: fn(&mut Command)| {
            refused(|bad| bad.commands.values_mut().for_each(change));
        };
        change(|command| {
            command.expand = true;
            command.args = vec!["${A".into()];
        });
        change(|command| {
            command.expand = true;
            command.variables.insert("A".into(), "$1".into());
        });
        change(|command| drop(command.variables.insert("A=B".into(), "".into())));
        change(|command| drop(command.variables.insert("A".into(), "\0".into())));
    }

    #[test]
    fn the_source_is_a_commit() {
        let mut good = manifest();
        good.source = Some(Revision { commit: "0123456789abcdef".repeat(4), dirty: true });
        assert_eq!(Manifest::parse(&good.encode(), 8192), Ok(good));
        for commit in ["", "main", &"A".repeat(40), &"a".repeat(41)] {
            refused(|bad| bad.source = Some(Revision { commit: commit.to_owned(), dirty: false }));
        }
    }
}
