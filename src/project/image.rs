//! `[tool.coil.image]`: how containers of an image start and what is said of it, checked and written the one way that a
//! manifest has it. The options of `coil image` say the same things, and are read by the same rules.

use coil_bootstrap::format::image::{ImageSettings, is_directory, is_name, is_port, is_signal, is_user};
use toml::Value;

use super::nearest::nearest;
use super::settings::{pairs, place, text, texts};
use crate::error::{Failure, Result};

/// The keys that the table may have.
const KEYS: &[&str] = &["cmd", "entrypoint", "env", "labels", "ports", "stop-signal", "user", "workdir"];

/// The label that every image has, and only one truth.
const CREATED: &str = "org.opencontainers.image.created";

/// Reads the value of the key `image` of `file`.
pub fn read(value: &Value, file: &str) -> Result<ImageSettings> {
    let table = if place(file).is_empty() { "[image]" } else { "[tool.coil.image]" };
    let not_a_table = || Failure::new(format!("{file}: image{} must be a table", place(file)));
    let mut settings = ImageSettings::default();
    for (key, value) in value.as_table().ok_or_else(not_a_table)? {
        let wrong = |wanted: &str| Failure::new(format!("{file}: {key} in {table} must be {wanted}"));
        let told = |failure: Failure| failure.within(&format!("{file}: {key} in {table}"));
        match key.as_str() {
            "cmd" => settings.cmd = Some(command(value, &wrong)?),
            "entrypoint" => settings.entrypoint = Some(command(value, &wrong)?),
            "env" | "labels" => {
                let pairs = pairs(value).ok_or_else(|| wrong("a table of strings"))?;
                pairs.keys().try_for_each(|text| name(text)).map_err(told)?;
                *(if key == "env" { &mut settings.env } else { &mut settings.labels }) = pairs;
            }
            "ports" => {
                let ports = value.as_array().and_then(|ports| ports.iter().map(numbers).collect());
                let ports: Vec<String> = ports.ok_or_else(|| wrong("a list of ports"))?;
                settings.ports = ports.iter().map(|text| port(text)).collect::<Result<_>>().map_err(told)?;
            }
            "stop-signal" => {
                let text = numbers(value).ok_or_else(|| wrong("the name of a signal"))?;
                settings.stop_signal = Some(signal(&text).map_err(told)?);
            }
            "user" => {
                let text = numbers(value).ok_or_else(|| wrong("the number of a user"))?;
                settings.user = Some(user(&text).map_err(told)?);
            }
            "workdir" => {
                let text = text(value).ok_or_else(|| wrong("a string"))?;
                settings.workdir = Some(directory(&text).map_err(told)?);
            }
            _ => return Err(unknown(key, table, file)),
        }
    }
    match &settings.entrypoint {
        Some(words) if words.first().is_none_or(String::is_empty) => {
            Err(Failure::new(format!("{file}: entrypoint in {table} names no program")))
        }
        _ => Ok(settings),
    }
}

/// The settings `first`, and where they say nothing those of `second`.
///
/// An entry point has its own arguments: with it comes its `cmd`, as it is with Dockerfiles.
pub fn over(first: ImageSettings, second: ImageSettings) -> ImageSettings {
    let cmd = if first.entrypoint.is_some() { first.cmd } else { first.cmd.or(second.cmd) };
    ImageSettings {
        entrypoint: first.entrypoint.or(second.entrypoint),
        cmd,
        env: second.env.into_iter().chain(first.env).collect(),
        labels: second.labels.into_iter().chain(first.labels).collect(),
        ports: second.ports.into_iter().chain(first.ports).collect(),
        user: first.user.or(second.user),
        workdir: first.workdir.or(second.workdir),
        stop_signal: first.stop_signal.or(second.stop_signal),
    }
}

/// Words as in a shell.
pub fn words(text: &str) -> Result<Vec<String>> {
    let wrong =
        || Failure::new(format!("{text:?} cannot be split into words")).hint("close all quotation marks");
    shlex::split(text).ok_or_else(wrong)
}

/// Refuses what can name neither a variable nor a label.
pub fn name(text: &str) -> Result<()> {
    if text == CREATED {
        return Err(Failure::new(format!("{CREATED} is not for a label to say"))
            .hint("set SOURCE_DATE_EPOCH to the time of the image, in seconds since 1970"));
    }
    match is_name(text) {
        true => Ok(()),
        false => Err(Failure::new(format!("{text:?} cannot be the name of a variable or a label"))
            .hint("a name is not empty and has neither '=' nor control characters")),
    }
}

/// `8000` and `8000/tcp` are one.
pub fn port(text: &str) -> Result<String> {
    let port = if text.contains('/') { text.to_owned() } else { format!("{text}/tcp") };
    match is_port(&port) {
        true => Ok(port),
        false => {
            Err(Failure::new(format!("{text:?} is no port")).hint("write a number such as 8000, or 53/udp"))
        }
    }
}

/// A user, whose group has the same number where none is named. Engines look names up in the image, and Kubernetes
/// cannot know what a name stands for.
pub fn user(text: &str) -> Result<String> {
    let both = if text.contains(':') { text.to_owned() } else { format!("{text}:{text}") };
    match is_user(&both) {
        true => Ok(both),
        false => Err(Failure::new(format!("the user {text:?} of an image is no number"))
            .hint("write a user such as 1000, or a user and a group such as 1000:1000")),
    }
}

