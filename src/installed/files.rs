//! The files of an installed distribution, compared with its RECORD and put into a tree.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use coil_bootstrap::format::path::TreePath;

use super::distribution::{Distribution, Installed};
use super::first_line::general;
use super::virtualenv::Virtualenv;
use crate::error::{Context, ELSEWHERE, Failure, Result, Writing};
use crate::tree::Tree;
use crate::wheel::assembly::Assembly;
use crate::wheel::entry_points::EntryPoints;
use crate::wheel::layout::Layout;
use crate::wheel::record::Algorithm;
use crate::wheel::spill::{IN_MEMORY, Spill, Spilled};
use crate::wheel::{Target, scripts};

/// What the files of a distribution became, and what was found out on the way.
pub struct Contents {
    /// The tree, as its wheel would give it.
    pub tree: Tree,
    /// Every script in it that asks for the environment's interpreter.
    pub scripts: Vec<TreePath>,
    /// What the user should know about the files.
    pub warnings: Vec<String>,
    /// Files that are not what RECORD says: they are in the tree as they are.
    pub changed: Vec<TreePath>,
    /// Files that RECORD lists and that are not there.
    pub missing: Vec<TreePath>,
}

/// Reads the files of `distribution`, each once.
///
/// Fails where a file cannot be read. What was changed or is missing is listed, not refused.
pub fn read(distribution: &Distribution, venv: &Virtualenv, target: &Target) -> Result<Contents> {
    let shown = distribution.shown();
    let layout = Layout::new(&distribution.metadata, target)
        .context(|| format!("{shown} cannot be packed out of {}", venv.shown))?;
    let origin: Arc<str> = shown.into();
    let mut reading = Reading {
        distribution,
        venv,
        layout: &layout,
        assembly: Assembly::new(&layout, &origin),
        present: EntryPoints::default(),
        changed: Vec::new(),
        missing: Vec::new(),
    };
    for (path, installed) in &distribution.files {
        reading.take(path, installed)?;
    }
    let Reading { mut assembly, present, changed, missing, .. } = reading;
    assembly.add_entry_points(&present)?;
    if let Some(text) = &distribution.direct_url {
        let path = layout.site_packages.join(&format!("{}/direct_url.json", distribution.directory));
        let path = path.map_err(|error| Failure::new(error.to_string()))?;
        assembly.add_text(path, text, false)?;
    }
    let assembled = match distribution.has_record {
        true => assembly.finish(&distribution.directory)?,
        false => assembly.finish_unrecorded(),
    };
    let scripts = scripts(&assembled.tree, &layout)?;
    Ok(Contents { tree: assembled.tree, scripts, warnings: assembled.warnings, changed, missing })
}

struct Reading<'a> {
    distribution: &'a Distribution,
    venv: &'a Virtualenv,
    layout: &'a Layout,
    assembly: Assembly<'a>,
    /// The entry points whose scripts are installed as an installer made them.
    present: EntryPoints,
    changed: Vec<TreePath>,
    missing: Vec<TreePath>,
}

impl Reading<'_> {
    fn take(&mut self, path: &TreePath, installed: &Installed) -> Result<()> {
        let Installed { file, claim } = installed;
        let unreadable = || format!("{} of {} cannot be read", file.display(), self.distribution.shown());
        if let Some(target) = self.inner_link(path, file) {
            return self.assembly.add_link(path.clone(), target);
        }
        let algorithm = claim.hash.as_ref().map_or(Algorithm::Sha256, |hash| hash.algorithm);
        let (mut content, mut executable) = match spill(file, algorithm) {
            Ok(Some(read)) => read,
            Ok(None) => {
                // Byte code is made anew, and some installers list what they do not make. `x.pyc`, without the
                // tag of an interpreter, is a module by itself.
                if !path.file_name().strip_suffix(".pyc").is_some_and(|stem| stem.contains('.')) {
                    self.missing.push(path.clone());
                }
                return Ok(());
            }
            Err(error) => return Err(error).writing(&tempfile::env::temp_dir(), ELSEWHERE, unreadable),
        };
        let place = self
            .layout
            .guard(path.clone(), false)
            .map_err(|why| Failure::new(format!("{}: {path} {why}", self.distribution.shown())))?;
        let is_changed = claim.hash.as_ref().is_some_and(|hash| *hash != content.hash);
        if is_changed {
            self.changed.push(path.clone());
        }
        if let Some(name) = path.below(&self.layout.scripts) {
            if !is_changed && self.is_wrapper(name) {
                return Ok(());
            }
            if content.length < IN_MEMORY as u64 {
                let bytes = content.content.read().context(unreadable)?;
                // pip leaves a script as it was in the wheel, where the bit may be missing.
                executable |= bytes.starts_with(b"#!");
                if let Some(general) = general(&bytes, &self.venv.names) {
                    content = spilled(&general).context(unreadable)?;
                }
            }
        }
        self.assembly.add_file(place, executable, content, path)
    }

    /// Whether `name` is the script of an entry point: it is made anew, as for a wheel.
    fn is_wrapper(&mut self, name: &str) -> bool {
        let EntryPoints { console, gui } = &self.distribution.entry_points;
        let mut found = false;
        for (points, present) in [(console, &mut self.present.console), (gui, &mut self.present.gui)] {
            for point in points.iter().filter(|point| point.name == name) {
                present.push(point.clone());
                found = true;
            }
        }
        found
    }

    /// The target of a symbolic link to another file of the same distribution, relative to it. Any other
    /// link (into the cache of an installer) is followed.
    fn inner_link(&self, path: &TreePath, file: &Path) -> Option<String> {
        let target = fs::read_link(file).ok()?.to_str()?.to_owned();
        let mut names = target.split('/').skip_while(|part| *part == "..");
        let plain = names.all(|name| !matches!(name, "" | "." | ".."));
        let there = path.follow(&target)?;
        (plain && self.distribution.files.contains_key(&there)).then_some(target)
    }
}

/// The content of a file, hashed on its way, and whether it may be executed; `None` where there is none.
pub fn spill(file: &Path, algorithm: Algorithm) -> io::Result<Option<(Spilled, bool)>> {
    let mut source = match File::open(file) {
        Ok(source) => source,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let metadata = source.metadata()?;
    if metadata.is_dir() {
        return Ok(None);
    }
    let mut spill = Spill::new(algorithm, IN_MEMORY);
    io::copy(&mut source, &mut spill)?;
    Ok(Some((spill.finish()?, metadata.permissions().mode() & 0o111 != 0)))
}

fn spilled(bytes: &[u8]) -> io::Result<Spilled> {
    let mut spill = Spill::new(Algorithm::Sha256, IN_MEMORY);
    spill.write_all(bytes)?;
    spill.finish()
}
