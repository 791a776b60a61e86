//! A recipe on its way back to a command line: the words that lead to the same bundle from here.
//!
//! Whatever an option means to `coil pack` it means again, because the words are parsed like those of a user.
//! What a recipe has no room for, where things are on this machine, the user says.

use std::path::{Path, PathBuf};

use clap::Parser;
use coil_bootstrap::format::manifest::{CLibraryRule, Manifest, Revision};
use coil_bootstrap::format::recipe::{Input, InputKind, Recipe};

use crate::cli::{Cli, Command, Pack, Verify};
use crate::error::{Context, Failure, Result};
use crate::lock::Package;
use crate::store::Store;

/// What is typed again, and what it needs for that.
pub struct Rebuild<'a> {
    /// What the user says.
    pub options: &'a Verify,
    /// The bundle's manifest.
    pub manifest: &'a Manifest,
    /// The recipe in it.
    pub recipe: &'a Recipe,
    /// The user's store, where wheels may lie from before.
    pub store: &'a Store,
    /// Where files may be put that stand for others.
    pub scratch: &'a Path,
    /// What the bundle's lock lists; nothing where it has none.
    pub packages: &'a [Package],
}

impl Rebuild<'_> {
    /// The words, read. The sources are those of the commit that the manifest names, and as they lie there now
    /// where they had been changed.
    pub fn words(&self) -> Result<Pack> {
        let mut words: Vec<String> = ["coil", "pack"].map(str::to_owned).into();
        words.extend(self.settings());
        let mut word = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        let mut projects = self.options.projects.iter();
        let mut venv = self.options.venv.as_deref();
        let mut inputs = Vec::new();
        for input in &self.recipe.inputs {
            match input.kind {
                InputKind::Requirement => inputs.push(input.name.clone()),
                InputKind::Requirements => {
                    // The lock has the outcome; the file only has to be there.
                    let file = self.scratch.join(&input.name);
                    std::fs::write(&file, "").context(|| format!("cannot write {}", file.display()))?;
                    word("requirement", &file.to_string_lossy());
                }
                InputKind::App => word("app", &self.place(input, projects.next())),
                InputKind::Virtualenv => {
                    let named = venv.take().ok_or_else(|| self.no_virtualenv())?;
                    word("venv", &named.to_string_lossy());
                }
                _ => inputs.push(self.place(input, projects.next()) + &extras(input)),
            }
        }
        if let Some(left) = projects.next() {
            return Err(Failure::new(format!("the bundle was not made of as many projects: {left}")));
        }
        if let Some(left) = venv {
            return Err(Failure::new(format!("the bundle was not made of a virtualenv: {}", left.display()))
                .hint("leave --venv out: the bundle has a lock of what it was made of"));
        }
        words.push("--".into());
        words.extend(inputs);
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Pack(pack)) => Ok(pack.into_inner()),
            Ok(_) => Err(Failure::new("the recipe is not for `coil pack`")),
            Err(error) => Err(Failure::new("the recipe cannot be followed").because(error.to_string())),
        }
    }

    /// The words that name no input.
    fn settings(&self) -> Vec<String> {
        let Rebuild { options, manifest, recipe, .. } = self;
        let mut words = Vec::new();
        let mut word = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        word("level", &recipe.level.to_string());
        word("name", &manifest.name);
        let has_virtualenv = recipe.inputs.iter().any(|input| input.kind == InputKind::Virtualenv);
        match (&options.runtime, &options.python) {
            (Some(file), _) => word("runtime", &file.to_string_lossy()),
            (None, Some(python)) => word("python", python),
            // A virtualenv brings its interpreter.
            (None, None) if has_virtualenv => {}
            (None, None) => word("python", &manifest.python.version),
        }
        word("libc", libc(manifest.c_library));
        if let Some(Revision { commit, dirty: false }) = &manifest.source {
            word("rev", commit);
        }
        recipe.extras.iter().for_each(|name| word("extra", name));
        recipe.groups.iter().for_each(|name| word("group", name));
        if self.options.runtime.is_none() {
            recipe.keep.iter().for_each(|part| word("keep", part));
        }
        recipe.entry.iter().for_each(|entry| word("entry", entry));
        recipe.commands.iter().for_each(|(name, entry)| word("command", &format!("{name}={entry}")));
        recipe.host_libraries.iter().for_each(|name| word("host-library", name));
        recipe.bring_libraries.iter().for_each(|name| word("bring-library", name));
        words.extend(recipe.all_extras.then(|| "--all-extras".to_owned()));
        words
    }

    /// Only the user knows which virtualenv it was.
    fn no_virtualenv(&self) -> Failure {
        let quoted =
            |text: &str| shlex::try_quote(text).map_or_else(|_| text.to_owned(), |text| text.into_owned());
        let bundle = self.options.bundle.to_string_lossy();
        let said = [bundle.as_ref(), "--rebuild"].into_iter();
        let said = said.chain(self.options.projects.iter().map(String::as_str));
        let said: Vec<String> = said.map(quoted).collect();
        Failure::new(format!("{bundle} was packed from a virtualenv, and does not say where that is"))
            .hint(format!("name it: coil verify {} --venv DIR", said.join(" ")))
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
        let files = self.packages.iter().flat_map(|package| package.archive.iter().chain(&package.wheels));
        let paths =
            files.filter_map(|file| Some(self.store.wheel(file.hashes.sha256.as_ref()?, &file.file_name()?)));
        paths.filter(|path| path.exists())
    }

    /// Their directories: each is looked into, and every digest compared once more.
    pub fn known_wheels(&self) -> impl Iterator<Item = String> {
        self.wheels().filter_map(|path| Some(path.parent()?.to_str()?.to_owned()))
    }
}

fn extras(input: &Input) -> String {
    if input.extras.is_empty() { String::new() } else { format!("[{}]", input.extras.join(",")) }
}

fn libc(rule: CLibraryRule) -> &'static str {
    match rule {
        CLibraryRule::Auto => "auto",
        CLibraryRule::Bundled => "bundled",
        CLibraryRule::Host => "host",
    }
}