/// Where in an image containers run.
pub fn directory(text: &str) -> Result<String> {
    match is_directory(text) {
        true => Ok(text.to_owned()),
        false => Err(Failure::new(format!("the working directory {text:?} of an image is not absolute"))
            .hint("write it from the image's root on, such as /app")),
    }
}

/// What asks a container to end.
pub fn signal(text: &str) -> Result<String> {
    match is_signal(text) {
        true => Ok(text.to_owned()),
        false => {
            Err(Failure::new(format!("{text:?} is no signal"))
                .hint("write a name such as SIGTERM, or a number"))
        }
    }
}

/// A text as in a shell, or a list of words.
fn command(value: &Value, wrong: &dyn Fn(&str) -> Failure) -> Result<Vec<String>> {
    match text(value) {
        Some(line) => words(&line).map_err(|_| wrong("words as in a shell, with all quotation marks closed")),
        None => texts(value).ok_or_else(|| wrong("a string, or a list of strings")),
    }
}

/// A text that may be written as a number, too.
fn numbers(value: &Value) -> Option<String> {
    value.as_integer().map(|number| number.to_string()).or_else(|| text(value))
}

fn unknown(key: &str, table: &str, file: &str) -> Failure {
    let failure = Failure::new(format!("{file}: {table} has the unknown key {key:?}"));
    match nearest(key, KEYS.iter().copied()) {
        Some(known) => failure.hint(format!("did you mean {known}?")),
        None => failure.hint(format!("the keys are {}", KEYS.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<ImageSettings> {
        read(&Value::Table(text.parse().unwrap()), "pyproject.toml")
    }

    #[test]
    fn every_key_is_read_and_written_one_way() {
        let settings = table(
            "entrypoint = \"gunicorn 'a b'\"\ncmd = [\"-w\", \"2\"]\nenv = { A = \"1=2\" }\nlabels = { \"org.x\" = \"y\" }\n\
             ports = [8000, \"53/udp\"]\nuser = 1000\nworkdir = \"/app\"\nstop-signal = \"SIGINT\"\n",
        )
        .unwrap();
        assert_eq!(settings.entrypoint.unwrap(), ["gunicorn", "a b"]);
        assert_eq!(settings.cmd.unwrap(), ["-w", "2"]);
        assert_eq!((settings.env["A"].as_str(), settings.labels["org.x"].as_str()), ("1=2", "y"));
        assert_eq!(settings.ports, ["53/udp".to_owned(), "8000/tcp".to_owned()].into());
        assert_eq!(settings.user.as_deref(), Some("1000:1000"));
        assert_eq!(settings.workdir.as_deref(), Some("/app"));
        assert_eq!(settings.stop_signal.as_deref(), Some("SIGINT"));
    }

    #[test]
    fn a_mistyped_key_is_answered_with_the_nearest_and_a_wrong_value_with_its_place() {
        let error = table("label = {}").unwrap_err();
        assert_eq!(error.to_string(), "pyproject.toml: [tool.coil.image] has the unknown key \"label\"");
        assert_eq!(error.advice(), Some("did you mean labels?"));
        let own = read(&Value::Table("usr = 1".parse().unwrap()), "x/coil.toml").unwrap_err();
        assert_eq!(own.to_string(), "x/coil.toml: [image] has the unknown key \"usr\"");
        let error = table("ports = [\"http\"]").unwrap_err();
        assert_eq!(error.to_string(), "pyproject.toml: ports in [tool.coil.image]: \"http\" is no port");
        for bad in [
            "ports = 8000",
            "ports = [0]",
            "ports = [1.5]",
            "user = \"me\"",
            "user = -1",
            "workdir = \"app\"",
            "stop-signal = \"TERM\"",
            "stop-signal = 0",
            "env = [\"A=1\"]",
            "env = { A = 1 }",
            "env = { \"A=B\" = \"\" }",
            "labels = { \"\" = \"\" }",
            "labels = { \"org.opencontainers.image.created\" = \"2000-01-01T00:00:00Z\" }",
            "entrypoint = \"it's\"",
            "entrypoint = []",
            "entrypoint = 1",
            "cmd = [1]",
            "cmd = \"a\\u0000\"",
        ] {
            assert!(table(bad).is_err(), "{bad}");
        }
        assert!(read(&Value::Integer(1), "coil.toml").is_err());
    }

    #[test]
    fn an_entry_point_brings_its_own_arguments_and_all_else_is_joined() {
        let of = |text: &str| table(text).unwrap();
        let base =
            || of("entrypoint = \"a\"\ncmd = \"b\"\nports = [1]\nenv = { A = \"1\", B = \"1\" }\nuser = 1");
        let both = over(of("cmd = \"c\"\nports = [2]\nenv = { B = \"2\" }"), base());
        assert_eq!(
            (both.entrypoint.unwrap(), both.cmd.unwrap()),
            (vec!["a".to_owned()], vec!["c".to_owned()])
        );
        assert_eq!((both.ports.len(), both.env["A"].as_str(), both.env["B"].as_str()), (2, "1", "2"));
        assert_eq!(both.user.as_deref(), Some("1:1"));
        let other = over(of("entrypoint = \"x\""), base());
        assert_eq!((other.entrypoint.unwrap(), other.cmd), (vec!["x".to_owned()], None));
    }
}
