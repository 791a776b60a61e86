//! `[tool.coil.services]` and `[tool.coil.env]`: what a server keeps running of a project, and which variables it takes
//! from there.
//!
//! The process types of a Procfile are services without anything being said of them, and so are the commands `web` and
//! `release` of a project that has no Procfile. What is said of one is checked here, by the rules of the manifest.

use std::collections::BTreeMap;

use coil_bootstrap::format::production::{
    Kind, Service, Setting, is_address, is_probe, is_schedule, is_static, is_unit_name, is_variable,
};
use toml::Value;

use super::entry::{Entry, EntryPoint};
use super::nearest::nearest;
use super::procfile::WEB;
use super::settings::{place, text};
use crate::error::{Failure, Result};

/// The process type that runs once before a release becomes active.
const RELEASE: &str = "release";

/// The keys that a service may have.
const SERVICE_KEYS: &[&str] = &["drain", "listen", "probe", "ready", "schedule", "start-timeout", "static"];

/// The keys that a setting may have.
const SETTING_KEYS: &[&str] = &["default", "help", "required"];

/// What a project says of a service. What it leaves open follows from the command's name and its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    service: Service,
    ready: Option<Ready>,
}

/// Who knows when a service is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// The program tells systemd.
    Notify,
    /// It is ready when it waits for connections.
    Listening,
}

impl Said {
    fn nothing(name: &str) -> Self {
        let kind = match name {
            WEB => Kind::Web,
            RELEASE => Kind::Release,
            _ => Kind::Worker,
        };
        Said { service: Service::of(kind), ready: None }
    }

    /// The service that `command` is.
    fn of(self, command: &EntryPoint) -> Service {
        let program = match &command.entry {
            Entry::Named(name) | Entry::Script(name) | Entry::Module(name) => name.as_str(),
            _ => "",
        };
        let notify = self.ready.map_or(program == "gunicorn", |ready| ready == Ready::Notify);
        Service { notify: notify && self.service.kind == Kind::Web, ..self.service }
    }
}

/// Reads the value of the key `services` of `file`.
pub fn services(value: &Value, file: &str) -> Result<BTreeMap<String, Said>> {
    let tables = tables(value, file, "services")?;
    tables.map(|(name, value)| Ok((name.clone(), service(name, value?, file)?))).collect()
}

/// Reads the value of the key `env` of `file`.
pub fn settings(value: &Value, file: &str) -> Result<BTreeMap<String, Setting>> {
    let table = value.as_table().ok_or_else(|| not_a_table(file, "env"))?;
    table.iter().map(|(name, value)| Ok((name.clone(), setting(name, value, file)?))).collect()
}

/// The services of a project that has these `commands`, of which those in `types` stand in its Procfile.
pub fn chosen(
    mut said: BTreeMap<String, Said>,
    commands: &BTreeMap<String, EntryPoint>,
    types: &[String],
    file: &str,
) -> Result<BTreeMap<String, Service>> {
    if types.is_empty() && (commands.contains_key(WEB) || !said.is_empty()) {
        for name in [WEB, RELEASE].into_iter().filter(|name| commands.contains_key(*name)) {
            said.entry(name.to_owned()).or_insert_with(|| Said::nothing(name));
        }
    }
    for name in types.iter().filter(|name| is_unit_name(name)) {
        said.entry(name.clone()).or_insert_with(|| Said::nothing(name));
    }
    if let Some(name) = said.keys().find(|name| is_taken(name)) {
        return Err(Failure::new(format!(
            "{file}: the service {name:?} would have the units of a release on trial"
        ))
        .hint("give it another name: canary, trial, and what ends with -canary or -trial are taken"));
    }
    let service = |(name, said): (String, Said)| match commands.get(&name) {
        Some(command) => Ok((name, said.of(command))),
        None => {
            let failure =
                Failure::new(format!("{file}: the service {name:?}{} is none of the commands", place(file)));
            Err(match nearest(&name, commands.keys().map(String::as_str)) {
                Some(known) => failure.hint(format!("did you mean {known}?")),
                None => failure.hint(format!("say what {name} runs under [tool.coil.commands]")),
            })
        }
    };
    said.into_iter().map(service).collect()
}

