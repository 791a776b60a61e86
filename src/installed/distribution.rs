//! One installed distribution: what its `.dist-info` directory says.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::path::TreePath;

use super::direct_url::DirectUrl;
use super::place::Where;
use super::{Editable, Virtualenv};
use crate::error::{Context, Failure, Result};
use crate::wheel::Metadata;
use crate::wheel::entry_points::EntryPoints;
use crate::wheel::record::{self, Claim};

/// An installed distribution.
#[derive(Debug)]
pub struct Distribution {
    /// What it is.
    pub metadata: Metadata,
    /// The directory that describes it: `click-8.1.7.dist-info`, or `old-1.0-py3.12.egg-info`.
    pub directory: String,
    /// Whether that directory is a `.dist-info` with a RECORD, not an `.egg-info`.
    pub has_record: bool,
    /// The scripts it offers.
    pub entry_points: EntryPoints,
    /// Every file that is its own, by its path in an image.
    pub files: BTreeMap<TreePath, Installed>,
    /// What `direct_url.json` becomes in an image, where it stays.
    pub direct_url: Option<Vec<u8>>,
    /// Files that are its own and are not taken, with the reason.
    pub left_out: Vec<String>,
}

/// A file of a distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Where it is.
    pub file: PathBuf,
    /// What RECORD says of it.
    pub claim: Claim,
}

/// What a `.dist-info` directory turns out to be.
pub enum Found {
    /// A distribution with its files.
    Distribution(Box<Distribution>),
    /// One whose sources are elsewhere, and the files that lead there.
    Editable(Editable, Vec<PathBuf>),
}

/// What installers write about an installation, not about the distribution.
const INSTALLERS: [&str; 8] = [
    "INSTALLER",
    "REQUESTED",
    "RECORD",
    "RECORD.jws",
    "RECORD.p7s",
    "direct_url.json",
    "uv_cache.json",
    "uv_build.json",
];

impl Distribution {
    /// Its name and version.
    pub fn shown(&self) -> String {
        format!("{} {}", self.metadata.name, self.metadata.version)
    }

    /// Reads the `.dist-info` directory `directory` of `site_packages`. `library` is the modules' directory in
    /// an image.
    pub fn read(
        venv: &Virtualenv,
        site_packages: &Path,
        directory: &str,
        library: &TreePath,
    ) -> Result<Found> {
        let place = site_packages.join(directory);
        let refuse = |why: String| {
            Failure::new(format!("{} in {} cannot be packed: {why}", directory, venv.shown))
                .hint("install it anew, with pip or uv")
        };
        let file = |name: &str| read_if_there(&place.join(name));
        let metadata = file("METADATA")?
            .ok_or_else(|| refuse("it has no METADATA, as if its installation had broken off".into()))?;
        let metadata = Metadata::parse(&metadata).map_err(|why| refuse(format!("its METADATA {why}")))?;
        let direct_url = file("direct_url.json")?.map(|text| DirectUrl::parse(&text)).transpose();
        let direct_url = direct_url.map_err(|why| refuse(format!("its direct_url.json {why}")))?;
        let source = direct_url.as_ref().and_then(DirectUrl::editable).transpose()?;
        let entry_points = EntryPoints::parse(&file("entry_points.txt")?.unwrap_or_default())
            .map_err(|why| refuse(format!("its entry_points.txt {why}")))?;
        let claims = file("RECORD")?
            .ok_or_else(|| refuse("it has no RECORD, so that nobody knows which files are its own".into()))?;
        let claims = record::parse(&claims).map_err(|why| refuse(format!("its RECORD {why}")))?;
        let mut distribution = Distribution {
            metadata,
            directory: directory.to_owned(),
            has_record: true,
            entry_points,
            files: BTreeMap::new(),
            direct_url: direct_url.and_then(|direct_url| direct_url.without_the_machine()),
            left_out: Vec::new(),
        };
        for (recorded, claim) in claims {
            if !distribution.is_installers(&recorded) {
                distribution.take(venv.place(&recorded, site_packages, library), &recorded, claim);
            }
        }
        if let Some(directory) = source {
            let Metadata { name, version, .. } = distribution.metadata;
            let editable = Editable { name, version: Some(version), directory, on_path: None };
            let files = distribution.files.into_values().map(|installed| installed.file).collect();
            return Ok(Found::Editable(editable, files));
        }
        Ok(Found::Distribution(Box::new(distribution)))
    }

    /// Takes what is at a place, unless it is byte code.
    pub fn take(&mut self, place: Where, recorded: &str, claim: Claim) {
        // virtualenv lists the directories as well.
        if recorded.split('/').any(|part| part == "__pycache__") {
            return;
        }
        match place {
            Where::Inside { file, path } => {
                self.files.insert(path, Installed { file, claim });
            }
            Where::Outside(file) => {
                self.left_out.push(format!("{} lies outside of the virtualenv", file.display()));
            }
            Where::Nowhere => self.left_out.push(format!("{recorded:?} is no path of a file")),
        }
    }

    fn is_installers(&self, recorded: &str) -> bool {
        let file = recorded.strip_prefix(self.directory.as_str()).and_then(|rest| rest.strip_prefix('/'));
        file.is_some_and(|file| INSTALLERS.contains(&file))
    }
}

/// The content of a file; `None` where there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| format!("{} cannot be read", path.display())),
    }
}
