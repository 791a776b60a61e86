//! Reads the words of the command line, one after the other, into a project.
//!
//! Each directory, script or wheel adds what it says; the first one gives the project its name. Where another
//! commit is wanted, everything is read from a check-out of it.

use std::path::{Path, PathBuf};

use coil_bootstrap::format::image::ImageSettings;

use super::argument::Argument;
use super::declared::Declared;
use super::directory::DirectoryProject;
use super::entry::EntryPoint;
use super::git::Commit;
use super::image::over;
use super::lock_file::{self, LockFile, LockKind};
use super::naming::{name_for, name_of};
use super::script::ScriptMetadata;
use super::settings::{Settings, check_command_name};
use super::sources::{Place, Sources, counted};
use super::walk::{Selection, missed, single_file, walk, walk_tracked};
use super::{Build, Choice, Project, Words};
use crate::error::{Context, Failure, Result};
use crate::tree::Tree;

/// Puts together what the words say.
pub fn read(words: &Words) -> Result<Project> {
    let mut reader = Reader {
        project: Project::empty(),
        name: None,
        never: absolute(&words.never),
        choice: words.choice.normal(),
        // What is named with -r takes the place of what lies beside the projects.
        ignores_locks: !words.requirement_files.is_empty(),
        is_decided: words.is_decided,
        is_locked: words.is_decided
            || words.requirement_files.iter().any(|file| LockFile::named(file).is_some()),
        declared: Vec::new(),
        sources: Sources::new(&words.git),
    };
    for text in &words.projects {
        match Argument::classify(text)? {
            Argument::Directory(path, extras) => reader.take_directory(&path, &extras)?,
            Argument::Script(path) => reader.take_script(&path)?,
            Argument::Wheel(path, extras) => reader.take_wheel(&path, extras)?,
            Argument::Requirement(requirement) => {
                reader.call(&requirement.name.clone(), None);
                reader.project.requirements.push(requirement);
            }
        }
    }
    if let Some(directory) = &words.app {
        reader.take_app(directory)?;
    }
    for file in words.requirement_files.iter().chain(&words.constraint_files) {
        let is_lock = LockFile::named(file).is_some();
        if file.extension().is_some_and(|end| end == "toml") && !is_lock {
            return Err(Failure::new(format!("{} is not a file of requirements", file.display())).hint(
                "-r takes pip's format, pylock.toml or pylock.NAME.toml; give a project as its directory",
            ));
        }
        std::fs::File::open(file).context(|| format!("{} cannot be read", file.display()))?;
    }
    let mut at_their_place = |files: &[PathBuf]| -> Result<Vec<PathBuf>> {
        files.iter().map(|file| reader.sources.file(file)).collect()
    };
    let requirement_files = at_their_place(&words.requirement_files)?;
    let constraint_files = at_their_place(&words.constraint_files)?;
    reader.finish(&Words { requirement_files, constraint_files, ..words.clone() })
}

/// Puts one word after the other into a project; the first one gives it its name.
struct Reader {
    project: Project,
    name: Option<String>,
    never: Vec<PathBuf>,
    choice: Choice,
    ignores_locks: bool,
    is_decided: bool,
    /// Whether a lock is named, or all is decided: then a project's own file of requirements adds nothing.
    is_locked: bool,
    /// What each of the directories offers.
    declared: Vec<Declared>,
    sources: Sources,
}

impl Reader {
    fn call(&mut self, name: &str, version: Option<String>) {
        if self.name.is_none() {
            self.name = Some(name.to_owned());
            self.project.version = version;
        }
    }

