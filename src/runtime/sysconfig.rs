//! The files in which a standard library records where it was built and installed.

use std::path::{Path, PathBuf};

use super::stdlib;
use crate::interpreter::Interpreter;

/// Where a runtime is in an image; on other machines the launcher decides.
const PREFIX: &[u8] = b"/python";

/// What stands for the directory it was built in, which was there for that time only.
const BUILD: &[u8] = b"/build";

/// What `_sysconfigdata` gets behind its own text: the paths of where it is.
const ADDITION: &str = include_str!("../../runtime-templates/amend_sysconfigdata.py");

/// Whether this file of the standard library records the build's paths, for `sysconfig`.
pub fn records_paths(name: &str) -> bool {
    let records = |start: &str, end: &str| name.starts_with(start) && name.ends_with(end);
    let top = records("_sysconfigdata_", ".py") || records("_sysconfig_vars_", ".json");
    top || name == "build-details.json"
        || name.starts_with("config-") && !records("", ".a") && !records("", ".o")
}

/// What is added to this file: where it is Python, the variables that name a place get their place in the runtime.
pub fn addition(name: &str, interpreter: &Interpreter) -> String {
    if !name.starts_with("_sysconfigdata_") {
        return String::new();
    }
    let version = format!("{}{}", interpreter.minor_version(), interpreter.abi_flags);
    let lib = format!("{}/{}", stdlib::parent(interpreter), stdlib::directory(interpreter));
    let include = format!("include/python{version}");
    let dynload = format!("{lib}/lib-dynload");
    let places = [
        ("BINDIR", "bin"),
        ("BINLIBDEST", &lib),
        ("CONFINCLUDEDIR", "include"),
        ("CONFINCLUDEPY", &include),
        ("DESTLIB", &lib),
        ("DESTSHARED", &dynload),
        ("INCLUDEDIR", "include"),
        ("INCLUDEPY", &include),
        ("LIBDEST", &lib),
        ("LIBDIR", "lib"),
        ("MACHDESTLIB", &lib),
        ("SCRIPTDIR", stdlib::parent(interpreter)),
        ("base_prefix", ""),
        ("datarootdir", "share"),
        ("exec_prefix", ""),
        ("installed_base", ""),
        ("installed_platbase", ""),
        ("prefix", ""),
    ];
    let lines = places.map(|(name, below)| format!("    {name:?}: {below:?},\n"));
    format!("{ADDITION}_coil_relocate({{\n{}}})\n", lines.concat())
}

/// Whether these are the bytes of a text.
pub fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0)
}

/// The text with the installation's prefix replaced: where it is, and where it was when it was installed,
/// if it was moved since. A prefix of the distribution (`/usr`) stays: it is in the names of tools as well,
/// and tells nothing of anybody.
pub fn relocated(text: Vec<u8>, prefix: &Path) -> Vec<u8> {
    let recorded = recorded(&text, &["prefix", "base_prefix"]).unwrap_or_else(|| prefix.to_owned());
    let (built, sources) = (recorded_in(&text, "abs_builddir"), recorded_in(&text, "abs_srcdir"));
    let mut text = replaced(replaced(text, prefix, PREFIX), &recorded, PREFIX);
    for directory in [built, sources].into_iter().flatten() {
        text = replaced(text, &directory, BUILD);
    }
    text
}

/// What the file itself calls the first of these variables that it has: `'prefix': '/opt/py'`, the same as JSON, or
/// as a Makefile.
fn recorded(text: &[u8], names: &[&str]) -> Option<PathBuf> {
    names.iter().find_map(|name| recorded_in(text, name))
}

fn recorded_in(text: &[u8], name: &str) -> Option<PathBuf> {
    let text = std::str::from_utf8(text).ok()?;
    let lines =
        [format!("'{name}': '"), format!("\"{name}\": \""), format!("\n{name}=\t"), format!("\n{name}= ")];
    let rest = lines.iter().find_map(|key| text.split_once(key.as_str()))?.1;
    let path = rest.split(['\'', '"', '\n']).next()?.trim();
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn replaced(text: Vec<u8>, prefix: &Path, by: &[u8]) -> Vec<u8> {
    let shared = ["/", "/usr", "/usr/local"].iter().any(|shared| prefix == Path::new(shared));
    let prefix = prefix.as_os_str().as_encoded_bytes();
    if shared || prefix.is_empty() {
        return text;
    }
    let mut relocated = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(at) = rest.windows(prefix.len()).position(|window| window == prefix) {
        let after = &rest[at + prefix.len()..];
        let whole = after.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"._-".contains(byte));
        relocated.extend_from_slice(&rest[..at]);
        relocated.extend_from_slice(if whole { by } else { prefix });
        rest = after;
    }
    relocated.extend_from_slice(rest);
    relocated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_prefixes_of_an_installation_are_replaced() {
        let text = b"-L/opt/py/lib:/opt/py /opt/py2/lib '/opt/py'".to_vec();
        let expected = b"-L/python/lib:/python /opt/py2/lib '/python'";
        assert_eq!(relocated(text, Path::new("/opt/py")), expected);
        let text = b"{'prefix': '/old/py', 'A': '/opt/py', 'B': '/old/py/lib'}".to_vec();
        let moved = b"{'prefix': '/python', 'A': '/python', 'B': '/python/lib'}";
        assert_eq!(relocated(text, Path::new("/opt/py")), moved);
        let text = b"/usr/bin/install".to_vec();
        assert_eq!(relocated(text.clone(), Path::new("/usr")), text);
    }
}
