//! What an image takes over of its base's configuration: what `FROM` takes over, unless it would keep the app from
//! starting.
//!
//! Entry point and command are the app's alone. Of variables the base's come first and the image's own go before
//! them; those that would lead the interpreter astray stay behind, as with a launcher.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::launch::FOREIGN;

use super::seen::Seen;
use crate::image::base::{HOME, USER};
use crate::image::oci::Run;
use crate::image::settings::Settings;
use crate::image::starts::{ENVIRONMENT, PROGRAMS};

/// What engines assume where an image says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a base may say beside what coil itself writes, and hands on.
const HANDED_ON: [&str; 3] = ["Healthcheck", "Shell", "Volumes"];

/// Why nothing can be taken over.
#[derive(Debug)]
pub enum Error {
    /// The base runs as somebody whom it does not know.
    Unknown(String),
    /// It cannot be read.
    Unreadable(io::Error),
}

/// The labels that an image takes over. Those of the OCI image specification tell of the base itself: its version is not
/// that of the app.
pub fn labels(base: &Run) -> BTreeMap<String, String> {
    let labels = base.labels.iter().filter(|(key, _)| !key.starts_with("org.opencontainers.image."));
    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What was decided for this image, and is not the base's to say.
pub struct Decided {
    user: bool,
    directory: bool,
    variables: BTreeSet<String>,
}

impl Decided {
    /// What the user and the bundle say.
    pub fn of(settings: &Settings, manifest: &Manifest) -> Decided {
        let settings = settings.with(manifest);
        let variables = settings.env.keys().chain(manifest.environment.variables.keys());
        Decided {
            user: settings.user.is_some(),
            directory: settings.workdir.is_some(),
            variables: variables.cloned().collect(),
        }
    }
}

/// How containers are started: `run` is how they would be from scratch.
pub fn inherit(run: Run, base: &Run, seen: &Seen, decided: &Decided) -> Result<Run, Error> {
    let mut run = run;
    let user = match decided.user {
        true => User { words: run.user.clone(), home: None, inherited: false },
        false => User::of(base, seen)?,
    };
    run.env = variables(&run, base, &user, decided);
    run.user = user.words;
    if !decided.directory && !base.working_dir.is_empty() {
        run.working_dir.clone_from(&base.working_dir);
    }
    run.stop_signal = run.stop_signal.or_else(|| base.stop_signal.clone());
    run.exposed_ports.extend(base.exposed_ports.clone());
    let handed_on = base.rest.iter().filter(|(key, _)| HANDED_ON.contains(&key.as_str()));
    run.rest.extend(handed_on.map(|(key, value)| (key.clone(), value.clone())));
    Ok(run)
}

/// Whom containers run as.
struct User {
    words: String,
    home: Option<String>,
    inherited: bool,
}

impl User {
    /// The base's user, by his number, unless that is root; else ours.
    fn of(base: &Run, seen: &Seen) -> Result<User, Error> {
        let users = seen.lines("etc/passwd").map_err(Error::Unreadable)?;
        let groups = seen.lines("etc/group").map_err(Error::Unreadable)?;
        let (user, group) = match base.user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (base.user.as_str(), None),
        };
        let field = |line: &str, at: usize| line.split(':').nth(at).unwrap_or_default().to_owned();
        let line = users.iter().find(|line| field(line, 0) == user || field(line, 2) == user);
        let unknown =
            |what: &str, table: &str| Error::Unknown(format!("{what}, whom its {table} does not have"));
        let number = match line {
            Some(line) => field(line, 2),
            None if user.is_empty() || user == "root" => "0".to_owned(),
            None if user.parse::<u32>().is_ok() => user.to_owned(),
            None => return Err(unknown(user, "/etc/passwd")),
        };
        if number == "0" {
            let ours = USER.to_string();
            let line = users.iter().find(|line| field(line, 2) == ours);
            let home = line.map(|line| field(line, 5)).filter(|home| home.starts_with('/'));
            return Ok(User { words: format!("{USER}:{USER}"), home, inherited: false });
        }
        let group = match group {
            Some(group) if group.parse::<u32>().is_ok() => group.to_owned(),
            Some(group) => {
                let line = groups.iter().find(|line| field(line, 0) == group);
                line.map(|line| field(line, 2)).ok_or_else(|| unknown(&base.user, "/etc/group"))?
            }
            // "If group/gid is not specified, the default group ... of the given user/uid in /etc/passwd".
            None => line.map_or_else(|| "0".to_owned(), |line| field(line, 3)),
        };
        let home = line.map(|line| field(line, 5)).filter(|home| !home.is_empty());
        Ok(User { words: format!("{number}:{group}"), home, inherited: true })
    }
}

