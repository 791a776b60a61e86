//! Where the parts of a runtime come from: for people who have to know which OpenSSL they ship.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// A shared library that a runtime carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The name it is asked for by.
    pub name: String,
    /// Where it was: a path of the system, or one below the installation, which `{prefix}` stands for.
    pub from: String,
    /// The package it belongs to and that package's version, where Debian's package manager knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// What is told of these libraries of the installation at `prefix`.
pub fn carried(found: &[(String, PathBuf)], prefix: &Path) -> Vec<Carried> {
    let real: Vec<PathBuf> =
        found.iter().map(|(_, path)| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
    let packages = packages(&real);
    let shown = |path: &Path| match path.strip_prefix(prefix) {
        Ok(below) if prefix != Path::new("/usr") => format!("{{prefix}}/{}", below.display()),
        _ => path.display().to_string(),
    };
    let library = |((name, _), path): (&(String, PathBuf), &PathBuf)| Carried {
        name: name.clone(),
        from: shown(path),
        package: packages.get(path).cloned(),
    };
    found.iter().zip(&real).map(library).collect()
}

/// OpenSSL's description of itself in these bytes: `OpenSSL 3.0.15 3 Sep 2024`.
pub fn openssl(bytes: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"OpenSSL ";
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, NAME) {
        let text = rest[at..].split(|byte| *byte == 0).next().unwrap_or_default();
        rest = &rest[at + NAME.len()..];
        // A version, and the year of a date: no other text of OpenSSL's has both.
        let version = text.get(NAME.len()).is_some_and(u8::is_ascii_digit);
        let dated = text.last_chunk::<4>().is_some_and(|year| year.iter().all(u8::is_ascii_digit));
        if version && dated && text.len() < 64 {
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
    }
    None
}

/// The packages that own these files, with their versions, as `dpkg-query` tells them; none where there is
/// no dpkg.
fn packages(files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let mut owners = BTreeMap::new();
    let names: Vec<PathBuf> = files.iter().flat_map(|file| [file.clone(), unmerged(file)]).collect();
    for line in query(&["--search"], names.iter()).lines() {
        let Some((package, path)) = line.split_once(": ") else { continue };
        if !package.contains(',') && !package.starts_with("diversion by ") {
            owners.insert(unmerged(Path::new(path)), package.to_owned());
        }
    }
    let format = "--showformat=${binary:Package} ${Package} ${Version}\\n";
    let versions = query(&["--show", format], owners.values());
    let mut known = BTreeMap::new();
    for line in versions.lines() {
        if let [qualified, name, version] = line.split(' ').collect::<Vec<_>>()[..] {
            known.insert(qualified.to_owned(), format!("{name} {version}"));
            known.insert(name.to_owned(), format!("{name} {version}"));
        }
    }
    let owner = |file: &PathBuf| Some((file.clone(), known.get(owners.get(&unmerged(file))?)?.clone()));
    files.iter().filter_map(owner).collect()
}

/// dpkg still knows files of `/usr/lib` as files of `/lib` on systems where the one is a link to the other.
fn unmerged(path: &Path) -> PathBuf {
    path.strip_prefix("/usr").map_or_else(|_| path.to_owned(), |below| Path::new("/").join(below))
}

fn query(words: &[&str], of: impl Iterator<Item = impl AsRef<std::ffi::OsStr>>) -> String {
    let mut command = Command::new("dpkg-query");
    command.args(words).args(of).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_tells_its_version_among_other_texts_of_its_own() {
        let bytes = b"\0OpenSSL PKCS#3 DH method\0OpenSSL 3\0OpenSSL 3.0.15 3 Sep 2024\0x";
        assert_eq!(openssl(bytes).as_deref(), Some("OpenSSL 3.0.15 3 Sep 2024"));
        assert_eq!(openssl(b"OpenSSL "), None);
        assert_eq!(openssl(b"no word of it"), None);
    }

    #[test]
    fn an_installation_is_not_told_where_it_was() {
        let found = [("libx.so".to_owned(), PathBuf::from("/opt/py/lib/libx.so"))];
        assert_eq!(carried(&found, Path::new("/opt/py"))[0].from, "{prefix}/lib/libx.so");
        assert_eq!(carried(&found, Path::new("/usr"))[0].from, "/opt/py/lib/libx.so");
    }
}
