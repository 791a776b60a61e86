//! What is in the files of a tree, boiled down: a checksum of each, and one of everything.
//!
//! Keys of caches are made of it. Nothing of it may get into a bundle, which names things by their SHA-256: this is
//! read anew at every pack, and that takes many times as long where the CPU has no instructions for it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use coil_bootstrap::format::checksum::{Checksum, Summing};
use coil_bootstrap::format::path::TreePath;

use crate::tree::{Content, Tree};

/// The checksums of a tree's files, as they were at one time.
#[derive(Debug)]
pub struct Checksums {
    files: BTreeMap<TreePath, Checksum>,
    all: Checksum,
}

impl Checksums {
    /// Reads every file of `tree`; fails as that fails.
    pub fn of(tree: &Tree) -> io::Result<Checksums> {
        let mut files = BTreeMap::new();
        let mut all = Summing::default();
        let mut add = |bytes: &[u8]| {
            all.update(&(bytes.len() as u64).to_le_bytes());
            all.update(bytes);
        };
        for (path, node) in tree.iter() {
            add(path.as_bytes());
            match &node.content {
                Content::Symlink(target) => add(format!("link {target}").as_bytes()),
                content => {
                    let checksum = checksum_of(content)?;
                    add(if node.executable { b"program" } else { b"file" });
                    add(checksum.as_bytes());
                    files.insert(path.clone(), checksum);
                }
            }
        }
        Ok(Checksums { files, all: all.finish() })
    }

    /// The checksum of everything: paths, contents, links, and which files may be executed.
    pub fn all(&self) -> &Checksum {
        &self.all
    }

    /// The checksum of the file at `path`; `None` for a link, and where there is nothing.
    pub fn file(&self, path: &str) -> Option<&Checksum> {
        self.files.get(path)
    }
}

/// The checksum of a content, which need not fit into memory; of nothing for a link.
pub fn checksum_of(content: &Content) -> io::Result<Checksum> {
    match content.open()? {
        Some((_, mut reader)) => checksum_of_reader(&mut reader),
        None => Ok(Checksum::of(b"")),
    }
}

/// The checksum of all that is left in `reader`.
pub fn checksum_of_reader(reader: &mut dyn Read) -> io::Result<Checksum> {
    let mut sum = Summing::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(sum.finish()),
            Ok(count) => sum.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    fn tree(files: &[(&str, Content, bool)]) -> Tree {
        let mut tree = Tree::new();
        for (path, content, executable) in files {
            let (content, executable) = (content.clone(), *executable);
            let node = Node { content, executable, origin: "test".into() };
            tree.insert(TreePath::new(*path).unwrap(), node).unwrap();
        }
        tree
    }

    #[test]
    fn whatever_differs_is_told_by_the_checksum_of_everything() {
        let bytes = || Content::bytes(*b"x");
        let link = |target: &str| Content::Symlink(target.to_owned());
        let trees = [
            tree(&[]),
            tree(&[("a", bytes(), false)]),
            tree(&[("b", bytes(), false)]),
            tree(&[("a", bytes(), true)]),
            tree(&[("a", Content::bytes(*b"y"), false)]),
            tree(&[("a", link("x"), false)]),
            tree(&[("a", link("y"), false)]),
            tree(&[("a", bytes(), false), ("b", bytes(), false)]),
        ];
        let sums: Vec<Checksum> = trees.iter().map(|tree| *Checksums::of(tree).unwrap().all()).collect();
        for (index, sum) in sums.iter().enumerate() {
            assert_eq!(sums.iter().position(|other| other == sum), Some(index));
            assert_eq!(sum, Checksums::of(&trees[index]).unwrap().all());
        }
    }

    #[test]
    fn a_file_has_the_checksum_of_its_bytes_wherever_they_are_and_a_link_has_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = "long ".repeat(50_000);
        std::fs::write(file.path(), &long).unwrap();
        let place = Content::File(file.path().to_owned());
        let tree = tree(&[
            ("a", place, false),
            ("b", Content::bytes(*b"x"), true),
            ("c", Content::Symlink("a".into()), false),
        ]);
        let checksums = Checksums::of(&tree).unwrap();
        assert_eq!(checksums.file("a"), Some(&Checksum::of(long.as_bytes())));
        assert_eq!(checksums.file("b"), Some(&Checksum::of(b"x")));
        assert_eq!((checksums.file("c"), checksums.file("d")), (None, None));
    }
}
