//! Tcl's and Tk's scripts: tkinter does not start without them.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories of systems that hold those of the scripts (`tcl8.6`, `tk8.6`).
const SYSTEM: [&str; 5] = ["/usr/share/tcltk", "/usr/share", "/usr/lib64", "/usr/lib", "/usr/local/lib"];

/// A directory of scripts.
pub struct Scripts {
    /// What it is called in `lib`: `tcl8.6`, `tk8.6`, `tcl8`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The scripts for the Tcl and Tk among `libraries` (names and places), or where they are linked into the
/// interpreter at `prefix`, those that are installed with it.
///
/// Fails with the name of what should be there and is not.
pub fn scripts(libraries: &[(String, PathBuf)], prefix: &Path) -> Result<Vec<Scripts>, String> {
    let own = prefix.join("lib");
    let mut versions = libraries.iter().filter_map(|(name, path)| Some((version(name)?, path))).peekable();
    if versions.peek().is_none() {
        let found: Vec<Scripts> = directories(&own, |name| name.starts_with("tcl") || name.starts_with("tk"));
        let complete = |file: &str| found.iter().any(|scripts| scripts.path.join(file).is_file());
        return if complete("init.tcl") && complete("tk.tcl") { Ok(found) } else { Err("init.tcl".into()) };
    }
    let mut found = Vec::new();
    for ((name, version), library) in versions {
        let beside = library.parent().map(Path::to_owned);
        let places = [own.clone()].into_iter().chain(beside).chain(SYSTEM.map(PathBuf::from));
        let name = format!("{name}{version}");
        let main = if name.starts_with("tcl") { "init.tcl" } else { "tk.tcl" };
        let place = places.map(|place| place.join(&name)).find(|path| path.join(main).is_file());
        let path = place.ok_or_else(|| format!("{name}/{main}"))?;
        if let Some(place) = path.parent().filter(|_| name.starts_with("tcl")) {
            // Modules that belong to every Tcl of one major version: `tcl8/8.5/msgcat-1.6.1.tm`.
            let major = format!("tcl{}", version.split('.').next().unwrap_or_default());
            found.extend(directories(place, |name| name == major));
            // Debian has them inside, and leads its own Tcl there by links. Tcl itself looks for them in `tcl8/8.6`.
            let inside = path.join(&major);
            if inside.is_dir() && !place.join(&major).is_dir() {
                found.push(Scripts { name: format!("{major}/{version}"), path: inside });
            }
        }
        found.push(Scripts { name, path });
    }
    Ok(found)
}

/// `libtcl8.6.so` is Tcl 8.6, and `libtcl9tk9.0.so` is Tk 9.0.
fn version(library: &str) -> Option<(&'static str, &str)> {
    let rest = library.strip_prefix("lib")?.split_once(".so")?.0;
    let (name, version) = match rest.strip_prefix("tcl9tk").or_else(|| rest.strip_prefix("tk")) {
        Some(version) => ("tk", version),
        None => ("tcl", rest.strip_prefix("tcl")?),
    };
    version.starts_with(|c: char| c.is_ascii_digit()).then_some((name, version))
}

fn directories(place: &Path, wanted: impl Fn(&str) -> bool) -> Vec<Scripts> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let mut found: Vec<Scripts> = named
        .filter(|(name, path)| wanted(name) && path.is_dir())
        .map(|(name, path)| Scripts { name, path })
        .collect();
    found.sort_by(|one, two| one.name.cmp(&two.name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_by_the_libraries_they_belong_to() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        make("lib/tcl8.9/init.tcl");
        make("lib/tcl8/8.5/msgcat.tm");
        make("sys/tk8.9/tk.tcl");
        let library = |name: &str| (name.to_owned(), root.path().join("sys").join(name));
        let libraries = [library("libtcl8.9.so"), library("libtk8.9.so.0"), library("libz.so.1")];
        let names = |found: Vec<Scripts>| found.into_iter().map(|scripts| scripts.name).collect::<Vec<_>>();
        assert_eq!(names(scripts(&libraries, root.path()).unwrap()), ["tcl8", "tcl8.9", "tk8.9"]);
        assert_eq!(scripts(&[library("libtcl7.9.so")], root.path()).err().unwrap(), "tcl7.9/init.tcl");
        make("debian/tcl8.4/init.tcl");
        make("debian/tcl8.4/tcl8/msgcat.tm");
        let debian = [("libtcl8.4.so".to_owned(), root.path().join("debian/libtcl8.4.so"))];
        assert_eq!(names(scripts(&debian, root.path()).unwrap()), ["tcl8/8.4", "tcl8.4"]);
        // Linked into the interpreter.
        assert!(scripts(&[], root.path()).is_err());
        make("lib/tk8.9/tk.tcl");
        assert_eq!(names(scripts(&[], root.path()).unwrap()), ["tcl8", "tcl8.9", "tk8.9"]);
    }

    #[test]
    fn libraries_tell_their_versions() {
        assert_eq!(version("libtcl8.6.so"), Some(("tcl", "8.6")));
        assert_eq!(version("libtk8.6.so.0"), Some(("tk", "8.6")));
        assert_eq!(version("libtcl9tk9.0.so"), Some(("tk", "9.0")));
        assert_eq!(version("libtcl9.0.so"), Some(("tcl", "9.0")));
        assert_eq!(version("libtclstub.so"), None);
        assert_eq!(version("libc.so.6"), None);
    }
}
