//! `coil verify`: whether a bundle is whole, and whether it can be made again.

use std::path::{Path, PathBuf};

use clap::Parser;
use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::error::Error;
use coil_bootstrap::format::manifest::{CLibraryRule, Manifest, Revision};
use coil_bootstrap::format::recipe::{Input, InputKind, Recipe};
use coil_bootstrap::verify::{check_layer, check_stamp};

use super::inspect::size;
use crate::bundle::{self, Launcher};
use crate::cli::{Cli, Command, Pack, Verify};
use crate::compare::first_difference;
use crate::error::{Context, Failure, Result};
use crate::layer::compressor;
use crate::lock::Lock;
use crate::pack::pack_with;
use crate::report::{Loudness, Report};
use crate::store::Store;

/// Checks the bundle, and with `--rebuild` packs it again and compares.
pub fn run(options: &Verify) -> Result<()> {
    let shown = options.bundle.display();
    let bundle = Bundle::open(&options.bundle).map_err(|error| {
        Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
    })?;
    let report = Report::new(if options.quiet { Loudness::Quiet } else { Loudness::Normal });
    check(&bundle)?;
    let layers = &bundle.manifest().layers;
    let packed = size(layers.iter().map(|layer| layer.size).sum());
    report.done(&format!("{shown} is whole: {} layers, {packed}", layers.len()));
    if options.rebuild {
        rebuild(options, &bundle, &report)?;
        report.done(&format!("{shown} packed again is the same, bit for bit"));
    }
    Ok(())
}

/// Checks the stamp and all layers, and tells everything that is wrong.
fn check(bundle: &Bundle) -> Result<()> {
    let layers = 0..bundle.manifest().layers.len();
    let checks = [check_stamp(bundle)].into_iter().chain(layers.map(|index| check_layer(bundle, index)));
    let mut damages = Vec::new();
    for error in checks.filter_map(coil_bootstrap::error::Result::err) {
        match error {
            Error::Damaged { damage, .. } => damages.push(damage.to_string()),
            other => return Err(Failure::new(other.to_string())),
        }
    }
    if damages.is_empty() {
        return Ok(());
    }
    let message = format!("{} is damaged: {}", bundle.path().display(), damages.join("; "));
    Err(Failure::new(message).hint("copy the file again, from where it was whole"))
}

fn rebuild(options: &Verify, bundle: &Bundle, report: &Report) -> Result<()> {
    let shown = bundle.path().display();
    let manifest = bundle.manifest();
    let (Some(recipe), Some(lock)) = (&manifest.recipe, &manifest.lock) else {
        return Err(Failure::new(format!("{shown} does not say how it was made")));
    };
    for (what, then, now) in [
        ("coil", recipe.coil.as_str(), env!("CARGO_PKG_VERSION")),
        ("the compressor", recipe.compressor.as_str(), compressor().as_str()),
    ] {
        if then != now {
            report.warning(&format!("{shown} was packed with another version of {what}: {then}, not {now}"));
        }
    }
    let store = Store::open(&super::cache_directory()?)?;
    let scratch = tempfile::tempdir_in(store.work())
        .context(|| format!("cannot write to {}", store.work().display()))?;
    let rebuild =
        Rebuild { options, manifest, store: &store, scratch: scratch.path(), lock: &Lock::from_toml(lock)? };
    let mut pack = rebuild.words(recipe)?;
    pack.project.index = options.index.clone();
    pack.project.index.find_links.extend(rebuild.known_wheels());
    // A store of its own: a layer that was made before would prove nothing.
    let store = Store::open(scratch.path())?;
    let again = scratch.path().join("bundle");
    let parts = pack_with(&pack.project, None, Some(lock), &store, report)?;
    let (then, now) = (&manifest.python.version, &parts.manifest.python.version);
    if then != now {
        let message = format!("{shown} has CPython {then}, and {now} was packed again");
        return Err(Failure::new(message).hint(format!("name a CPython {then} with --python")));
    }
    bundle::write(&again, &Launcher::ours()?, &parts.manifest, &parts.blobs)?;
    let again = Bundle::open(&again).context(|| "what was packed again cannot be read".into())?;
    match first_difference(bundle, &again)? {
        None => Ok(()),
        Some(difference) => Err(Failure::new(format!("{shown} packed again is not the same: {difference}"))),
    }
}

