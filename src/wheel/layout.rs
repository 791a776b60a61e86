//! Where the members of a wheel go: the schemes of an installation, as paths of an image.
//!
//! Binary distribution format, "Installing a wheel": the root of the archive goes to purelib or
//! platlib, here one directory; `NAME-VERSION.data/SCHEME/...` goes where the scheme says.

use coil_bootstrap::format::path::{PathError, TreePath};

use super::metadata::Metadata;
use super::tags::Target;

/// What the environment is called in an image: every path of a wheel's tree is below it.
pub const ENVIRONMENT: &str = "venv";

/// The interpreter that scripts name in their first line; the launcher puts the real one there.
pub const INTERPRETER: &str = "/venv/bin/python";

/// The directories one wheel is installed into.
pub struct Layout {
    /// Modules, pure and compiled.
    pub site_packages: TreePath,
    /// Scripts.
    pub scripts: TreePath,
    headers: TreePath,
}

/// Where a member goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The path in the image.
    pub path: TreePath,
    /// Whether it is one of the wheel's scripts, whose first line may name the interpreter.
    pub script: bool,
}

impl Layout {
    /// The directories for the wheel that `metadata` is from.
    pub fn new(metadata: &Metadata, target: &Target) -> Result<Self, PathError> {
        let (major, minor) = target.version;
        let threads = if target.is_free_threaded() { "t" } else { "" };
        let headers = format!("{ENVIRONMENT}/include/site/python{major}.{minor}{threads}/{}", metadata.name);
        Ok(Layout {
            site_packages: TreePath::new(format!("{ENVIRONMENT}/{}", target.site_packages))?,
            scripts: TreePath::new(format!("{ENVIRONMENT}/bin"))?,
            headers: TreePath::new(headers)?,
        })
    }

    /// Where `member` goes; the error is the end of a sentence about it.
    pub fn place(&self, member: &TreePath) -> Result<Place, String> {
        let Some((top, below)) = member.split_once('/').filter(|(top, _)| top.ends_with(".data")) else {
            return self.at(&self.site_packages, member, false);
        };
        let Some((scheme, below)) = below.split_once('/') else {
            return Err(format!("lies in {top} without a scheme"));
        };
        match scheme {
            "purelib" | "platlib" => self.at(&self.site_packages, below, false),
            "scripts" => self.at(&self.scripts, below, true),
            "headers" => self.at(&self.headers, below, false),
            "data" => {
                let path =
                    TreePath::new(format!("{ENVIRONMENT}/{below}")).map_err(|error| error.to_string())?;
                self.guard(path, false)
            }
            _ => Err(format!(
                "belongs to the scheme {scheme:?}; known are purelib, platlib, scripts, headers and data"
            )),
        }
    }

    /// Where the script `name` of an entry point goes; the error is the end of a sentence about it.
    pub fn script(&self, name: &str) -> Result<TreePath, String> {
        Ok(self.at(&self.scripts, name, true)?.path)
    }

    /// `path` as RECORD spells it: relative to site-packages.
    pub fn recorded(&self, path: &TreePath) -> String {
        if let Some(below) = path.below(&self.site_packages) {
            return below.to_owned();
        }
        let base: Vec<&str> = self.site_packages.split('/').collect();
        let parts: Vec<&str> = path.split('/').collect();
        let common = base.iter().zip(&parts).take_while(|(one, other)| one == other).count();
        let up = std::iter::repeat_n("..", base.len() - common);
        up.chain(parts[common..].iter().copied()).collect::<Vec<_>>().join("/")
    }

    fn at(&self, directory: &TreePath, below: &str, script: bool) -> Result<Place, String> {
        let path = directory.join(below).map_err(|error| error.to_string())?;
        self.guard(path, script)
    }

    /// The place at `path`, unless that is one of the environment's own files: they are not a wheel's to bring.
    pub fn guard(&self, path: TreePath, script: bool) -> Result<Place, String> {
        let interpreter = path.below(&self.scripts).is_some_and(|name| {
            let version = name.split('/').next().and_then(|first| first.strip_prefix("python"));
            version.is_some_and(|version| {
                version.trim_end_matches('t').bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            })
        });
        if interpreter || path.below(ENVIRONMENT).is_some_and(|below| below == "pyvenv.cfg") {
            return Err(format!("would replace the environment's own {path}"));
        }
        Ok(Place { path, script })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let metadata = Metadata::parse(b"Name: Demo\nVersion: 1\n").unwrap();
        let target = Target {
            version: (3, 12),
            abi: "cp312".to_owned(),
            glibc: (2, 28),
            machine: "x86_64".to_owned(),
            site_packages: TreePath::new("lib/python3.12/site-packages").unwrap(),
        };
        Layout::new(&metadata, &target).unwrap()
    }

    fn place(member: &str) -> Result<String, String> {
        layout().place(&TreePath::new(member).unwrap()).map(|place| place.path.to_string())
    }

    #[test]
    fn every_scheme_has_its_place() {
        for (member, expected) in [
            ("demo/x.py", "venv/lib/python3.12/site-packages/demo/x.py"),
            ("demo-1.data/purelib/x.py", "venv/lib/python3.12/site-packages/x.py"),
            ("demo-1.data/platlib/x.so", "venv/lib/python3.12/site-packages/x.so"),
            ("demo-1.data/scripts/run", "venv/bin/run"),
            ("demo-1.data/headers/x.h", "venv/include/site/python3.12/Demo/x.h"),
            ("demo-1.data/data/share/man/x.1", "venv/share/man/x.1"),
            ("demo.data", "venv/lib/python3.12/site-packages/demo.data"),
        ] {
            assert_eq!(place(member).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_belongs_nowhere_is_refused() {
        for member in ["demo-1.data/x", "demo-1.data/stdlib/x", "demo-1.data/data/pyvenv.cfg"] {
            assert!(place(member).is_err(), "{member}");
        }
    }

    #[test]
    fn the_interpreter_cannot_be_replaced() {
        for name in ["python", "python3", "python3.12", "python3.13t"] {
            assert!(place(&format!("demo-1.data/scripts/{name}")).is_err(), "{name}");
            assert!(place(&format!("demo-1.data/data/bin/{name}")).is_err(), "{name}");
            assert!(layout().script(name).is_err(), "{name}");
        }
        assert!(layout().script("python-config").is_ok());
        assert!(layout().script("pythonic").is_ok());
    }

    #[test]
    fn record_spells_paths_from_site_packages() {
        let recorded = |path: &str| layout().recorded(&TreePath::new(path).unwrap());
        assert_eq!(recorded("venv/lib/python3.12/site-packages/a/b"), "a/b");
        assert_eq!(recorded("venv/bin/x"), "../../../bin/x");
        assert_eq!(recorded("venv/lib/python3.12/x"), "../x");
    }
}
