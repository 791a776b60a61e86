//! Looks at a directory: what in it could be started, and with what. Nothing of it is run or changed.

use std::collections::BTreeSet;
use std::path::Path;

use super::directory::DirectoryProject;
use super::procfile;
use super::pyproject::PyProject;
use super::requirement::Requirement;
use super::sources::{Sources, Wanted};
use super::walk::{Selection, walk, walk_tracked};
use crate::error::Result;
use crate::lock::normal_name;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The project's name.
    pub name: String,
    /// Whether a wheel is built of it; then its files are not packed as they are.
    pub built: bool,
    /// Whether it has commands already: console scripts, a Procfile.
    pub has_commands: bool,
    /// Whether it has a Procfile.
    pub has_procfile: bool,
    /// Whether there is Django's `manage.py` at the top.
    pub has_manage: bool,
    /// Whether Django collects static files into a directory.
    pub collects_static: bool,
    /// Its distributions' names in normal form, as far as they are stated.
    pub requirements: BTreeSet<String>,
    /// What a server can serve: `mysite.wsgi`, `app:app`.
    pub served: Vec<Served>,
    /// Python files at the top, but for those that belong to tools.
    pub files: Vec<String>,
    /// Packages that `python -m` runs.
    pub runnable: Vec<String>,
}

/// Something that a web server can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// How servers name it: `mysite.wsgi`, `app:app`, `app:create_app()`.
    pub target: String,
    /// What it speaks.
    pub interface: Interface,
    /// Whether it is Flask's, which can serve it by itself.
    pub flask: bool,
}

/// How a server and an app talk to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// PEP 3333.
    Wsgi,
    /// The asynchronous one.
    Asgi,
}

/// Classes that apps are made of.
const FRAMEWORKS: [(&str, Interface); 6] = [
    ("Flask", Interface::Wsgi),
    ("Bottle", Interface::Wsgi),
    ("FastAPI", Interface::Asgi),
    ("Starlette", Interface::Asgi),
    ("Litestar", Interface::Asgi),
    ("Quart", Interface::Asgi),
];

/// Files at the top that are no app.
const TOOLS: [&str; 6] =
    ["setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py", "gunicorn.conf.py"];

/// Looks at `directory`.
pub fn look_at(directory: &Path) -> Result<Survey> {
    let project = DirectoryProject::read(directory, &[])?;
    let place = Sources::new(&Wanted::default()).enter(directory)?;
    let (tree, _) = match &place.tracked {
        Some(tracked) => walk_tracked(directory, &tracked.files, &Selection::default())?,
        None => walk(directory, &Selection::default())?,
    };
    let mut survey = Survey {
        built: project.build.is_some(),
        has_commands: !project.commands.is_empty(),
        has_procfile: directory.join(procfile::NAME).is_file(),
        requirements: requirements(directory, &project)?,
        name: project.name,
        ..Survey::default()
    };
    for (path, node) in tree.iter() {
        let Some(inner) = path.below("app").filter(|inner| inner.ends_with(".py")) else { continue };
        let text = String::from_utf8_lossy(&node.content.read().unwrap_or_default()).into_owned();
        survey.take(inner, &text);
    }
    Ok(survey)
}

impl Survey {
    /// Whether it needs a distribution, as far as it says.
    pub fn needs(&self, name: &str) -> bool {
        self.requirements.contains(name)
    }

    fn take(&mut self, inner: &str, text: &str) {
        let is_top = !inner.contains('/');
        if inner == "manage.py" && text.contains("django") {
            self.has_manage = true;
        } else if is_top && !TOOLS.contains(&inner) && !inner.starts_with("test_") {
            self.files.push(inner.to_owned());
        }
        self.collects_static |= inner.contains("settings") && defines(text, "STATIC_ROOT");
        let Some(module) = self.module(inner) else { return };
        if let Some(package) = module.strip_suffix(".__main__") {
            self.runnable.push(package.to_owned());
        }
        let module = module.strip_suffix(".__init__").unwrap_or(&module);
        let mut add =
            |target: String, interface, flask| self.served.push(Served { target, interface, flask });
        for (last, interface) in [(".wsgi", Interface::Wsgi), (".asgi", Interface::Asgi)] {
            if format!(".{module}").ends_with(last) && defines(text, "application") {
                return add(format!("{module}:application"), interface, false);
            }
        }
        for (framework, interface) in FRAMEWORKS {
            if let Some(name) = object_of(text, framework) {
                add(format!("{module}:{name}"), interface, framework == "Flask");
            } else if text.contains(&format!("{framework}(")) && text.contains("\ndef create_app(") {
                add(format!("{module}:create_app()"), interface, framework == "Flask");
            }
        }
    }

