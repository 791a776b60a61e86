//! The layers of what is installed in a virtualenv: nothing is resolved, what is installed is what is shipped.
//!
//! A distribution's files are read and hashed once. As long as none of them changes (length, times of
//! content and of metadata, inode) and RECORD stays, the next pack reads none of them again.

mod needs;
mod state;
mod version;

use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::manifest::Python;
use coil_bootstrap::format::path::TreePath;

use self::state::{Seen, state};
use self::version::{fits, versions};
use super::Packing;
use super::resolution::{KeptWheel, keep, resolver_options, scratch};
use super::wheels::{self, Facts};
use crate::checksums::Checksums;
use crate::cli;
use crate::error::{Context, Failure, Result};
use crate::find_python;
use crate::installed::{self, Contents, Distribution, Survey, Virtualenv, unowned};
use crate::interpreter::Interpreter;
use crate::lock::normal_name;
use crate::project::requires_python::check_requires_python;
use crate::project::{Build, Project};
use crate::report::Report;
use crate::resolve::build::build_wheels;
use crate::store::{Store, StoredLayer};
use crate::wheel::Target;

/// The virtualenv that is packed, and what there is in it.
pub struct Source {
    venv: Virtualenv,
    survey: Survey,
    strict: bool,
}

/// The layers of a virtualenv.
pub struct Layers {
    /// One for each distribution.
    pub distributions: Vec<StoredLayer<Facts>>,
    /// One for the files that belong to none.
    pub unowned: Option<StoredLayer<Facts>>,
}

impl Source {
    /// Opens the virtualenv that the options name, if they do.
    pub fn open(options: &cli::Project) -> Result<Option<Source>> {
        let Some(directory) = &options.venv else { return Ok(None) };
        let venv = Virtualenv::open(directory)?;
        let survey = Survey::of(&venv, &Target::of(&venv.interpreter)?)?;
        Ok(Some(Source { venv, survey, strict: options.strict }))
    }

    /// What the app is called where nothing else says it: after the one distribution that is installed as a
    /// link to its sources, else after the virtualenv.
    pub fn name(&self) -> String {
        match self.survey.editables.as_slice() {
            [only] => only.name.clone(),
            _ => self.venv.name(),
        }
    }

    /// The interpreter to pack: the virtualenv's, unless the user names the file of another of its kind.
    pub fn python(&self, request: Option<&str>, store: &Store, report: &Report) -> Result<String> {
        match request {
            None => Ok(self.executable()),
            Some(file) if file.contains('/') => Ok(file.to_owned()),
            Some(version) => {
                self.check(&find_python::find(Some(version), store.probes(), report)?)?;
                Ok(self.executable())
            }
        }
    }

