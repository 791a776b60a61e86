//! The settings that `coil init` writes: a starting point that packs as it is, with every key explained.

use super::survey::{Interface, Served, Survey};
use crate::error::{Failure, Result};

/// A starting point.
#[derive(Debug, PartialEq, Eq)]
pub struct Starter {
    /// Commands by name.
    pub commands: Vec<(String, String)>,
    /// The default command.
    pub default: Option<String>,
    /// Files to pack beside a wheel.
    include: Vec<String>,
    name: String,
    has_procfile: bool,
    collects_static: bool,
}

impl Starter {
    /// What fits to what was found. Fails where nothing can be started.
    pub fn of(survey: &Survey) -> Result<Starter> {
        let mut starter = Starter {
            commands: Vec::new(),
            default: None,
            include: Vec::new(),
            name: survey.name.clone(),
            has_procfile: survey.has_procfile,
            collects_static: survey.has_manage && survey.collects_static,
        };
        if !survey.has_procfile {
            starter.commands.extend(web(survey).map(|command| ("web".to_owned(), command)));
        }
        if survey.has_manage {
            starter.commands.push(("manage".to_owned(), "manage.py".to_owned()));
            starter.include.extend(survey.built.then(|| "manage.py".to_owned()));
        }
        if starter.commands.is_empty() && !survey.has_commands {
            starter.take_files(survey);
        }
        let has_web = starter.commands.first().is_some_and(|(name, _)| name == "web");
        // A console script is the default already.
        if has_web && !survey.has_commands {
            starter.default = Some("web".to_owned());
        }
        if starter.commands.is_empty() && !survey.has_commands && !survey.built {
            return Err(Failure::new(format!("nothing in {} looks as if it could be started", survey.name))
                .hint("coil init looks for manage.py, web apps, a Procfile, scripts in pyproject.toml and .py files"));
        }
        Ok(starter)
    }

    /// Without anything better: packages that can be run, and files at the top.
    fn take_files(&mut self, survey: &Survey) {
        if survey.built {
            let command = |name: &String| (name.replace('.', "-"), format!("-m {name}"));
            self.commands.extend(survey.runnable.iter().take(1).map(command));
            return;
        }
        for file in &survey.files {
            let stem = file.trim_end_matches(".py");
            let name = if stem == "__main__" { "main" } else { stem };
            self.commands.push((name.to_owned(), file.clone()));
        }
        let first =
            ["main", "app", "cli"].iter().find(|first| self.commands.iter().any(|(name, _)| name == *first));
        self.default = first.map(|name| (*name).to_owned());
    }

    /// The text for the end of a pyproject.toml.
    pub fn table(&self) -> String {
        self.text("[tool.coil]\n", "tool.coil.")
    }

    /// The text of a `coil.toml`.
    pub fn file(&self) -> String {
        let name = format!("name = {}\n", quoted(&self.name));
        self.text(&format!("# How `coil pack` packs this project.\n{name}"), "")
    }

    fn text(&self, head: &str, prefix: &str) -> String {
        let mut text = head.to_owned();
        let mut paragraph = |comment: &str, line: &str| {
            text += &format!("\n# {}\n{line}\n", comment.replace('\n', "\n# "));
        };
        let default = match (&self.default, self.has_procfile) {
            (Some(name), _) => format!("default = {}", quoted(name)),
            (None, true) => "# default = \"web\"".to_owned(),
            (None, false) => "# default = \"NAME\"".to_owned(),
        };
        paragraph("The command that runs when none is named.", &default);
        paragraph(
            "The Python to pack, a version or a path. Without it: the active virtualenv's, else python3 on PATH.",
            "# python = \"3.12\"",
        );
        let include = match self.include.is_empty() {
            true => "# include = [\"src\"]".to_owned(),
            false => format!(
                "include = [{}]",
                self.include.iter().map(|file| quoted(file)).collect::<Vec<_>>().join(", ")
            ),
        };
        paragraph(
            "Which files are packed: in git all that are tracked, or those of them that `include` covers, without\n\
             those that `exclude` covers; and, tracked or not, those that `artifacts` covers.",
            &format!("{include}\n# exclude = [\"tests\", \"docs\"]\n# artifacts = [\"frontend/dist\"]"),
        );
        let step = if self.collects_static {
            "python manage.py collectstatic --noinput"
        } else {
            "python make_assets.py"
        };
        paragraph(
            "Commands that are run in the packed environment first, in a copy of these files: what they make there\n\
             is packed, too.",
            &format!("# build = [{}]", quoted(step)),
        );
        text += "\n# Ways to start the app: pkg.mod:func, -m pkg.mod, a console script or a file, with arguments.\n";
        if self.has_procfile {
            text += "# The Procfile's process types are commands as well; one of the same name here goes before it.\n";
        }
        text += &format!("[{prefix}commands]\n");
        for (name, command) in &self.commands {
            text += &format!("{} = {}\n", key(name), quoted(command));
        }
        text += &format!(
            "\n# Variables that are set for the app where the user has not set them.\n[{prefix}environment]\n"
        );
        text += "# LOG_LEVEL = \"info\"\n";
        text += &format!(
            "\n# What `coil image` says of containers: ports, user, env, labels, workdir, entrypoint, cmd, stop-signal.\n\
             # [{prefix}image]\n# ports = [8000]\n"
        );
        text += &format!(
            "\n# What a server runs of it: listen, probe, ready, start-timeout, drain, schedule, static.\n\
             # [{prefix}services.web]\n# listen = 8000\n# probe = \"/\"\n"
        );
        text += &format!(
            "\n# Settings that a server has in a file of its own: a default, or what is known of it.\n\
             # [{prefix}env]\n# SECRET_KEY = {{ required = true, help = \"signs sessions\" }}\n"
        );
        text
    }
}

