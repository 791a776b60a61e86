//! `Procfile`: the process types of Heroku, foreman and honcho, as commands.
//!
//! A line is `TYPE: COMMAND`. There, a shell runs the command; here, the launcher starts the program itself
//! and fills in the variables. Lines that need more of a shell are refused with their number, unless
//! `[tool.coil.commands]` says what the type runs. There is no interpretation of other files (`.env`, `app.json`).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::entry::EntryPoint;
use super::settings::check_command_name;
use crate::error::{Failure, Result};

/// The file's name.
pub const NAME: &str = "Procfile";

/// The type that serves requests: the default command where nobody states one.
pub const WEB: &str = "web";

/// The port that foreman and honcho give the first process where none is set.
pub const PORT: &str = "5000";

/// What a Procfile says.
#[derive(Debug, Default)]
pub struct ProcessTypes {
    /// The names of all, in its order.
    pub names: Vec<String>,
    /// The commands of those that are not stated elsewhere.
    pub commands: BTreeMap<String, EntryPoint>,
}

/// The process types of `directory`'s Procfile, with the commands of those that are not in `stated`; none where there is
/// no Procfile.
pub fn find(directory: &Path, stated: &BTreeMap<String, EntryPoint>) -> Result<ProcessTypes> {
    let path = directory.join(NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => read(&text, &path.display().to_string(), stated),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
            Ok(ProcessTypes::default())
        }
        Err(error) => Err(Failure::new(format!("{} cannot be read", path.display())).because(error)),
    }
}

/// Whether a command takes the port it listens at from the environment and has no other.
pub fn needs_port(command: &EntryPoint) -> bool {
    command.expand && command.args.iter().any(|arg| arg.contains("{PORT}"))
}

fn read(text: &str, file: &str, stated: &BTreeMap<String, EntryPoint>) -> Result<ProcessTypes> {
    let mut types = ProcessTypes::default();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason: &str| Failure::new(format!("{file}, line {}: {reason}", number + 1));
        let Some((name, command)) = line.split_once(':').map(|(name, rest)| (name.trim(), rest.trim()))
        else {
            return Err(wrong(&format!("{line:?} names no process type")).hint("write it as TYPE: COMMAND"));
        };
        if check_command_name(name).is_err() {
            return Err(wrong(&format!("{name:?} cannot be the name of a process type"))
                .hint("use letters, digits, dashes and underscores"));
        }
        if let Some(first) = lines.insert(name, number + 1) {
            return Err(wrong(&format!("{name} is there twice, first in line {first}")));
        }
        types.names.push(name.to_owned());
        if stated.contains_key(name) {
            continue;
        }
        let entry = EntryPoint::read(command).map_err(|reason| {
            wrong(&format!("the command of {name} cannot be understood: {reason}")).hint(format!(
                "say under [tool.coil.commands] what {name} runs: that goes before the Procfile"
            ))
        })?;
        types.commands.insert(name.to_owned(), entry);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Result<BTreeMap<String, EntryPoint>> {
        read(text, "Procfile", &BTreeMap::new()).map(|types| types.commands)
    }

    #[test]
    fn process_types_are_commands() {
        let read = commands(
            "\u{feff}# what runs\n\nweb: gunicorn site.wsgi --bind 0.0.0.0:$PORT\r\nrelease:python manage.py migrate --noinput\n\
             worker_2 :  celery -A site worker --concurrency=${N:-2}\n",
        )
        .unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["release", "web", "worker_2"]);
        assert_eq!(read["web"].args, ["site.wsgi", "--bind", "0.0.0.0:${PORT}"]);
        assert_eq!(read["release"].args, ["migrate", "--noinput"]);
        assert!(needs_port(&read["web"]) && !needs_port(&read["worker_2"]));
    }

    #[test]
    fn bad_lines_are_named_by_their_number() {
        let said = |text: &str| commands(text).unwrap_err().to_string();
        assert_eq!(
            said("web: a\n\nnothing here\n"),
            "Procfile, line 3: \"nothing here\" names no process type"
        );
        assert_eq!(said("a b: c"), "Procfile, line 1: \"a b\" cannot be the name of a process type");
        assert_eq!(said("web: a\nweb: b"), "Procfile, line 2: web is there twice, first in line 1");
        assert!(
            said("web:")
                .starts_with("Procfile, line 1: the command of web cannot be understood: it is empty")
        );
        assert!(
            said("\nrelease: a && b").starts_with(
                "Procfile, line 2: the command of release cannot be understood: && needs a shell"
            )
        );
    }

    #[test]
    fn what_is_stated_elsewhere_goes_before_the_procfile() {
        let stated =
            BTreeMap::from([("release".to_owned(), EntryPoint::parse("manage.py migrate").unwrap())]);
        let read = read("web: a\nrelease: a && b\n", "Procfile", &stated).unwrap();
        assert_eq!(read.commands.keys().collect::<Vec<_>>(), ["web"]);
    }
}