    fn take_directory(&mut self, path: &Path, extras: &[String]) -> Result<()> {
        let place = self.sources.enter(path)?;
        let root =
            place.path.canonicalize().context(|| format!("{} cannot be read", place.path.display()))?;
        let declared = Declared::read(&root)?;
        let settings = DirectoryProject::read(&place.path, &[])?.settings;
        let (wanted, groups) = self.choice.of(&declared, &settings, extras)?;
        let directory = DirectoryProject::read(&place.path, &wanted)?;
        let is_locked = self.take_lock(&root) || self.is_locked;
        if directory.is_app {
            self.walk(path, &place, &directory.settings)?;
        }
        if directory.build.is_some() {
            let left = missed(&place.path, &place.untracked, &Selection::default());
            self.sources.check_untracked(path, &left)?;
            self.sources.warn_of_pointers(path, &place)?;
        }
        let mut settings = directory.settings;
        // Others beside the one that the image is called after say nothing of it.
        if self.name.is_none() {
            let said = ImageSettings { labels: directory.about, ..Default::default() };
            settings.image = over(settings.image, said);
        }
        self.call(&directory.name, directory.version);
        let project = &mut self.project;
        project.requirements.extend(directory.requirements);
        project.requirements.extend(declared.group_requirements(&groups, is_locked)?);
        if !is_locked {
            project.requirement_files.extend(directory.requirement_files);
        }
        project.extras.extend(wanted);
        project.groups.extend(groups);
        let in_workspace = lock_file::workspace_of(&root).is_some();
        if declared.has_uv_sources || in_workspace || !declared.uv_indexes.is_empty() {
            project.uv_sources.push(root.clone());
        }
        if directory.build.is_none() {
            project.trees.push(root);
        }
        self.declared.push(declared);
        let project = &mut self.project;
        project.production.services.extend(directory.services);
        project.commands.extend(directory.commands);
        if let Some(build) = directory.build {
            let date = time_of(place.commit.as_ref())?;
            project.builds.push(Build { date, ..build });
        } else if let Some(specifier) = directory.requires_python {
            project.requires_python.push((directory.name, specifier));
        }
        self.take_settings(settings);
        Ok(())
    }

    fn take_script(&mut self, path: &Path) -> Result<()> {
        let file = path.display().to_string();
        let path = &self.sources.enter(path)?.path;
        let source = std::fs::read(path).context(|| format!("{file} cannot be read"))?;
        let script = ScriptMetadata::read(&String::from_utf8_lossy(&source), &file)?;
        let (tree, place) = single_file(path)?;
        self.set_app(tree, path)?;
        self.call(path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("app"), None);
        let absolute = path.canonicalize().context(|| format!("{file} cannot be read"))?;
        if !self.ignores_locks && !self.is_decided {
            let lock = LockFile::of_script(&absolute);
            self.project
                .locks
                .extend(lock.filter(|lock| !self.choice.relocks || lock.kind != LockKind::Pylock));
        }
        self.project.requirements.extend(script.requirements);
        self.project.requires_python.extend(script.requires_python.map(|specifier| (file, specifier)));
        self.project.commands.extend(script.settings.commands.clone());
        self.project.script = Some(place);
        self.take_settings(script.settings);
        Ok(())
    }

    /// Takes the lock beside a directory; whether there is one.
    fn take_lock(&mut self, root: &Path) -> bool {
        if self.is_decided {
            return false;
        }
        let found = LockFile::of_directory(root, self.choice.relocks);
        let Some((lock, others)) = found else { return false };
        let name = lock.path.file_name().unwrap_or_default().to_string_lossy();
        if self.ignores_locks {
            let used = "what is named with -r is used";
            self.project.notes.push(format!("{used}, and {name} beside {} is not", root.display()));
            return false;
        }
        if !others.is_empty() {
            let others = others.join(" and ");
            self.project
                .notes
                .push(format!("{} is used, and {others} beside it is not", lock.path.display()));
        }
        self.project.locks.push(lock);
        true
    }

