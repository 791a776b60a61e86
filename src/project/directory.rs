//! What a directory is: something to build a wheel of, or a source tree that is packed as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::production::Service;

use super::entry::EntryPoint;
use super::pyproject::{ProjectTable, PyProject};
use super::requirement::Requirement;
use super::settings::{self, Settings};
use super::{Build, about, check_command_name, procfile, production};
use crate::error::{Context, Failure, Result};
use crate::lock::normal_name;

/// What a directory says of itself.
#[derive(Debug)]
pub struct DirectoryProject {
    /// Its name: the distribution's, else the directory's.
    pub name: String,
    /// Its version, where it says one without being built.
    pub version: Option<String>,
    /// What is built of it; `None` for a plain source tree.
    pub build: Option<Build>,
    /// Whether files of it are packed as they are, chosen by `settings`.
    pub is_app: bool,
    /// What it needs, where it is not built: a wheel says that itself.
    pub requirements: Vec<Requirement>,
    /// Its own file of requirements.
    pub requirement_files: Vec<PathBuf>,
    /// The commands it states.
    pub commands: BTreeMap<String, EntryPoint>,
    /// What a server keeps running of it.
    pub services: BTreeMap<String, Service>,
    /// The versions of Python it runs on.
    pub requires_python: Option<String>,
    /// What it says of itself, as labels of an image.
    pub about: BTreeMap<String, String>,
    /// Its `[tool.coil]`.
    pub settings: Settings,
}

impl DirectoryProject {
    /// Reads what the directory says; nothing in it is run.
    pub fn read(directory: &Path, extras: &[String]) -> Result<DirectoryProject> {
        let root = directory.canonicalize().context(|| format!("{} cannot be read", directory.display()))?;
        let called = root.file_name().and_then(|name| name.to_str()).unwrap_or("app").to_owned();
        let pyproject = PyProject::find(&root)?;
        let own_file = Settings::find(&root)?;
        let has_settings = pyproject.as_ref().is_some_and(|page| page.has_settings);
        if own_file.is_some() && has_settings {
            let message =
                format!("{} has settings in two places: coil.toml and pyproject.toml", root.display());
            return Err(Failure::new(message)
                .hint("move what is under [tool.coil] in pyproject.toml to the top of coil.toml"));
        }
        // What coil is told changes nothing about what the directory is.
        let built = pyproject.as_ref().is_some_and(|page| page.build_system.is_some())
            || (has_setup(&root) && pyproject.as_ref().is_none_or(|page| page.project.is_none()));
        let page = pyproject.unwrap_or_default();
        let settings_file = root.join(if own_file.is_some() { settings::FILE } else { "pyproject.toml" });
        let settings = own_file.unwrap_or(page.settings);
        let table = page.project.unwrap_or_default();
        let mut project = DirectoryProject {
            name: table.name.clone().or_else(|| settings.name.clone()).unwrap_or(called),
            version: table.version.clone(),
            build: None,
            is_app: true,
            requirements: Vec::new(),
            requirement_files: Vec::new(),
            commands: BTreeMap::new(),
            services: BTreeMap::new(),
            requires_python: table.requires_python.clone(),
            about: about::labels(&table),
            settings,
        };
        if built {
            // Files beside the wheel (manage.py) are packed only where the project asks for them.
            let settings = &mut project.settings;
            if settings.include.is_empty() {
                settings.include.clone_from(&settings.artifacts);
            }
            project.is_app = !settings.include.is_empty();
            project.build = Some(Build { directory: root.clone(), extras: extras.to_vec(), date: None });
        } else {
            project.take_dependencies(&table, extras, &root)?;
        }
        project.take_commands(&table, built)?;
        let types = project.take_procfile(&root)?;
        let said = std::mem::take(&mut project.settings.services);
        let file = settings_file.display().to_string();
        project.services = production::chosen(said, &project.commands, &types, &file)?;
        project.settings.check_default(&project.commands, &file)?;
        Ok(project)
    }

    /// A source tree says what it needs in `[project]`, or in requirements.txt.
    fn take_dependencies(&mut self, table: &ProjectTable, extras: &[String], root: &Path) -> Result<()> {
        let origin = root.join("pyproject.toml").display().to_string();
        if let Some(field) = table.dynamic.iter().find(|field| field.ends_with("dependencies")) {
            return Err(Failure::new(format!(
                "{origin} leaves its {field} to a build backend and names none"
            ))
            .hint("add a [build-system], or list the dependencies under [project]"));
        }
        let mut texts: Vec<&String> = table.dependencies.iter().collect();
        for extra in extras {
            let wanted = normal_name(extra);
            let group = table.optional_dependencies.iter().find(|(name, _)| normal_name(name) == wanted);
            let Some((_, group)) = group else {
                let known: Vec<&str> = table.optional_dependencies.keys().map(String::as_str).collect();
                return Err(Failure::new(format!("{} has no extra called {extra:?}", self.name))
                    .hint(format!("its extras are: {}", known.join(", "))));
            };
            texts.extend(group);
        }
        for text in &texts {
            self.requirements.push(Requirement::parse(text, &origin)?);
        }
        let file = root.join("requirements.txt");
        if texts.is_empty() && file.is_file() {
            self.requirement_files.push(file);
        }
        Ok(())
    }

    fn take_commands(&mut self, table: &ProjectTable, built: bool) -> Result<()> {
        for (name, target) in &table.scripts {
            check_command_name(name)?;
            // The wheel has a console script of this name; a source tree has only the function.
            let text = if built { name } else { target.split('[').next().unwrap_or(target).trim() };
            let entry = match built {
                true => EntryPoint::of(super::entry::Entry::Script(text.to_owned())),
                false => EntryPoint::parse(&text.replace(' ', ""))?,
            };
            self.commands.insert(name.clone(), entry);
        }
        self.commands.extend(self.settings.commands.clone());
        Ok(())
    }

