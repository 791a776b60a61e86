//! From members to a tree: every file verified against RECORD and put where its scheme says.
//!
//! Nothing that RECORD does not vouch for gets into the tree. What an installation changes (the first
//! line of scripts, the search path of libraries) is changed here, and the RECORD in the tree
//! describes the files as they are installed.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use coil_bootstrap::format::path::TreePath;

use super::archive::{Archive, Member};
use super::contain::{Contained, contain_elf};
use super::dist_info::DistInfo;
use super::layout::{ENVIRONMENT, INTERPRETER, Layout, Place};
use super::record::{self, Algorithm, Claim, Hash, Hasher};
use super::script::with_interpreter;
use super::spill::{IN_MEMORY, Spill, Spilled};
use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node, Tree};

/// The name this installer signs with in `INSTALLER`.
const INSTALLER: &str = "coil";

/// What the members of a wheel became.
pub struct Unpacked {
    /// What it puts into an image.
    pub tree: Tree,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Puts the members of the wheel `origin` into a tree.
pub fn unpack(
    archive: &mut Archive,
    dist_info: &DistInfo,
    layout: &Layout,
    origin: &Arc<str>,
) -> Result<Unpacked> {
    let unpacked = Unpacked { tree: Tree::new(), warnings: Vec::new() };
    let mut unpacking = Unpacking { dist_info, layout, origin, unpacked, installed: BTreeMap::new() };
    let members = archive.members().to_vec();
    for member in members.iter().filter(|member| !dist_info.is_record(&member.path)) {
        let place = layout.place(&member.path).map_err(|why| unpacking.about(&member.path, &why))?;
        let content = unpacking.verified(archive, member)?;
        if !dist_info.is_installers(&member.path) && !unpacking.is_wrapper(&place) {
            unpacking.install(member, place, content)?;
        }
    }
    unpacking.add_entry_points()?;
    unpacking.add_own_files()?;
    Ok(unpacking.unpacked)
}

struct Unpacking<'a> {
    dist_info: &'a DistInfo,
    layout: &'a Layout,
    origin: &'a Arc<str>,
    unpacked: Unpacked,
    installed: BTreeMap<String, Claim>,
}

