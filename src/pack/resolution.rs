//! Resolution, and the memory of it: wheels in the store, and the lock that names them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use coil_bootstrap::format::digest::Digest;
use serde::{Deserialize, Serialize};

use super::Packing;
use crate::cli;
use crate::error::{Context, Result};
use crate::lock::Lock;
use crate::project::Project;
use crate::project::requires_python::check_requires_python;
use crate::resolve::again::fetch_locked;
use crate::resolve::build::{Built, Workshop, build_wheel};
use crate::resolve::{Options, Request, Resolver, resolve as resolve_request};
use crate::store::{Key, Store};

/// How long a resolution is used again before the indexes are asked anew. `--refresh` asks at once.
const FRESH: Duration = Duration::from_secs(3600);

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

/// A resolution as it is remembered.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// In seconds since 1970.
    made: u64,
    wheels: Vec<KeptWheel>,
    lock: String,
}

/// Builds what has to be built, resolves what is needed, and puts all wheels into the store. With a lock,
/// nothing is resolved: it says what is needed.
pub fn resolve(
    packing: &Packing,
    project: &Project,
    options: &cli::Project,
    lock: Option<&str>,
) -> Result<Resolved> {
    let Packing { interpreter, store, report, .. } = packing;
    for (name, specifier) in &project.requires_python {
        check_requires_python(name, specifier, interpreter)?;
    }
    let scratch = tempfile::tempdir_in(store.work())
        .context(|| format!("cannot write to {}", store.work().display()))?;
    let resolving = resolver_options(options);
    let workshop = Workshop {
        interpreter,
        options: &resolving,
        cache: &store.work(),
        scratch: scratch.path(),
        refresh: options.refresh,
    };
    let built = project.builds.iter().map(|build| {
        report.doing(&format!("building {}", build.directory.display()));
        build_wheel(build, &workshop)
    });
    let built: Vec<Built> = built.collect::<Result<_>>()?;
    let mut wheels = built.iter().map(|built| keep(&built.wheel, store)).collect::<Result<Vec<_>>>()?;
    let request = Request {
        requirements: project.requirements.clone(),
        requirement_files: project.requirement_files.clone(),
        constraint_files: project.constraint_files.clone(),
        wheels: project.wheels.clone(),
        built,
        options: resolving.clone(),
    };
    if let Some(lock) = lock {
        wheels.extend(locked(packing, &request, lock, scratch.path())?);
        return Ok(Resolved { wheels, lock: lock.to_owned() });
    }
    let remembered = remembered(packing, &request, options.refresh, scratch.path())?;
    wheels.extend(remembered.wheels);
    Ok(Resolved { wheels, lock: remembered.lock })
}

/// The wheels of a lock that coil wrote: from the store, from among what the user names, else from where
/// the lock says.
fn locked(packing: &Packing, request: &Request, lock: &str, scratch: &Path) -> Result<Vec<KeptWheel>> {
    let Packing { interpreter, store, report, .. } = packing;
    report.doing("fetching");
    let stored = |digest: &Digest, name: &str| Some(store.wheel(digest, name)).filter(|path| path.exists());
    let wheels = fetch_locked(&Lock::from_toml(lock)?, request, interpreter, scratch, &stored)?;
    wheels.iter().map(|wheel| keep(wheel, store)).collect()
}

/// The stored resolution of this request while it is fresh and its wheels are there, else a new one.
fn remembered(packing: &Packing, request: &Request, refresh: bool, scratch: &Path) -> Result<Remembered> {
    let Packing { interpreter, store, report, .. } = packing;
    let key = Key::new("resolution", &[request.key(interpreter)?.as_bytes()]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let stored: Option<Remembered> = store.get(key).filter(|stored: &Remembered| {
        let fresh = now.checked_sub(stored.made).is_some_and(|age| age < FRESH.as_secs());
        let there = |wheel: &KeptWheel| store.wheel(&wheel.digest, &wheel.name).exists();
        !refresh && fresh && stored.wheels.iter().all(there)
    });
    if let Some(stored) = stored {
        return Ok(stored);
    }
    report.doing("resolving");
    let resolution = resolve_request(request, interpreter, scratch)?;
    // The project's own wheels change with every line of code; what they need does not.
    let others =
        resolution.wheels.iter().filter(|wheel| request.built.iter().all(|own| own.wheel != **wheel));
    let wheels = others.map(|wheel| keep(wheel, store)).collect::<Result<Vec<_>>>()?;
    if !wheels.is_empty() {
        report.done(&format!("resolved {} distributions", wheels.len()));
    }
    let made = Remembered { made: now, wheels, lock: resolution.lock.to_toml() };
    store.put(key, &made)?;
    Ok(made)
}

fn keep(wheel: &Path, store: &Store) -> Result<KeptWheel> {
    let digest = store.keep_wheel(wheel)?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(KeptWheel { name, digest })
}

fn resolver_options(options: &cli::Project) -> Options {
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
    }
}
