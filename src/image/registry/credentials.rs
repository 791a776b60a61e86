//! Who the user is to a registry: what `docker login` and `podman login` wrote down, or a credential helper knows.
//!
//! Nothing is written here, and no secret is ever printed.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::{Context, Failure, Result};

/// What Docker calls its own registry in its settings.
const HUB: &str = "https://index.docker.io/v1/";

/// What is shown to a registry or to whoever gives out its tokens.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user and a password.
    Password(String, String),
    /// A refresh token (OAuth 2).
    IdentityToken(String),
}

impl Credentials {
    /// The credentials for `repository` on `host`: of the first file that has any for it.
    pub fn find(host: &str, repository: &str) -> Result<Credentials> {
        for file in files() {
            let text = match std::fs::read(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Failure::new(format!("cannot read {}", file.display())).because(error));
                }
            };
            let json: Value = serde_json::from_slice(&text)
                .context(|| format!("the credentials in {} cannot be read", file.display()))?;
            if let Some(found) = of_file(&json, host, repository)? {
                return Ok(found);
            }
        }
        Ok(Credentials::Anonymous)
    }

    /// The value of a header `Authorization` for the scheme Basic.
    pub fn basic(&self) -> Option<String> {
        match self {
            Credentials::Password(user, password) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            _ => None,
        }
    }
}

/// The files that hold credentials, first come first served.
fn files() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let docker = variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|home| home.join(".docker")));
    [
        variable("REGISTRY_AUTH_FILE"),
        variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_file(json: &Value, host: &str, repository: &str) -> Result<Option<Credentials>> {
    let hub = host == "docker.io";
    let key = if hub { HUB } else { host };
    let helper = json["credHelpers"][key].as_str().or_else(|| json["credHelpers"][host].as_str());
    if let Some(helper) = helper {
        return ask(helper, key);
    }
    // Podman's files may have a repository, or a part of its path, beside hosts; the longest name is the nearest.
    let path = format!("{host}/{repository}");
    let mut names: Vec<&str> =
        path.match_indices('/').map(|(at, _)| &path[..at]).chain([path.as_str()]).collect();
    names.reverse();
    let spelled = [
        format!("https://{host}"),
        format!("https://{host}/v1/"),
        format!("https://{host}/v2/"),
        key.to_owned(),
    ];
    let names = names.into_iter().chain(spelled.iter().map(String::as_str));
    for name in names {
        let entry = &json["auths"][name];
        if let Some(token) = entry["identitytoken"].as_str().filter(|token| !token.is_empty()) {
            return Ok(Some(Credentials::IdentityToken(token.to_owned())));
        }
        if let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) {
            let pair = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
            let (user, password) = pair.ok_or_else(|| {
                Failure::new(format!("the credentials for {name} cannot be read"))
                    .hint(format!("log in again: `docker login {host}`"))
            })?;
            return Ok(Some(Credentials::Password(
                user.to_owned(),
                password.trim_end_matches('\0').to_owned(),
            )));
        }
    }
    match json["credsStore"].as_str().filter(|helper| !helper.is_empty()) {
        Some(helper) => ask(helper, key),
        None => Ok(None),
    }
}

/// Asks `docker-credential-NAME`: the host goes in, JSON comes out.
fn ask(helper: &str, host: &str) -> Result<Option<Credentials>> {
    let program = format!("docker-credential-{helper}");
    let cannot = || format!("the credential helper {program} cannot be asked about {host}");
    let missing = |error: std::io::Error| {
        Failure::new(cannot()).because(error).hint(format!(
            "install {program} on PATH, or take {helper} out of the settings in ~/.docker/config.json"
        ))
    };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input says so by its exit code.
        let _ = writeln!(input, "{host}");
    }
    let output = child.wait_with_output().context(cannot)?;
    if !output.status.success() {
        let said =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        let said =
            said.into_iter().find(|text| !text.is_empty()).unwrap_or_else(|| output.status.to_string());
        // Helpers say this where they know nothing of a host.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Failure::new(format!("{}: {said}", cannot()))
            .hint(format!("log in again: `docker login {host}`")));
    }
    let answer: Value = serde_json::from_slice(&output.stdout).context(cannot)?;
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let (user, secret) = (text("Username"), text("Secret"));
    Ok(Some(match user.as_str() {
        "<token>" => Credentials::IdentityToken(secret),
        "" if secret.is_empty() => Credentials::Anonymous,
        _ => Credentials::Password(user, secret),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_in_a_file_is_taken() {
        let auth = |text: &str| serde_json::json!({ "auth": STANDARD.encode(text) });
        let json = serde_json::json!({ "auths": {
            "r.example": auth("one:1"),
            "r.example/team": auth("two:2:3"),
            "https://old.example/v1/": auth("three:3"),
            HUB: auth("hub:4"),
            "token.example": { "identitytoken": "5" },
        } });
        let found = |host: &str, repository: &str| of_file(&json, host, repository).unwrap();
        let password = |user: &str, word: &str| Some(Credentials::Password(user.into(), word.into()));
        assert!(found("r.example", "x/y") == password("one", "1"));
        assert!(found("r.example", "team/y") == password("two", "2:3"));
        assert!(found("old.example", "x") == password("three", "3"));
        assert!(found("docker.io", "library/x") == password("hub", "4"));
        assert!(found("token.example", "x") == Some(Credentials::IdentityToken("5".into())));
        assert!(found("other.example", "x").is_none());
        let bad = serde_json::json!({ "auths": { "r.example": { "auth": "***" } } });
        assert!(of_file(&bad, "r.example", "x").is_err());
    }

    #[test]
    fn a_missing_helper_is_named() {
        let json = serde_json::json!({ "credHelpers": { "r.example": "coil-test-missing" } });
        let failure = of_file(&json, "r.example", "x").err().unwrap();
        assert!(failure.to_string().contains("docker-credential-coil-test-missing"));
        assert!(failure.advice().unwrap().contains("config.json"));
    }
}