/// Whether the units of a service with this name would be those of a release beside the one that serves.
fn is_taken(name: &str) -> bool {
    matches!(name.rsplit_once('-').map_or(name, |(_, role)| role), "canary" | "trial")
}

fn service(name: &str, value: &toml::Table, file: &str) -> Result<Said> {
    if !is_unit_name(name) {
        return Err(Failure::new(format!("{file}: {name:?} cannot be the name of a service"))
            .hint("use letters, digits, dashes, dots and underscores"));
    }
    let mut said = Said::nothing(name);
    let service = &mut said.service;
    for (key, value) in value {
        let wrong =
            |wanted: &str| Failure::new(format!("{file}: {key} of the service {name} must be {wanted}"));
        let checked = |right: fn(&str) -> bool, wanted: &str| {
            numbers(value).filter(|text| right(text)).map(Some).ok_or_else(|| wrong(wanted))
        };
        let seconds = || {
            let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
            number.map(Some).ok_or_else(|| wrong("a number of seconds"))
        };
        match key.as_str() {
            "listen" => {
                service.listen =
                    checked(is_address, "a port, an address with a port, or the path of a socket")?;
            }
            "probe" => service.probe = checked(is_probe, "a path such as \"/health\"")?,
            "schedule" => {
                service.schedule =
                    checked(is_schedule, "a calendar event such as \"daily\" or \"*-*-* 03:00:00\"")?;
            }
            "static" => service.static_files = checked(is_static, "a directory of the app's tree")?,
            "start-timeout" => service.start_timeout = seconds()?,
            "drain" => service.drain = seconds()?,
            "ready" => {
                said.ready = Some(match value.as_str() {
                    Some("notify") => Ready::Notify,
                    Some("listening") => Ready::Listening,
                    _ => return Err(wrong("\"notify\" or \"listening\"")),
                });
            }
            _ => return Err(unknown(key, &format!("the service {name}"), SERVICE_KEYS, file)),
        }
    }
    let of_web = service.listen.is_some() || service.probe.is_some() || service.static_files.is_some();
    service.kind = match (of_web, service.schedule.is_some()) {
        (true, true) => {
            return Err(Failure::new(format!(
                "{file}: the service {name} answers requests and has a schedule"
            ))
            .hint("make two services of it"));
        }
        (true, false) => Kind::Web,
        (false, true) => Kind::Timer,
        (false, false) => service.kind,
    };
    Ok(said)
}

fn setting(name: &str, value: &Value, file: &str) -> Result<Setting> {
    if !is_variable(name) {
        return Err(Failure::new(format!("{file}: {name:?} in env cannot be the name of a setting"))
            .hint("use letters, digits and underscores, as in a shell"));
    }
    let line = |value: &Value| numbers(value).filter(|text| !text.contains(char::is_control));
    if let Some(text) = line(value) {
        return Ok(Setting { default: Some(text), ..Setting::default() });
    }
    let mut setting = Setting::default();
    let wanted = || {
        Failure::new(format!("{file}: the setting {name} must be a default, or say what is known of it"))
            .hint("write \"text\", or { required = true, help = \"what it is for\" }")
    };
    for (key, value) in value.as_table().ok_or_else(wanted)? {
        let wrong =
            |wanted: &str| Failure::new(format!("{file}: {key} of the setting {name} must be {wanted}"));
        match key.as_str() {
            "default" => setting.default = Some(line(value).ok_or_else(|| wrong("one line of text"))?),
            "help" => setting.help = Some(line(value).ok_or_else(|| wrong("one line of text"))?),
            "required" => setting.required = value.as_bool().ok_or_else(|| wrong("true or false"))?,
            _ => return Err(unknown(key, &format!("the setting {name}"), SETTING_KEYS, file)),
        }
    }
    Ok(setting)
}

/// The tables in a table.
fn tables<'a>(
    value: &'a Value,
    file: &str,
    key: &str,
) -> Result<impl Iterator<Item = (&'a String, Result<&'a toml::Table>)>> {
    let table = value.as_table().ok_or_else(|| not_a_table(file, key))?;
    let file = file.to_owned();
    Ok(table.iter().map(move |(name, value)| {
        let wrong = || Failure::new(format!("{file}: the service {name} must be a table")).hint("write {}");
        (name, value.as_table().ok_or_else(wrong))
    }))
}

