//! Packing, from what the user typed to what a bundle is made of. One step a line, each a value.

mod ahead;
mod app;
mod closed_world;
mod commands;
mod compiler;
mod installed;
mod libraries;
mod locking;
mod packed_runtime;
mod recipe;
mod resolution;
mod runtime;
mod side_by_side;
mod steps;
mod wheels;

use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coil_bootstrap::format::manifest::{
    CLibraryRule, Layer, LayerKind, MAX_SIZE, Manifest, Platform, Python, SCHEMA,
};

use self::compiler::CompiledBy;
use self::side_by_side::both;
use crate::bundle::{Encoded, align};
use crate::bytecode::Compiler;
use crate::cli;
use crate::error::{Context, Failure, Result};
use crate::find_python;
use crate::interpreter::Interpreter;
use crate::layer::{Blob, BlobPlace};
use crate::lock::normal_name;
use crate::plan::{Listing, Plan, plan};
use crate::project::sources::Wanted;
use crate::project::{Choice, Project, Words};
use crate::python_archive::{self, is_archive};
use crate::report::Report;
use crate::resolve::includes::refuse_cycles;
use crate::runtime::Kept;
use crate::runtime_file::Runtime;
use crate::store::{Key, Store, StoredLayer, digest_of_file};
use crate::wheel::Target;

pub use ahead::Ahead;
pub use locking::lock;

/// Everything a bundle is made of.
pub struct Parts {
    /// What goes into the section `.coil.manifest`.
    pub manifest: Encoded,
    /// The blobs of the manifest's layers, in its order.
    pub blobs: Vec<BlobPlace>,
}

/// Makes the parts of a bundle of what the user typed. `output`, if it lies in a source tree, is not packed; a
/// command that it is called like is the default.
pub fn pack(
    options: &cli::Project,
    output: Option<PathBuf>,
    store: &Store,
    report: &Report,
) -> Result<Parts> {
    pack_with(options, output, Given::default(), store, report)
}

/// What a pack may be given beside the user's words.
#[derive(Default, Clone, Copy)]
pub struct Given<'a> {
    /// A `pylock.toml` that coil wrote, whose distributions are taken exactly: nothing is resolved.
    pub lock: Option<&'a str>,
    /// The bundle that these parts are for, and what was begun of it and for it.
    pub ahead: Option<&'a Ahead<'a>>,
}

