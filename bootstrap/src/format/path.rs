//! Checked relative paths: the only kind a layer, a tree or a link plan can name.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A relative path with `/` between its components that cannot leave the directory it is joined to.
///
/// No component is empty, `.` or `..`; none holds a NUL; none is longer than 255 bytes; the whole is
/// at most [`TreePath::MAX`] bytes. It is UTF-8, because manifests are JSON. Ordering is by bytes of
/// the whole path, which is the order of entries in a layer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TreePath(String);

impl TreePath {
    /// The longest path, in bytes: room is left for the cache's own path below Linux's PATH_MAX of 4096.
    pub const MAX: usize = 3000;

    /// Checks `path`; the error says what is wrong with it.
    pub fn new(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        match fault(&path) {
            None => Ok(TreePath(path)),
            Some(reason) => Err(PathError { path, reason }),
        }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path with `more`, itself a relative path, below it.
    pub fn join(&self, more: &str) -> Result<Self, PathError> {
        TreePath::new(format!("{}/{more}", self.0))
    }

    /// The directory this path is in; `None` for a path of one component.
    pub fn parent(&self) -> Option<TreePath> {
        self.0.rsplit_once('/').map(|(parent, _)| TreePath(parent.to_owned()))
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The first component.
    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// What is left of this path below `directory`, if it is below it.
    pub fn below(&self, directory: &str) -> Option<&str> {
        self.0.strip_prefix(directory)?.strip_prefix('/')
    }

    /// Where a symbolic link at this path with this target leads, if it stays inside the tree.
    ///
    /// An absolute target, or one that climbs above the root of the tree, leads nowhere.
    pub fn follow(&self, target: &str) -> Option<TreePath> {
        if target.starts_with('/') {
            return None;
        }
        let mut components: Vec<&str> = self.0.split('/').collect();
        components.pop();
        for component in target.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    components.pop()?;
                }
                name => components.push(name),
            }
        }
        TreePath::new(components.join("/")).ok()
    }
}

fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > TreePath::MAX {
        return Some("it is longer than 3000 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    // By bytes, which is quicker: a pack checks tens of thousands of them.
    let bytes = path.as_bytes();
    if bytes.contains(&0) {
        return Some("it holds a NUL byte");
    }
    bytes.split(|byte| *byte == b'/').find_map(|component| match component {
        b"" => Some("it has an empty component"),
        b"." => Some("it has a component \".\""),
        b".." => Some("it has a component \"..\""),
        long if long.len() > 255 => Some("a component is longer than 255 bytes"),
        _ => None,
    })
}

/// A path that cannot be part of a tree, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    /// The path as it was given.
    pub path: String,
    /// What is wrong with it, as the end of a sentence.
    pub reason: &'static str,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path {:?} cannot be packed: {}", self.path, self.reason)
    }
}

impl std::error::Error for PathError {}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Deref for TreePath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<std::path::Path> for TreePath {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

impl TryFrom<&str> for TreePath {
    type Error = PathError;

    fn try_from(path: &str) -> Result<Self, PathError> {
        TreePath::new(path)
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TreePath::new(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_tree_are_refused() {
        for path in ["", "/etc/passwd", "a/../b", "..", "a//b", "./a", "a/", "a\0b"] {
            assert!(TreePath::new(path).is_err(), "{path:?}");
        }
        assert!(TreePath::new("a".repeat(256)).is_err());
        assert!(TreePath::new("a".repeat(255)).is_ok());
        assert!(TreePath::new(vec!["abcdef"; 600].join("/")).is_err());
    }

    #[test]
    fn a_link_is_followed_inside_the_tree_and_nowhere_else() {
        let link = TreePath::new("python/bin/python3").unwrap();
        let follow = |target| link.follow(target).map(|path| path.to_string());
        assert_eq!(follow("python3.12").as_deref(), Some("python/bin/python3.12"));
        assert_eq!(follow("../lib/./x").as_deref(), Some("python/lib/x"));
        assert_eq!(follow("../../../x"), None);
        assert_eq!(follow("/etc/passwd"), None);
    }
}
