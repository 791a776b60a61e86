//! Old installations: `*.egg-info` with a list of files; without one, nobody knows what is theirs.

use std::collections::BTreeMap;
use std::path::Path;

use coil_bootstrap::format::path::TreePath;

use super::Virtualenv;
use super::distribution::{Distribution, read_if_there};
use crate::error::{Failure, Result};
use crate::wheel::Metadata;
use crate::wheel::entry_points::EntryPoints;
use crate::wheel::record::Claim;

/// Reads the directory `NAME.egg-info`, whose `installed-files.txt` lists files relative to itself.
pub fn read(
    venv: &Virtualenv,
    site_packages: &Path,
    directory: &str,
    library: &TreePath,
) -> Result<Distribution> {
    let place = site_packages.join(directory);
    let refuse = |why: String| refuse(venv, directory, &why);
    let list = read_if_there(&place.join("installed-files.txt"));
    let list = list.ok().flatten().ok_or_else(|| {
        refuse("it has no list of its files (installed-files.txt), as old installers left it out".into())
    })?;
    let metadata =
        read_if_there(&place.join("PKG-INFO"))?.ok_or_else(|| refuse("it has no PKG-INFO".into()))?;
    let metadata = Metadata::parse(&metadata).map_err(|why| refuse(format!("its PKG-INFO {why}")))?;
    let entry_points = read_if_there(&place.join("entry_points.txt"))?.unwrap_or_default();
    let entry_points =
        EntryPoints::parse(&entry_points).map_err(|why| refuse(format!("its entry_points.txt {why}")))?;
    let mut distribution = Distribution {
        metadata,
        directory: directory.to_owned(),
        has_record: false,
        entry_points,
        files: BTreeMap::new(),
        direct_url: None,
        left_out: Vec::new(),
    };
    for line in String::from_utf8_lossy(&list).lines().filter(|line| !line.trim().is_empty()) {
        let recorded = format!("{directory}/{line}");
        let claim = Claim { hash: None, size: None };
        distribution.take(venv.place(&recorded, site_packages, library), &recorded, claim);
    }
    Ok(distribution)
}

/// What is installed in a form that cannot be packed.
pub fn refuse(venv: &Virtualenv, name: &str, why: &str) -> Failure {
    Failure::new(format!("{name} in {} cannot be packed: {why}", venv.shown))
        .hint("uninstall it and install it anew, with pip or uv: they write down what they install")
}