/// The same with what it is given.
pub fn pack_with(
    options: &cli::Project,
    output: Option<PathBuf>,
    given: Given,
    store: &Store,
    report: &Report,
) -> Result<Parts> {
    let virtualenv = installed::Source::open(options)?;
    let otherwise = virtualenv.as_ref().map(installed::Source::name);
    let mut project = Project::read(&Words {
        otherwise,
        is_decided: given.lock.is_some(),
        ..words(options, output.clone(), store)?
    })?;
    given.ahead.iter().for_each(|ahead| ahead.copy_likely());
    project.warnings.iter().for_each(|warning| report.warning(warning));
    project.notes.iter().for_each(|note| report.note(note));
    let mut python = options.python.clone().or_else(|| project.python.clone());
    if let Some(virtualenv) = &virtualenv {
        virtualenv.complete(&mut project)?;
        let request = python.as_deref().filter(|_| options.runtime.is_none());
        python = Some(virtualenv.python(request, store, report)?);
    }
    // What is in a file of a runtime is there, small or not.
    let cli::Shape { small, fast, .. } = options.shape;
    let harvested = options.runtime.is_none();
    let shape = cli::Shape { small: small && harvested, fast: fast && harvested, ..options.shape.clone() };
    let kept = shape.kept()?.and(Kept::parse(&project.keep)?);
    let asked = Asked { runtime: options.runtime.as_deref(), python: python.as_deref(), kept };
    let (interpreter, opened) = asked.find(store, report)?;
    virtualenv.as_ref().map_or(Ok(()), |virtualenv| virtualenv.check(&interpreter))?;
    let mut packing = Packing { kept, ..Packing::new(&interpreter, options.shape.level(), store, report) };
    if let Some(ahead) = given.ahead {
        packing.compiler = ahead.compiler(&interpreter);
    }
    let compiler = app::compiler(&packing, &project, options);
    let harvest = |report: &Report| opened.map_or_else(|| runtime::layer(&packing.saying(report)), Ok);
    let (runtime, installed, unowned, lock) = match &virtualenv {
        None => {
            refuse_cycles(&project.requirement_files)?;
            let target = Target::of(&interpreter)?;
            project.wheels.iter().try_for_each(|(path, _)| target.check(path).map(drop))?;
            let resolve =
                |report: &Report| resolution::resolve(&packing.saying(report), &project, options, given.lock);
            // Harvesting keeps this machine busy, resolving and fetching the network.
            let (runtime, resolved) = both(report, harvest, resolve)?;
            let layers = wheels::layers(&packing, &runtime.facts.python, &resolved.wheels)?;
            (runtime, layers, None, Some(resolved.lock))
        }
        // A lock says where each file comes from, and that a virtualenv does not know.
        Some(virtualenv) => {
            let runtime = harvest(report)?;
            let layers = virtualenv.layers(&packing, &runtime.facts.python, &project, options)?;
            (runtime, layers.distributions, layers.unowned, None)
        }
    };
    if let Some(ahead) = given.ahead {
        let known = iter::once(&runtime.blob).chain(installed.iter().map(|wheel| &wheel.blob));
        ahead.know(known.chain(unowned.iter().map(|layer| &layer.blob)));
    }
    let python = &runtime.facts.python;
    let expected = closed_world::Expected::of(&options.libraries, &project, options.libc);
    let (wheels, unowned_files) = (&installed, unowned.as_ref());
    let beside = steps::Installed { runtime: &runtime, wheels, unowned: unowned_files, expected: &expected };
    steps::run(&packing, &mut project, &beside, options.refresh)?;
    let called = output.as_ref().and_then(|output| output.file_name()?.to_str());
    let chosen = commands::choose(&project, called, &installed, &runtime.listing)?;
    chosen.note(&project).iter().for_each(|note| report.note(note));
    let app = app::layer(&packing, python, &project, &chosen, &compiler)?;

    // The version of what the app is called after: the project's wheel, or the requirement's.
    let own = installed.iter().find(|wheel| normal_name(&wheel.facts.name) == normal_name(&project.name));
    let version = project.version.clone().or_else(|| own.map(|wheel| wheel.facts.version.clone()));

    let own = installed.iter().map(|wheel| &wheel.listing).chain(unowned.iter().map(|it| &it.listing));
    let own = std::iter::once(&runtime.listing).chain(own).chain(app.iter().map(|app| &app.listing));
    let brought = libraries::layer(&packing, &own.collect::<Vec<_>>(), &expected)?;

    let mut layers = Layers::default();
    layers.add(LayerKind::Runtime, ("cpython", Some(&python.version)), runtime.blob, runtime.listing);
    if let Some(StoredLayer { blob, listing, .. }) = brought {
        layers.add(LayerKind::Libraries, ("from the machine that packed", None), blob, listing);
    }
    for wheel in installed {
        let name = (wheel.facts.name.as_str(), Some(wheel.facts.version.as_str()));
        layers.add(LayerKind::Wheel, name, wheel.blob, wheel.listing);
    }
    if let Some(unowned) = unowned {
        layers.add(LayerKind::App, ("files of no distribution", None), unowned.blob, unowned.listing);
    }
    if let Some(app) = app {
        layers.add(LayerKind::App, (&project.name, version.as_deref()), app.blob, app.listing);
    }
    closed_world::check(&layers.listings, &expected, report)?;
    let Plan { mut environment, notes } = plan(&layers.listings, &python.site_packages)?;
    notes.iter().for_each(|note| report.detail(note));
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
        c_library: match options.libc {
            cli::Libc::Auto => CLibraryRule::Auto,
            cli::Libc::Bundled => CLibraryRule::Bundled,
            cli::Libc::Host => CLibraryRule::Host,
        },
        environment,
        image: project.image,
        production: project.production,
        lock,
        source: project.source,
        recipe: Some(recipe::of(options, runtime.facts.kept)?),
    };
    let manifest = checked(manifest)?;
    let blobs = manifest.layers.iter().map(|layer| store.blob(&layer.digest).into()).collect();
    Ok(Parts { manifest, blobs })
}

/// The manifest as it is written. Refuses what no launcher would read: better now than at the first start.
fn checked(manifest: Manifest) -> Result<Encoded> {
    let manifest = Encoded::of(manifest);
    let links = manifest.environment.links.len();
    if manifest.bytes().len() as u64 > MAX_SIZE {
        let message = format!("the bundle would need {links} links, and a manifest has no room for as many");
        return Err(
            Failure::new(message).hint("leave out distributions that share directories with many files")
        );
    }
    let payload = manifest.layers.last().map_or(0, |last| last.offset + last.size);
    Manifest::parse(manifest.bytes(), payload).context(|| "this cannot be packed".into())?;
    Ok(manifest)
}

/// The runtime that the user asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// A file that holds one.
    pub runtime: Option<&'a Path>,
    /// An interpreter to harvest, as `--python` takes it.
    pub python: Option<&'a str>,
    /// What is to be kept that is left out otherwise.
    pub kept: Kept,
}

