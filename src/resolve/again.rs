//! The wheels of a bundle's own lock, once more: exactly those, by their digests.
//!
//! A lock that coil wrote names one file for each distribution. What lies on this machine with the right
//! digest is taken from there; the rest is fetched from the address in the lock, or built from the source
//! it names. Nothing is resolved and nothing else is accepted.

use std::path::PathBuf;

use super::pin::{Pin, Source};
use super::{Request, fetch};
use crate::error::{Failure, Result};
use crate::lock::{Artifact, Lock, Package, normal_name, url};

/// A pin for each package of the lock, in its order.
pub fn pins(lock: &Lock, request: &Request) -> Result<Vec<Pin>> {
    lock.packages.iter().map(|package| pin(package, request)).collect()
}

fn pin(package: &Package, request: &Request) -> Result<Pin> {
    let name = normal_name(&package.name);
    let cannot = |why: String| Failure::new(format!("{name} cannot be had again: {why}"));
    let file = package.wheels.first().or(package.archive.as_ref()).or(package.sdist.as_ref());
    let built = request.built.iter().position(|built| normal_name(&built.name) == name);
    let source = match (file, &package.vcs, &package.directory, built) {
        (Some(artifact), ..) => {
            let sha256 = artifact.hashes.sha256;
            let here = find(artifact, request)?.map(|path| url::of_path(&path));
            let address = here.or_else(|| artifact.url.clone()).ok_or_else(|| {
                let file = artifact.file_name().unwrap_or_default();
                cannot(format!("{file} was on the machine that packed it"))
                    .hint("name the directory it is in with --find-links")
            })?;
            Source::File { address, sha256, direct: package.archive.is_some() }
        }
        (None, Some(vcs), ..) => Source::Vcs(vcs.clone()),
        (None, None, Some(_), Some(index)) => Source::Built(index),
        (None, None, Some(directory), None) => {
            return Err(cannot(format!("it was built of the directory {}", directory.path))
                .hint("give that directory as PROJECT"));
        }
        (None, None, None, _) => return Err(cannot("the lock does not say where it is".into())),
    };
    Ok(Pin { name, version: package.version.clone(), source })
}

/// A file on this machine that is the artifact: among the user's wheels, or in a directory of wheels.
fn find(artifact: &Artifact, request: &Request) -> Result<Option<PathBuf>> {
    let Some(name) = artifact.file_name() else { return Ok(None) };
    let links = request.options.find_links.iter().map(|place| {
        let place = url::local_path(place).unwrap_or_else(|| PathBuf::from(place));
        std::path::absolute(place.join(&name)).unwrap_or_default()
    });
    let own = request.wheels.iter().map(|(path, _)| path.clone()).filter(|path| path.ends_with(&name));
    for path in own.chain(links).filter(|path| path.is_file()) {
        if Some(fetch::digest(&path)?) == artifact.hashes.sha256 {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use coil_bootstrap::format::digest::Digest;

    use super::*;

    fn package(name: &str) -> Package {
        Package { name: name.into(), ..Package::default() }
    }

    fn wheel(digest: Digest) -> Package {
        let mut package = package("x");
        let mut artifact = Artifact::at("file:///w/x-1-py3-none-any.whl", digest);
        artifact.path = artifact.url.take().map(|address| url::file_name(&address));
        package.wheels = vec![artifact];
        package
    }

    #[test]
    fn a_wheel_is_found_by_its_digest_and_by_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x-1-py3-none-any.whl");
        std::fs::write(&path, b"right").unwrap();
        let mut request = Request::default();
        request.options.find_links = vec![directory.path().display().to_string()];
        let right = wheel(Digest::of(b"right"));
        assert_eq!(pin(&right, &request).unwrap().local_wheel(), Some(path));
        let failure = pin(&wheel(Digest::of(b"wrong")), &request).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "x cannot be had again: x-1-py3-none-any.whl was on the machine that packed it"
        );
        assert!(failure.advice().unwrap().contains("--find-links"));
    }

    #[test]
    fn what_came_from_an_index_is_fetched_from_there_and_a_lost_directory_is_named() {
        let mut there = package("y");
        there.wheels = vec![Artifact::at("https://host/y-1-py3-none-any.whl", Digest::of(b"y"))];
        let pinned = pin(&there, &Request::default()).unwrap();
        assert!(
            matches!(pinned.source, Source::File { address, .. } if address.starts_with("https://host/y"))
        );
        let mut lost = package("z");
        lost.directory = Some(crate::lock::Directory { path: "libs-z".into(), subdirectory: None });
        let failure = pin(&lost, &Request::default()).unwrap_err();
        assert!(failure.to_string().contains("libs-z"));
    }
}
