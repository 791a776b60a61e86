//! A server's own settings of an app: `/etc/APP/env`, in the format of `EnvironmentFile=` (systemd.exec(5)).
//!
//! The file is made once, from what the project declares, and never written again: it is the administrator's. A setting
//! may as well be a credential, a file of its name in `/etc/APP/credentials`.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::app::{App, write_whole};
use crate::error::{Error, Result};
use crate::format::production::Setting;

/// What the file of settings says in a package, where no release has been installed yet: the same for every release, so that
/// a package manager never has a newer one to ask about or to put in the place of what an administrator wrote.
pub fn unwritten(app: &App) -> String {
    format!("# Settings of {}: the first release that is installed writes here what it knows.\n", app.name())
}

/// Makes the file of settings if there is none. Says whether it did.
pub fn make(app: &App, settings: &BTreeMap<String, Setting>) -> Result<bool> {
    let path = app.settings();
    let is_unwritten = fs::read(&path).is_ok_and(|bytes| bytes == unwritten(app).as_bytes());
    // A link that leads nowhere yet is somebody's intention.
    if fs::symlink_metadata(&path).is_ok() && !is_unwritten {
        return Ok(false);
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Error::at("create", directory))?;
    }
    write_whole(&path, 0o600, text(app, settings).as_bytes())?;
    Ok(true)
}

/// Refuses a release whose required settings are not all there.
pub fn check(app: &App, settings: &BTreeMap<String, Setting>) -> Result<()> {
    let path = app.settings();
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(Error::at("read", &path))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let given: Vec<&str> = given(&text);
    let is_there = |name: &str| given.contains(&name) || app.credentials().join(name).is_file();
    let missing = |(name, setting): &(&String, &Setting)| setting.required && !is_there(name);
    let missing: Vec<&str> = settings.iter().filter(missing).map(|(name, _)| name.as_str()).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::Release(format!(
            "{} does not start without {}: set {} in {}, or put a file of that name into {}",
            app.name(),
            missing.join(", "),
            if missing.len() == 1 { "it" } else { "them" },
            path.display(),
            app.credentials().display()
        ))),
    }
}

/// The values of settings that nobody has set, as a file for systemd.
pub fn defaults(settings: &BTreeMap<String, Setting>) -> String {
    let line = |(name, setting): (&String, &Setting)| {
        Some(format!("{name}={}\n", quoted(setting.default.as_ref()?)))
    };
    settings.iter().filter_map(line).collect()
}

/// What a new file says.
fn text(app: &App, settings: &BTreeMap<String, Setting>) -> String {
    let name = app.name();
    let mut text = format!(
        "# Settings of {name}, one NAME=value on a line (systemd.exec(5), EnvironmentFile=).\n\
         # This file is yours: no release writes to it again. `systemctl restart {}` makes a change count.\n",
        app.target()
    );
    for (name, setting) in settings {
        text.push('\n');
        if let Some(help) = &setting.help {
            text += &format!("# {help}\n");
        }
        text += &match &setting.default {
            Some(value) => format!("{name}={}\n", quoted(value)),
            None if setting.required => format!("# Required.\n#{name}=\n"),
            None => format!("#{name}=\n"),
        };
    }
    text
}

/// A value as systemd reads it back.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=".contains(c);
    if value.chars().all(plain) {
        return value.into();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

/// The names that have a value.
fn given(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut continued = false;
    for line in text.lines() {
        let is_first = !std::mem::replace(&mut continued, line.ends_with('\\'));
        let line = line.trim();
        if !is_first || line.starts_with(['#', ';']) {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        if !value.trim().trim_matches(['"', '\'']).is_empty() {
            names.push(name.trim());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_value_are_given_and_others_are_not() {
        let text = "# A=1\n;B=1\nC=1\n D = \"x y\"\nE=\nF=\"\"\nG=a \\\nH=not a name\nI\n J=''\nK='z'\n";
        assert_eq!(given(text), ["C", "D", "G", "K"]);
    }

    #[test]
    fn a_new_file_tells_what_is_wanted() {
        let app = App::of(&crate::format::manifest::Manifest {
            name: "site".into(),
            ..crate::format::manifest::tests::manifest()
        });
        let required = Setting { required: true, help: Some("of Django".into()), default: None };
        let with = |text: &str| Setting { default: Some(text.into()), ..Setting::default() };
        let settings = [
            ("KEY".to_owned(), required),
            ("LEVEL".to_owned(), with("info")),
            ("TITLE".to_owned(), with("a \"b\" $c")),
        ];
        let settings = settings.into();
        let text = text(&app, &settings);
        assert!(text.contains("\n# of Django\n# Required.\n#KEY=\n"), "{text}");
        assert!(text.contains("\nLEVEL=info\n") && text.contains("\nTITLE=\"a \\\"b\\\" \\$c\"\n"), "{text}");
        assert_eq!(given(&text), ["LEVEL", "TITLE"]);
        assert_eq!(defaults(&settings), "LEVEL=info\nTITLE=\"a \\\"b\\\" \\$c\"\n");
    }
}
