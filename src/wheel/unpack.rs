//! From members to a tree: every file verified against RECORD and put where its scheme says.
//!
//! Nothing that RECORD does not vouch for gets into the tree. What an installation changes is changed in
//! [`super::assembly`].

use std::sync::Arc;

use super::archive::{Archive, Member};
use super::assembly::{Assembled, Assembly};
use super::dist_info::DistInfo;
use super::layout::{ENVIRONMENT, Layout, Place};
use super::record::Claim;
use super::spill::{IN_MEMORY, Spill, Spilled};
use crate::error::{Context, Failure, Result};
use crate::tree::Content;

/// Puts the members of the wheel `origin` into a tree.
pub fn unpack(
    archive: &mut Archive,
    dist_info: &DistInfo,
    layout: &Layout,
    origin: &Arc<str>,
) -> Result<Assembled> {
    let mut unpacking = Unpacking { dist_info, origin, assembly: Assembly::new(layout, origin) };
    let members = archive.members().to_vec();
    for member in members.iter().filter(|member| !dist_info.is_record(&member.path)) {
        let place = layout.place(&member.path).map_err(|why| unpacking.about(&member.path, &why))?;
        let content = unpacking.verified(archive, member)?;
        if !dist_info.is_installers(&member.path) && !unpacking.is_wrapper(&place) {
            unpacking.install(member, place, content)?;
        }
    }
    unpacking.assembly.add_entry_points(&dist_info.entry_points)?;
    unpacking.assembly.finish(&dist_info.directory)
}

struct Unpacking<'a> {
    dist_info: &'a DistInfo,
    origin: &'a Arc<str>,
    assembly: Assembly<'a>,
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
        if member.link {
            let target = self.link_target(member, &place, &spilled.content)?;
            return self.assembly.add_link(place.path, target);
        }
        let what = format!("the member {}", member.path);
        self.assembly.add_file(place, member.executable, spilled, &what)
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

    fn about(&self, path: &str, why: &str) -> Failure {
        Failure::new(self.sentence(path, why))
    }

    fn sentence(&self, path: &str, what: &str) -> String {
        format!("{}: the member {path} {what}", self.origin)
    }
}
