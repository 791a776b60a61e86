//! What the layers of a base show, lying over each other ("Applying Changesets" of the OCI image specification).

use std::collections::BTreeMap;
use std::io;

use super::scan::{self, Kind, Listed};
use crate::image::Bytes;

/// How many links are followed on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;

/// The longest file that is read, in bytes: a library.
const MAX_FILE: u64 = 1 << 30;

/// A root file system, without the files' contents.
#[derive(Default)]
pub struct Seen {
    nodes: BTreeMap<String, Node>,
    layers: Vec<Bytes>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is; never [`Kind::Hardlink`].
    pub kind: Kind,
    /// Its mode.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
    /// The layer, and the number of its entry there.
    at: (usize, usize),
}

impl Seen {
    /// Lays one more layer over the others.
    pub fn add(&mut self, entries: Vec<Listed>, bytes: Bytes) {
        let layer = self.layers.len();
        self.layers.push(bytes);
        // "Whiteout files MUST only apply to resources in lower/parent layers."
        for entry in &entries {
            let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            match name.strip_prefix(".wh.") {
                Some(".wh..opq") => self.remove_below(directory),
                Some(hidden) => {
                    let hidden = join(directory, hidden);
                    self.remove_below(&hidden);
                    self.nodes.remove(&hidden);
                }
                None => {}
            }
        }
        for (number, entry) in entries.into_iter().enumerate() {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            if !name.is_empty() && !name.starts_with(".wh.") {
                self.put(entry, (layer, number));
            }
        }
    }

    fn put(&mut self, entry: Listed, at: (usize, usize)) {
        let Listed { path, kind, mode, owner } = entry;
        let node = match kind {
            Kind::Hardlink(target) => self.nodes.get(&target).cloned(),
            kind => Some(Node { kind, mode, owner, at }),
        };
        let Some(node) = node else { return };
        if node.kind != Kind::Directory {
            self.remove_below(&path);
        }
        self.nodes.insert(path, node);
    }

    fn remove_below(&mut self, directory: &str) {
        let doomed: Vec<String> = self.below(directory).map(|(path, _)| path.clone()).collect();
        doomed.iter().for_each(|path| drop(self.nodes.remove(path)));
    }

    /// What is below a directory, which is called by its own name.
    fn below(&self, directory: &str) -> impl Iterator<Item = (&String, &Node)> {
        // '0' comes right after '/'.
        let (from, to) = match directory {
            "" => (String::new(), String::from('\u{10ffff}')),
            _ => (format!("{directory}/"), format!("{directory}0")),
        };
        self.nodes.range(from..to)
    }

    /// What is at a path that is no link's.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Something at `top` that is not an empty directory: its path.
    pub fn anything_in(&self, top: &str) -> Option<&str> {
        let (own, _) = self.nodes.get_key_value(top).filter(|(_, node)| node.kind != Kind::Directory).unzip();
        let inside = || self.below(top).find(|(_, node)| node.kind != Kind::Directory).map(|(path, _)| path);
        own.or_else(inside).map(String::as_str)
    }