    fn take_wheel(&mut self, path: &Path, extras: Vec<String>) -> Result<()> {
        let absolute = path.canonicalize().context(|| format!("{} cannot be read", path.display()))?;
        let name = absolute.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let mut parts = name.split('-');
        let (Some(name), Some(version), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Failure::new(format!("{} is not called like a wheel", path.display()))
                .hint("a wheel is called NAME-VERSION-PYTHON-ABI-PLATFORM.whl"));
        };
        self.call(&crate::lock::normal_name(name), Some(version.to_owned()));
        self.project.wheels.push((absolute, extras));
        Ok(())
    }

    fn take_app(&mut self, directory: &Path) -> Result<()> {
        if !directory.is_dir() {
            return Err(Failure::new(format!("--app {}: no such directory", directory.display())));
        }
        let place = self.sources.enter(directory)?;
        self.walk(directory, &place, &Settings::default())
    }

    /// Takes the files of `directory`, which are read at `place`.
    fn walk(&mut self, directory: &Path, place: &Place, settings: &Settings) -> Result<()> {
        let Settings { include, exclude, artifacts, .. } = settings;
        let selection = Selection { include, exclude, artifacts, never: &self.never };
        let (tree, notes) = match &place.tracked {
            Some(tracked) => walk_tracked(&place.path, &tracked.files, &selection)?,
            None => walk(&place.path, &selection)?,
        };
        let names = tree.iter().filter_map(|(path, _)| path.below("app"));
        self.sources.check_pointers(directory, place, names)?;
        self.project.notes.extend(notes);
        let missed = missed(&place.path, &place.untracked, &selection);
        if !missed.is_empty() {
            let files = counted(&missed);
            self.project.notes.push(format!(
                "{}: {files} left out, as git does not track them (add them, or name them in artifacts)",
                directory.display()
            ));
        }
        self.project.exclude.clone_from(exclude);
        self.set_app(tree, directory)
    }

    fn set_app(&mut self, tree: Tree, source: &Path) -> Result<()> {
        if self.project.app.replace(tree).is_some() {
            return Err(Failure::new(format!(
                "{} is a second source tree, and a bundle has one",
                source.display()
            ))
            .hint("give it a pyproject.toml with a [build-system], so that it becomes a wheel"));
        }
        Ok(())
    }

    fn take_settings(&mut self, settings: Settings) {
        let project = &mut self.project;
        project.default = project.default.take().or(settings.default);
        project.python = project.python.take().or(settings.python);
        project.keep.extend(settings.keep);
        project.steps.extend(settings.build);
        project.image = over(std::mem::take(&mut project.image), settings.image);
        project.production.settings.extend(settings.env);
        project.host_libraries.extend(settings.host_libraries);
        project.bring_libraries.extend(settings.bring_libraries);
        for (name, value) in settings.environment {
            project.variables.entry(name).or_insert(value);
        }
    }

    fn finish(mut self, words: &Words) -> Result<Project> {
        let by_app = || words.app.as_ref().and_then(|path| path.canonicalize().ok());
        if let Some(name) = by_app().as_deref().and_then(Path::file_name).and_then(|name| name.to_str()) {
            self.call(name, None);
        }
        let named: Vec<LockFile> =
            words.requirement_files.iter().filter_map(|file| LockFile::named(file)).collect();
        // A lock may have what no directory offers.
        if !self.is_locked {
            self.choice.check(&self.declared)?;
        }
        self.sources.check_met()?;
        let mut project = self.project;
        if !named.is_empty() {
            project.extras.extend(self.choice.extras.iter().cloned());
            project.groups.extend(self.choice.groups.iter().cloned());
        }
        project.locks.extend(named);
        let plain = words.requirement_files.iter().filter(|file| LockFile::named(file).is_none());
        project.requirement_files.extend(plain.cloned());
        project.constraint_files.extend(words.constraint_files.iter().cloned());
        project.source = self.sources.revision;
        if !project.steps.is_empty() {
            project.date = time_of(self.sources.commit.as_ref())?;
        }
        project.notes.extend(self.sources.notes);
        project.warnings.extend(self.sources.warnings);
        project.check_outs = self.sources.check_outs.into_iter().map(|(_, scratch)| scratch).collect();
        for (name, text) in &words.commands {
            check_command_name(name)?;
            project.commands.insert(name.clone(), EntryPoint::parse(text)?);
        }
        let nothing = !self.is_decided
            && project.app.is_none()
            && project.builds.is_empty()
            && project.wheels.is_empty();
        if nothing
            && project.requirements.is_empty()
            && project.requirement_files.is_empty()
            && project.locks.is_empty()
            && words.entry.is_none()
            && words.otherwise.is_none()
        {
            return Err(Failure::new("there is nothing to pack")
                .hint("name a directory, a script, a wheel or a requirement, such as: coil pack httpie"));
        }
        let entry = words.entry.as_deref().map(EntryPoint::parse).transpose()?;
        let name = words.name.clone().or(self.name);
        let name = name.or_else(|| entry.as_ref().map(name_of)).or_else(|| words.otherwise.clone());
        project.name = name.unwrap_or_else(|| "app".to_owned());
        if let Some(entry) = entry {
            project.default = Some(name_for(entry, &mut project));
        }
        Ok(project)
    }
}

/// When a commit was made, in seconds since 1970; what is not known has no time.
fn time_of(commit: Option<&Commit>) -> Result<Option<u64>> {
    commit.map_or(Ok(None), Commit::time)
}

/// Absolute paths with the links of their directories resolved, as the walk meets them.
fn absolute(paths: &[PathBuf]) -> Vec<PathBuf> {
    let resolved = |path: &PathBuf| {
        let path = std::path::absolute(path).ok()?;
        Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
    };
    paths.iter().filter_map(resolved).collect()
}
