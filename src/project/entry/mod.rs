//! How an app is started: what the user wrote, and what it means once everything is known.
//!
//! Reading an entry is pure. `flask` may be a console script or a module, and which one it is can
//! only be said when the wheels are there: [`resolve_entry`] says it then.

mod known;

use std::collections::BTreeMap;
use std::fmt;

use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::template;

use super::words::{self, Word};
use crate::error::{Failure, Result};

pub use known::{Known, resolve_entry};

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

fn is_dotted_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut letters = part.chars();
        letters.next().is_some_and(|c| c == '_' || c.is_alphabetic())
            && letters.all(|c| c == '_' || c.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests;
