//! Packages for distributions: a bundle as the one file of a package of Debian or of an rpm distribution.
//!
//! ```text
//! /usr/lib/APP/APP                 the bundle
//! /usr/bin/NAME                    links to it, one for each command, where it has no services
//! /etc/APP/env                     settings, a file of configuration, where it has services
//! /usr/lib/systemd/system/         one unit, for the first start of a machine that was put together without systemd
//! /usr/share/doc/NAME/             copyright, pylock.toml
//! ```
//!
//! Everything else is the bundle's own work: the package's scripts say `COIL=install`, `COIL=activate` and `COIL=remove`.
//! A package depends on nothing, and on the bundle and the user's words alone: no clock, no name of this machine. The
//! payload of a bundle is compressed; nothing here compresses it again.

mod contents;
mod deb;
mod naming;
mod rpm;
mod scripts;
mod stream;
mod version;

use std::path::PathBuf;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::release::App;

pub use self::deb::Deb;
pub use self::rpm::Rpm;
pub use self::version::Version;
use crate::error::{Context, Failure, Result};

/// The time of every file where none is said: after 1984, before which tools of Debian take a file for a mistake, and as npm
/// has it. In seconds since 1970.
const TIME: u64 = 499_162_500;

/// The latest time that a header of an rpm holds, in seconds since 1970.
const LATEST: u64 = u32::MAX as u64;

/// What a user says of a package.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// Its version, instead of the one of the bundle.
    pub version: Option<String>,
    /// Who answers for it: `Name <address>`.
    pub maintainer: Option<String>,
    /// `SOURCE_DATE_EPOCH`
    pub epoch: Option<String>,
}

/// What a package says, and what it puts where.
#[derive(Debug)]
pub struct Package {
    name: String,
    version: Version,
    /// In the words of the OCI image specification.
    architecture: String,
    maintainer: String,
    summary: String,
    description: String,
    homepage: Option<String>,
    license: Option<String>,
    has_services: bool,
    /// In the order of their paths.
    entries: Vec<Entry>,
    app: App,
    /// The time of every file, in seconds since 1970.
    time: u64,
}

/// Something in a package.
#[derive(Debug)]
struct Entry {
    /// Without a slash in front.
    path: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// `own`: no other package has it.
    Directory {
        own: bool,
    },
    File {
        content: Content,
        mode: u32,
        role: Role,
    },
    Link(String),
}

/// What a file is to a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Program,
    Configuration,
    Documentation,
}

#[derive(Debug)]
enum Content {
    Text(String),
    /// A file of this many bytes.
    Bundle(PathBuf, u64),
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Content::Text(text) => text.len() as u64,
            Content::Bundle(_, length) => *length,
        }
    }
}

impl Package {
    /// The package of a bundle.
    pub fn of(bundle: &Bundle, words: &Words) -> Result<Package> {
        let manifest = bundle.manifest();
        let app = App::of(manifest);
        let name = naming::package(app.name())?;
        let time = time(words.epoch.as_deref())?;
        let version = match &words.version {
            Some(said) => Version::said(said)?,
            None => Version::of(manifest, &bundle.digest(), words.epoch.as_ref().map(|_| time)),
        };
        let length = std::fs::metadata(bundle.path())
            .context(|| format!("cannot read {}", bundle.path().display()))?
            .len();
        let maintainer = match &words.maintainer {
            Some(said) => naming::maintainer(said)?,
            None => label(manifest, "authors")
                .and_then(|text| naming::maintainer(text).ok())
                .unwrap_or_else(|| format!("{name} <root@localhost>")),
        };
        let license = label(manifest, "licenses").map(str::to_owned);
        let entries =
            contents::entries(bundle, &app, &name, Content::Bundle(bundle.path().to_owned(), length));
        let summary = match label(manifest, "description") {
            Some(text) => text.chars().take(200).collect(),
            None => "Python application with everything that it needs".to_owned(),
        };
        Ok(Package {
            description: format!(
                "Python {} and everything else that it needs are inside. Packed by coil.",
                manifest.python.version
            ),
            homepage: label(manifest, "url").or_else(|| label(manifest, "source")).map(str::to_owned),
            has_services: !manifest.production.services.is_empty(),
            architecture: manifest.platform.architecture.clone(),
            name,
            version,
            maintainer,
            summary,
            license,
            entries,
            app,
            time,
        })
    }

    /// The bytes it takes when it is installed.
    fn size(&self) -> u64 {
        let lengths = self.entries.iter().map(|entry| match &entry.kind {
            Kind::File { content, .. } => content.length(),
            _ => 0,
        });
        lengths.sum()
    }
}

/// One line of what the project says of itself (OCI image specification, "Pre-Defined Annotation Keys").
fn label<'a>(manifest: &'a Manifest, key: &str) -> Option<&'a str> {
    let text = manifest.image.labels.get(&format!("org.opencontainers.image.{key}"))?.trim();
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

/// The time of every file.
fn time(epoch: Option<&str>) -> Result<u64> {
    let Some(text) = epoch.filter(|text| !text.is_empty()) else { return Ok(TIME) };
    text.parse().ok().filter(|seconds| *seconds <= LATEST).ok_or_else(|| {
        Failure::new(format!("SOURCE_DATE_EPOCH is {text:?}, which is no time that a package can have")).hint(
            "set it to a whole number of seconds, such as what `git log -1 --format=%ct` prints, or unset it",
        )
    })
}
