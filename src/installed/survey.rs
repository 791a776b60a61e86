//! What there is in a virtualenv: its distributions, those whose sources are elsewhere, and the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::path::TreePath;

use super::Virtualenv;
use super::distribution::{Distribution, Found};
use super::legacy::{self, refuse};
use super::unowned::{Rest, Unowned};
use super::{egg_link, pth};
use crate::error::{Context, Failure, Result};
use crate::lock::normal_name;
use crate::wheel::Target;

/// What there is in a virtualenv.
#[derive(Debug)]
pub struct Survey {
    /// The distributions whose files are in it, sorted by name.
    pub distributions: Vec<Distribution>,
    /// Those that are installed as a link to their sources, sorted by name.
    pub editables: Vec<Editable>,
    /// Files in site-packages that belong to none of them.
    pub unowned: Vec<Unowned>,
    /// What is left out, with the reason.
    pub left_out: Vec<String>,
}

/// A distribution that is installed as a link to its sources (PEP 660, `setup.py develop`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Editable {
    /// Its name.
    pub name: String,
    /// Its version, where the installation says it.
    pub version: Option<String>,
    /// The directory it is built of.
    pub directory: PathBuf,
    /// The directory of `sys.path` that its modules are in, where the installation says it.
    pub on_path: Option<PathBuf>,
}

impl Survey {
    /// Looks through the directories of modules. `target` says where they are in an image.
    pub fn of(venv: &Virtualenv, target: &Target) -> Result<Survey> {
        let library = TreePath::new(format!("{}/{}", crate::wheel::ENVIRONMENT, target.site_packages))
            .context(|| format!("{} cannot be packed", venv.shown))?;
        let mut surveying = Surveying {
            venv,
            library,
            distributions: BTreeMap::new(),
            editables: BTreeMap::new(),
            known: BTreeSet::new(),
            left_out: Vec::new(),
        };
        for directory in &venv.site_packages {
            surveying.look_at(directory)?;
        }
        surveying.finish()
    }

    /// What the distribution with this name is and its version, if it is installed.
    pub fn version_of(&self, name: &str) -> Option<Option<&str>> {
        let wanted = normal_name(name);
        let installed =
            self.distributions.iter().map(|one| (&one.metadata.name, Some(&one.metadata.version)));
        let editable = self.editables.iter().map(|one| (&one.name, one.version.as_ref()));
        let mut all = installed.chain(editable);
        all.find(|(name, _)| normal_name(name) == wanted).map(|(_, version)| version.map(String::as_str))
    }

    /// The other distributions that list the file at `path` as theirs.
    pub fn other_owners(&self, path: &TreePath, own: &Distribution) -> Vec<String> {
        let others = self.distributions.iter().filter(|other| other.directory != own.directory);
        others.filter(|other| other.files.contains_key(path)).map(Distribution::shown).collect()
    }
}

struct Surveying<'a> {
    venv: &'a Virtualenv,
    library: TreePath,
    distributions: BTreeMap<String, Distribution>,
    editables: BTreeMap<String, Editable>,
    /// Entries of site-packages that need no further look.
    known: BTreeSet<PathBuf>,
    left_out: Vec<String>,
}

