//! The key of a resolution: equal keys mean that a stored resolution can be used again.

use std::path::Path;

use serde_json::json;

use coil_bootstrap::format::digest::Digest;

use super::requirement_file::RequirementFiles;
use super::settings::{pip_files, uv_files};
use super::{Options, Request, fetch};
use crate::error::Result;
use crate::interpreter::Interpreter;
use crate::project::lock_file::{LockFile, LockKind, workspace_of};

/// Changed whenever the same request would come to another result.
const GENERATION: u32 = 1;

impl Request {
    /// A digest of everything that determines the resolution but the state of the indexes: texts and
    /// contents of what is asked for, the interpreter's markers and tags, options, and what is configured
    /// for uv and pip.
    ///
    /// Fails where a file cannot be read, or names an editable requirement.
    pub fn key(&self, interpreter: &Interpreter) -> Result<Digest> {
        let files = RequirementFiles::read(&self.requirement_files, &self.constraint_files)?;
        let wheels: Vec<_> = self
            .wheels
            .iter()
            .map(|(path, extras)| {
                Ok(json!([path.file_name().map(|n| n.to_string_lossy()), fetch::digest(path)?, extras]))
            })
            .collect::<Result<_>>()?;
        let built: Vec<_> = self.built.iter().map(|built| json!([built.metadata, built.extras])).collect();
        let key = json!({
            "generation": GENERATION,
            "requirements": self.requirements.iter().map(|requirement| &requirement.text).collect::<Vec<_>>(),
            "files": files.contents,
            "constraints": self.constraint_files.len(),
            "wheels": wheels,
            "locks": self.locks.iter().map(lock_essence).collect::<Vec<_>>(),
            "extras": self.extras,
            "groups": self.groups,
            "projects": self.uv_projects.iter().map(|project| pyprojects(project)).collect::<Vec<_>>(),
            "trees": self.trees,
            "built": built,
            "options": self.options.essence(),
            "interpreter": interpreter_essence(interpreter),
            "variables": variables(),
            "configuration": configuration(),
        });
        Ok(Digest::of(key.to_string().as_bytes()))
    }
}

/// A lock's place and content, and what else its exporter reads: the pyproject.toml of every source tree
/// that it names.
fn lock_essence(lock: &LockFile) -> serde_json::Value {
    let text = std::fs::read_to_string(&lock.path).unwrap_or_default();
    let root = lock.path.parent().unwrap_or(Path::new("/"));
    let mut read = Vec::new();
    match lock.kind {
        LockKind::Pylock => {}
        LockKind::UvScript => read.extend(lock.project.clone()),
        LockKind::Uv | LockKind::Poetry | LockKind::Pdm => {
            let places =
                text.lines().filter_map(|line| line.split_once("source = {")).flat_map(|(_, source)| {
                    let words = ["editable = \"", "virtual = \"", "directory = \""];
                    words.into_iter().filter_map(|word| source.split_once(word)?.1.split('"').next())
                });
            read.extend(places.map(|place| root.join(place).join("pyproject.toml")));
            read.push(root.join("pyproject.toml"));
        }
    }
    let contents: Vec<_> = read.iter().map(|path| std::fs::read_to_string(path).ok()).collect();
    json!([lock.path, format!("{:?}", lock.kind), lock.project, text, contents])
}

/// What uv reads of a project and of the workspace it is in.
fn pyprojects(project: &Path) -> serde_json::Value {
    let read = |directory: &Path| std::fs::read_to_string(directory.join("pyproject.toml")).ok();
    json!([project, read(project), workspace_of(project).map(|root| read(&root))])
}

impl Options {
    /// The options, and what is in the directories of wheels that they name.
    pub(super) fn essence(&self) -> serde_json::Value {
        let listing = |place: &String| {
            let mut names: Vec<(String, u64)> = std::fs::read_dir(place)
                .into_iter()
                .flatten()
                .filter_map(|entry| {
                    let entry = entry.ok()?;
                    Some((entry.file_name().to_string_lossy().into_owned(), entry.metadata().ok()?.len()))
                })
                .collect();
            names.sort();
            json!([place, names])
        };
        json!({
            "resolver": self.resolver.map(|resolver| format!("{resolver:?}")),
            "index": self.index_url,
            "indexes": self.extra_index_urls,
            "links": self.find_links.iter().map(listing).collect::<Vec<_>>(),
            "no-index": self.no_index,
            "builds": self.builds(),
        })
    }
}

/// What of an interpreter decides which wheels it gets. The kernel's version is left out: an update of the
/// machine is no reason to resolve again.
pub(super) fn interpreter_essence(interpreter: &Interpreter) -> serde_json::Value {
    let mut markers = interpreter.markers.clone();
    markers.retain(|name, _| name != "platform_release" && name != "platform_version");
    json!([interpreter.abi(), interpreter.full_version, interpreter.glibc, interpreter.machine, markers])
}

/// The variables that configure the tools, without those that cannot change the outcome.
fn variables() -> Vec<(String, String)> {
    let idle = [
        "CACHE",
        "TIMEOUT",
        "RETRIES",
        "PROGRESS",
        "COLOR",
        "VERSION_CHECK",
        "VERBOSE",
        "QUIET",
        "CONCURRENT",
        "LOG",
    ];
    let mut variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with("PIP_") || name.starts_with("UV_"))
        .filter(|(name, _)| !idle.iter().any(|part| name.contains(part)))
        .collect();
    variables.sort();
    variables
}

/// The contents of the tools' configuration files; a project's pyproject.toml only where it configures uv.
fn configuration() -> Vec<String> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut files = pip_files(&variable);
    files.extend(uv_files(&variable));
    let content = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file).ok()?;
        if !file.ends_with("pyproject.toml") {
            return Some(text);
        }
        let table: toml::Table = text.parse().ok()?;
        table.get("tool")?.get("uv").map(ToString::to_string)
    };
    files.iter().filter_map(content).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Resolver;
    use super::super::tags::tests::cpython_312;
    use super::*;
    use crate::project::requirement::Requirement;

    #[test]
    fn the_key_changes_with_what_is_asked_for_and_with_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("r.txt");
        std::fs::write(&file, "click").unwrap();
        let request = Request {
            requirements: vec![Requirement::parse("httpie", "here").unwrap()],
            requirement_files: vec![file.clone()],
            ..Request::default()
        };
        let key = |request: &Request| request.key(&cpython_312()).unwrap();
        let first = key(&request);
        assert_eq!(key(&request), first);
        let mut other = request.clone();
        other.options.resolver = Some(Resolver::Pip);
        assert_ne!(key(&other), first);
        let mut newer = cpython_312();
        newer.version.1 = 13;
        assert_ne!(request.key(&newer).unwrap(), first);
        let mut kernel = cpython_312();
        kernel.markers.insert("platform_release".into(), "7.0".into());
        assert_eq!(request.key(&kernel).unwrap(), first);
        std::fs::write(&file, "click<8").unwrap();
        assert_ne!(key(&request), first);
    }
}
