//! How an app is started: what the user wrote, and what it means once everything is known.
//!
//! Reading an entry is pure. `flask` may be a console script or a module, and which one it is can
//! only be said when the wheels are there: [`resolve_entry`] says it then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::template;

use super::nearest::nearest;
use super::words::{self, Word};
use crate::error::{Failure, Result};

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// `pkg.mod:func`: a function that is called without arguments; its result is the exit code.
    Function {
        /// The module it is in.
        module: String,
        /// Its name there, possibly dotted.
        attribute: String,
    },
    /// `python -m pkg.mod`.
    Module(String),
    /// A console script of a distribution.
    Script(String),
    /// A Python file of the app: `app/manage.py`.
    File(TreePath),
    /// A console script, a module or a file: decided by [`resolve_entry`].
    Named(String),
}

/// What is started, and the arguments that come before the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// What is started.
    pub entry: Entry,
    /// Arguments that come before the user's.
    pub args: Vec<String>,
    /// Variables that are set for it.
    pub variables: BTreeMap<String, String>,
    /// Whether arguments and variables' values are templates, to be filled in at the start.
    pub expand: bool,
}

/// What a bundle will have, as far as an entry can name it.
#[derive(Debug, Default)]
pub struct Known {
    scripts: BTreeSet<String>,
    files: BTreeSet<String>,
    modules: BTreeSet<String>,
}

impl EntryPoint {
    /// An entry without arguments.
    pub fn of(entry: Entry) -> EntryPoint {
        EntryPoint { entry, args: Vec::new(), variables: BTreeMap::new(), expand: false }
    }

    /// Reads `pkg.mod:func`, `-m pkg.mod`, a name or a file, with arguments after it, split as a shell
    /// would do it. `NAME=value` may stand before it, and so may `python` before `-m` or a file.
    pub fn parse(text: &str) -> Result<EntryPoint> {
        EntryPoint::read(text).map_err(|reason| {
            Failure::new(format!("the entry point {text:?} cannot be understood: {reason}"))
                .hint("write it as pkg.mod:func, -m pkg.mod, the name of a console script, or a file such as manage.py")
        })
    }

