//! What a project says about its packing: `[tool.coil]` in pyproject.toml or in a script's own block, or
//! the same keys at the top of a `coil.toml`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use coil_bootstrap::format::image::ImageSettings;
use coil_bootstrap::format::production::Setting;
use toml::{Table, Value};

use super::entry::EntryPoint;
use super::image;
use super::nearest::nearest;
use super::production::{self, Said};
use super::words;
use crate::error::{Context, Failure, Result};

/// The file that has the keys at its top.
pub const FILE: &str = "coil.toml";

/// The keys that `[tool.coil]` may have.
const KEYS: &[&str] = &[
    "artifacts",
    "bring-libraries",
    "build",
    "commands",
    "default",
    "env",
    "environment",
    "exclude",
    "extras",
    "groups",
    "host-libraries",
    "image",
    "include",
    "keep",
    "name",
    "python",
    "services",
];

/// What a project says about its packing. Every part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The app's name, where the project has no other.
    pub name: Option<String>,
    /// Named ways to start the app.
    pub commands: BTreeMap<String, EntryPoint>,
    /// The command that runs when none is named.
    pub default: Option<String>,
    /// The interpreter to pack, as `--python` takes it.
    pub python: Option<String>,
    /// What is kept of the Python that is left out otherwise.
    pub keep: Vec<String>,
    /// Patterns of the files that are packed; all of them without any.
    pub include: Vec<String>,
    /// Patterns of the files that are left out.
    pub exclude: Vec<String>,
    /// The extras of the project that are packed.
    pub extras: Vec<String>,
    /// The dependency groups of the project that are packed.
    pub groups: Vec<String>,
    /// Patterns of files that are packed although git does not track them, or `include` does not cover them.
    pub artifacts: Vec<String>,
    /// Commands that are run in the environment before the app's tree is packed.
    pub build: Vec<String>,
    /// Variables that are set for the app where the user has not set them.
    pub environment: BTreeMap<String, String>,
    /// What is said of images that are made of it.
    pub image: ImageSettings,
    /// What is said of the commands that a server keeps running.
    pub services: BTreeMap<String, Said>,
    /// The variables that come from the server.
    pub env: BTreeMap<String, Setting>,
    /// Libraries that the host is to provide.
    pub host_libraries: Vec<String>,
    /// Libraries to bring from the machine that packs.
    pub bring_libraries: Vec<String>,
}

impl Settings {
    /// Reads the `coil.toml` in `directory`; `None` where there is none.
    pub fn find(directory: &Path) -> Result<Option<Settings>> {
        let path = directory.join(FILE);
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.context(|| format!("{file} cannot be read"))?,
        };
        let table: Table = toml::from_str(&text).context(|| format!("{file} cannot be read"))?;
        Settings::read(&table, &file).map(Some)
    }

    /// Reads the table `[tool.coil]` of `file`, or a whole `coil.toml`.
    pub fn read(table: &Table, file: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        for (key, value) in table {
            let place = place(file);
            let wrong = |wanted: &str| Failure::new(format!("{file}: {key}{place} must be {wanted}"));
            match key.as_str() {
                "name" => settings.name = Some(text(value).ok_or_else(|| wrong("a string"))?),
                "artifacts" => settings.artifacts = texts(value).ok_or_else(|| wrong("a list of strings"))?,
                "build" => {
                    settings.build = texts(value).ok_or_else(|| wrong("a list of strings"))?;
                    settings.build.iter().try_for_each(|step| check_step(step, file))?;
                }
                "bring-libraries" => {
                    settings.bring_libraries = texts(value).ok_or_else(|| wrong("a list of strings"))?;
                }
                "host-libraries" => {
                    settings.host_libraries = texts(value).ok_or_else(|| wrong("a list of strings"))?;
                }
                "default" => settings.default = Some(text(value).ok_or_else(|| wrong("a string"))?),
                "python" => settings.python = Some(text(value).ok_or_else(|| wrong("a string"))?),
                "env" => settings.env = production::settings(value, file)?,
                "services" => settings.services = production::services(value, file)?,
                "image" => settings.image = image::read(value, file)?,
                "include" => settings.include = texts(value).ok_or_else(|| wrong("a list of strings"))?,
                "keep" => settings.keep = texts(value).ok_or_else(|| wrong("a list of strings"))?,
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
        Ok(settings)
    }

    /// Refuses a default that is none of `commands`, which are all that `file` and what belongs to it
    /// state. Without any, it names a console script.
    pub fn check_default(&self, commands: &BTreeMap<String, EntryPoint>, file: &str) -> Result<()> {
        let Some(default) = self.default.as_ref().filter(|name| !commands.contains_key(*name)) else {
            return Ok(());
        };
        if commands.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = commands.keys().map(String::as_str).collect();
        let message = format!("{file}: the default {default:?}{} is not among its commands", place(file));
        Err(Failure::new(message).hint(format!("the commands are {}", names.join(", "))))
    }
}

/// Where in the file a key is.
pub fn place(file: &str) -> &'static str {
    if file.ends_with(FILE) { "" } else { " in [tool.coil]" }
}