fn variables(run: &Run, base: &Run, user: &User, decided: &Decided) -> Vec<String> {
    let pair = |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut all: BTreeMap<String, String> = base.env.iter().filter_map(pair).collect();
    all.retain(|name, _| !FOREIGN.contains(&name.as_str()));
    let path = all.get("PATH").filter(|path| !path.is_empty()).map_or(DEFAULT_PATH, String::as_str);
    let path = format!("/{PROGRAMS}:{ENVIRONMENT}/bin:{path}");
    let home = match (all.get("HOME"), &user.home) {
        (Some(home), _) if user.inherited => home.clone(),
        (_, Some(home)) => home.clone(),
        _ if user.inherited => "/".to_owned(),
        _ => HOME.to_owned(),
    };
    for (name, value) in run.env.iter().filter_map(pair) {
        let value = match name.as_str() {
            _ if decided.variables.contains(&name) => value,
            "PATH" => path.clone(),
            "HOME" => home.clone(),
            // The base knows better where it has these.
            "LANG" | "SSL_CERT_FILE" => all.remove(&name).unwrap_or(value),
            _ => value,
        };
        all.insert(name, value);
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use coil_bootstrap::format::image::ImageSettings;

    use super::super::seen::tests::layer;
    use super::*;
    use crate::image::oci::Nothing;

    fn base(user: &str) -> Run {
        Run {
            user: user.into(),
            env: ["PATH=/opt/bin:/bin", "PYTHONPATH=/theirs", "LANG=de_DE.UTF-8", "A=base", "B=base"]
                .map(str::to_owned)
                .into(),
            working_dir: "/srv".into(),
            entrypoint: Some(vec!["/theirs".into()]),
            exposed_ports: [("80/tcp".to_owned(), Nothing {})].into(),
            labels: [("team", "x"), ("org.opencontainers.image.version", "9")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            stop_signal: Some("SIGQUIT".into()),
            rest: [("Volumes", serde_json::json!({"/data": {}})), ("OnBuild", serde_json::json!(["RUN x"]))]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            ..Run::default()
        }
    }

    fn inherited(user: &str, settings: &Settings) -> Result<Run, Error> {
        let mut seen = Seen::default();
        let passwd = "etc/passwd=root:x:0:0::/root:/bin/sh\napp:x:1000:50::/home/app:/bin/sh\n";
        layer(&mut seen, &["etc/", passwd, "etc/group=staff:x:50:\nteam:x:60:\n"]);
        let manifest = crate::rebase::tests::bundle();
        let run = settings.run(&manifest, Default::default(), &BTreeMap::new()).unwrap();
        inherit(run, &base(user), &seen, &Decided::of(settings, &manifest))
    }

    #[test]
    fn an_image_takes_over_what_from_does_and_starts_its_own_app() {
        let env = [("B".to_owned(), "own".to_owned())].into();
        let run = inherited("", &Settings(ImageSettings { env, ..Default::default() })).unwrap();
        let expected = [
            "A=base",
            "B=own",
            "HOME=/home/nonroot",
            "LANG=de_DE.UTF-8",
            "PATH=/venv/run:/venv/bin:/opt/bin:/bin",
            "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
            "VIRTUAL_ENV=/venv",
        ];
        assert_eq!(run.env, expected);
        assert_eq!((run.user.as_str(), run.working_dir.as_str()), ("65532:65532", "/srv"));
        assert_eq!((run.entrypoint, run.stop_signal.as_deref()), (None, Some("SIGQUIT")));
        assert!(run.exposed_ports.contains_key("80/tcp"));
        assert_eq!(run.rest.keys().collect::<Vec<_>>(), ["Volumes"]);
        assert_eq!(labels(&base("")), [("team".to_owned(), "x".to_owned())].into());
    }

    #[test]
    fn users_of_the_base_are_numbered_and_root_is_not_one_of_them() {
        let user = |words: &str| {
            let run = inherited(words, &Settings::default()).unwrap();
            let home = run.env.iter().find_map(|line| line.strip_prefix("HOME=")).unwrap().to_owned();
            (run.user, home)
        };
        let is = |user: &str, home: &str| (user.to_owned(), home.to_owned());
        assert_eq!(user("app"), is("1000:50", "/home/app"));
        assert_eq!(user("1000:team"), is("1000:60", "/home/app"));
        assert_eq!(user("7"), is("7:0", "/"));
        for root in ["root", "0", "0:0", "root:staff"] {
            assert_eq!(user(root), is("65532:65532", "/home/nonroot"), "{root}");
        }
        let named = Settings(ImageSettings { user: Some("5:5".into()), ..Default::default() });
        assert_eq!(inherited("app", &named).unwrap().user, "5:5");
        for unknown in ["nobody", "app:nobody"] {
            assert!(matches!(inherited(unknown, &Settings::default()), Err(Error::Unknown(_))));
        }
    }
}
