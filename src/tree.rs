//! A tree: checked relative paths and what is at them, before it becomes a layer.
//!
//! A tree knows where each of its files came from, so that two that claim one path can both be named.
//! Directories are not listed: they follow from the files in them. It never touches the file system
//! except to read the content of a [`Content::File`], and to keep in a [`Spool`] what is too much for memory.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use coil_bootstrap::format::path::TreePath;
use tempfile::TempPath;

use crate::spool::{Piece, Spool};

/// Files and symbolic links by path, in the order a layer has them.
#[derive(Default, Clone)]
pub struct Tree {
    nodes: BTreeMap<TreePath, Node>,
    spool: Spool,
}

/// One file or symbolic link.
#[derive(Clone)]
pub struct Node {
    /// What is in it.
    pub content: Content,
    /// Whether it may be executed: mode 0755 instead of 0644. Without meaning for a link.
    pub executable: bool,
    /// Where it came from, in words a user understands (`click-8.1.7-py3-none-any.whl`).
    pub origin: Arc<str>,
}

/// The content of a file, or the target of a link.
#[derive(Clone)]
pub enum Content {
    /// Bytes in memory: anything of moderate size.
    Bytes(Arc<[u8]>),
    /// A file that stays where it is until the layer is written.
    File(PathBuf),
    /// A temporary file, removed when the last tree that names it is dropped.
    Temporary(Arc<TempPath>),
    /// Bytes that were in memory until a tree had too many of them.
    Spooled(Piece),
    /// A symbolic link with this target, relative to the link's directory, inside the tree.
    Symlink(String),
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Content::Bytes(bytes.into())
    }

    /// Opens the content: its length in bytes and a reader of exactly that many, `None` for a link.
    ///
    /// Fails as opening the file fails. A file that changes its length later is found by the reader's user.
    pub fn open(&self) -> io::Result<Option<(u64, Box<dyn Read + Send>)>> {
        let file = |path: &std::path::Path| {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok(Some((length, Box::new(file) as Box<dyn Read + Send>)))
        };
        match self {
            Content::Bytes(bytes) => Ok(Some((bytes.len() as u64, Box::new(Cursor::new(Arc::clone(bytes)))))),
            Content::File(path) => file(path),
            Content::Temporary(path) => file(path),
            Content::Spooled(piece) => Ok(Some((piece.length(), Box::new(piece.clone())))),
            Content::Symlink(_) => Ok(None),
        }
    }

    /// Reads the whole content; an empty vector for a link.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some((_, mut reader)) = self.open()? {
            reader.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn same_as(&self, other: &Content) -> bool {
        match (self, other) {
            (Content::Symlink(one), Content::Symlink(two)) => one == two,
            (Content::Symlink(_), _) | (_, Content::Symlink(_)) => false,
            _ => matches!((self.read(), other.read()), (Ok(one), Ok(two)) if one == two),
        }
    }
}

impl Tree {
    /// A tree with nothing in it.
    pub fn new() -> Self {
        Tree::default()
    }

    /// Puts `node` at `path`.
    ///
    /// The same content twice is accepted. A path that is taken by other content, that lies below a
    /// file, or that is a directory already, is a [`Conflict`] that names both origins.
    pub fn insert(&mut self, path: TreePath, node: Node) -> Result<(), Conflict> {
        let conflict = |other: &Node| Conflict {
            path: path.clone(),
            first: Arc::clone(&other.origin),
            second: Arc::clone(&node.origin),
        };
        if let Some(there) = self.nodes.get(&path) {
            if there.content.same_as(&node.content) {
                return Ok(());
            }
            return Err(conflict(there));
        }
        let mut above = path.parent();
        while let Some(directory) = above {
            if let Some(there) = self.nodes.get(&directory) {
                return Err(conflict(there));
            }
            above = directory.parent();
        }
        let below = format!("{path}/");
        if let Some((name, there)) =
            self.nodes.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded)).next()
            && name.starts_with(&below)
        {
            return Err(conflict(there));
        }
        let node = self.lighten(node);
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Moves bytes out of memory where the tree has too many there already.
    fn lighten(&mut self, mut node: Node) -> Node {
        if let Content::Bytes(bytes) = &node.content
            && !self.spool.has_room_for(bytes)
            // Where nothing can be written they stay in memory; the layer's own file will tell why.
            && let Ok(piece) = self.spool.put(bytes)
        {
            node.content = Content::Spooled(piece);
        }
        node
    }

    /// Takes what is at `path` out of the tree.
    pub fn remove(&mut self, path: &str) -> Option<Node> {
        self.nodes.remove(path)
    }

    /// What is at `path`.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Whether anything is below `path`.
    pub fn has_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let from = (Bound::Included(below.as_str()), Bound::Unbounded);
        self.nodes.range::<str, _>(from).next().is_some_and(|(name, _)| name.starts_with(&below))
    }

    /// All nodes, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        self.nodes.iter()
    }

    /// How many files and links there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// Two origins that claim one path.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The path, or the file that the path would lie below.
    pub path: TreePath,
    /// Who had it first.
    pub first: Arc<str>,
    /// Who wanted it as well.
    pub second: Arc<str>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.second {
            return write!(f, "{} has {} twice, with different content", self.first, self.path);
        }
        write!(f, "{} and {} both have {}, with different content", self.first, self.second, self.path)
    }
}

impl std::error::Error for Conflict {}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, origin: &str) -> Node {
        Node { content: Content::bytes(text.as_bytes()), executable: false, origin: origin.into() }
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn the_same_file_twice_is_one_file() {
        let mut tree = Tree::new();
        tree.insert(path("venv/a"), file("x", "one")).unwrap();
        tree.insert(path("venv/a"), file("x", "two")).unwrap();
        assert_eq!(tree.len(), 1);
    }

    #[test]
    fn a_conflict_names_both_origins() {
        let mut tree = Tree::new();
        tree.insert(path("venv/a"), file("x", "one.whl")).unwrap();
        let conflict = tree.insert(path("venv/a"), file("y", "two.whl")).unwrap_err();
        assert_eq!(conflict.to_string(), "one.whl and two.whl both have venv/a, with different content");
    }

    #[test]
    fn a_tree_of_more_than_fits_into_memory_reads_back() {
        let mut tree = Tree::new();
        let text = |number: u64| format!("{number:04}").repeat(1 << 18);
        let count = 2 * crate::spool::IN_MEMORY / (1 << 20);
        for number in 0..count {
            tree.insert(path(&format!("venv/{number}")), file(&text(number), "one")).unwrap();
        }
        let spooled = tree.iter().filter(|(_, node)| matches!(node.content, Content::Spooled(_))).count();
        assert_eq!(spooled as u64, count / 2);
        for number in 0..count {
            let content = &tree.get(&format!("venv/{number}")).unwrap().content;
            assert!(content.read().unwrap() == text(number).as_bytes(), "{number}");
        }
        tree.insert(path(&format!("venv/{}", count - 1)), file(&text(count - 1), "two")).unwrap();
    }

    #[test]
    fn a_file_cannot_be_a_directory_too() {
        let mut tree = Tree::new();
        tree.insert(path("venv/a/b"), file("x", "one")).unwrap();
        assert!(tree.insert(path("venv/a"), file("x", "two")).is_err());
        assert!(tree.insert(path("venv/a/b/c"), file("x", "two")).is_err());
        tree.insert(path("venv/a-b"), file("x", "two")).unwrap();
    }
}
