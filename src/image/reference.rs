//! The name of an image: `registry.example/team/tool:1.4`.
//!
//! The rules are those of the distribution specification ("Pulling manifests") and of Docker: the first part is a host if it
//! has a dot or a colon or is `localhost`; without one the image is on Docker Hub.

use crate::error::{Failure, Result};

/// The host of names without one.
const HUB: &str = "docker.io";

/// A parsed name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    host: String,
    repository: String,
    tag: String,
    digest: Option<String>,
}

impl Reference {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Reference> {
        let wrong = |why: &str| {
            Failure::new(format!("{text:?} cannot be the name of an image: {why}"))
                .hint("write a name such as registry.example/team/tool:1.4")
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| {
            digest
                .strip_prefix("sha256:")
                .and_then(coil_bootstrap::format::digest::Digest::from_hex)
                .is_none()
        }) {
            return Err(wrong("what follows @ is not sha256: and 64 hexadecimal digits"));
        }
        let (host, rest) = match rest.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (HUB, rest),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(wrong("its first part is no host"));
        }
        let (repository, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
        if text.contains("://") {
            return Err(wrong("it begins like an address of the web"));
        }
        if !is_tag(tag) {
            return Err(wrong(
                "its tag has other characters than letters, digits, '_', '.' and '-', or more than 128",
            ));
        }
        if repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(wrong("a repository has no capital letters"));
        }
        if !repository.split('/').all(is_component) || repository.len() > 255 {
            return Err(wrong("a part of the repository is empty or has a character that none can have"));
        }
        let official = host == HUB && !repository.contains('/');
        let repository = if official { format!("library/{repository}") } else { repository.to_owned() };
        let digest = digest.map(str::to_owned);
        Ok(Reference { host: host.to_owned(), repository, tag: tag.to_owned(), digest })
    }

    /// Reads the name that an image is pushed to.
    pub fn to_push(text: &str) -> Result<Reference> {
        let reference = Reference::parse(text)?;
        let Some(name) = reference.repository.strip_prefix("library/").filter(|_| reference.host == HUB)
        else {
            return Ok(reference);
        };
        let message = format!("{text:?} means {}, where nobody pushes", reference.full());
        let tag = &reference.tag;
        Err(Failure::new(message)
            .hint(format!("say whose it is: {HUB}/USER/{name}:{tag}, or registry.example/team/{name}:{tag}")))
    }

    /// The name of an app's image, where the user says none.
    pub fn of_app(name: &str, version: Option<&str>) -> Reference {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = name.chars().map(plain).collect();
        let name: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
        let name = if name.is_empty() { "app".to_owned() } else { name.join("-") };
        let tag = version.map(|version| version.replace('+', "-")).filter(|tag| is_tag(tag));
        Reference {
            host: HUB.into(),
            repository: format!("library/{name}"),
            tag: tag.unwrap_or_else(|| "latest".into()),
            digest: None,
        }
    }

    /// The host, with its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path of the repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.tag)
    }

    /// The name with everything that is left out where people write it.
    pub fn full(&self) -> String {
        format!("{}/{}:{}", self.host, self.repository, self.tag)
    }

    /// The same with the digest instead of the tag, where there is one.
    pub fn full_version(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}/{}@{digest}", self.host, self.repository),
            None => self.full(),
        }
    }

    /// The name as Docker shows it.
    pub fn familiar(&self) -> String {
        let repository = match (self.host.as_str(), self.repository.strip_prefix("library/")) {
            (HUB, Some(short)) => short.to_owned(),
            (HUB, None) => self.repository.clone(),
            _ => format!("{}/{}", self.host, self.repository),
        };
        format!("{repository}:{}", self.tag)
    }
}

fn is_tag(tag: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !tag.is_empty() && tag.len() <= 128 && !tag.starts_with(['.', '-']) && tag.chars().all(plain)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = part.split(word).filter(|between| !between.is_empty());
    part.starts_with(word)
        && part.ends_with(word)
        && separators
            .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let parts = |text: &str| {
            let reference = Reference::parse(text).unwrap();
            let version = reference.version().to_owned();
            (reference.host.clone(), reference.repository.clone(), version, reference.familiar())
        };
        let is = |text: &str, host: &str, repository: &str, version: &str, familiar: &str| {
            assert_eq!(
                parts(text),
                (host.into(), repository.into(), version.into(), familiar.into()),
                "{text}"
            );
        };
        is("tool", "docker.io", "library/tool", "latest", "tool:latest");
        is("me/tool:1", "docker.io", "me/tool", "1", "me/tool:1");
        is("localhost/tool", "localhost", "tool", "latest", "localhost/tool:latest");
        is("localhost:5000/a/b:1.4", "localhost:5000", "a/b", "1.4", "localhost:5000/a/b:1.4");
        let digest = format!("sha256:{}", "0".repeat(64));
        is(&format!("r.example/t:1@{digest}"), "r.example", "t", &digest, "r.example/t:1");
    }

    #[test]
    fn a_typo_is_refused_saying_what_is_wrong() {
        let long = format!("r.example/{}", "a".repeat(300));
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "Tool",
            "tool:",
            "tool:a b",
            "tool:1:2",
            "tool@sha256:12",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "https://r.example/tool",
            "r.example/tool:-x",
            "tool@md5:00",
            "ä/b",
            &long,
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_app_has_a_name_whatever_it_is_called() {
        let name = |name: &str, version| Reference::of_app(name, version).familiar();
        assert_eq!(name("My_App", Some("1.0+local")), "my-app:1.0-local");
        assert_eq!(name("Grüße!", None), "gr-e:latest");
        assert_eq!(name("...", Some("")), "app:latest");
        assert!(Reference::parse(&name("a--b__c", Some("1!2"))).is_ok());
    }
}