    /// The same; the error is the end of a sentence.
    pub fn read(text: &str) -> Result<EntryPoint, String> {
        let mut words = words::split(text)?.into_iter().peekable();
        let mut variables = BTreeMap::new();
        while let Some(word) = words.next_if(|word| is_prefix(&word.template)) {
            if let Some((name, value)) = word.template.split_once('=') {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        let mut next = |missing: &str| {
            let word = words.next().ok_or(missing)?;
            word.text.ok_or_else(|| "a variable cannot say what is started".to_owned())
        };
        let mut first = next("it is empty")?;
        let python = is_python(&first);
        if python {
            first = next("nothing follows python")?;
            if first == "-u" {
                variables.insert("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
                first = next("nothing follows python -u")?;
            }
        }
        let entry = match first.as_str() {
            "-m" => {
                let module = next("no module follows -m")?;
                if !is_dotted_name(&module) {
                    return Err(format!("{module:?} is not the name of a module"));
                }
                Entry::Module(module)
            }
            option if python && option.starts_with('-') => {
                return Err(format!("python's option {option} is none that a command can have"));
            }
            file if python => Entry::file(file)?,
            word => Entry::parse(word)?,
        };
        Ok(EntryPoint::with(entry, words.collect(), variables))
    }

    fn with(entry: Entry, words: Vec<Word>, mut variables: BTreeMap<String, String>) -> EntryPoint {
        let expand = words.iter().any(|word| word.text.is_none())
            || variables.values().any(|value| value.replace("$$", "").contains('$'));
        if !expand {
            variables.values_mut().for_each(|value| *value = value.replace("$$", "$"));
        }
        let arg = |word: Word| word.text.filter(|_| !expand).unwrap_or(word.template);
        EntryPoint { entry, args: words.into_iter().map(arg).collect(), variables, expand }
    }
}

/// What may stand before a command in a shell and says nothing of it: `NAME=value`, `exec`.
fn is_prefix(word: &str) -> bool {
    word == "exec" || word.split_once('=').is_some_and(|(name, _)| template::is_name(name))
}

fn is_python(word: &str) -> bool {
    let version = word.strip_prefix("python");
    version.is_some_and(|version| version.chars().all(|c| c == '.' || c.is_ascii_digit()))
}

impl Entry {
    /// Reads one word; the error is the end of a sentence.
    fn parse(word: &str) -> Result<Entry, String> {
        if word.ends_with(".py") || word.contains('/') {
            return Entry::file(word);
        }
        if let Some((module, attribute)) = word.split_once(':') {
            return match (is_dotted_name(module), is_dotted_name(attribute)) {
                (true, true) => Ok(Entry::Function { module: module.into(), attribute: attribute.into() }),
                (false, _) => Err(format!("{module:?} is not the name of a module")),
                (_, false) => Err(format!("{attribute:?} is not the name of a function")),
            };
        }
        if word.is_empty() || word.starts_with('-') || word.contains(['=', '\0', '\n']) {
            return Err(format!("{word:?} names nothing that can be started"));
        }
        Ok(Entry::Named(word.to_owned()))
    }

    fn file(word: &str) -> Result<Entry, String> {
        let path = word.strip_prefix("./").unwrap_or(word);
        TreePath::new(format!("app/{path}")).map(Entry::File).map_err(|error| error.reason.to_owned())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Function { module, attribute } => write!(f, "{module}:{attribute}"),
            Entry::Module(name) => write!(f, "-m {name}"),
            Entry::Script(name) | Entry::Named(name) => f.write_str(name),
            Entry::File(path) => f.write_str(path.below("app").unwrap_or(path)),
        }
    }
}

impl Known {
    /// What can be started of these console scripts and of the trees with these paths: `app/...`,
    /// `venv/lib/pythonX.Y/site-packages/...` and, for modules of the standard library, `python/lib/pythonX.Y/...`.
    pub fn new<'a>(
        scripts: impl IntoIterator<Item = String>,
        paths: impl IntoIterator<Item = &'a TreePath>,
    ) -> Known {
        let mut known = Known { scripts: scripts.into_iter().collect(), ..Known::default() };
        for path in paths {
            if let Some(file) = path.below("app") {
                known.files.insert(file.to_owned());
                known.modules.extend(module_of(file));
                continue;
            }
            let Some(library) = path.below("venv/lib").or_else(|| path.below("python/lib")) else { continue };
            let Some((_, file)) = library.split_once('/') else { continue };
            known.modules.extend(module_of(file.strip_prefix("site-packages/").unwrap_or(file)));
        }
        known
    }

    fn has_module(&self, name: &str) -> bool {
        self.modules.contains(name)
    }

    fn is_package(&self, name: &str) -> bool {
        self.modules.contains(&format!("{name}.__init__"))
    }

    /// Whether `python -m name` finds something to run.
    fn can_run(&self, name: &str) -> bool {
        self.modules.contains(&format!("{name}.__main__"))
            || (self.has_module(name) && !self.is_package(name))
    }
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
            if known.files.contains(name)
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
    let top_files = || known.files.iter().map(String::as_str).filter(|file| file.ends_with(".py"));
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
    let modules = known.modules.iter().map(String::as_str);
    let meant = match entry {
        Entry::Function { .. } | Entry::Module(_) => nearest(word, modules),
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
    let files = known.files.iter().map(String::as_str);
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

fn is_dotted_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut letters = part.chars();
        letters.next().is_some_and(|c| c == '_' || c.is_alphabetic())
            && letters.all(|c| c == '_' || c.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> EntryPoint {
        EntryPoint::parse(text).unwrap()
    }

    fn known() -> Known {
        let paths = [
            "app/manage.py",
            "app/tool",
            "app/site/__init__.py",
            "venv/lib/python3.12/site-packages/flask/__init__.py",
            "venv/lib/python3.12/site-packages/flask/__main__.py",
            "venv/lib/python3.12/site-packages/fast/core.cpython-312-x86_64-linux-gnu.so",
            "python/lib/python3.12/http/server.py",
        ]
        .map(|path| TreePath::new(path).unwrap());
        Known::new(["flask".to_owned(), "gunicorn".to_owned()], &paths)
    }

    fn resolved(text: &str) -> Result<Entry> {
        resolve_entry(&parse(text).entry, &known())
    }

    #[test]
    fn every_way_to_write_an_entry_is_read() {
        let function = Entry::Function { module: "a.b".into(), attribute: "C.d".into() };
        assert_eq!(parse("a.b:C.d").entry, function);
        assert_eq!(
            parse("-m http.server 80"),
            EntryPoint { args: vec!["80".into()], ..EntryPoint::of(Entry::Module("http.server".into())) }
        );
        assert_eq!(parse("./src/x.py").entry, Entry::File(TreePath::new("app/src/x.py").unwrap()));
        let web = parse("gunicorn mysite.wsgi --bind '0.0.0.0:80 x'");
        assert_eq!(web.entry, Entry::Named("gunicorn".into()));
        assert_eq!(web.args, ["mysite.wsgi", "--bind", "0.0.0.0:80 x"]);
    }

    #[test]
    fn what_people_write_in_front_of_a_command_is_understood() {
        let manage = || Entry::File(TreePath::new("app/manage.py").unwrap());
        assert_eq!(
            parse("python manage.py migrate"),
            EntryPoint { args: vec!["migrate".into()], ..EntryPoint::of(manage()) }
        );
        assert_eq!(parse("python3 -m a.b").entry, Entry::Module("a.b".into()));
        assert_eq!(parse("python3.12 tool").entry, Entry::File(TreePath::new("app/tool").unwrap()));
        let unbuffered = parse("A='x $y' exec python -u manage.py");
        assert_eq!(unbuffered.entry, manage());
        assert_eq!(
            unbuffered.variables,
            [("A", "x $y"), ("PYTHONUNBUFFERED", "1")].map(|(a, b)| (a.into(), b.into())).into()
        );
        assert!(!unbuffered.expand);
    }

    #[test]
    fn arguments_that_name_variables_are_templates() {
        let web = parse("A=$B gunicorn a --bind 0.0.0.0:$PORT 'costs $5' \"$X\"");
        assert!(web.expand);
        assert_eq!(web.args, ["a", "--bind", "0.0.0.0:${PORT}", "costs $$5", "$={X}"]);
        assert_eq!(web.variables["A"], "${B}");
        let plain = parse("gunicorn 'costs $5'");
        assert_eq!((plain.expand, plain.args[0].as_str()), (false, "costs $5"));
    }

    #[test]
    fn an_entry_that_cannot_be_one_is_refused() {
        for text in [
            "",
            "a:",
            ":f",
            "a b'",
            "a.b:f()",
            "../x.py",
            "/etc/x.py",
            "-x",
            "-m",
            "-m a-b",
            "a..b:f",
            "A=1",
            "exec",
            "$X a",
            "python",
            "python -c x",
            "python -u",
            "python /x.py",
            "a && b",
        ] {
            assert!(EntryPoint::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_a_script_before_it_is_a_file_or_a_module() {
        assert_eq!(resolved("flask").unwrap(), Entry::Script("flask".into()));
        assert_eq!(resolved("tool").unwrap(), Entry::File(TreePath::new("app/tool").unwrap()));
        assert_eq!(resolved("http.server").unwrap(), Entry::Module("http.server".into()));
        assert_eq!(resolved("-m flask").unwrap(), Entry::Module("flask".into()));
        assert!(resolved("fast.core:run").is_ok());
    }

    #[test]
    fn an_unknown_entry_is_answered_with_what_exists() {
        let error = resolved("gunicron").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no console script, module or file called \"gunicron\"; \
             console scripts: flask, gunicorn; files of the app: manage.py"
        );
        assert_eq!(error.advice(), Some("did you mean gunicorn?"));
        assert_eq!(resolved("mange.py").unwrap_err().advice(), Some("did you mean manage.py?"));
        let package = resolved("-m site").unwrap_err();
        assert_eq!(package.to_string(), "the package site cannot be started: it has no __main__.py");
    }
}
