//! What a bundle will have that can be started, and what an entry means there.

use std::collections::BTreeSet;

use coil_bootstrap::format::path::TreePath;

use super::{Entry, is_dotted_name};
use crate::error::{Failure, Result};
use crate::project::nearest::nearest;

/// Paths in a layer.
pub type Paths<'a> = Box<dyn Iterator<Item = &'a str> + 'a>;

/// What a bundle will have, as far as an entry can name it.
pub struct Known<'a> {
    scripts: BTreeSet<String>,
    /// The files of the app, by their paths in it.
    files: BTreeSet<&'a str>,
    /// Tens of thousands of files, of which most packs ask for none: what modules they are is found out then.
    layers: Box<dyn Fn() -> Paths<'a> + 'a>,
}

impl<'a> Known<'a> {
    /// What can be started of these console scripts, of the app with these paths, `app/...`, and of layers with the paths that
    /// `layers` goes through: `venv/lib/pythonX.Y/site-packages/...` and, for modules of the standard library,
    /// `python/lib/pythonX.Y/...`.
    pub fn new(
        scripts: impl IntoIterator<Item = String>,
        app: impl IntoIterator<Item = &'a str>,
        layers: impl Fn() -> Paths<'a> + 'a,
    ) -> Known<'a> {
        let files = app.into_iter().filter_map(|path| path.strip_prefix("app/")).collect();
        Known { scripts: scripts.into_iter().collect(), files, layers: Box::new(layers) }
    }

    /// All files that can be imported, below the directories of `sys.path` that they are in.
    fn importable(&self) -> impl Iterator<Item = &'a str> {
        self.files.iter().copied().chain((self.layers)().filter_map(below_sys_path))
    }

    fn has_module(&self, name: &str) -> bool {
        let first = name.split('.').next().unwrap_or(name);
        let mut likely = self.importable().filter(|file| file.starts_with(first));
        likely.any(|file| module_of(file).iter().any(|it| it == name))
    }

    fn is_package(&self, name: &str) -> bool {
        self.has_module(&format!("{name}.__init__"))
    }

    /// Whether `python -m name` finds something to run.
    fn can_run(&self, name: &str) -> bool {
        self.has_module(&format!("{name}.__main__")) || (self.has_module(name) && !self.is_package(name))
    }

    /// All modules, for a sentence about one that is missing.
    fn modules(&self) -> BTreeSet<String> {
        self.importable().flat_map(module_of).collect()
    }
}

/// The path of a layer's file below the directory of `sys.path` that it is in.
fn below_sys_path(path: &str) -> Option<&str> {
    let library = path.strip_prefix("venv/lib/").or_else(|| path.strip_prefix("python/lib/"))?;
    let (_, file) = library.split_once('/')?;
    Some(file.strip_prefix("site-packages/").unwrap_or(file))
}

/// Decides what an entry means: a console script first, then a file of the app, then a module.
///
/// The error lists what exists. The result is never [`Entry::Named`].
pub fn resolve_entry(entry: &Entry, known: &Known) -> Result<Entry> {
    match entry {
        Entry::Named(name) => {
            if known.scripts.contains(name) {
                return Ok(Entry::Script(name.clone()));
            }
            if known.files.contains(name.as_str())
                && let Ok(path) = TreePath::new(format!("app/{name}"))
            {
                return Ok(Entry::File(path));
            }
            if known.can_run(name) {
                return Ok(Entry::Module(name.clone()));
            }
            Err(unknown(entry, known))
        }
        Entry::Script(name) if !known.scripts.contains(name) => Err(unknown(entry, known)),
        Entry::File(path) if !path.below("app").is_some_and(|file| known.files.contains(file)) => {
            Err(unknown(entry, known))
        }
        Entry::Module(name) if !known.can_run(name) => Err(unknown(entry, known)),
        Entry::Function { module, .. } if !known.has_module(module) => Err(unknown(entry, known)),
        _ => Ok(entry.clone()),
    }
}

fn unknown(entry: &Entry, known: &Known) -> Failure {
    let scripts = || known.scripts.iter().map(String::as_str);
    let top_files = || known.files.iter().copied().filter(|file| file.ends_with(".py"));
    let (what, word) = match entry {
        Entry::File(path) => ("the app has no file", path.below("app").unwrap_or(path)),
        Entry::Function { module, .. } => ("there is no module", module.as_str()),
        Entry::Module(name) if known.is_package(name) => {
            return Failure::new(format!("the package {name} cannot be started: it has no __main__.py"))
                .hint(format!("name a function of it: {name}:FUNCTION"));
        }
        Entry::Module(name) => ("there is no module", name.as_str()),
        Entry::Script(name) => ("there is no console script", name.as_str()),
        Entry::Named(name) => ("there is no console script, module or file", name.as_str()),
    };
    let failure = Failure::new(format!("{what} called {word:?}{}", existing(known)));
    let modules = known.modules();
    let meant = match entry {
        Entry::Function { .. } | Entry::Module(_) => nearest(word, modules.iter().map(String::as_str)),
        Entry::File(_) => nearest(word, top_files()),
        _ => nearest(word, scripts().chain(top_files())),
    };
    match meant {
        Some(name) => failure.hint(format!("did you mean {name}?")),
        None => failure.hint("name another one with -e"),
    }
}

/// The end of the sentence: what there is, at most a dozen of each kind.
fn existing(known: &Known) -> String {
    let list = |title: &str, names: Vec<&str>| match names.len() {
        0 => String::new(),
        1..=12 => format!("; {title}: {}", names.join(", ")),
        more => format!("; {title}: {}, and {} more", names[..12].join(", "), more - 12),
    };
    let scripts = known.scripts.iter().map(String::as_str).collect();
    let files = known.files.iter().copied();
    let files = files.filter(|file| file.ends_with(".py") && !file.contains('/')).collect();
    list("console scripts", scripts) + &list("files of the app", files)
}

/// The modules that a file below a directory of `sys.path` provides: `a/b/__init__.py` is `a.b`, and is
/// also listed as `a.b.__init__`, which tells a package from a plain module.
fn module_of(file: &str) -> Vec<String> {
    let Some(stem) = file.strip_suffix(".py").or_else(|| extension_stem(file)) else {
        return Vec::new();
    };
    let name = stem.replace('/', ".");
    if !is_dotted_name(&name) {
        return Vec::new();
    }
    match name.strip_suffix(".__init__") {
        Some(package) => vec![package.to_owned(), name],
        None => vec![name],
    }
}

/// `a/core` of the extension module `a/core.cpython-312-x86_64-linux-gnu.so`.
fn extension_stem(file: &str) -> Option<&str> {
    let bare = file.strip_suffix(".so")?;
    let name = bare.rfind('/').map_or(0, |slash| slash + 1);
    let end = bare[name..].find('.').map_or(bare.len(), |dot| name + dot);
    Some(&bare[..end])
}