impl Unpacking<'_> {
    /// Reads `member` and compares it with what RECORD says of it.
    fn verified(&self, archive: &mut Archive, member: &Member) -> Result<Spilled> {
        let claim = self.dist_info.claims.get(member.path.as_str());
        let Some(Claim { hash: Some(hash), size }) = claim else {
            return Err(self.about(&member.path, "has no hash in RECORD"));
        };
        let mut spill = Spill::new(hash.algorithm, IN_MEMORY);
        archive.copy(member, size.unwrap_or(u64::MAX), &mut spill)?;
        let spilled = spill.finish().context(|| self.sentence(&member.path, "cannot be unpacked"))?;
        if size.is_some_and(|size| size != spilled.length) {
            return Err(self.about(&member.path, "does not have the size that RECORD says"));
        }
        if spilled.hash != *hash {
            return Err(self.about(&member.path, "does not have the hash that RECORD says").hint(
                "the wheel was damaged or changed after it was built: fetch it again or build it again",
            ));
        }
        Ok(spilled)
    }

    fn install(&mut self, member: &Member, place: Place, spilled: Spilled) -> Result<()> {
        let Spilled { content, hash, length } = spilled;
        if member.link {
            let target = self.link_target(member, &place, &content)?;
            return self.insert(
                place.path,
                Content::Symlink(target),
                false,
                Claim { hash: None, size: None },
            );
        }
        let unreadable = || self.sentence(&member.path, "cannot be read again");
        let mut changed = None;
        if place.script {
            changed = with_interpreter(&content).context(unreadable)?;
        }
        match contain_elf(&content).context(unreadable)? {
            Contained::Unchanged => {}
            Contained::Changed(contained) => changed = Some(contained),
            Contained::Impossible(error) => self.unpacked.warnings.push(self.sentence(
                &member.path,
                &format!("keeps the search path for libraries that it came with: {error}"),
            )),
        }
        let unreadable = || self.sentence(&member.path, "cannot be read again");
        let claim = match &changed {
            _ if is_byte_code(&place.path) => Claim { hash: None, size: None },
            None if hash.algorithm == Algorithm::Sha256 => Claim { hash: Some(hash), size: Some(length) },
            _ => claim(changed.as_ref().unwrap_or(&content)).context(unreadable)?,
        };
        let executable = member.executable || place.script;
        self.insert(place.path, changed.unwrap_or(content), executable, claim)
    }

    /// A script with the name of an entry point is a wrapper from an older build: the entry point wins,
    /// as with pip.
    fn is_wrapper(&self, place: &Place) -> bool {
        let name = place.path.file_name();
        let stem = [".exe", "-script.py", "-script.pya"].iter().find_map(|end| name.strip_suffix(end));
        let stem = stem.unwrap_or(name);
        place.script && self.dist_info.entry_points.scripts().any(|point| point.name == stem)
    }

    /// A link stays inside the environment when its target climbs only at its beginning, and not too far.
    fn link_target(&self, member: &Member, place: &Place, content: &Content) -> Result<String> {
        let bytes = content.read().context(|| self.sentence(&member.path, "cannot be read again"))?;
        let target = String::from_utf8(bytes)
            .ok()
            .filter(|target| {
                let mut names = target.split('/').skip_while(|part| *part == "..");
                let inside = names.all(|name| !matches!(name, "" | "." | ".."));
                let end = place.path.follow(target);
                inside && end.is_some_and(|end| end.below(ENVIRONMENT).is_some())
            })
            .ok_or_else(|| self.about(&member.path, "is a link that leads out of the environment"))?;
        Ok(target)
    }

    fn add_entry_points(&mut self) -> Result<()> {
        for point in self.dist_info.entry_points.scripts() {
            let path = self.layout.script(&point.name).map_err(|why| {
                Failure::new(format!(
                    "{}: the entry point {:?} cannot be installed: {why}",
                    self.origin, point.name
                ))
            })?;
            self.add(path, point.script(INTERPRETER), true)?;
        }
        Ok(())
    }

    /// Adds `INSTALLER` and `RECORD`. RECORD lists itself without a hash, as it must.
    fn add_own_files(&mut self) -> Result<()> {
        let place = |file: &str| {
            let path = format!("{}/{}/{file}", self.layout.site_packages, self.dist_info.directory);
            TreePath::new(path).map_err(|error| Failure::new(format!("{}: {error}", self.origin)))
        };
        let (installer, record) = (place("INSTALLER")?, place("RECORD")?);
        self.add(installer, format!("{INSTALLER}\n"), false)?;
        self.installed.insert(self.layout.recorded(&record), Claim { hash: None, size: None });
        let text = record::write(&self.installed);
        self.insert(record, Content::bytes(text.into_bytes()), false, Claim { hash: None, size: None })
    }

    fn add(&mut self, path: TreePath, text: String, executable: bool) -> Result<()> {
        let content = Content::bytes(text.into_bytes());
        let claim = claim(&content).context(|| self.sentence(&path, "cannot be written"))?;
        self.insert(path, content, executable, claim)
    }

    fn insert(&mut self, path: TreePath, content: Content, executable: bool, claim: Claim) -> Result<()> {
        let recorded = self.layout.recorded(&path);
        let node = Node { content, executable, origin: Arc::clone(self.origin) };
        self.unpacked.tree.insert(path, node).map_err(|conflict| Failure::new(conflict.to_string()))?;
        self.installed.entry(recorded).or_insert(claim);
        Ok(())
    }

    fn about(&self, path: &str, why: &str) -> Failure {
        Failure::new(self.sentence(path, why))
    }

    fn sentence(&self, path: &str, what: &str) -> String {
        format!("{}: the member {path} {what}", self.origin)
    }
}

/// Byte code belongs to an interpreter, not to the distribution: it may be compiled anew.
fn is_byte_code(path: &TreePath) -> bool {
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
