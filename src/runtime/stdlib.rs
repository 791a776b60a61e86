//! The standard library: which of its files are packed, and which are left out and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;

/// The directory of extension modules, inside the standard library.
const DYNLOAD: &str = "lib-dynload";

/// The files of a standard library.
pub struct Stdlib {
    /// What is packed, sorted by name.
    pub parts: Vec<Part>,
    left_out: BTreeMap<Reason, BTreeSet<String>>,
}

/// One file that is packed.
pub struct Part {
    /// Its path below the standard library.
    pub name: String,
    /// Where its content is, symbolic links or not.
    pub path: PathBuf,
    /// Whether it may be executed.
    pub executable: bool,
}

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// Byte code, and what other layers provide: not worth a word.
    Elsewhere,
    Tests,
    Build,
    Pip,
    Distribution,
    Dangling,
    Name,
}

impl Reason {
    fn words(self) -> Option<&'static str> {
        match self {
            Reason::Elsewhere => None,
            Reason::Tests => Some("tests and demonstrations"),
            Reason::Build => Some("what only building needs"),
            Reason::Pip => Some("the wheels that ensurepip installs"),
            Reason::Distribution => Some("what belongs to this machine's distribution"),
            Reason::Dangling => Some("links to nothing"),
            Reason::Name => Some("names that are not UTF-8"),
        }
    }
}

/// The last component of the standard library's directory: `python3.12`, `python3.13t`.
pub fn directory(interpreter: &Interpreter) -> String {
    let name = interpreter.stdlib.file_name().and_then(|name| name.to_str());
    let fits = |name: &&str| name.starts_with("python");
    name.filter(fits).map_or_else(|| format!("python{}", interpreter.minor_version()), str::to_owned)
}

/// The directory it is in below the prefix, which is compiled into the interpreter (`sys.platlibdir`).
pub fn parent(interpreter: &Interpreter) -> &'static str {
    let parent = interpreter.stdlib.parent().and_then(Path::file_name);
    if parent.is_some_and(|name| name == "lib64") { "lib64" } else { "lib" }
}

impl Stdlib {
    /// Reads which files there are. Symbolic links are followed, also out of the installation.
    pub fn read(interpreter: &Interpreter) -> Result<Self> {
        let root = &interpreter.stdlib;
        if !root.join("os.py").is_file() {
            return Err(Failure::new(format!("there is no standard library at {}", root.display())).hint(
                "name an interpreter with its standard library unpacked in a directory with --python",
            ));
        }
        let mut stdlib = Stdlib { parts: Vec::new(), left_out: BTreeMap::new() };
        stdlib.walk(root, "", &mut Vec::new())?;
        if let Some(dynload) = &interpreter.dynload
            && !root.join(DYNLOAD).is_dir()
        {
            stdlib.walk(dynload, &format!("{DYNLOAD}/"), &mut Vec::new())?;
        }
        stdlib.parts.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(stdlib)
    }

    /// What is left out and why, a sentence for each reason.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.left_out.iter().filter_map(|(reason, names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Some(format!("left out of the standard library: {} ({})", reason.words()?, names.join(", ")))
        })
    }

    /// Adds what is in `directory`, with `prefix` in front of its names. `above` holds the directories that
    /// led here, so that a link to one of them is not followed for ever.
    fn walk(&mut self, directory: &Path, prefix: &str, above: &mut Vec<PathBuf>) -> Result<()> {
        let cannot = || format!("cannot read {}", directory.display());
        let here = directory.canonicalize().context(cannot)?;
        if above.contains(&here) {
            return Ok(());
        }
        above.push(here);
        for entry in fs::read_dir(directory).context(cannot)? {
            let path = entry.context(cannot)?.path();
            let name = path.file_name().unwrap_or_default();
            let Some(name) = name.to_str().map(|name| format!("{prefix}{name}")) else {
                self.leave_out(Reason::Name, name.to_string_lossy().into_owned());
                continue;
            };
            let Ok(metadata) = fs::metadata(&path) else {
                self.leave_out(Reason::Dangling, name);
                continue;
            };
            if let Some(reason) = reason(&name, metadata.is_dir()) {
                self.leave_out(reason, name);
            } else if metadata.is_dir() {
                self.walk(&path, &format!("{name}/"), above)?;
            } else if metadata.is_file() {
                let executable = metadata.permissions().mode() & 0o111 != 0;
                self.parts.push(Part { name, path, executable });
            }
        }
        above.pop();
        Ok(())
    }

    fn leave_out(&mut self, reason: Reason, name: String) {
        let module = name.strip_prefix("lib-dynload/").and_then(|file| file.split('.').next());
        let name = module.map_or(name.clone(), str::to_owned);
        self.left_out.entry(reason).or_default().insert(name);
    }
}

/// Why a file or a directory of the standard library is left out, if it is.
fn reason(name: &str, is_directory: bool) -> Option<Reason> {
    let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
    let top = parent.is_empty();
    if is_directory {
        return match last {
            "__pycache__" | "site-packages" | "dist-packages" => Some(Reason::Elsewhere),
            "test" | "tests" | "idle_test" => Some(Reason::Tests),
            "idlelib" | "turtledemo" if top => Some(Reason::Tests),
            "_bundled" if parent == "ensurepip" => Some(Reason::Pip),
            _ if top && last.starts_with("config-") => Some(Reason::Build),
            _ => None,
        };
    }
    let module = last.split('.').next().unwrap_or_default();
    match last.rsplit_once('.').map(|(_, extension)| extension) {
        Some("a" | "o" | "h" | "exe") => Some(Reason::Build),
        Some("so") if is_for_tests(module) => Some(Reason::Tests),
        _ => match last {
            "sitecustomize.py" | "usercustomize.py" | "EXTERNALLY-MANAGED" if top => {
                Some(Reason::Distribution)
            }
            _ => None,
        },
    }
}

/// Extension modules that only CPython's own tests import.
fn is_for_tests(module: &str) -> bool {
    module.starts_with("_test")
        || module.starts_with("xxlimited")
        || ["_ctypes_test", "_xxtestfuzz"].contains(&module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_build_leftovers_are_left_out_and_nothing_else() {
        let directories = ["test", "ctypes/test", "lib2to3/tests", "idlelib", "config-3.12-x86_64-linux-gnu"];
        assert!(directories.iter().all(|name| reason(name, true).is_some()));
        let files = [
            "lib-dynload/_testcapi.cpython-312-x86_64-linux-gnu.so",
            "lib-dynload/xxlimited_35.cpython-312-x86_64-linux-gnu.so",
            "distutils/command/wininst-9.0.exe",
            "sitecustomize.py",
            "EXTERNALLY-MANAGED",
        ];
        assert!(files.iter().all(|name| reason(name, false).is_some()));
        let kept = ["unittest", "email", "tkinter", "ensurepip", "lib-dynload", "json", "importlib/metadata"];
        assert!(kept.iter().all(|name| reason(name, true).is_none()));
        let kept = [
            "os.py",
            "configparser.py",
            "_sysconfigdata__linux_x86_64-linux-gnu.py",
            "lib-dynload/_ctypes.cpython-312-x86_64-linux-gnu.so",
            "lib-dynload/_tkinter.cpython-312-x86_64-linux-gnu.so",
            "unittest/sitecustomize.py",
        ];
        assert!(kept.iter().all(|name| reason(name, false).is_none()));
    }
}
