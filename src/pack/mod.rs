//! Packing, from what the user typed to what a bundle is made of. One step a line, each a value.

mod app;
mod commands;
mod packed_runtime;
mod recipe;
mod resolution;
mod runtime;
mod wheels;

use std::path::{Path, PathBuf};

use coil_bootstrap::format::manifest::{
    LAYER_MEDIA_TYPE, Layer, LayerKind, MAX_SIZE, Manifest, Platform, Python, SCHEMA,
};

use crate::bundle::align;
use crate::bytecode::Compiler;
use crate::cli;
use crate::error::{Context, Failure, Result};
use crate::find_python;
use crate::interpreter::Interpreter;
use crate::layer::{Blob, BlobPlace};
use crate::lock::normal_name;
use crate::plan::{Listing, plan};
use crate::project::{Project, Words};
use crate::report::Report;
use crate::runtime_file::Runtime;
use crate::store::{Key, Store, StoredLayer};

/// Everything a bundle is made of.
pub struct Parts {
    /// What goes into the section `.coil.manifest`.
    pub manifest: Manifest,
    /// The blobs of the manifest's layers, in its order.
    pub blobs: Vec<BlobPlace>,
}

/// Makes the parts of a bundle of what the user typed. `output`, if it lies in a source tree, is not packed.
pub fn pack(
    options: &cli::Project,
    output: Option<PathBuf>,
    store: &Store,
    report: &Report,
) -> Result<Parts> {
    pack_with(options, output, None, store, report)
}

/// The same with exactly the distributions of this lock, a `pylock.toml` that coil wrote: nothing is resolved.
pub fn pack_with(
    options: &cli::Project,
    output: Option<PathBuf>,
    lock: Option<&str>,
    store: &Store,
    report: &Report,
) -> Result<Parts> {
    let project = Project::read(&words(options, output)?)?;
    project.notes.iter().for_each(|note| report.note(note));
    let asked = Asked { runtime: options.runtime.as_deref(), python: options.python.as_deref() };
    let (interpreter, runtime) = asked.or(project.python.as_deref()).runtime(options.level, store, report)?;
    let packing = Packing { interpreter: &interpreter, level: options.level, store, report };
    let python = &runtime.facts.python;
    let resolved = resolution::resolve(&packing, &project, options, lock)?;
    let installed = wheels::layers(&packing, python, &resolved.wheels)?;
    let chosen = commands::choose(&project, &installed, &runtime.listing)?;
    let app = app::layer(&packing, python, &project, &chosen)?;

    // The version of what the app is called after: the project's wheel, or the requirement's.
    let own = installed.iter().find(|wheel| normal_name(&wheel.facts.name) == normal_name(&project.name));
    let version = project.version.clone().or_else(|| own.map(|wheel| wheel.facts.version.clone()));

    let mut layers = Layers::default();
    layers.add(LayerKind::Runtime, ("cpython", Some(&python.version)), runtime.blob, runtime.listing);
    for wheel in installed {
        let name = (wheel.facts.name.as_str(), Some(wheel.facts.version.as_str()));
        layers.add(LayerKind::Wheel, name, wheel.blob, wheel.listing);
    }
    if let Some(app) = app {
        layers.add(LayerKind::App, (&project.name, version.as_deref()), app.blob, app.listing);
    }
    let mut environment = plan(&layers.listings, &python.site_packages)?;
    environment.variables = project.variables.clone();
    let manifest = Manifest {
        schema: SCHEMA,
        name: project.name,
        version,
        platform: platform(&interpreter)?,
        python: python.clone(),
        layers: layers.layers,
        commands: chosen.commands,
        default: chosen.default,
        environment,
        lock: Some(resolved.lock),
        recipe: Some(recipe::of(options)?),
    };
    check(&manifest)?;
    let blobs = manifest.layers.iter().map(|layer| store.blob(&layer.digest).into()).collect();
    Ok(Parts { manifest, blobs })
}

/// Refuses what no launcher would read: better now than at the first start.
fn check(manifest: &Manifest) -> Result<()> {
    let json = manifest.encode();
    let links = manifest.environment.links.len();
    if json.len() as u64 > MAX_SIZE {
        let message = format!("the bundle would need {links} links, and a manifest has no room for as many");
        return Err(
            Failure::new(message).hint("leave out distributions that share directories with many files")
        );
    }
    let payload = manifest.layers.last().map_or(0, |last| last.offset + last.size);
    Manifest::parse(&json, payload).map(drop).context(|| "this cannot be packed".into())
}