    /// Where a path leads, the links in its directories followed and, with `last`, the one at its end as well; `None` where
    /// links go round in circles, or a directory is none.
    pub fn place(&self, path: &str, last: bool) -> Option<String> {
        let mut pending: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut here = String::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    here.truncate(here.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&here, &part);
            let is_last = pending.is_empty();
            match self.nodes.get(&next).map(|node| &node.kind) {
                Some(Kind::Symlink(target)) if last || !is_last => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        here.clear();
                    }
                    pending.extend(target.rsplit('/').map(str::to_owned));
                }
                Some(Kind::File | Kind::Other) if !is_last => return None,
                _ => here = next,
            }
        }
        Some(here)
    }

    /// What is at the end of a path, all links followed.
    pub fn find(&self, path: &str) -> Option<&Node> {
        self.get(&self.place(path, true)?)
    }

    /// The content of the file that a path leads to; `None` where there is none.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(node) = self.find(path).filter(|node| node.kind == Kind::File) else { return Ok(None) };
        scan::content(&self.layers[node.at.0], node.at.1, MAX_FILE).map(Some)
    }

    /// The same as text, a line at a time; none where there is no file.
    pub fn lines(&self, path: &str) -> io::Result<Vec<String>> {
        let text = self.read(path)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    /// The names of what is in a directory, all links followed.
    pub fn names_in(&self, directory: &str) -> Vec<String> {
        let Some(place) = self.place(directory, true) else { return Vec::new() };
        let names = self.below(&place).filter_map(|(path, _)| path.get(place.len() + 1..));
        names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One layer: paths with `/` at the end, links as `path -> target`, files as `path=content`.
    pub fn layer(seen: &mut Seen, lines: &[&str]) {
        let mut archive = ::tar::Builder::new(Vec::new());
        for line in lines {
            let mut header = ::tar::Header::new_ustar();
            header.set_mode(0o755);
            if let Some((path, target)) = line.split_once(" -> ") {
                header.set_entry_type(::tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, path, target).unwrap();
            } else if let Some((path, target)) = line.split_once(" == ") {
                header.set_entry_type(::tar::EntryType::Link);
                header.set_size(0);
                archive.append_link(&mut header, path, target).unwrap();
            } else if line.ends_with('/') {
                header.set_entry_type(::tar::EntryType::Directory);
                header.set_size(0);
                header.set_mode(0o711);
                archive.append_data(&mut header, line, std::io::empty()).unwrap();
            } else {
                let (path, content) = line.split_once('=').unwrap_or((line, ""));
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
        }
        add(seen, archive.into_inner().unwrap());
    }

    /// One layer with these files.
    pub fn with_files(files: &[(&str, Vec<u8>)]) -> Seen {
        let mut archive = ::tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = ::tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_slice()).unwrap();
        }
        let mut seen = Seen::default();
        add(&mut seen, archive.into_inner().unwrap());
        seen
    }

    fn add(seen: &mut Seen, archive: Vec<u8>) {
        let bytes = Bytes::Here(archive.into());
        let scanned = scan::scan(&bytes).unwrap();
        seen.add(scanned.entries, bytes);
    }

    fn seen(layers: &[&[&str]]) -> Seen {
        let mut seen = Seen::default();
        layers.iter().for_each(|lines| layer(&mut seen, lines));
        seen
    }

    #[test]
    fn a_layer_hides_and_removes_what_is_below_it() {
        let all = seen(&[
            &["a/", "a/one=1", "a/two=2", "b/", "b/x/", "b/x/deep", "ab=beside", "c/", "c/f"],
            &["a/", "a/.wh.one", "b/", "b/.wh..wh..opq", "b/new=n", "c=now a file"],
        ]);
        let there: Vec<&str> = all.nodes.keys().map(String::as_str).collect();
        assert_eq!(there, ["a", "a/two", "ab", "b", "b/new", "c"]);
        assert_eq!(all.read("c").unwrap().unwrap(), b"now a file");
        let removed = seen(&[&["a/", "a/x"], &[".wh.a"]]);
        assert!(removed.nodes.is_empty());
        // Whatever comes first in a layer, its whiteouts are about those below.
        let anew = seen(&[&["a/", "a/x=old"], &["a/x=new", "a/.wh.x"]]);
        assert_eq!(anew.read("a/x").unwrap().unwrap(), b"new");
    }

    #[test]
    fn paths_are_followed_through_links_and_never_out_of_the_root() {
        let all = seen(&[&[
            "usr/",
            "usr/lib/",
            "usr/lib/x=content",
            "lib -> usr/lib",
            "etc/",
            "etc/up -> ../../../usr/lib/x",
            "etc/base -> /lib",
            "etc/round -> round",
            "usr/lib/y == usr/lib/x",
        ]]);
        assert_eq!(all.place("lib/new", true).unwrap(), "usr/lib/new");
        assert_eq!(all.place("lib", false).unwrap(), "lib");
        for path in ["lib/x", "etc/up", "etc/base/x", "etc/base/../lib/y"] {
            assert_eq!(all.read(path).unwrap().unwrap(), b"content", "{path}");
        }
        assert!(all.place("etc/round", true).is_none() && all.place("usr/lib/x/y", true).is_none());
        assert_eq!(all.names_in("lib"), ["x", "y"]);
        assert_eq!((all.anything_in("etc"), all.anything_in("lib")), (Some("etc/base"), Some("lib")));
        assert_eq!(seen(&[&["app/", "app/empty/"]]).anything_in("app"), None);
    }
}
