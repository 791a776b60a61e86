//! The project: what the user handed in, made into one value.
//!
//! Several words of the command line (directories, scripts, wheels, requirements, files of
//! requirements) become one [`Project`]. Nothing is fetched, built or run here.

pub mod argument;
pub mod default_command;
pub mod directory;
pub mod entry;
mod glob;
mod nearest;
pub mod pyproject;
pub mod requirement;
pub mod requires_python;
pub mod script;
pub mod settings;
pub mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::path::TreePath;

use argument::Argument;
use directory::DirectoryProject;
use entry::{Entry, EntryPoint};
use requirement::Requirement;
use script::ScriptMetadata;
use settings::{Settings, check_command_name};
use walk::{Selection, single_file, walk};

use crate::error::{Context, Failure, Result};
use crate::tree::Tree;

/// The words of the command line that say what is packed.
#[derive(Debug, Default, Clone)]
pub struct Words {
    /// `PROJECT...`
    pub projects: Vec<String>,
    /// `-r FILE`
    pub requirement_files: Vec<PathBuf>,
    /// `-c FILE`
    pub constraint_files: Vec<PathBuf>,
    /// `-e SPEC`
    pub entry: Option<String>,
    /// `--command NAME=SPEC`, split at the first `=`.
    pub commands: Vec<(String, String)>,
    /// `--app DIR`
    pub app: Option<PathBuf>,
    /// `--name NAME`
    pub name: Option<String>,
    /// Files that are never packed, such as the output; they need not exist.
    pub never: Vec<PathBuf>,
    /// What the project is called where nothing else says it; then there need not be anything else.
    pub otherwise: Option<String>,
}

/// What is packed.
#[derive(Clone)]
pub struct Project {
    /// Its name, as its author writes it.
    pub name: String,
    /// Its version, where it says one without being built.
    pub version: Option<String>,
    /// What it needs, in the order it was written.
    pub requirements: Vec<Requirement>,
    /// Files of requirements, in pip's format.
    pub requirement_files: Vec<PathBuf>,
    /// Files of constraints, in pip's format.
    pub constraint_files: Vec<PathBuf>,
    /// Wheel files, and the extras wanted of each.
    pub wheels: Vec<(PathBuf, Vec<String>)>,
    /// Directories that a wheel is built of; where the project is one, it is the first.
    pub builds: Vec<Build>,
    /// `app/...`: the source tree that is not a wheel.
    pub app: Option<Tree>,
    /// The script, where the project is one.
    pub script: Option<TreePath>,
    /// The commands that are stated, by name.
    pub commands: BTreeMap<String, EntryPoint>,
    /// The name of the default command, where it is stated. It may name a console script.
    pub default: Option<String>,
    /// The interpreter to pack, as `--python` takes it, where the project says one.
    pub python: Option<String>,
    /// Who states which versions of Python, for what has no wheel that says so.
    pub requires_python: Vec<(String, String)>,
    /// Variables that are set for the app where the user has not set them.
    pub variables: BTreeMap<String, String>,
    /// What the user should know: files that were left out.
    pub notes: Vec<String>,
}

/// A directory that a wheel is built of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The directory, absolute.
    pub directory: PathBuf,
    /// The extras that are wanted.
    pub extras: Vec<String>,
}