fn not_a_table(file: &str, key: &str) -> Failure {
    Failure::new(format!("{file}: {key}{} must be a table", place(file)))
}

/// A text, or a number that is meant as one.
fn numbers(value: &Value) -> Option<String> {
    text(value).or_else(|| value.as_integer().map(|number| number.to_string()))
}

fn unknown(key: &str, whose: &str, known: &[&str], file: &str) -> Failure {
    let failure = Failure::new(format!("{file}: {whose} has the unknown key {key:?}"));
    match nearest(key, known.iter().copied()) {
        Some(known) => failure.hint(format!("did you mean {known}?")),
        None => failure.hint(format!("the keys are {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(services: &str, commands: &[(&str, &str)], types: &[&str]) -> Result<BTreeMap<String, Service>> {
        let value: toml::Table = services.parse().unwrap();
        let said = super::services(&Value::Table(value), "coil.toml")?;
        let commands =
            commands.iter().map(|(name, text)| ((*name).to_owned(), EntryPoint::parse(text).unwrap()));
        let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
        chosen(said, &commands.collect(), &types, "coil.toml")
    }

    #[test]
    fn process_types_are_services_and_other_commands_are_not() {
        let commands =
            [("web", "gunicorn a:b"), ("clock", "clock.py"), ("manage", "manage.py"), ("release", "m.py")];
        let services = of("", &commands, &["clock", "release", "web"]).unwrap();
        let kinds: Vec<_> = services.iter().map(|(name, service)| (name.as_str(), service.kind)).collect();
        assert_eq!(kinds, [("clock", Kind::Worker), ("release", Kind::Release), ("web", Kind::Web)]);
        assert!(services["web"].notify && !services["clock"].notify);
        let services = of("", &commands, &[]).unwrap();
        assert_eq!(services.keys().collect::<Vec<_>>(), ["release", "web"]);
        assert!(of("", &commands[1..3], &[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_said_of_a_service_makes_it_what_it_is() {
        let text = "web = { ready = \"listening\", drain = 5, listen = 8000 }\nclock = { schedule = \"daily\" }\n\
                    api = { listen = \"/run/x.sock\", probe = \"/\", static = \"a/b\", start-timeout = 3 }\n";
        let commands = [("web", "gunicorn a:b"), ("clock", "c.py"), ("api", "uvicorn a:b")];
        let services = of(text, &commands, &[]).unwrap();
        let web = &services["web"];
        assert_eq!((web.notify, web.drain, web.listen.as_deref()), (false, Some(5), Some("8000")));
        assert_eq!((services["clock"].kind, services["api"].kind), (Kind::Timer, Kind::Web));
    }

    #[test]
    fn mistakes_are_named_with_what_was_meant() {
        let said = |text: &str| of(text, &[("web", "a.py"), ("clock", "b.py")], &[]).unwrap_err();
        assert_eq!(said("wbe = {}").advice(), Some("did you mean web?"));
        assert_eq!(said("web = { listn = 1 }").advice(), Some("did you mean listen?"));
        for name in ["canary", "api-trial"] {
            let failure = of("", &[(name, "a.py")], &[name]).unwrap_err();
            assert!(failure.to_string().contains("would have the units of a release on trial"), "{failure}");
        }
        assert_eq!(
            said("web = { listen = \"localhost\" }").to_string(),
            "coil.toml: listen of the service web must be a port, an address with a port, or the path of a socket"
        );
        for text in [
            "web = 1",
            "web = { drain = -1 }",
            "web = { ready = true }",
            "web = { probe = \"health\" }",
            "web = { probe = \"/\", schedule = \"daily\" }",
            "\"a b\" = {}",
        ] {
            assert!(!said(text).to_string().is_empty(), "{text}");
        }
    }

    #[test]
    fn settings_have_a_default_or_are_required() {
        let read = |text: &str| settings(&Value::Table(text.parse().unwrap()), "coil.toml");
        let all = read("A = \"1\"\nB = 2\nC = { required = true, help = \"of Django\" }\n").unwrap();
        assert_eq!((all["A"].default.as_deref(), all["B"].default.as_deref()), (Some("1"), Some("2")));
        assert!(all["C"].required && all["C"].help.is_some());
        for text in
            ["A = true", "A = \"a\\nb\"", "\"A B\" = \"1\"", "A = { requird = true }", "A = { required = 1 }"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
