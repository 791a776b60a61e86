//! `pyproject.toml`: the tables that coil reads of it. Other tools' tables are passed over.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::settings::Settings;
use crate::error::{Context, Failure, Result};

/// What coil reads of a `pyproject.toml`.
#[derive(Debug, Default)]
pub struct PyProject {
    /// How a wheel is built of the directory, where it can be.
    pub build_system: Option<BuildSystem>,
    /// The table `[project]`.
    pub project: Option<ProjectTable>,
    /// The table `[tool.coil]`.
    pub settings: Settings,
    /// Whether there is a `[tool.coil]`.
    pub has_settings: bool,
}

/// PyPA, "pyproject.toml specification", the table `[build-system]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildSystem {
    /// What must be there to build.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The module, and possibly an object in it, that builds.
    pub build_backend: Option<String>,
    /// Where in the directory the backend itself is.
    #[serde(default)]
    pub backend_path: Vec<String>,
}

/// PyPA, "pyproject.toml specification", the table `[project]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProjectTable {
    /// The name of the distribution.
    pub name: Option<String>,
    /// Its version, unless that is dynamic.
    pub version: Option<String>,
    /// The versions of Python it runs on.
    pub requires_python: Option<String>,
    /// What it needs.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// What it needs for each extra.
    #[serde(default)]
    pub optional_dependencies: BTreeMap<String, Vec<String>>,
    /// Its console scripts.
    #[serde(default)]
    pub scripts: BTreeMap<String, String>,
    /// What it is, in one line.
    pub description: Option<toml::Value>,
    /// Its licence: an SPDX expression, or an older table.
    pub license: Option<toml::Value>,
    /// Where it is in the web, by labels.
    pub urls: Option<toml::Value>,
    /// The fields that only the backend knows.
    #[serde(default)]
    pub dynamic: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Page {
    build_system: Option<BuildSystem>,
    project: Option<ProjectTable>,
    #[serde(default)]
    tool: toml::Table,
}

impl PyProject {
    /// Reads the `pyproject.toml` in `directory`; `None` where there is none.
    pub fn find(directory: &Path) -> Result<Option<PyProject>> {
        let path = directory.join("pyproject.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => PyProject::read(&text, &path.display().to_string()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(format!("{} cannot be read", path.display())).because(error)),
        }
    }

    /// Reads the text of the file called `file`.
    pub fn read(text: &str, file: &str) -> Result<PyProject> {
        let page: Page = toml::from_str(text).context(|| format!("{file} cannot be read"))?;
        let table = match page.tool.get("coil") {
            Some(toml::Value::Table(table)) => Some(table),
            Some(_) => return Err(Failure::new(format!("{file}: tool.coil must be a table"))),
            None => None,
        };
        Ok(PyProject {
            build_system: page.build_system,
            project: page.project,
            has_settings: table.is_some(),
            settings: table.map(|table| Settings::read(table, file)).transpose()?.unwrap_or_default(),
        })
    }
}
