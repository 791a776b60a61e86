//! Wheels, read straight into trees.
//!
//! A wheel is a zip archive whose members go to fixed places (binary distribution format). Everything
//! it claims is checked before it is believed: its name against the runtime and its METADATA, its
//! members against RECORD, its paths against the environment. Nothing is written to disk except members
//! that are too large for memory; nothing is executed; nothing is fetched.

pub mod archive;
pub mod assembly;
pub mod contain;
pub mod dist_info;
pub mod entry_points;
mod inflate;
pub mod layout;
pub mod metadata;
pub mod name;
pub mod namespace;
pub mod programs;
pub mod reaching;
pub mod record;
pub mod script;
pub mod spill;
pub mod tags;
pub mod unpack;
pub mod version;

use std::path::Path;
use std::sync::Arc;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::path::TreePath;

use self::archive::Archive;
use self::assembly::Assembled;
use self::dist_info::DistInfo;
pub use self::entry_points::{EntryPoint, EntryPoints};
use self::layout::Layout;
pub use self::layout::{ENVIRONMENT, INTERPRETER};
pub use self::metadata::Metadata;
use self::metadata::Packaging;
pub use self::name::{WheelName, normalised};
pub use self::tags::{Tags, Target};
use self::unpack::unpack;
use crate::error::{Context, Failure, Result};
use crate::tree::Tree;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

/// A wheel as it is installed.
pub struct Wheel {
    /// The file name, taken apart.
    pub file_name: WheelName,
    /// What `METADATA` says.
    pub metadata: Metadata,
    /// The scripts it offers.
    pub entry_points: EntryPoints,
    /// What it puts into an image, below [`ENVIRONMENT`]. Its RECORD lists everything in it; byte code
    /// that is compiled later is not listed.
    pub tree: Tree,
    /// Every script in the tree whose first line is `#!` and [`INTERPRETER`].
    pub scripts: Vec<TreePath>,
    /// What the user should know, though nothing is wrong enough to stop.
    pub warnings: Vec<String>,
    /// The SHA-256 of the wheel file.
    pub digest: Digest,
}

impl Wheel {
    /// Reads the wheel at `path`, to be installed for `target`.
    ///
    /// Fails, naming the wheel and the member, where the wheel is for something else, is damaged, or
    /// contradicts itself.
    pub fn read(path: &Path, target: &Target) -> Result<Wheel> {
        let file_name = target.check(path)?;
        let mut archive = Archive::open(path, &file_name.text)?;
        let dist_info = DistInfo::read(&mut archive, &file_name)?;
        let layout = Layout::new(&dist_info.metadata, target)
            .context(|| format!("{file_name} cannot be installed"))?;
        let Assembled { tree, mut warnings } =
            unpack(&mut archive, &dist_info, &layout, &Arc::from(file_name.text.as_str()))?;
        let scripts = scripts(&tree, &layout)?;
        warnings.extend(format_warning(&file_name, &dist_info.packaging));
        let DistInfo { metadata, entry_points, .. } = dist_info;
        Ok(Wheel { file_name, metadata, entry_points, tree, scripts, warnings, digest: archive.digest() })
    }
}

impl Target {
    /// The name of the wheel at `path`, which is not opened; fails where it is for something else.
    pub fn check(&self, path: &Path) -> Result<WheelName> {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let name = WheelName::parse(&name)?;
        match self.objection(&name.tags) {
            None => Ok(name),
            Some(objection) => Err(Failure::new(format!("{name} {objection}"))
                .hint("take a wheel that fits, or name an interpreter that fits this one with --python")),
        }
    }
}

/// Every script in `tree` whose first line is `#!` and [`INTERPRETER`].
pub fn scripts(tree: &Tree, layout: &Layout) -> Result<Vec<TreePath>> {
    let mut scripts = Vec::new();
    for (path, node) in tree.iter().filter(|(path, _)| path.below(&layout.scripts).is_some()) {
        if script::names_interpreter(&node.content).context(|| format!("{path} cannot be read again"))? {
            scripts.push(path.clone());
        }
    }
    Ok(scripts)
}

/// "A wheel installer should warn if Wheel-Version is greater than the version it supports."
fn format_warning(name: &WheelName, packaging: &Packaging) -> Option<String> {
    let (major, minor) = packaging.wheel_version;
    ((major, minor) > Packaging::KNOWN).then(|| {
        format!("{name} has the wheel format {major}.{minor}, which is newer than this program; it is read all the same")
    })
}
