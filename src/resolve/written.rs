//! The two locks that say what was taken: one for a bundle, without a trace of this machine, and one for a
//! file beside a project, which finds everything again.

use std::path::{Component, Path, PathBuf};

use super::build::Built;
use super::pin::{FetchedWheel, Pin, Source};
use crate::interpreter::Interpreter;
use crate::lock::{Artifact, Directory, Lock, Package, url};

/// The lock that says what was packed.
pub fn lock_of(pins: &[Pin], wheels: &[FetchedWheel], interpreter: &Interpreter) -> Lock {
    Lock::new(Some(requires_python(interpreter)), packages(pins, wheels))
}

/// The same lock as a file in `directory`: paths lead from there to what is on this machine, and it says for
/// which interpreters it is.
pub fn lock_beside(
    pins: &[Pin],
    wheels: &[FetchedWheel],
    built: &[Built],
    interpreter: &Interpreter,
    directory: &Path,
) -> Lock {
    let from_here = |path: &Path| relative(path, directory);
    let mut packages = packages(pins, wheels);
    for (package, pin) in packages.iter_mut().zip(pins) {
        let source = match &pin.source {
            Source::Built(index) => built.get(*index).map(|built| &built.directory),
            Source::Directory(path) => Some(path),
            _ => None,
        };
        package.directory = source.map(|path| Directory { path: from_here(path), subdirectory: None });
        let files = package.wheels.iter_mut().chain(&mut package.sdist).chain(&mut package.archive);
        files.for_each(|file| lead_to(file, &from_here));
        if let Some(vcs) = &mut package.vcs {
            let here = vcs.url.as_deref().and_then(url::local_path);
            match here {
                Some(path) => (vcs.path, vcs.url) = (Some(from_here(&path)), None),
                None => vcs.url = vcs.url.take().map(|address| url::without_credentials(&address)),
            }
        }
    }
    packages.sort_by(|one, two| one.name.cmp(&two.name));
    let markers = ["implementation_name", "platform_machine", "sys_platform"].map(|name| {
        let value = interpreter.markers.get(name).map(String::as_str).unwrap_or_default();
        format!("{name} == '{value}'")
    });
    Lock {
        requires_python: Some(requires_python(interpreter)),
        environments: vec![markers.join(" and ")],
        packages,
        ..Lock::default()
    }
}

fn requires_python(interpreter: &Interpreter) -> String {
    format!("=={}.*", interpreter.minor_version())
}

fn packages(pins: &[Pin], wheels: &[FetchedWheel]) -> Vec<Package> {
    pins.iter().cloned().zip(wheels).map(|(pin, wheel)| pin.into_package(wheel)).collect()
}

fn lead_to(file: &mut Artifact, from_here: &dyn Fn(&Path) -> String) {
    let Some(address) = file.url.take() else { return };
    match url::local_path(&address) {
        Some(path) => file.path = Some(from_here(&path)),
        None => file.url = Some(url::without_credentials(&address)),
    }
}

/// The way from a directory to a path; both are absolute. "." where they are the same.
fn relative(path: &Path, directory: &Path) -> String {
    let (to, from): (Vec<Component>, Vec<Component>) =
        (path.components().collect(), directory.components().collect());
    let shared = to.iter().zip(&from).take_while(|(one, two)| one == two).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - shared);
    let way: PathBuf = up.chain(to[shared..].iter().copied()).collect();
    match way.as_os_str().is_empty() {
        true => ".".to_owned(),
        false => way.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_lock_to_what_it_names() {
        let way = |path: &str| relative(Path::new(path), Path::new("/home/me/app"));
        assert_eq!(way("/home/me/app"), ".");
        assert_eq!(way("/home/me/app/wheels/x.whl"), "wheels/x.whl");
        assert_eq!(way("/home/me/lib"), "../lib");
        assert_eq!(way("/srv"), "../../../srv");
    }
}