/// The recipe on its way back to a command line.
struct Rebuild<'a> {
    options: &'a Verify,
    manifest: &'a Manifest,
    store: &'a Store,
    scratch: &'a Path,
    lock: &'a Lock,
}

impl Rebuild<'_> {
    /// The words that lead to the same bundle from here. The sources are those of the commit that the manifest
    /// names, and as they lie there now where they had been changed.
    fn words(&self, recipe: &Recipe) -> Result<Pack> {
        let mut words: Vec<String> = ["coil", "pack"].map(str::to_owned).into();
        let mut word = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        word("level", &recipe.level.to_string());
        word("name", &self.manifest.name);
        match &self.options.runtime {
            Some(file) => word("runtime", &file.to_string_lossy()),
            None => word("python", self.options.python.as_deref().unwrap_or(&self.manifest.python.version)),
        }
        word(
            "libc",
            match self.manifest.c_library {
                CLibraryRule::Auto => "auto",
                CLibraryRule::Bundled => "bundled",
                CLibraryRule::Host => "host",
            },
        );
        if let Some(Revision { commit, dirty: false }) = &self.manifest.source {
            word("rev", commit);
        }
        if self.options.runtime.is_none() {
            recipe.keep.iter().for_each(|part| word("keep", part));
        }
        recipe.entry.iter().for_each(|entry| word("entry", entry));
        recipe.commands.iter().for_each(|(name, entry)| word("command", &format!("{name}={entry}")));
        let mut projects = self.options.projects.iter();
        let mut inputs = Vec::new();
        for input in &recipe.inputs {
            match input.kind {
                InputKind::Requirement => inputs.push(input.name.clone()),
                InputKind::Requirements => {
                    // The lock has the outcome; the file only has to be there.
                    let file = self.scratch.join(&input.name);
                    std::fs::write(&file, "").context(|| format!("cannot write {}", file.display()))?;
                    word("requirement", &file.to_string_lossy());
                }
                InputKind::App => word("app", &self.place(input, projects.next())),
                _ => inputs.push(self.place(input, projects.next()) + &extras(input)),
            }
        }
        if let Some(left) = projects.next() {
            return Err(Failure::new(format!("the bundle was not made of as many projects: {left}")));
        }
        words.push("--".into());
        words.extend(inputs);
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Pack(pack)) => Ok(pack),
            Ok(_) => Err(Failure::new("the recipe is not for `coil pack`")),
            Err(error) => Err(Failure::new("the recipe cannot be followed").because(error.to_string())),
        }
    }

    /// Where an input is now: as the user says, else in the working directory. A wheel may still be known.
    fn place(&self, input: &Input, said: Option<&String>) -> String {
        let said = said.map(PathBuf::from);
        let named = match said {
            Some(said) if said.is_dir() => said.join(&input.name),
            Some(said) => said,
            None => Path::new(".").join(&input.name),
        };
        let known = || self.wheels().find(|path| path.ends_with(&input.name));
        let path = if input.kind == InputKind::Wheel && !named.exists() { known() } else { None };
        path.unwrap_or(named).to_string_lossy().into_owned()
    }

    /// The wheels of the lock that are in the user's store, by their digests.
    fn wheels(&self) -> impl Iterator<Item = PathBuf> {
        let files =
            self.lock.packages.iter().flat_map(|package| package.archive.iter().chain(&package.wheels));
        let paths =
            files.filter_map(|file| Some(self.store.wheel(file.hashes.sha256.as_ref()?, &file.file_name()?)));
        paths.filter(|path| path.exists())
    }

    /// Their directories: each is looked into, and every digest compared once more.
    fn known_wheels(&self) -> impl Iterator<Item = String> {
        self.wheels().filter_map(|path| Some(path.parent()?.to_str()?.to_owned()))
    }
}

fn extras(input: &Input) -> String {
    if input.extras.is_empty() { String::new() } else { format!("[{}]", input.extras.join(",")) }
}
