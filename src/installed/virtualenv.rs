//! A virtualenv: whether a directory is one, and where in it things are.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;

/// A virtualenv that can be packed.
#[derive(Debug)]
pub struct Virtualenv {
    /// Its directory as the user names it.
    pub shown: String,
    /// Its directory, absolute, symbolic links resolved.
    pub root: PathBuf,
    /// Its interpreter.
    pub interpreter: Interpreter,
    /// Its directories of modules: one, and where `lib64` is another directory than `lib`, two.
    pub site_packages: Vec<PathBuf>,
    /// Directories that it is known by in what installers wrote: where it is, and where it was made.
    pub names: Vec<PathBuf>,
}

impl Virtualenv {
    /// Looks at `directory` and asks its interpreter what it is.
    ///
    /// Fails, saying what is wrong, on what is no virtualenv, a broken one, and one that lets in what is
    /// installed outside of it.
    pub fn open(directory: &Path) -> Result<Virtualenv> {
        let shown = directory.display().to_string();
        let root = directory.canonicalize().map_err(|error| {
            Failure::new(format!("--venv {shown}: no such directory"))
                .because(error)
                .hint("make one with `python -m venv` or `uv venv`, and install the app into it")
        })?;
        let settings = settings(&root, &shown)?;
        let value =
            |key: &str| settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        if value("include-system-site-packages").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Failure::new(format!(
                "{shown} lets in what is installed outside of it (include-system-site-packages in its \
                 pyvenv.cfg), and that would be missing in the bundle"
            ))
            .hint("set it to false if the app runs like that, else install what is missing into it"));
        }
        let interpreter = interpreter(&root, &shown)?;
        let site_packages = site_packages(&root, &shown, &interpreter)?;
        let mut names = vec![root.clone()];
        names.extend(std::path::absolute(directory).ok());
        names.extend(made_in(&root));
        Ok(Virtualenv { shown, root, interpreter, site_packages, names })
    }

    /// What an app is called that is known by its virtualenv alone: the virtualenv's name, or that of the
    /// directory it is in where it is called as they all are.
    pub fn name(&self) -> String {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let own = name(&self.root)
            .filter(|name| !name.starts_with('.') && !matches!(name.as_str(), "venv" | "env" | "virtualenv"));
        own.or_else(|| name(self.root.parent()?)).unwrap_or_else(|| "app".to_owned())
    }
}

/// The lines `KEY = VALUE` of `pyvenv.cfg`.
fn settings(root: &Path, shown: &str) -> Result<Vec<(String, String)>> {
    let refuse = |why: String| Failure::new(format!("--venv {shown}: {why}"));
    if root.join("conda-meta").is_dir() {
        return Err(refuse("this is a conda environment, not a virtualenv".into()).hint(
            "what conda installs is bound to its place: list what the app needs with -r, and name its \
             interpreter with --python",
        ));
    }
    if !root.is_dir() {
        return Err(refuse("this is no directory".into()).hint("name the virtualenv's directory"));
    }
    let file = root.join("pyvenv.cfg");
    if !file.is_file() {
        let parent = root.parent().filter(|_| root.ends_with("bin")).map(|parent| parent.display());
        return Err(refuse("this is not a virtualenv, there is no pyvenv.cfg in it".into()).hint(
            match parent {
                Some(parent) => format!("name the virtualenv's directory: --venv {parent}"),
                None => "name a directory that `python -m venv`, virtualenv or `uv venv` made".into(),
            },
        ));
    }
    let text = fs::read(&file).context(|| format!("{} cannot be read", file.display()))?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    Ok(lines.map(|(key, value)| (key.trim().to_lowercase(), value.trim().to_owned())).collect())
}

fn interpreter(root: &Path, shown: &str) -> Result<Interpreter> {
    let again =
        "make the virtualenv anew: its interpreter was removed, or the virtualenv was copied from elsewhere";
    let candidates = ["bin/python", "bin/python3"].map(|name| root.join(name));
    let Some(python) = candidates.iter().find(|path| fs::symlink_metadata(path).is_ok()) else {
        let message = format!("{shown} is broken: there is no bin/python in it");
        return Err(Failure::new(message).hint(again));
    };
    if let Err(error) = python.canonicalize() {
        let target = fs::read_link(python).map(|target| format!(" ({})", target.display()));
        let target = target.unwrap_or_default();
        let message = format!("{shown} is broken: what its bin/python leads to{target} is not there");
        return Err(Failure::new(message).because(error).hint(again));
    }
    Interpreter::probe(python)
}

fn site_packages(root: &Path, shown: &str, interpreter: &Interpreter) -> Result<Vec<PathBuf>> {
    let threads = if interpreter.abi_flags.contains('t') { "t" } else { "" };
    let version = interpreter.minor_version();
    let (mut found, mut seen): (Vec<PathBuf>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    for library in ["lib", "lib64"] {
        let directory = root.join(format!("{library}/python{version}{threads}/site-packages"));
        if let Ok(real) = directory.canonicalize()
            && !seen.contains(&real)
        {
            seen.push(real);
            found.push(directory);
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let mut others: Vec<String> = fs::read_dir(root.join("lib"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("python"))
        .collect();
    others.sort();
    let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
    Err(Failure::new(format!(
        "{shown} is broken: its interpreter is Python {version}, and there is no lib/python{version}{threads}/site-packages, \
         but {others}"
    ))
    .hint("make the virtualenv anew: another Python has come in place of the one it was made with"))
}

/// Where the virtualenv was made, by its own `activate`: it may have been moved or copied since.
fn made_in(root: &Path) -> Vec<PathBuf> {
    let Ok(text) = fs::read(root.join("bin/activate")) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    let values = text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let value = line.strip_prefix("VIRTUAL_ENV=")?;
        let path = PathBuf::from(shlex::split(value)?.into_iter().next()?);
        path.is_absolute().then_some(path)
    });
    values.collect()
}