/// The runtime that the user asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// A file that holds one.
    pub runtime: Option<&'a Path>,
    /// An interpreter to harvest, as `--python` takes it.
    pub python: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// The same, or this interpreter where the user says nothing.
    fn or(self, python: Option<&'a str>) -> Self {
        if self.runtime.is_some() { self } else { Asked { python: self.python.or(python), ..self } }
    }

    /// The runtime's layer in the store, and the interpreter that it is of.
    fn runtime(
        self,
        level: i32,
        store: &Store,
        report: &Report,
    ) -> Result<(Interpreter, StoredLayer<runtime::Facts>)> {
        if let Some(path) = self.runtime {
            return packed_runtime::open(path, store, report);
        }
        let interpreter = find_python::find(self.python)?;
        let packing = Packing { interpreter: &interpreter, level, store, report };
        let layer = runtime::layer(&packing)?;
        Ok((interpreter, layer))
    }

    /// The runtime by itself, and where its layer lies.
    pub fn alone(self, level: i32, store: &Store, report: &Report) -> Result<(Runtime, BlobPlace)> {
        if let Some(path) = self.runtime {
            return Runtime::open(path);
        }
        let (interpreter, layer) = self.runtime(level, store, report)?;
        let mut layers = Layers::default();
        let version = layer.facts.python.version.clone();
        let place = store.blob(&layer.blob.digest).into();
        layers.add(LayerKind::Runtime, ("cpython", Some(&version)), layer.blob, layer.listing);
        let runtime::Facts { python, left_out, carried, openssl } = layer.facts;
        let runtime = Runtime::new(platform(&interpreter)?, python, layers.layers.remove(0));
        Ok((Runtime { openssl, carried, left_out, ..runtime }, place))
    }
}

/// What the steps of one pack share.
struct Packing<'a> {
    interpreter: &'a Interpreter,
    level: i32,
    store: &'a Store,
    report: &'a Report,
}

impl Packing<'_> {
    /// Compiles with the interpreter that is packed, where it was harvested from: the same program with
    /// the same standard library.
    fn compiler(&self) -> Compiler {
        let (major, minor, _) = self.interpreter.version;
        Compiler::new(&self.interpreter.base_executable, (major, minor))
    }

    /// The key in the store of what `step` makes for this Python, at this level, of `inputs`.
    fn key(&self, step: &str, python: &Python, inputs: &[&dyn AsRef<[u8]>]) -> Key {
        let Python { abi, magic, libc, site_packages, .. } = python;
        let python = format!("{abi} {magic} {libc} {site_packages} {}", self.level);
        let mut all: Vec<&dyn AsRef<[u8]>> = vec![&python];
        all.extend(inputs);
        Key::new(step, &all)
    }
}

/// `NAME=ENTRY`, split.
fn split_command(text: &String) -> Result<(String, String)> {
    let pair = text.split_once('=').map(|(name, entry)| (name.to_owned(), entry.to_owned()));
    pair.ok_or_else(|| {
        Failure::new(format!("--command {text:?} does not name an entry")).hint("write --command NAME=ENTRY")
    })
}

fn words(options: &cli::Project, output: Option<PathBuf>) -> Result<Words> {
    Ok(Words {
        projects: options.projects.clone(),
        requirement_files: options.requirements.clone(),
        constraint_files: Vec::new(),
        entry: options.entry.clone(),
        commands: options.commands.iter().map(split_command).collect::<Result<_>>()?,
        app: options.app.clone(),
        name: options.name.clone(),
        never: output.into_iter().collect(),
    })
}

/// Architectures under the names that Python and Linux use, and those of the OCI image specification.
fn platform(interpreter: &Interpreter) -> Result<Platform> {
    let architecture = match interpreter.machine.as_str() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(Failure::new(format!("coil cannot pack for {other} yet"))),
    };
    Ok(Platform { os: "linux".into(), architecture: architecture.into() })
}

/// The layers of a bundle, as they are found.
#[derive(Default)]
struct Layers {
    layers: Vec<Layer>,
    listings: Vec<Listing>,
}

impl Layers {
    fn add(&mut self, kind: LayerKind, (name, version): (&str, Option<&str>), blob: Blob, listing: Listing) {
        let end = self.layers.last().map_or(0, |last| last.offset + last.size);
        self.layers.push(Layer {
            kind,
            name: name.to_owned(),
            version: version.map(str::to_owned),
            media_type: LAYER_MEDIA_TYPE.into(),
            digest: blob.digest,
            size: blob.size,
            diff_id: blob.diff_id,
            unpacked_size: blob.unpacked_size,
            offset: align(end),
        });
        self.listings.push(listing);
    }
}

/// The name of the file where the user names none.
pub fn default_output(manifest: &Manifest) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    PathBuf::from(manifest.name.chars().map(plain).collect::<String>())
}