    /// The process types of a Procfile are commands; `web` is what runs where nobody says what does.
    /// Returns the names of those.
    fn take_procfile(&mut self, root: &Path) -> Result<Vec<String>> {
        let types = procfile::find(root, &self.commands)?;
        let settings = &mut self.settings;
        if settings.default.is_none() && types.commands.contains_key(procfile::WEB) {
            settings.default = Some(procfile::WEB.to_owned());
        }
        if types.commands.values().any(procfile::needs_port) {
            let port = settings.environment.entry("PORT".to_owned());
            port.or_insert_with(|| procfile::PORT.to_owned());
        }
        self.commands.extend(types.commands);
        Ok(types.names)
    }
}

/// Whether setuptools has something to build: a `setup.cfg` may also hold nothing but other tools' settings.
fn has_setup(root: &Path) -> bool {
    let metadata = |text: String| text.lines().any(|line| line.trim() == "[metadata]");
    root.join("setup.py").is_file() || std::fs::read_to_string(root.join("setup.cfg")).is_ok_and(metadata)
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<DirectoryProject> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        DirectoryProject::read(directory.path(), &[])
    }

    const PROJECT: &str = "[project]\nname = \"Tool\"\nversion = \"1\"\ndependencies = [\"click>=8\"]\n\
                           requires-python = \">=3.9\"\nscripts = { tool = \"tool.cli:main\" }\n";

    #[test]
    fn a_build_system_means_a_wheel() {
        let system = "[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n";
        let project = read(&[("pyproject.toml", &format!("{PROJECT}{system}"))]).unwrap();
        assert!(project.build.is_some() && !project.is_app && project.requirements.is_empty());
        assert_eq!(project.commands["tool"].entry, Entry::Script("tool".into()));
        let beside = format!("{PROJECT}{system}[tool.coil]\ninclude = [\"manage.py\"]\n");
        assert!(read(&[("pyproject.toml", &beside)]).unwrap().is_app);
        assert!(read(&[("setup.py", "")]).unwrap().build.is_some());
        assert!(read(&[("setup.py", ""), ("coil.toml", "python = \"3.12\"")]).unwrap().build.is_some());
        assert!(read(&[("setup.cfg", "[metadata]\nname = x\n")]).unwrap().build.is_some());
        assert!(read(&[("setup.cfg", "[flake8]\n")]).unwrap().build.is_none());
    }

    #[test]
    fn a_project_without_a_build_system_is_packed_as_it_is() {
        let project = read(&[("pyproject.toml", PROJECT), ("requirements.txt", "flask")]).unwrap();
        assert!(project.build.is_none() && project.is_app && project.requirement_files.is_empty());
        assert_eq!(project.requirements[0].text, "click>=8");
        assert_eq!((project.name.as_str(), project.version.as_deref()), ("Tool", Some("1")));
        assert!(
            matches!(&project.commands["tool"].entry, Entry::Function { module, .. } if module == "tool.cli")
        );
        assert_eq!(project.requires_python.as_deref(), Some(">=3.9"));
    }

    #[test]
    fn a_plain_tree_uses_its_requirements_file() {
        let project = read(&[("manage.py", ""), ("requirements.txt", "django")]).unwrap();
        assert!(project.build.is_none() && project.is_app);
        assert!(project.requirement_files[0].ends_with("requirements.txt"));
        let settings = "[tool.coil.commands]\nweb = \"gunicorn a.wsgi\"\n";
        let project = read(&[("pyproject.toml", settings), ("requirements.txt", "django")]).unwrap();
        assert_eq!(project.requirement_files.len(), 1);
        assert!(project.commands.contains_key("web"));
    }

    #[test]
    fn settings_are_in_one_place() {
        let own = ("coil.toml", "name = \"site\"\n[commands]\nweb = \"manage.py\"\n");
        let project = read(&[own, ("manage.py", "")]).unwrap();
        assert_eq!((project.name.as_str(), project.commands.len()), ("site", 1));
        let project = read(&[own, ("pyproject.toml", PROJECT)]).unwrap();
        assert_eq!((project.name.as_str(), project.commands.len()), ("Tool", 2));
        let error = read(&[own, ("pyproject.toml", "[tool.coil]\ndefault = \"web\"\n")]).unwrap_err();
        assert!(error.to_string().ends_with("has settings in two places: coil.toml and pyproject.toml"));
    }

    #[test]
    fn process_types_are_commands_unless_they_are_stated() {
        let lines = ("Procfile", "web: gunicorn a --bind :$PORT\nrelease: manage.py migrate\n");
        let project = read(&[lines]).unwrap();
        assert_eq!(project.settings.default.as_deref(), Some("web"));
        assert_eq!(project.settings.environment["PORT"], "5000");
        let own = "default = \"release\"\nenvironment = { PORT = \"80\" }\n[commands]\nweb = \"other.py\"\n";
        let project = read(&[lines, ("coil.toml", own)]).unwrap();
        assert_eq!(project.settings.default.as_deref(), Some("release"));
        assert_eq!(project.settings.environment["PORT"], "80");
        assert!(project.commands["web"].args.is_empty());
        assert!(read(&[lines, ("coil.toml", "default = \"worker\"")]).is_err());
    }

    #[test]
    fn dependencies_that_nobody_can_tell_are_refused() {
        let error = read(&[("pyproject.toml", "[project]\nname = \"x\"\ndynamic = [\"dependencies\"]\n")])
            .unwrap_err();
        assert!(error.to_string().contains("names none"));
        let directory = tempfile::tempdir().unwrap();
        assert!(DirectoryProject::read(directory.path(), &["nope".into()]).is_err());
    }
}