impl Project {
    /// Puts together what the words say.
    pub fn read(words: &Words) -> Result<Project> {
        let mut reader = Reader { project: Project::empty(), name: None, never: absolute(&words.never) };
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
            if file.extension().is_some_and(|end| end == "toml") {
                return Err(Failure::new(format!("{} is not a file of requirements", file.display()))
                    .hint("-r takes pip's format; give a project as its directory"));
            }
            std::fs::File::open(file).context(|| format!("{} cannot be read", file.display()))?;
        }
        reader.finish(words)
    }

    fn empty() -> Project {
        Project {
            name: String::new(),
            version: None,
            requirements: Vec::new(),
            requirement_files: Vec::new(),
            constraint_files: Vec::new(),
            wheels: Vec::new(),
            builds: Vec::new(),
            app: None,
            script: None,
            commands: BTreeMap::new(),
            default: None,
            python: None,
            requires_python: Vec::new(),
            variables: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}

/// Puts one word after the other into a project; the first one gives it its name.
struct Reader {
    project: Project,
    name: Option<String>,
    never: Vec<PathBuf>,
}

impl Reader {
    fn call(&mut self, name: &str, version: Option<String>) {
        if self.name.is_none() {
            self.name = Some(name.to_owned());
            self.project.version = version;
        }
    }

    fn take_directory(&mut self, path: &Path, extras: &[String]) -> Result<()> {
        let directory = DirectoryProject::read(path, extras)?;
        if directory.is_app {
            self.walk(path, &directory.settings)?;
        }
        self.call(&directory.name, directory.version);
        let project = &mut self.project;
        project.requirements.extend(directory.requirements);
        project.requirement_files.extend(directory.requirement_files);
        project.commands.extend(directory.commands);
        if let Some(build) = directory.build {
            project.builds.push(build);
        } else if let Some(specifier) = directory.requires_python {
            project.requires_python.push((directory.name, specifier));
        }
        self.take_settings(directory.settings);
        Ok(())
    }

    fn take_script(&mut self, path: &Path) -> Result<()> {
        let file = path.display().to_string();
        let source = std::fs::read(path).context(|| format!("{file} cannot be read"))?;
        let script = ScriptMetadata::read(&String::from_utf8_lossy(&source), &file)?;
        let (tree, place) = single_file(path)?;
        self.set_app(tree, path)?;
        self.call(path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("app"), None);
        self.project.requirements.extend(script.requirements);
        self.project.requires_python.extend(script.requires_python.map(|specifier| (file, specifier)));
        self.project.commands.extend(script.settings.commands.clone());
        self.project.script = Some(place);
        self.take_settings(script.settings);
        Ok(())
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
        self.walk(directory, &Settings::default())
    }

    fn walk(&mut self, directory: &Path, settings: &Settings) -> Result<()> {
        let selection =
            Selection { include: &settings.include, exclude: &settings.exclude, never: &self.never };
        let (tree, notes) = walk(directory, &selection)?;
        self.project.notes.extend(notes);
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
        for (name, value) in settings.environment {
            project.variables.entry(name).or_insert(value);
        }
    }

    fn finish(mut self, words: &Words) -> Result<Project> {
        let by_app = || words.app.as_ref().and_then(|path| path.canonicalize().ok());
        if let Some(name) = by_app().as_deref().and_then(Path::file_name).and_then(|name| name.to_str()) {
            self.call(name, None);
        }
        let mut project = self.project;
        project.requirement_files.extend(words.requirement_files.iter().cloned());
        project.constraint_files.extend(words.constraint_files.iter().cloned());
        for (name, text) in &words.commands {
            check_command_name(name)?;
            project.commands.insert(name.clone(), EntryPoint::parse(text)?);
        }
        let nothing = project.app.is_none() && project.builds.is_empty() && project.wheels.is_empty();
        if nothing
            && project.requirements.is_empty()
            && project.requirement_files.is_empty()
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

/// Makes `-e`'s entry a command, called after the project, unless a command is meant by it.
fn name_for(entry: EntryPoint, project: &mut Project) -> String {
    if let (Entry::Named(name), true) = (&entry.entry, entry.args.is_empty())
        && project.commands.contains_key(name)
    {
        return name.clone();
    }
    let name =
        if check_command_name(&project.name).is_ok() { project.name.clone() } else { "app".to_owned() };
    project.commands.insert(name.clone(), entry);
    name
}

/// What a project that is only an entry is called.
fn name_of(entry: &EntryPoint) -> String {
    match &entry.entry {
        Entry::Function { module: name, .. } | Entry::Module(name) => {
            name.split('.').next().unwrap_or(name).to_owned()
        }
        Entry::Script(name) | Entry::Named(name) => name.clone(),
        Entry::File(path) => path.file_name().trim_end_matches(".py").to_owned(),
    }
}

/// Absolute paths with the links of their directories resolved, as the walk meets them.
fn absolute(paths: &[PathBuf]) -> Vec<PathBuf> {
    let resolved = |path: &PathBuf| {
        let path = std::path::absolute(path).ok()?;
        Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
    };
    paths.iter().filter_map(resolved).collect()
}

#[cfg(test)]
mod tests;
