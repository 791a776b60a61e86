//! `[tool.coil]`: what a project says about its packing, in pyproject.toml or in a script's own block.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::entry::EntryPoint;
use super::nearest::nearest;
use crate::error::{Failure, Result};

/// The keys that `[tool.coil]` may have.
const KEYS: [&str; 8] =
    ["commands", "default", "environment", "exclude", "extras", "groups", "include", "python"];

/// What a project says about its packing. Every part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Named ways to start the app.
    pub commands: BTreeMap<String, EntryPoint>,
    /// The command that runs when none is named.
    pub default: Option<String>,
    /// The interpreter to pack, as `--python` takes it.
    pub python: Option<String>,
    /// Patterns of the files that are packed; all of them without any.
    pub include: Vec<String>,
    /// Patterns of the files that are left out.
    pub exclude: Vec<String>,
    /// The extras of the project that are packed.
    pub extras: Vec<String>,
    /// The dependency groups of the project that are packed.
    pub groups: Vec<String>,
    /// Variables that are set for the app where the user has not set them.
    pub environment: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the table `[tool.coil]` of `file`.
    pub fn read(table: &Table, file: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        for (key, value) in table {
            let wrong = |wanted: &str| Failure::new(format!("{file}: {key} in [tool.coil] must be {wanted}"));
            match key.as_str() {
                "default" => settings.default = Some(text(value).ok_or_else(|| wrong("a string"))?),
                "python" => settings.python = Some(text(value).ok_or_else(|| wrong("a string"))?),
                "include" => settings.include = texts(value).ok_or_else(|| wrong("a list of strings"))?,
                "extras" => settings.extras = texts(value).ok_or_else(|| wrong("a list of strings"))?,
                "groups" => settings.groups = texts(value).ok_or_else(|| wrong("a list of strings"))?,
                "exclude" => settings.exclude = texts(value).ok_or_else(|| wrong("a list of strings"))?,
                "environment" => {
                    settings.environment = pairs(value).ok_or_else(|| wrong("a table of strings"))?;
                    settings.environment.keys().try_for_each(|name| check_variable(name, file))?;
                }
                "commands" => {
                    let pairs = pairs(value).ok_or_else(|| wrong("a table of strings"))?;
                    for (name, text) in pairs {
                        check_command_name(&name)?;
                        settings.commands.insert(name, EntryPoint::parse(&text)?);
                    }
                }
                _ => return Err(unknown(key, file)),
            }
        }
        if let Some(default) = &settings.default
            && !settings.commands.is_empty()
            && !settings.commands.contains_key(default)
        {
            let names: Vec<&str> = settings.commands.keys().map(String::as_str).collect();
            let failure = Failure::new(format!(
                "{file}: the default {default:?} in [tool.coil] is not among its commands"
            ));
            return Err(failure.hint(format!("the commands are {}", names.join(", "))));
        }
        Ok(settings)
    }
}

/// Refuses what cannot be the name of a command: a file is called after it.
pub fn check_command_name(name: &str) -> Result<()> {
    let wrong = name.is_empty()
        || name.len() > 200
        || name.starts_with(['-', '.'])
        || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
    match wrong {
        true => Err(Failure::new(format!("{name:?} cannot be the name of a command"))
            .hint("use letters, digits, dashes and dots, as in a file name")),
        false => Ok(()),
    }
}

fn check_variable(name: &str, file: &str) -> Result<()> {
    match name.is_empty() || name.contains(['=', '\0']) {
        true => {
            Err(Failure::new(format!("{file}: {name:?} in [tool.coil] cannot be the name of a variable")))
        }
        false => Ok(()),
    }
}

fn unknown(key: &str, file: &str) -> Failure {
    let failure = Failure::new(format!("{file}: [tool.coil] has the unknown key {key:?}"));
    match nearest(key, KEYS) {
        Some(known) => failure.hint(format!("did you mean {known}?")),
        None => failure.hint(format!("the keys are {}", KEYS.join(", "))),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.contains('\0')).map(str::to_owned)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn pairs(value: &Value) -> Option<BTreeMap<String, String>> {
    value.as_table()?.iter().map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        Settings::read(&text.parse().unwrap(), "pyproject.toml")
    }

    #[test]
    fn every_key_is_read() {
        let settings = read(
            "commands = { web = \"gunicorn a.wsgi\", manage = \"manage.py\" }\ndefault = \"web\"\npython = \"3.12\"\n\
             include = [\"src\"]\nexclude = [\"*.md\"]\nenvironment = { A = \"1\" }\n",
        )
        .unwrap();
        assert_eq!(settings.commands["web"].entry, Entry::Named("gunicorn".into()));
        assert_eq!(settings.default.as_deref(), Some("web"));
        assert_eq!(settings.environment["A"], "1");
    }

    #[test]
    fn a_mistyped_key_is_answered_with_the_nearest() {
        let error = read("comands = {}").unwrap_err();
        assert_eq!(error.to_string(), "pyproject.toml: [tool.coil] has the unknown key \"comands\"");
        assert_eq!(error.advice(), Some("did you mean commands?"));
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused() {
        for text in [
            "default = 1",
            "include = \"src\"",
            "commands = { a = 1 }",
            "commands = { \"a b\" = \"x\" }",
            "environment = { \"A=B\" = \"x\" }",
            "commands = { a = \"x\" }\ndefault = \"b\"",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
