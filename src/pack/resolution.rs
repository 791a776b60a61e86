//! What a project needs, decided and fetched, and the memory of it: wheels in the store, and the lock that
//! names them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use coil_bootstrap::format::digest::Digest;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::Packing;
use crate::cli;
use crate::error::{Context, Failure, Result};
use crate::lock::Lock;
use crate::project::Project;
use crate::project::requires_python::check_requires_python;
use crate::resolve::again;
use crate::resolve::build::{Built, Workshop, build_wheels};
use crate::resolve::pin::{FetchedWheel, Pin, Source};
use crate::resolve::shelf::Shelf;
use crate::resolve::{
    Decision, Options, Request, Resolver, check, decide, fetch, lock_of, needs_of_sources, watch,
};
use crate::store::{Key, Store};

/// How long a resolution is used again before the indexes are asked anew. `--refresh` asks at once; what
/// a lock decided stays decided.
const FRESH: Duration = Duration::from_secs(3600);

/// How long a resolution goes on before it is told whom it waits for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a project needs, decided.
pub struct Resolved {
    /// The wheels, the project's own first.
    pub wheels: Vec<KeptWheel>,
    /// The lock, as `pylock.toml`.
    pub lock: String,
}

/// A wheel in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptWheel {
    /// Its file name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

/// Everything that was decided and brought to disk for a project.
pub struct Fetched {
    /// What was decided.
    pub decision: Decision,
    /// The wheels of its pins, in the store.
    pub wheels: Vec<FetchedWheel>,
    /// What was built of the project's directories.
    pub built: Vec<Built>,
    /// Whether something was resolved just now.
    pub is_new: bool,
}

/// A decision as it is remembered.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// In seconds since 1970.
    made: u64,
    decision: Decision,
    /// What wheels of source trees said they need when it was made.
    needs: Vec<String>,
    /// What is to be said each time.
    warnings: Vec<String>,
}

/// What is needed, as it was decided now or before.
struct Remembrance {
    decision: Decision,
    wheels: Vec<FetchedWheel>,
    warnings: Vec<String>,
    /// Whether it was resolved now.
    is_new: bool,
}

/// Builds what has to be built, decides what is needed, and puts all wheels into the store. With the text of a
/// lock that coil wrote nothing is decided: it says what is needed.
pub fn resolve(
    packing: &Packing,
    project: &Project,
    options: &cli::Project,
    exact: Option<&str>,
) -> Result<Resolved> {
    let exact = exact.map(Lock::from_toml).transpose()?;
    let fetched = fetched(packing, project, options, exact.as_ref())?;
    if fetched.is_new {
        packing.report.note(&format!("`{}` keeps these versions", lock_command(options)));
    }
    let own = |pin: &Pin| match pin.source {
        Source::Built(index) => index,
        _ => usize::MAX,
    };
    let mut order: Vec<usize> = (0..fetched.wheels.len()).collect();
    order.sort_by_key(|&at| own(&fetched.decision.pins[at]));
    let kept = |at: usize| {
        let wheel = &fetched.wheels[at];
        let name = wheel.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        KeptWheel { name, digest: wheel.sha256 }
    };
    let lock = exact.unwrap_or_else(|| lock_of(&fetched.decision.pins, &fetched.wheels, packing.interpreter));
    Ok(Resolved { wheels: order.into_iter().map(kept).collect(), lock: lock.to_toml() })
}

