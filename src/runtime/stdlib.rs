//! The standard library: which of its files are packed, and which are left out and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::keep::{Keep, Kept};
use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;

/// The directory of extension modules, inside the standard library.
const DYNLOAD: &str = "lib-dynload";

/// The files of a standard library.
pub struct Stdlib {
    /// What is packed, sorted by name.
    pub parts: Vec<Part>,
    kept: Kept,
    /// Which of what is to be kept was there.
    met: Kept,
    /// The end of the names of the byte code that is compiled anyway: `.cpython-312.pyc`.
    own_bytecode: String,
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
    Tk,
    Nis,
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
            Reason::Tk => Some("what opens windows"),
            Reason::Nis => Some("what asks NIS, which CPython has given up"),
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

/// The directories that a standard library is in, and with what in front the names of what is in them are told: lib-dynload
/// may be somewhere else.
pub fn roots(interpreter: &Interpreter) -> Vec<(PathBuf, String)> {
    let root = &interpreter.stdlib;
    let apart = interpreter.dynload.iter().filter(|_| !root.join(DYNLOAD).is_dir());
    let apart = apart.map(|dynload| (dynload.clone(), format!("{DYNLOAD}/")));
    [(root.clone(), String::new())].into_iter().chain(apart).collect()
}

/// Whether a file or a directory of the standard library is left out, which may be told by its name.
pub fn is_left_out(name: &str, is_directory: bool, kept: Kept) -> bool {
    reason(name, is_directory, kept).is_some()
}

impl Stdlib {
    /// Reads which files there are. Symbolic links are followed, also out of the installation.
    pub fn read(interpreter: &Interpreter, kept: Kept) -> Result<Self> {
        let root = &interpreter.stdlib;
        if !root.join("os.py").is_file() {
            return Err(Failure::new(format!("there is no standard library at {}", root.display())).hint(
                "name an interpreter with its standard library unpacked in a directory with --python",
            ));
        }
        let (major, minor, _) = interpreter.version;
        let mut stdlib = Stdlib {
            parts: Vec::new(),
            kept,
            met: Kept::default(),
            own_bytecode: format!(".cpython-{major}{minor}.pyc"),
            left_out: BTreeMap::new(),
        };
        for (root, prefix) in roots(interpreter) {
            stdlib.walk(&root, &prefix, &mut Vec::new())?;
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
            if self.is_left_out(&name, metadata.is_dir()) {
                // Told, where that is worth a word.
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

    /// What is to be kept and is nowhere in this standard library.
    pub fn nothing_to_keep(&self) -> Option<Keep> {
        let here =
            |part: &Keep| !matches!(part, Keep::Headers | Keep::Sourceless | Keep::Static | Keep::Pycache);
        self.kept.less(self.met).parts().find(here)
    }

    /// Leaves out what nobody asked for.
    fn is_left_out(&mut self, name: &str, is_directory: bool) -> bool {
        let own = || name.contains("__pycache__/") && name.ends_with(&self.own_bytecode);
        let reason = if own() { Some(Reason::Elsewhere) } else { reason(name, is_directory, self.kept) };
        if let Some(reason) = reason {
            self.leave_out(reason, name.to_owned());
            return true;
        }
        // The files of tkinter are there without Tk, too.
        let whole = |part: &Keep| *part != Keep::Tkinter || name.ends_with(".so");
        if let Some(part) = part(name, is_directory).filter(whole) {
            self.met = self.met.and(Kept::of(part));
        }
        false
    }

    fn leave_out(&mut self, reason: Reason, name: String) {
        let module = name.strip_prefix("lib-dynload/").and_then(|file| file.split('.').next());
        let name = module.map_or(name.clone(), str::to_owned);
        self.left_out.entry(reason).or_default().insert(name);
    }
}

/// Why a file or a directory of the standard library is left out, if it is.
fn reason(name: &str, is_directory: bool, kept: Kept) -> Option<Reason> {
    let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
    let top = parent.is_empty();
    if let Some(part) = part(name, is_directory) {
        return match part {
            _ if kept.has(part) => None,
            Keep::Tests => Some(Reason::Tests),
            Keep::Idle | Keep::Turtledemo => Some(Reason::Tk),
            Keep::Ensurepip => Some(Reason::Pip),
            Keep::Headers | Keep::Static => Some(Reason::Build),
            Keep::Pycache | Keep::Sourceless => Some(Reason::Elsewhere),
            Keep::Nis => Some(Reason::Nis),
            // That this is left out is told where its libraries are looked for.
            Keep::Tkinter if last.ends_with(".so") => None,
            Keep::Tkinter => Some(Reason::Tk),
        };
    }
    match last {
        "site-packages" | "dist-packages" if is_directory => Some(Reason::Elsewhere),
        "sitecustomize.py" | "usercustomize.py" | "EXTERNALLY-MANAGED" if top => Some(Reason::Distribution),
        _ if !is_directory && last.ends_with(".exe") => Some(Reason::Build),
        _ => None,
    }
}

/// The part that a file or a directory of the standard library belongs to, if it is left out without being asked for.
fn part(name: &str, is_directory: bool) -> Option<Keep> {
    let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
    let top = parent.is_empty();
    if is_directory {
        return match last {
            "__pycache__" => Some(Keep::Pycache),
            "test" | "tests" | "idle_test" => Some(Keep::Tests),
            "idlelib" if top => Some(Keep::Idle),
            "turtledemo" if top => Some(Keep::Turtledemo),
            "tkinter" if top => Some(Keep::Tkinter),
            "_bundled" if parent == "ensurepip" => Some(Keep::Ensurepip),
            _ if top && last.starts_with("config-") => Some(Keep::Static),
            _ => None,
        };
    }
    let module = last.split('.').next().unwrap_or_default();
    match last.rsplit_once('.').map(|(_, extension)| extension) {
        Some("a" | "o") => Some(Keep::Static),
        Some("h") => Some(Keep::Headers),
        Some("so") if is_for_tests(module) => Some(Keep::Tests),
        Some("so") if module == "_tkinter" => Some(Keep::Tkinter),
        Some("so") if module == "nis" => Some(Keep::Nis),
        Some("py") if top && module == "turtle" => Some(Keep::Tkinter),
        _ => None,
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
        let none = Kept::default();
        let directories = ["test", "ctypes/test", "lib2to3/tests", "idlelib", "config-3.12-x86_64-linux-gnu"];
        assert!(directories.iter().all(|name| reason(name, true, none).is_some()));
        let files = [
            "lib-dynload/_testcapi.cpython-312-x86_64-linux-gnu.so",
            "lib-dynload/xxlimited_35.cpython-312-x86_64-linux-gnu.so",
            "distutils/command/wininst-9.0.exe",
            "sitecustomize.py",
            "EXTERNALLY-MANAGED",
        ];
        assert!(files.iter().all(|name| reason(name, false, none).is_some()));
        let kept =
            ["unittest", "email", "email/tkinter", "ensurepip", "lib-dynload", "json", "importlib/metadata"];
        assert!(kept.iter().all(|name| reason(name, true, none).is_none()));
        let kept = [
            "os.py",
            "configparser.py",
            "_sysconfigdata__linux_x86_64-linux-gnu.py",
            "lib-dynload/_ctypes.cpython-312-x86_64-linux-gnu.so",
            "unittest/sitecustomize.py",
        ];
        assert!(kept.iter().all(|name| reason(name, false, none).is_none()));
    }

    #[test]
    fn each_part_is_kept_when_it_is_asked_for_and_no_other() {
        let cases = [
            ("test", true, "tests"),
            ("lib-dynload/_testcapi.so", false, "tests"),
            ("idlelib", true, "idle"),
            ("lib-dynload/nis.so", false, "nis"),
            ("tkinter", true, "tkinter"),
            ("turtle.py", false, "tkinter"),
            ("turtledemo", true, "turtledemo"),
            ("ensurepip/_bundled", true, "ensurepip"),
            ("config-3.12-x86_64-linux-gnu", true, "static"),
            ("msilib/x.h", false, "headers"),
            ("json/__pycache__", true, "pycache"),
        ];
        let all = Kept::parse(cases.map(|(.., word)| word)).unwrap();
        for (name, is_directory, word) in cases {
            let own = Kept::parse([word]).unwrap();
            assert!(reason(name, is_directory, own).is_none(), "{name}");
            assert!(reason(name, is_directory, all.less(own)).is_some(), "{name}");
        }
        assert!(["site-packages", "dist-packages"].iter().all(|name| reason(name, true, all).is_some()));
    }
}
