//! What an installation makes of a distribution's files: one tree, and the RECORD that describes it.
//!
//! Whether the files come out of a wheel or out of a virtualenv, the same files make the same tree. What
//! an installation changes (the first line of scripts, the search path of libraries) is changed here, and
//! the RECORD in the tree describes the files as they are installed.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use coil_bootstrap::format::path::TreePath;

use super::contain::{Contained, contain_elf};
use super::entry_points::EntryPoints;
use super::layout::{INTERPRETER, Layout, Place};
use super::record::{self, Algorithm, Claim, Hash, Hasher};
use super::script::with_interpreter;
use super::spill::Spilled;
use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node, Tree};

/// The name this installer signs with in `INSTALLER`.
const INSTALLER: &str = "coil";

/// A distribution's tree in the making.
pub struct Assembly<'a> {
    layout: &'a Layout,
    origin: Arc<str>,
    tree: Tree,
    warnings: Vec<String>,
    installed: BTreeMap<String, Claim>,
}

/// What became of a distribution's files.
pub struct Assembled {
    /// What it puts into an image, its RECORD included.
    pub tree: Tree,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl<'a> Assembly<'a> {
    /// Nothing yet, of the distribution `origin`.
    pub fn new(layout: &'a Layout, origin: &Arc<str>) -> Self {
        let origin = Arc::clone(origin);
        Assembly { layout, origin, tree: Tree::new(), warnings: Vec::new(), installed: BTreeMap::new() }
    }

    /// Adds a file. `what` names it in sentences: `the member x.py`.
    pub fn add_file(&mut self, place: Place, executable: bool, file: Spilled, what: &str) -> Result<()> {
        let Spilled { content, hash, length } = file;
        let origin = Arc::clone(&self.origin);
        let unreadable = || format!("{origin}: {what} cannot be read again");
        let mut changed = None;
        if place.script {
            changed = with_interpreter(&content).context(unreadable)?;
        }
        match contain_elf(&content).context(unreadable)? {
            Contained::Unchanged => {}
            Contained::Changed(contained) => changed = Some(contained),
            Contained::OfHost(error, contained) => {
                changed = contained.or(changed);
                self.warnings.push(format!(
                    "{origin}: {what} is a program that starts only where there is a loader for it: {error}"
                ));
            }
            Contained::Impossible(error) => self.warnings.push(format!(
                "{origin}: {what} keeps the search path for libraries that it came with: {error}"
            )),
        }
        let claim = match &changed {
            _ if is_byte_code(&place.path) => Claim { hash: None, size: None },
            None if hash.algorithm == Algorithm::Sha256 => Claim { hash: Some(hash), size: Some(length) },
            _ => claim(changed.as_ref().unwrap_or(&content)).context(unreadable)?,
        };
        self.insert(place.path, changed.unwrap_or(content), executable || place.script, claim)
    }

    /// Adds a symbolic link, whose target has been checked.
    pub fn add_link(&mut self, path: TreePath, target: String) -> Result<()> {
        self.insert(path, Content::Symlink(target), false, Claim { hash: None, size: None })
    }

    /// Adds the scripts that call the functions of entry points.
    pub fn add_entry_points(&mut self, entry_points: &EntryPoints) -> Result<()> {
        for point in entry_points.scripts() {
            let path = self.layout.script(&point.name).map_err(|why| {
                Failure::new(format!(
                    "{}: the entry point {:?} cannot be installed: {why}",
                    self.origin, point.name
                ))
            })?;
            self.add_text(path, point.script(INTERPRETER).as_bytes(), true)?;
        }
        Ok(())
    }

    /// Adds `INSTALLER` and `RECORD` to `directory`, the `.dist-info` directory. RECORD lists itself without
    /// a hash, as it must.
    pub fn finish(mut self, directory: &str) -> Result<Assembled> {
        let place = |file: &str| {
            let path = format!("{}/{directory}/{file}", self.layout.site_packages);
            TreePath::new(path).map_err(|error| Failure::new(format!("{}: {error}", self.origin)))
        };
        let (installer, record) = (place("INSTALLER")?, place("RECORD")?);
        self.add_text(installer, format!("{INSTALLER}\n").as_bytes(), false)?;
        self.installed.insert(self.layout.recorded(&record), Claim { hash: None, size: None });
        let text = record::write(&self.installed);
        self.insert(record, Content::bytes(text.into_bytes()), false, Claim { hash: None, size: None })?;
        Ok(self.finish_unrecorded())
    }

    /// The files as they are, for what has no `.dist-info` directory.
    pub fn finish_unrecorded(self) -> Assembled {
        Assembled { tree: self.tree, warnings: self.warnings }
    }

    /// Adds a file that is written here.
    pub fn add_text(&mut self, path: TreePath, text: &[u8], executable: bool) -> Result<()> {
        let content = Content::bytes(text);
        let claim = claim(&content).context(|| format!("{}: {path} cannot be written", self.origin))?;
        self.insert(path, content, executable, claim)
    }

    fn insert(&mut self, path: TreePath, content: Content, executable: bool, claim: Claim) -> Result<()> {
        let recorded = self.layout.recorded(&path);
        let node = Node { content, executable, origin: Arc::clone(&self.origin) };
        self.tree.insert(path, node).map_err(|conflict| Failure::new(conflict.to_string()))?;
        self.installed.entry(recorded).or_insert(claim);
        Ok(())
    }
}

/// Byte code belongs to an interpreter, not to the distribution: it may be compiled anew.
pub fn is_byte_code(path: &TreePath) -> bool {
    path.ends_with(".pyc") && path.parent().is_some_and(|parent| parent.file_name() == "__pycache__")
}

fn claim(content: &Content) -> std::io::Result<Claim> {
    let (hash, size) = hash(content)?;
    Ok(Claim { hash: Some(hash), size: Some(size) })
}

fn hash(content: &Content) -> std::io::Result<(Hash, u64)> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut size = 0;
    if let Some((_, mut reader)) = content.open()? {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                length => {
                    hasher.update(&buffer[..length]);
                    size += length as u64;
                }
            }
        }
    }
    Ok((hasher.finish(), size))
}