/// The same, with all that is known of it.
pub fn fetched(
    packing: &Packing,
    project: &Project,
    options: &cli::Project,
    exact: Option<&Lock>,
) -> Result<Fetched> {
    let Packing { interpreter, store, report, .. } = packing;
    for (name, specifier) in &project.requires_python {
        check_requires_python(name, specifier, interpreter)?;
    }
    let scratch = scratch(store)?;
    let resolving = resolver_options(options);
    let workshop = packing.workshop(&resolving, options.refresh, scratch.path());
    let built = build_wheels(&project.builds, &workshop)?;
    let request = request(project, built, &resolving);
    if options.choice.locked {
        refuse_to_resolve(&request, options)?;
    }
    let shelf = StoreShelf { store, refresh: options.refresh };
    if let Some(lock) = exact {
        let decision = Decision { pins: again::pins(lock, &request)?, is_locked: true };
        let wheels = fetch(&decision.pins, &request.only_built(), &workshop, &shelf)?;
        return Ok(Fetched { decision, wheels, built: request.built, is_new: false });
    }
    let Remembrance { decision, wheels, warnings, is_new } =
        remembered(packing, &request, options, (&workshop, &shelf))?;
    warnings.iter().for_each(|warning| report.warning(warning));
    Ok(Fetched { decision, wheels, built: request.built, is_new })
}

/// A directory for what is built and resolved, gone with the value.
pub fn scratch(store: &Store) -> Result<TempDir> {
    tempfile::tempdir_in(store.scratch()).context(|| format!("cannot write to {}", store.scratch().display()))
}

impl Packing<'_> {
    /// Where wheels for this pack are built. `scratch` must exist.
    pub fn workshop<'a>(&'a self, options: &'a Options, refresh: bool, scratch: &'a Path) -> Workshop<'a> {
        let Packing { interpreter, store, report, .. } = self;
        Workshop { interpreter, options, cache: store.work(), scratch, refresh, report }
    }
}

fn request(project: &Project, built: Vec<Built>, options: &Options) -> Request {
    // A lock says where everything is; without one uv reads what the project says of that.
    let uv_projects = if project.locks.is_empty() { project.uv_sources.clone() } else { Vec::new() };
    Request {
        requirements: project.requirements.clone(),
        requirement_files: project.requirement_files.clone(),
        constraint_files: project.constraint_files.clone(),
        wheels: project.wheels.clone(),
        built,
        locks: project.locks.clone(),
        extras: project.extras.clone(),
        groups: project.groups.clone(),
        uv_projects,
        trees: project.trees.clone(),
        options: options.clone(),
    }
}

/// `--locked`: "nothing is resolved" also where nothing but a project without dependencies is packed.
fn refuse_to_resolve(request: &Request, options: &cli::Project) -> Result<()> {
    let needs =
        |built: &Built| built.metadata.lines().any(|line| line.to_lowercase().starts_with("requires-dist"));
    let nothing = request.requirements.is_empty()
        && request.requirement_files.is_empty()
        && request.wheels.is_empty()
        && !request.built.iter().any(needs);
    if nothing || request.is_locked()? {
        return Ok(());
    }
    Err(Failure::new("there is no lock of what is needed, and --locked refuses to resolve")
        .hint(format!("make one: {}", lock_command(options))))
}

/// The command that keeps what these words resolve to.
fn lock_command(options: &cli::Project) -> String {
    let mut words = vec!["coil lock".to_owned()];
    let quoted =
        |text: &str| shlex::try_quote(text).map_or_else(|_| text.to_owned(), |text| text.into_owned());
    words.extend(options.projects.iter().map(|text| quoted(text)));
    for file in &options.requirements {
        words.extend(["-r".to_owned(), quoted(&file.to_string_lossy())]);
    }
    for (option, names) in [("--extra", &options.choice.extra), ("--group", &options.choice.group)] {
        names.iter().for_each(|name| words.extend([option.to_owned(), quoted(name)]));
    }
    words.extend(options.choice.all_extras.then(|| "--all-extras".to_owned()));
    words.extend(options.choice.dev.then(|| "--dev".to_owned()));
    words.extend(options.python.iter().map(|python| format!("--python {}", quoted(python))));
    words.join(" ")
}