impl Surveying<'_> {
    fn look_at(&mut self, site_packages: &Path) -> Result<()> {
        for name in names_in(site_packages)? {
            let path = site_packages.join(&name);
            if name.starts_with('~') {
                self.left_out
                    .push(format!("{} is what an installation that broke off has left", path.display()));
            } else if name.ends_with(".dist-info") && path.is_dir() {
                match Distribution::read(self.venv, site_packages, &name, &self.library)? {
                    Found::Distribution(distribution) => self.add(*distribution)?,
                    Found::Editable(editable, files) => {
                        self.known.extend(files);
                        self.add_editable(editable)?;
                    }
                }
            } else if name.ends_with(".egg-info") && path.is_dir() {
                self.add(legacy::read(self.venv, site_packages, &name, &self.library)?)?;
            } else if name.ends_with(".egg-info") {
                let why = "it was installed by distutils, which keeps no list of files";
                return Err(refuse(self.venv, &name, why));
            } else if name.ends_with(".egg") {
                return Err(refuse(self.venv, &name, "eggs are no longer installed by any tool"));
            } else if let Some(distribution) = name.strip_suffix(".egg-link") {
                self.add_egg_link(distribution, &path)?;
            } else {
                continue;
            }
            self.known.insert(path);
        }
        Ok(())
    }

    fn add(&mut self, distribution: Distribution) -> Result<()> {
        let name = normal_name(&distribution.metadata.name);
        if let Some(other) = self.distributions.get(&name) {
            return Err(self.twice(&other.directory, &distribution.directory));
        }
        for reason in &distribution.left_out {
            self.left_out.push(format!("{}: {reason}", distribution.shown()));
        }
        self.distributions.insert(name, distribution);
        Ok(())
    }

    fn add_editable(&mut self, editable: Editable) -> Result<()> {
        let Editable { name, directory, .. } = &editable;
        let can_be_built = ["pyproject.toml", "setup.py"].iter().any(|file| directory.join(file).is_file());
        if !can_be_built {
            let what = if directory.is_dir() {
                "there is no pyproject.toml and no setup.py, so that no wheel can be built of it"
            } else {
                "there is no such directory"
            };
            let message = format!(
                "{name} is installed in {} as a link to {}: {what}",
                self.venv.shown,
                directory.display()
            );
            return Err(Failure::new(message).hint("install it anew, without -e, or uninstall it"));
        }
        self.editables.insert(normal_name(name), editable);
        Ok(())
    }

    fn add_egg_link(&mut self, name: &str, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).context(|| format!("{} cannot be read", path.display()))?;
        let source = egg_link::source(&text).and_then(|source| source.canonicalize().ok());
        let directory = source.ok_or_else(|| {
            let why = "the directory it is a link to is not there";
            refuse(self.venv, path.file_name().unwrap_or_default().to_string_lossy().as_ref(), why)
        })?;
        let on_path = text.lines().next().map(PathBuf::from);
        self.add_editable(Editable { name: name.to_owned(), version: None, directory, on_path })
    }

    fn twice(&self, one: &str, other: &str) -> Failure {
        Failure::new(format!("{} holds two versions of one distribution: {one} and {other}", self.venv.shown))
            .hint("uninstall it until none is left, and install it anew")
    }

    fn finish(mut self) -> Result<Survey> {
        if let Some((name, _)) =
            self.editables.iter().find(|(name, _)| self.distributions.contains_key(*name))
        {
            return Err(
                self.twice(&self.distributions[name].directory, &format!("a link to the sources of {name}"))
            );
        }
        let files = self.distributions.values().flat_map(|one| one.files.values());
        let mut rest = Rest::new(files.map(|installed| installed.file.as_path()), &self.known);
        for directory in &self.venv.site_packages {
            rest.find(directory, &self.library)?;
        }
        let Rest { unowned, left_out, .. } = rest;
        self.left_out.extend(left_out);
        let unowned = self.without_lost_paths(unowned)?;
        Ok(Survey {
            distributions: self.distributions.into_values().collect(),
            editables: self.editables.into_values().collect(),
            unowned,
            left_out: self.left_out,
        })
    }

    /// Looks into the `.pth` files among them: what puts a directory of this machine on `sys.path` is of no
    /// use elsewhere.
    fn without_lost_paths(&mut self, unowned: Vec<Unowned>) -> Result<Vec<Unowned>> {
        let mut kept = Vec::new();
        for one in unowned {
            if one.file.extension().is_none_or(|end| end != "pth") {
                kept.push(one);
                continue;
            }
            let text = fs::read(&one.file).context(|| format!("{} cannot be read", one.file.display()))?;
            let directory = one.file.parent().unwrap_or(Path::new("/"));
            let leads = pth::leads(&String::from_utf8_lossy(&text), directory, &self.venv.names);
            if let Some(lost) = leads.outside.iter().find(|path| !self.is_built(path)) {
                let message = format!(
                    "{} puts {} on sys.path, which is outside of {} and belongs to no distribution",
                    one.file.display(),
                    lost.display(),
                    self.venv.shown
                );
                return Err(Failure::new(message).hint(format!(
                    "pack that directory with --app {}, or install what is in it, and remove the .pth file",
                    lost.display()
                )));
            }
            if leads.inside > 0 && leads.outside.is_empty() {
                kept.push(one);
            } else if let Some(nowhere) = leads.nowhere.first() {
                let message =
                    format!("{} leads to {}, which is not there", one.file.display(), nowhere.display());
                self.left_out.push(message);
            }
        }
        Ok(kept)
    }

    /// Whether what is in this directory comes with a wheel that is built of an editable installation.
    fn is_built(&self, path: &Path) -> bool {
        self.editables.values().any(|one| {
            let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
            path.starts_with(real(&one.directory))
                || one.on_path.as_ref().is_some_and(|on_path| real(on_path) == path)
        })
    }
}

/// The names of a directory's entries, sorted; those that are not UTF-8 are dealt with elsewhere.
fn names_in(directory: &Path) -> Result<Vec<String>> {
    let unreadable = || format!("{} cannot be read", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).context(unreadable)? {
        names.extend(entry.context(unreadable)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