/// The command that serves what was found, with a server that the project asks for.
fn web(survey: &Survey) -> Option<String> {
    let with = |interface: Interface| survey.served.iter().find(|served| served.interface == interface);
    let wsgi = with(Interface::Wsgi).and_then(|served| wsgi_server(survey, served));
    let asgi = with(Interface::Asgi).and_then(|served| asgi_server(survey, served));
    wsgi.or(asgi).or_else(|| survey.has_manage.then(|| "manage.py runserver --noreload".to_owned()))
}

fn wsgi_server(survey: &Survey, served: &Served) -> Option<String> {
    let target = word(&served.target);
    if survey.needs("gunicorn") {
        return Some(format!("gunicorn {target} --bind 0.0.0.0:${{PORT:-8000}}"));
    }
    if survey.needs("waitress") {
        let call = if target.ends_with("()'") { "--call " } else { "" };
        let target = served.target.trim_end_matches("()");
        return Some(format!("waitress-serve --port ${{PORT:-8000}} {call}{target}"));
    }
    (served.flask && survey.needs("flask"))
        .then(|| format!("flask --app {target} run --port ${{PORT:-8000}}"))
}

fn asgi_server(survey: &Survey, served: &Served) -> Option<String> {
    let factory = served.target.strip_suffix("()");
    if survey.needs("uvicorn") {
        let target = factory.map_or(served.target.clone(), |target| format!("--factory {target}"));
        return Some(format!("uvicorn {target} --host 0.0.0.0 --port ${{PORT:-8000}}"));
    }
    let target = word(&served.target);
    if survey.needs("hypercorn") {
        return Some(format!("hypercorn {target} --bind 0.0.0.0:${{PORT:-8000}}"));
    }
    (survey.needs("daphne") && factory.is_none())
        .then(|| format!("daphne -b 0.0.0.0 -p ${{PORT:-8000}} {target}"))
}

/// A word of a command line.
fn word(text: &str) -> String {
    if text.contains('(') { format!("'{text}'") } else { text.to_owned() }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A TOML key.
fn key(text: &str) -> String {
    let bare = |c: char| c == '-' || c == '_' || c.is_ascii_alphanumeric();
    if text.chars().all(bare) { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    fn survey() -> Survey {
        Survey { name: "site".into(), ..Survey::default() }
    }

    fn needing(names: &[&str], target: &str, interface: Interface) -> Survey {
        let served = Served { target: target.into(), interface, flask: true };
        Survey {
            requirements: names.iter().map(|name| (*name).to_owned()).collect(),
            served: vec![served],
            ..survey()
        }
    }

    fn read(starter: &Starter) -> Settings {
        let own = Settings::read(&starter.file().parse().unwrap(), "coil.toml").unwrap();
        let table: toml::Table = starter.table().parse().unwrap();
        let inner = Settings::read(table["tool"]["coil"].as_table().unwrap(), "pyproject.toml").unwrap();
        assert_eq!(Settings { name: None, ..own.clone() }, inner);
        assert_eq!(own.name.as_deref(), Some("site"));
        own
    }

    #[test]
    fn what_is_written_can_be_read() {
        let found = Survey {
            has_manage: true,
            collects_static: true,
            built: true,
            ..needing(&["gunicorn"], "a.wsgi:application", Interface::Wsgi)
        };
        let settings = read(&Starter::of(&found).unwrap());
        assert_eq!(settings.default.as_deref(), Some("web"));
        assert_eq!(settings.commands["web"].args, ["a.wsgi:application", "--bind", "0.0.0.0:${PORT:-8000}"]);
        assert_eq!(settings.include, ["manage.py"]);
        let procfile = Survey {
            has_procfile: true,
            has_commands: true,
            ..needing(&["gunicorn"], "a:a", Interface::Wsgi)
        };
        assert!(read(&Starter::of(&procfile).unwrap()).commands.is_empty());
    }

    #[test]
    fn the_server_is_one_that_is_there() {
        let command = |found: &Survey| Starter::of(found).unwrap().commands[0].1.clone();
        assert_eq!(
            command(&needing(&["flask"], "a:create_app()", Interface::Wsgi)),
            "flask --app 'a:create_app()' run --port ${PORT:-8000}"
        );
        assert_eq!(
            command(&needing(&["uvicorn"], "a:create_app()", Interface::Asgi)),
            "uvicorn --factory a:create_app --host 0.0.0.0 --port ${PORT:-8000}"
        );
        assert_eq!(
            command(&needing(&["waitress"], "a:create_app()", Interface::Wsgi)),
            "waitress-serve --port ${PORT:-8000} --call a:create_app"
        );
        let django = Survey { has_manage: true, ..survey() };
        assert_eq!(Starter::of(&django).unwrap().commands[0].1, "manage.py runserver --noreload");
    }

    #[test]
    fn files_are_the_last_resort_and_nothing_is_refused() {
        let files = Survey { files: vec!["main.py".into(), "other.py".into()], ..survey() };
        let starter = Starter::of(&files).unwrap();
        assert_eq!((starter.commands.len(), starter.default.as_deref()), (2, Some("main")));
        read(&starter);
        let script = Survey { has_commands: true, ..needing(&["flask"], "a:a", Interface::Wsgi) };
        let starter = Starter::of(&script).unwrap();
        assert_eq!((starter.commands[0].0.as_str(), starter.default), ("web", None));
        assert!(Starter::of(&survey()).is_err());
    }
}