/// The stored decision on this request while it holds, else a new one; with the wheels and with warnings.
fn remembered(
    packing: &Packing,
    request: &Request,
    options: &cli::Project,
    (workshop, shelf): (&Workshop, &StoreShelf),
) -> Result<Remembrance> {
    let Packing { interpreter, store, report, .. } = packing;
    let key = Key::new("resolution", &[request.key(interpreter)?.as_bytes()]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let stored: Option<Remembered> = store.get(key).filter(|stored: &Remembered| {
        let fresh = now.checked_sub(stored.made).is_some_and(|age| age < FRESH.as_secs());
        !options.refresh && (fresh || stored.decision.is_locked)
    });
    if let Some(Remembered { decision, warnings, needs, .. }) = stored {
        let wheels = fetch(&decision.pins, request, workshop, shelf)?;
        if needs_of_sources(&decision.pins, &wheels) == needs {
            return Ok(Remembrance { decision, wheels, warnings, is_new: false });
        }
    }
    let is_locked = request.is_locked()?;
    let task = report.task(if is_locked { "reading the lock" } else { "resolving" });
    let waiting = || watch::waiting(request, PATIENCE.as_secs());
    let decide = || decide(request, interpreter, workshop.scratch);
    let decision = report.patiently(PATIENCE, waiting, decide)?;
    drop(task);
    let wheels = fetch(&decision.pins, request, workshop, shelf)?;
    let warnings = match decision.is_locked {
        true => check(request, &decision.pins, &wheels, interpreter)?,
        false => Vec::new(),
    };
    let others = decision.pins.iter().filter(|pin| !matches!(pin.source, Source::Built(_))).count();
    let is_loose = others > 0 && !decision.is_locked;
    if is_loose {
        report.done(&format!("resolved {others} distributions"));
    }
    let needs = needs_of_sources(&decision.pins, &wheels);
    store
        .put(key, &Remembered { made: now, decision: decision.clone(), needs, warnings: warnings.clone() })?;
    Ok(Remembrance { decision, wheels, warnings, is_new: is_loose })
}

/// The wheels of the store.
struct StoreShelf<'a> {
    store: &'a Store,
    /// Whether what was built is built again.
    refresh: bool,
}

impl StoreShelf<'_> {
    fn key(source: &str) -> Key {
        Key::new("built", &[&source])
    }
}

impl Shelf for StoreShelf<'_> {
    fn wheel(&self, sha256: &Digest, name: &str) -> Option<FetchedWheel> {
        let path = self.store.wheel(sha256, name);
        let size = std::fs::metadata(&path).ok()?.len();
        Some(FetchedWheel { path, sha256: *sha256, size })
    }

    fn made_of(&self, source: &str) -> Option<FetchedWheel> {
        if self.refresh {
            return None;
        }
        let kept: KeptWheel = self.store.get(Self::key(source))?;
        self.wheel(&kept.digest, &kept.name)
    }

    fn keep(&self, wheel: &Path, source: Option<&str>) -> Result<FetchedWheel> {
        let digest = self.store.keep_wheel(wheel)?;
        let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = self.wheel(&digest, &name);
        if let Some(source) = source {
            self.store.put(Self::key(source), &KeptWheel { name, digest })?;
        }
        kept.ok_or_else(|| Failure::new(format!("{} is gone from the cache", wheel.display())))
    }
}

/// Puts a wheel into the store.
pub(super) fn keep(wheel: &Path, store: &Store) -> Result<KeptWheel> {
    let digest = store.keep_wheel(wheel)?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(KeptWheel { name, digest })
}

/// How to resolve, by the words of the command line.
pub(super) fn resolver_options(options: &cli::Project) -> Options {
    let index = &options.index;
    Options {
        resolver: index.resolver.map(|resolver| match resolver {
            cli::Resolver::Uv => Resolver::Uv,
            cli::Resolver::Pip => Resolver::Pip,
        }),
        index_url: index.index_url.clone(),
        extra_index_urls: index.extra_index_url.clone(),
        find_links: index.find_links.clone(),
        no_index: index.no_index,
        build: match (index.build, index.no_build) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
    }
}