impl<'a> Asked<'a> {
    /// The interpreter, and the runtime's layer in the store where it need not be harvested.
    fn find(
        self,
        store: &Store,
        report: &Report,
    ) -> Result<(Interpreter, Option<StoredLayer<runtime::Facts>>)> {
        if let Some(path) = self.runtime {
            let (interpreter, layer) = packed_runtime::open(path, store, report)?;
            packed_runtime::check_kept(path, layer.facts.kept, self.kept)?;
            return Ok((interpreter, Some(layer)));
        }
        let archive = self.python.map(Path::new).filter(|path| is_archive(path));
        let interpreter = match archive {
            Some(archive) => {
                report.doing(&format!("unpacking {}", archive.display()));
                let digest =
                    digest_of_file(archive).context(|| format!("cannot read {}", archive.display()))?;
                let prefix = python_archive::prefix(archive, &store.python(&digest))?;
                Interpreter::probe(&prefix.join("bin/python3"))?
            }
            None => find_python::find(self.python, store.probes(), report)?,
        };
        Ok((interpreter, None))
    }

    /// The runtime by itself, and where its layer lies.
    pub fn alone(self, level: i32, store: &Store, report: &Report) -> Result<(Runtime, BlobPlace)> {
        if let Some(path) = self.runtime {
            return Runtime::open(path);
        }
        let (interpreter, opened) = self.find(store, report)?;
        let packing = || Packing { kept: self.kept, ..Packing::new(&interpreter, level, store, report) };
        let harvested = || runtime::layer(&packing());
        let layer = opened.map_or_else(harvested, Ok)?;
        let mut layers = Layers::default();
        let version = layer.facts.python.version.clone();
        let place = store.blob(&layer.blob.digest).into();
        layers.add(LayerKind::Runtime, ("cpython", Some(&version)), layer.blob, layer.listing);
        let runtime::Facts { python, left_out, carried, kept, openssl } = layer.facts;
        let runtime = Runtime::new(platform(&interpreter)?, python, layers.layers.remove(0));
        Ok((Runtime { openssl, carried, kept, left_out, ..runtime }, place))
    }
}

/// What the steps of one pack share.
struct Packing<'a> {
    interpreter: &'a Interpreter,
    kept: Kept,
    level: i32,
    store: &'a Store,
    report: &'a Report,
    compiler: Arc<Compiler>,
}

impl<'a> Packing<'a> {
    fn new(interpreter: &'a Interpreter, level: i32, store: &'a Store, report: &'a Report) -> Self {
        let compiler = CompiledBy::new(interpreter).compiler(store);
        Packing { interpreter, kept: Kept::default(), level, store, report, compiler }
    }

    /// The same pack, for a step with a report of its own.
    fn saying<'b>(&'b self, report: &'b Report) -> Packing<'b> {
        Packing { report, compiler: Arc::clone(&self.compiler), ..*self }
    }

    /// Compiles with the interpreter that is packed, where it was harvested from: the same program with
    /// the same standard library.
    fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// The key in the store of what `step` makes for this Python, at this level, of `inputs`.
    fn key(&self, step: &'static str, python: &Python, inputs: &[&dyn AsRef<[u8]>]) -> Key {
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

fn words(options: &cli::Project, output: Option<PathBuf>, store: &Store) -> Result<Words> {
    Ok(Words {
        projects: options.projects.clone(),
        requirement_files: options.requirements.clone(),
        constraint_files: Vec::new(),
        choice: choice(&options.choice),
        is_decided: false,
        entry: options.entry.clone(),
        commands: options.commands.iter().map(split_command).collect::<Result<_>>()?,
        app: options.app.clone(),
        name: options.name.clone(),
        never: output.into_iter().collect(),
        otherwise: None,
        git: Wanted {
            revision: options.rev.clone(),
            clean: options.require_clean,
            scratch: Some(store.scratch().to_owned()),
            listings: store.listings(),
        },
    })
}

fn choice(options: &cli::Choice) -> Choice {
    let dev = options.dev.then(|| "dev".to_owned());
    Choice {
        extras: options.extra.clone(),
        all_extras: options.all_extras,
        groups: options.group.iter().cloned().chain(dev).collect(),
        relocks: false,
    }
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
        let version = version.map(str::to_owned);
        let programs = listing.programs.clone();
        self.layers.push(Layer { version, programs, ..blob.described(kind, name, align(end)) });
        self.listings.push(listing);
    }
}

/// The name of the file where the user names none.
pub fn default_output(manifest: &Manifest) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    PathBuf::from(manifest.name.chars().map(plain).collect::<String>())
}