    /// Refuses an interpreter that what is installed was not installed for.
    pub fn check(&self, interpreter: &Interpreter) -> Result<()> {
        let kind = |python: &Interpreter| (python.minor_version(), python.abi_flags.clone());
        if kind(interpreter) == kind(&self.venv.interpreter) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} is Python {}, and {} was made for {}",
            interpreter.executable.display(),
            interpreter.full_version,
            self.venv.shown,
            self.venv.interpreter.full_version
        ))
        .hint("leave --python and --runtime out: the interpreter of the virtualenv is packed"))
    }

    /// Adds to the project what is installed as a link to its sources, and checks what it asks for.
    pub fn complete(&self, project: &mut Project) -> Result<()> {
        if let Some((wheel, _)) = project.wheels.first() {
            return Err(Failure::new(format!("{} is not installed in {}", wheel.display(), self.venv.shown))
                .hint("with --venv, what is installed is what is packed: install the wheel first"));
        }
        for editable in &self.survey.editables {
            let directory = editable.directory.canonicalize().unwrap_or_else(|_| editable.directory.clone());
            if project.builds.iter().all(|build| build.directory != directory) {
                project.builds.push(Build { directory, extras: Vec::new(), date: None });
            }
        }
        for requirement in &project.requirements {
            let shown = &requirement.text;
            let Some(version) = self.survey.version_of(&requirement.name) else {
                return Err(Failure::new(format!(
                    "{} asks for {shown}, which is not installed in {}",
                    requirement.origin, self.venv.shown
                ))
                .hint(format!("install it: {} -m pip install \"{shown}\"", self.executable())));
            };
            let Some(version) = version else { continue };
            if fits(versions(shown), version) == Some(false) {
                let message = format!(
                    "{} asks for {shown}, and {} has {version} installed",
                    requirement.origin, self.venv.shown
                );
                return Err(Failure::new(message)
                    .hint(format!("install what fits: {} -m pip install \"{shown}\"", self.executable())));
            }
        }
        Ok(())
    }

    fn executable(&self) -> String {
        self.venv.interpreter.executable.display().to_string()
    }

    /// The layers of everything that is installed, those of what is built first.
    pub fn layers(
        &self,
        packing: &Packing,
        python: &Python,
        project: &Project,
        options: &cli::Project,
    ) -> Result<Layers> {
        for (name, specifier) in &project.requires_python {
            check_requires_python(name, specifier, packing.interpreter)?;
        }
        let target = Target::of(packing.interpreter)?;
        let built = self.build(packing, project, options)?;
        let mut complaints = self.survey.left_out.iter().map(|what| format!("{what}: left out")).collect();
        let mut layers = wheels::layers(packing, python, &built)?;
        let own: Vec<String> = layers.iter().map(|layer| normal_name(&layer.facts.name)).collect();
        for distribution in &self.survey.distributions {
            if own.contains(&normal_name(&distribution.metadata.name)) {
                packing
                    .report
                    .note(&format!("{} is packed as built, not as installed", distribution.shown()));
                continue;
            }
            layers.push(self.layer(packing, python, &target, distribution, &mut complaints)?);
        }
        let unowned = self.unowned(packing, python, &target, &mut complaints)?;
        self.complain(packing, &complaints)?;
        Ok(Layers { distributions: layers, unowned })
    }

    /// Says what is not as it was installed; refuses it where the user wants that.
    fn complain(&self, packing: &Packing, complaints: &[String]) -> Result<()> {
        if self.strict
            && let Some(first) = complaints.first()
        {
            let more = match complaints.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            complaints.iter().skip(1).for_each(|complaint| packing.report.warning(complaint));
            return Err(Failure::new(format!("{first}{more}, and --strict refuses that"))
                .hint("install it anew, or leave --strict out"));
        }
        complaints.iter().for_each(|complaint| packing.report.warning(complaint));
        Ok(())
    }

    /// Builds the wheels of directories: what they need is installed already.
    fn build(&self, packing: &Packing, project: &Project, options: &cli::Project) -> Result<Vec<KeptWheel>> {
        if project.builds.is_empty() {
            return Ok(Vec::new());
        }
        let Packing { interpreter, store, .. } = packing;
        let scratch = scratch(store)?;
        let resolving = resolver_options(options);
        let workshop = packing.workshop(&resolving, options.refresh, scratch.path());
        let built = build_wheels(&project.builds, &workshop)?;
        needs::check(&built, &self.survey, interpreter, &self.venv.shown)?;
        built.iter().map(|built| keep(&built.wheel, store)).collect()
    }

    fn layer(
        &self,
        packing: &Packing,
        python: &Python,
        target: &Target,
        distribution: &Distribution,
        complaints: &mut Vec<String>,
    ) -> Result<StoredLayer<Facts>> {
        let Packing { level, store, report, .. } = packing;
        let shown = distribution.shown();
        let state = state(distribution, &self.venv).context(|| format!("{shown} cannot be read"))?;
        let key = packing.key("installed state", python, &[&state.text]);
        let layer_key = |content: &Checksum| packing.key("installed", python, &[&shown, content.as_bytes()]);
        if let Some(seen) = store.get::<Seen>(key)
            && let Some(layer) = store.stored(layer_key(&seen.content))
        {
            self.report_on(packing, distribution, &seen, complaints);
            return Ok(layer);
        }
        report.doing(&format!("reading {shown}"));
        let Contents { tree, scripts, warnings, changed, missing } =
            installed::read(distribution, &self.venv, target)?;
        let checksums = Checksums::of(&tree).context(|| format!("{shown} cannot be read again"))?;
        let content = *checksums.all();
        let seen = Seen { content, warnings, changed, missing };
        let layer = store.layer(layer_key(&content), *level, || {
            let metadata = &distribution.metadata;
            let own = (metadata.name.as_str(), metadata.version.as_str());
            wheels::complete(packing, tree, scripts, &shown, own)
        })?;
        if state.settled {
            store.put(key, &seen)?;
        }
        self.report_on(packing, distribution, &seen, complaints);
        Ok(layer)
    }

    fn report_on(
        &self,
        packing: &Packing,
        distribution: &Distribution,
        seen: &Seen,
        complaints: &mut Vec<String>,
    ) {
        seen.warnings.iter().for_each(|warning| packing.report.warning(warning));
        let shown = distribution.shown();
        let short = |path: &TreePath| path.below("venv").unwrap_or(path).to_owned();
        let (mut changed, mut overwritten) = (Vec::new(), Vec::new());
        for path in &seen.changed {
            match self.survey.other_owners(path, distribution).as_slice() {
                [] => changed.push(short(path)),
                others => overwritten.push(format!("{} (also of {})", short(path), others.join(", "))),
            }
        }
        let missing: Vec<String> = seen.missing.iter().map(short).collect();
        for (files, what) in [
            (changed, "has been changed since it was installed; it is packed as it is"),
            (overwritten, "is not what was installed, another distribution has overwritten it"),
            (missing, "is missing in what was installed"),
        ] {
            if !files.is_empty() {
                complaints.push(format!("{shown} {what}: {}", listed(&files)));
            }
        }
    }

    fn unowned(
        &self,
        packing: &Packing,
        python: &Python,
        target: &Target,
        complaints: &mut Vec<String>,
    ) -> Result<Option<StoredLayer<Facts>>> {
        let files = &self.survey.unowned;
        if files.is_empty() {
            return Ok(None);
        }
        let names: Vec<String> =
            files.iter().map(|one| one.path.below("venv").unwrap_or(&one.path).to_owned()).collect();
        complaints.push(format!(
            "{} has files that belong to no distribution; they are packed as they are: {}",
            self.venv.shown,
            listed(&names)
        ));
        let tree = unowned::tree(files, &self.venv.shown, target)?;
        let checksums =
            Checksums::of(&tree).context(|| format!("{} cannot be read again", self.venv.shown))?;
        let key = packing.key("unowned", python, &[checksums.all().as_bytes()]);
        let layer = packing.store.layer(key, packing.level, || {
            let mut made =
                wheels::complete(packing, tree, Vec::new(), "a file of no distribution", ("", ""))?;
            // Nobody has installed them as programs.
            made.facts.programs.clear();
            Ok(made)
        })?;
        Ok(Some(layer))
    }
}

/// Names, as many as one reads.
fn listed(names: &[String]) -> String {
    const MOST: usize = 20;
    let shown = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=MOST => shown,
        count => format!("{shown} and {} more", count - MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..25).map(|number| number.to_string()).collect();
        assert!(listed(&names).ends_with("18, 19 and 5 more"));
        assert_eq!(listed(&names[..2]), "0, 1");
    }
}