/// Refuses a build step that is no command.
fn check_step(step: &str, file: &str) -> Result<()> {
    let wrong = |reason: &str| {
        Failure::new(format!("{file}: the build step {step:?} cannot be understood: {reason}"))
            .hint("every step is one program with its arguments; \"sh -c '...'\" gives a shell its own")
    };
    match words::split(step) {
        Ok(words) if words.is_empty() => Err(wrong("it is empty")),
        Ok(_) => Ok(()),
        Err(reason) => Err(wrong(&reason)),
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
            let place = place(file);
            Err(Failure::new(format!("{file}: {name:?}{place} cannot be the name of a variable")))
        }
        false => Ok(()),
    }
}

fn unknown(key: &str, file: &str) -> Failure {
    let table = if file.ends_with(FILE) { "there is" } else { "[tool.coil] has" };
    let failure = Failure::new(format!("{file}: {table} the unknown key {key:?}"));
    if key == "tool" && file.ends_with(FILE) {
        return failure.hint("in this file the keys stand at the top, without [tool.coil]");
    }
    match nearest(key, KEYS.iter().copied()) {
        Some(known) => failure.hint(format!("did you mean {known}?")),
        None => failure.hint(format!("the keys are {}", KEYS.join(", "))),
    }
}

/// A text.
pub fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.contains('\0')).map(str::to_owned)
}

/// A list of texts.
pub fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

/// A table of texts.
pub fn pairs(value: &Value) -> Option<BTreeMap<String, String>> {
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
             include = [\"src\"]\nexclude = [\"*.md\"]\nenvironment = { A = \"1\" }\nname = \"x\"\n\
             artifacts = [\"dist\"]\nkeep = [\"tests\"]\nbuild = [\"python manage.py collectstatic\"]\n",
        )
        .unwrap();
        assert_eq!(
            (settings.name.as_deref(), settings.artifacts.len(), settings.build.len()),
            (Some("x"), 1, 1)
        );
        assert_eq!(settings.commands["web"].entry, Entry::Named("gunicorn".into()));
        assert_eq!(settings.default.as_deref(), Some("web"));
        assert_eq!((settings.environment["A"].as_str(), settings.keep[0].as_str()), ("1", "tests"));
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
            "build = \"make\"",
            "build = [\"\"]",
            "build = [\"make && make\"]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_default_is_one_of_the_commands_if_there_are_any() {
        let settings = read("commands = { a = \"x\" }\ndefault = \"b\"").unwrap();
        let check = |commands| settings.check_default(commands, "pyproject.toml");
        assert!(
            check(&settings.commands).unwrap_err().to_string().contains("\"b\" in [tool.coil] is not among")
        );
        check(&BTreeMap::new()).unwrap();
    }

    #[test]
    fn a_file_of_its_own_has_the_keys_at_its_top() {
        let directory = tempfile::tempdir().unwrap();
        let find = |text: &str| {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            Settings::find(directory.path())
        };
        assert_eq!(find("default = \"b\"").unwrap().unwrap().default.as_deref(), Some("b"));
        let error = find("[tool.coil]\ndefault = \"b\"").unwrap_err();
        assert!(error.to_string().ends_with("coil.toml: there is the unknown key \"tool\""), "{error}");
        assert_eq!(error.advice(), Some("in this file the keys stand at the top, without [tool.coil]"));
        assert!(
            find("default = 1").unwrap_err().to_string().ends_with("coil.toml: default must be a string")
        );
        assert!(find("default = ").is_err());
    }
}
