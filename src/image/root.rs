//! Files of an image that are in no bundle, with modes and owners: what the base and the environment are made of.
//!
//! The layers of a bundle know 0755 and 0644 and root; an image also needs a `/tmp` for everybody and a home.

use std::collections::BTreeMap;

use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::{self, BLOCK, Entry, Kind};

use crate::error::{Context, Result};

/// Entries by path.
#[derive(Default)]
pub struct Root {
    items: BTreeMap<TreePath, Item>,
}

/// One of them.
#[derive(Clone)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// The content of a file.
    pub content: Vec<u8>,
    /// The mode, where it is another than the kind's own.
    pub mode: Option<u32>,
    /// User and group.
    pub owner: (u32, u32),
}

impl Root {
    /// Adds a file, which may be executed or not, and the directories above it.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, executable: bool) -> Result<()> {
        let content = content.into();
        let kind = Kind::File { size: content.len() as u64, executable };
        self.add(path, Item { kind, content, mode: None, owner: (0, 0) })
    }

    /// Adds a symbolic link, whose target is relative and inside the image.
    pub fn link(&mut self, path: &str, target: impl Into<String>) -> Result<()> {
        let kind = Kind::Symlink(target.into());
        self.add(path, Item { kind, content: Vec::new(), mode: None, owner: (0, 0) })
    }

    /// Adds a directory with this mode, owner and group.
    pub fn directory(&mut self, path: &str, mode: u32, owner: u32) -> Result<()> {
        self.add(
            path,
            Item { kind: Kind::Directory, content: Vec::new(), mode: Some(mode), owner: (owner, owner) },
        )
    }

    /// Whether something is at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.items.contains_key(path)
    }

    /// What is there, by path.
    pub fn items(&self) -> impl Iterator<Item = (&TreePath, &Item)> {
        self.items.iter()
    }

    /// The tar archive, without its end mark.
    pub fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (path, item) in &self.items {
            let mut header = Entry { path: path.clone(), kind: item.kind.clone() }.encode();
            // The last block is the entry's own; pax records come before it.
            if let Some(own) = header.last_chunk_mut::<BLOCK>() {
                amend(own, item.mode, item.owner);
            }
            archive.extend(header);
            archive.extend(&item.content);
            archive.resize(archive.len() + tar::padding(item.content.len() as u64), 0);
        }
        archive
    }

    /// Adds anything, and the directories above it.
    pub fn add(&mut self, path: &str, item: Item) -> Result<()> {
        let path = TreePath::new(path).context(|| format!("an image cannot have the path {path}"))?;
        let mut above = path.parent();
        while let Some(directory) = above {
            above = directory.parent();
            let plain = Item { kind: Kind::Directory, content: Vec::new(), mode: None, owner: (0, 0) };
            self.items.entry(directory).or_insert(plain);
        }
        self.items.insert(path, item);
        Ok(())
    }
}

/// Writes another mode and owner into a header, and its checksum anew.
fn amend(header: &mut [u8; BLOCK], mode: Option<u32>, (user, group): (u32, u32)) {
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    if let Some(mode) = mode {
        put(100, format!("{mode:07o}").as_bytes());
    }
    // A header has no room for more; nobody owns what a base brings along who has such a number.
    let owner = |number: u32| format!("{:07o}", number.min(0o7_777_777));
    put(108, owner(user).as_bytes());
    put(116, owner(group).as_bytes());
    put(148, b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_owners_are_what_any_tar_reads() {
        let mut root = Root::default();
        root.directory("tmp", 0o1777, 0).unwrap();
        root.directory("home/nonroot", 0o755, 65532).unwrap();
        root.file("etc/x", "text", false).unwrap();
        root.link("etc/y", "x").unwrap();
        let archive = [root.archive(), tar::END.to_vec()].concat();
        let mut reader = ::tar::Archive::new(archive.as_slice());
        let read = reader.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            (path, header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap())
        });
        let expected = [
            ("etc/", 0o755, 0u32),
            ("etc/x", 0o644, 0),
            ("etc/y", 0o777, 0),
            ("home/", 0o755, 0),
            ("home/nonroot/", 0o755, 65532),
            ("tmp/", 0o1777, 0),
        ];
        let expected =
            expected.map(|(path, mode, owner)| (path.to_owned(), mode, u64::from(owner), u64::from(owner)));
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }
}
