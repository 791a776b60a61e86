//! From a lock to pins: for each package of it the one file that this interpreter takes.

use std::path::{Path, PathBuf};

use super::pin::{Pin, Source};
use super::tags::rank;
use super::{Request, Work, export};
use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;
use crate::lock::choose::{Wanted, check_names, choose};
use crate::lock::{Artifact, Lock, Package, normal_name, url};
use crate::project::lock_file::LockFile;
use crate::wheel::{Target, WheelName};

/// What the request's locks say, all together.
pub fn pins(work: &Work) -> Result<Vec<Pin>> {
    let mut pins: Vec<(Pin, &LockFile)> = Vec::new();
    for file in &work.request.locks {
        let lock = export::read(file, work)?;
        for pin in pins_of(&lock, file, work)? {
            match pins.iter().find(|(other, _)| other.name == pin.name) {
                None => pins.push((pin, file)),
                Some((other, _)) if other.version == pin.version => {}
                Some((other, at)) => return Err(two_versions(&pin, file, other, at)),
            }
        }
    }
    Ok(pins.into_iter().map(|(pin, _)| pin).collect())
}

fn pins_of(lock: &Lock, file: &LockFile, work: &Work) -> Result<Vec<Pin>> {
    let request = work.request;
    let shown = file.path.display().to_string();
    let relock = file.relock();
    // A lock that names its choices must have them; one that was made for a single choice names none, and
    // then it is seen afterwards whether it is complete.
    if file.project.is_none() {
        let known = |names: &[String]| names.iter().map(|name| normal_name(name)).collect();
        check_names("extra", &request.extras, &known(&lock.extras), &shown)?;
        check_names("dependency group", &request.groups, &known(&lock.dependency_groups), &shown)?;
    }
    let wanted = Wanted {
        interpreter: work.interpreter,
        extras: &request.extras,
        groups: &request.groups,
        lock: &shown,
        relock: &relock,
    };
    let mut pins = Vec::new();
    for package in choose(lock, &wanted)? {
        if is_project_tree(package, request) {
            continue;
        }
        let name = normal_name(&package.name);
        let source = source_of(package, work, &shown)?;
        pins.push(Pin { name, version: package.version.clone(), source });
    }
    Ok(pins)
}

/// Whether the package is the source tree itself that is packed as it is.
fn is_project_tree(package: &Package, request: &Request) -> bool {
    let directory = package.directory.as_ref().map(|directory| resolved(Path::new(&directory.path)));
    directory.is_some_and(|directory| request.trees.contains(&directory))
}

fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// How many wheels that do not fit are named.
const SHOWN: usize = 3;

/// "MUST be mutually exclusive": one of vcs, directory, archive; else a wheel that fits, else the sdist.
fn source_of(package: &Package, work: &Work, lock: &str) -> Result<Source> {
    let name = &package.name;
    let own = work.request.built.iter().position(|built| normal_name(&built.name) == normal_name(name));
    if let Some(directory) = &package.directory {
        let path = Path::new(&directory.path).join(directory.subdirectory.as_deref().unwrap_or_default());
        // An editable install means the source it points to: a wheel is built of it now.
        return Ok(own.map_or_else(|| Source::Directory(resolved(&path)), Source::Built));
    }
    if let Some(own) = own {
        return Ok(Source::Built(own));
    }
    if let Some(vcs) = &package.vcs {
        let mut vcs = vcs.clone();
        vcs.url = vcs.url.or_else(|| vcs.path.take().map(|path| url::of_path(Path::new(&path))));
        return Ok(Source::Vcs(vcs));
    }
    if let Some(archive) = &package.archive {
        return file(archive, name, lock, true);
    }
    if let Some(wheel) = best(package, work.interpreter, &|_| true) {
        return file(wheel, name, lock, false);
    }
    let title = format!("{name} {}", package.version.as_deref().unwrap_or_default());
    let title = title.trim();
    match &package.sdist {
        Some(sdist) if work.request.options.builds() => file(sdist, name, lock, false),
        Some(_) => Err(Failure::new(format!(
            "{lock} has no wheel of {title} for this interpreter, and source distributions are not built"
        ))
        .hint("--build builds them")),
        None => Err(Failure::new(format!(
            "{lock} has no file of {title} that fits CPython {} on {}",
            work.interpreter.full_version, work.interpreter.machine
        ))
        .because(objections(package, work.interpreter)?)
        .hint("name another interpreter with --python, or lock for this one")),
    }
}

/// Why none of the wheels fits.
fn objections(package: &Package, interpreter: &Interpreter) -> Result<String> {
    let target = Target::of(interpreter)?;
    let reason = |wheel: &Artifact| {
        let name = WheelName::parse(&wheel.file_name()?).ok()?;
        Some(format!("{name} {}", target.objection(&name.tags)?))
    };
    let mut reasons: Vec<String> = package.wheels.iter().filter_map(reason).collect();
    // What comes closest is told first.
    reasons.sort_by_key(|reason| !reason.contains(" needs glibc "));
    if reasons.is_empty() {
        reasons.push("the lock lists none".to_owned());
    }
    if reasons.len() > SHOWN {
        let more = format!("and {} wheels more, for others", reasons.len() - SHOWN);
        reasons.truncate(SHOWN);
        reasons.push(more);
    }
    Ok(reasons.join("\n"))
}

/// The wheel that the interpreter likes best, of those that are allowed.
pub fn best<'a>(
    package: &'a Package,
    interpreter: &Interpreter,
    allowed: &dyn Fn(&&Artifact) -> bool,
) -> Option<&'a Artifact> {
    let rank = |wheel: &&Artifact| rank(&wheel.file_name().unwrap_or_default(), interpreter);
    let fitting = package.wheels.iter().filter(|wheel| rank(wheel).is_some());
    fitting.filter(allowed).min_by_key(rank)
}

fn file(artifact: &Artifact, name: &str, lock: &str, direct: bool) -> Result<Source> {
    // "path ... is preferred over url if both are given and the file is there".
    let here = artifact.path.as_deref().map(Path::new).filter(|path| path.exists() || artifact.url.is_none());
    let mut address = match (here, &artifact.url) {
        (Some(path), _) => url::of_path(path),
        (None, Some(url)) => url.clone(),
        (None, None) => return Err(Failure::new(format!("{lock} does not say where the file of {name} is"))),
    };
    let Some(sha256) = artifact.hashes.sha256 else {
        return Err(Failure::new(format!("{lock} has no SHA-256 of {name}, so that it cannot be checked"))
            .hint("make the lock with hashes"));
    };
    if let Some(below) = &artifact.subdirectory {
        address.push_str(&format!("#subdirectory={below}"));
    }
    Ok(Source::File { address, sha256: Some(sha256), direct })
}

fn two_versions(pin: &Pin, file: &LockFile, other: &Pin, at: &LockFile) -> Failure {
    let version = |pin: &Pin| pin.version.clone().unwrap_or_default();
    Failure::new(format!(
        "{} locks {} {}, and {} locks {}",
        at.path.display(),
        other.name,
        version(other),
        file.path.display(),
        version(pin)
    ))
    .hint("pack them one by one, or lock them together as a workspace")
}