    /// The module that a file is, where it can be imported: in a wheel `src` is no package, and in a tree that
    /// is packed as it is nothing below it can be.
    fn module(&self, inner: &str) -> Option<String> {
        let inner = if self.built { inner.strip_prefix("src/").unwrap_or(inner) } else { inner };
        let name = inner.strip_suffix(".py")?.replace('/', ".");
        let is_name = |part: &str| part.chars().all(|c| c == '_' || c.is_alphanumeric());
        let ours = !["tests.", "test.", "src.", "docs.", "examples."].iter().any(|top| name.starts_with(top));
        (ours && name.split('.').all(is_name)).then_some(name)
    }
}

fn defines(text: &str, name: &str) -> bool {
    text.lines()
        .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', ':'])))
}

/// The name of a global variable that is set to an object of `class`: `app = Flask(__name__)`.
fn object_of<'a>(text: &'a str, class: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let name = name.split(':').next().unwrap_or(name).trim_end();
        let called = value.trim_start().split('(').next()?.rsplit('.').next()?;
        let plain = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_alphanumeric());
        (plain && called == class && value.contains('(')).then_some(name)
    })
}

/// What the project says it needs; what that needs in turn is only known after a resolution.
fn requirements(directory: &Path, project: &DirectoryProject) -> Result<BTreeSet<String>> {
    let mut found: BTreeSet<String> = project.requirements.iter().map(of_requirement).collect();
    let page = PyProject::find(directory)?.unwrap_or_default();
    for text in page.project.unwrap_or_default().dependencies {
        found.extend(Requirement::parse(&text, "pyproject.toml").as_ref().map(of_requirement).ok());
    }
    for file in &project.requirement_files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().map(|line| line.split(" #").next().unwrap_or(line).trim());
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '-']));
        found.extend(lines.filter_map(|line| Some(of_requirement(&Requirement::parse(line, "").ok()?))));
    }
    if found.contains("fastapi[standard]") {
        found.insert("uvicorn".to_owned());
    }
    Ok(found)
}

fn of_requirement(requirement: &Requirement) -> String {
    let standard = requirement.text.replace(' ', "").starts_with("fastapi[standard]");
    if standard { "fastapi[standard]".to_owned() } else { normal_name(&requirement.name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(files: &[(&str, &str)]) -> Survey {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        look_at(directory.path()).unwrap()
    }

    fn targets(survey: &Survey) -> Vec<&str> {
        survey.served.iter().map(|served| served.target.as_str()).collect()
    }

    #[test]
    fn a_django_site_is_recognised() {
        let found = survey(&[
            ("manage.py", "import django\n"),
            ("mysite/wsgi.py", "application = get_wsgi_application()\n"),
            ("mysite/settings.py", "STATIC_ROOT = 'static'\n"),
            ("requirements.txt", "# what it needs\nDjango>=5  # the framework\ngunicorn\n-r other.txt\n"),
        ]);
        assert!(found.has_manage && found.collects_static && !found.has_commands && found.files.is_empty());
        assert_eq!(targets(&found), ["mysite.wsgi:application"]);
        assert!(found.needs("django") && found.needs("gunicorn"));
    }

    #[test]
    fn objects_and_factories_of_frameworks_are_recognised() {
        let found = survey(&[
            ("main.py", "from fastapi import FastAPI\napi: FastAPI = FastAPI(title='x')\n"),
            ("site/__init__.py", "import flask\n\ndef create_app():\n    return flask.Flask(__name__)\n"),
            ("web.py", "import flask\nserver = flask.Flask(__name__)\n"),
            ("tests/web.py", "app = Flask(__name__)\n"),
            ("requirements.txt", "fastapi[standard] >= 0.1\n"),
        ]);
        assert_eq!(targets(&found), ["main:api", "site:create_app()", "web:server"]);
        assert!(found.needs("uvicorn"));
        assert_eq!(found.files, ["main.py", "web.py"]);
    }

    #[test]
    fn in_a_project_with_a_wheel_src_is_no_package() {
        let found = survey(&[
            (
                "pyproject.toml",
                "[build-system]\nrequires = []\n[project]\nname = \"x\"\ndependencies = [\"Flask\"]\n",
            ),
            ("src/pkg/__main__.py", ""),
            ("src/pkg/app.py", "app = Flask(__name__)\n"),
        ]);
        assert!(found.built && found.needs("flask"));
        assert_eq!(targets(&found), ["pkg.app:app"]);
        assert_eq!(found.runnable, ["pkg"]);
    }
}
