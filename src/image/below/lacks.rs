//! What a base lacks of what an app expects: the base for scratch, without all that is there already.
//!
//! Nothing of the base is hidden or changed, but for a line more in its tables of users and groups. What is added comes
//! where the base's own links lead, and below its directories, which keep their modes and owners.

use std::collections::BTreeSet;

use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::Kind;

use super::scan;
use super::seen::Seen;
use crate::error::{Context, Result};
use crate::image::base::{CERTIFICATES, USER};
use crate::image::root::{Item, Root};

/// Tables in which somebody with the number [`USER`] is to be found.
const TABLES: [&str; 2] = ["etc/passwd", "etc/group"];

/// Time zones belong together: of two releases they would not fit each other.
const ZONES: &str = "usr/share/zoneinfo";

/// Where distributions have all certificates in one file, beside [`CERTIFICATES`]: Fedora and its kin, openSUSE, Alpine.
const OTHER_CERTIFICATES: [&str; 3] =
    ["etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/ca-bundle.pem", "etc/ssl/cert.pem"];

/// What of `root` is to be added.
pub fn lacks(root: &Root, seen: &Seen) -> Result<Option<Root>> {
    let mut lacking = Root::default();
    let has_zones = seen.find(&format!("{ZONES}/UTC")).is_some();
    for (path, item) in root.items() {
        let plain = item.kind == Kind::Directory && item.mode.is_none();
        // A distribution that does not say what it is is not from scratch for that.
        let unwanted = plain || path.ends_with("os-release") || has_zones && path.below(ZONES).is_some();
        let Some(place) = seen.place(path, false).filter(|_| !unwanted) else { continue };
        match seen.get(&place) {
            Some(there) if TABLES.contains(&place.as_str()) => {
                let text = seen.read(&place).context(|| format!("cannot read /{place}"))?;
                let longer = with_user(text.unwrap_or_default(), &item.content);
                if let Some(content) = longer.filter(|_| there.kind == scan::Kind::File) {
                    let kind = Kind::File { size: content.len() as u64, executable: false };
                    let (mode, owner) = (Some(there.mode), there.owner);
                    lacking.add(&place, Item { kind, content, mode, owner })?;
                }
            }
            Some(_) => {}
            None => lacking.add(&place, moved(path, &place, item, seen))?,
        }
    }
    let directories: BTreeSet<TreePath> = lacking
        .items()
        .filter(|(_, item)| item.kind == Kind::Directory)
        .map(|(path, _)| path.clone())
        .collect();
    for path in directories {
        if let Some(there) = seen.get(&path) {
            let item = Item {
                kind: Kind::Directory,
                content: Vec::new(),
                mode: Some(there.mode),
                owner: there.owner,
            };
            lacking.add(&path, item)?;
        }
    }
    let empty = lacking.items().next().is_none();
    Ok((!empty).then_some(lacking))
}

/// A table with our user's line more; `None` where he, or somebody of his name, is in it.
fn with_user(mut table: Vec<u8>, ours: &[u8]) -> Option<Vec<u8>> {
    let number = USER.to_string();
    let lines = String::from_utf8_lossy(ours);
    let line = lines.lines().find(|line| line.split(':').nth(2) == Some(&number))?;
    let name = line.split(':').next();
    let text = String::from_utf8_lossy(&table);
    let is_his = |line: &str| line.split(':').nth(2) == Some(&number) || line.split(':').next() == name;
    if text.lines().any(is_his) {
        return None;
    }
    if table.last().is_some_and(|byte| *byte != b'\n') {
        table.push(b'\n');
    }
    table.extend(line.bytes().chain(*b"\n"));
    Some(table)
}

/// An item for the place that its path leads to: links among our own files still lead where they led.
fn moved(path: &TreePath, place: &str, item: &Item, seen: &Seen) -> Item {
    let Kind::Symlink(target) = &item.kind else { return item.clone() };
    let certificates = CERTIFICATES.trim_start_matches('/');
    let theirs = OTHER_CERTIFICATES.iter().find(|other| seen.find(other).is_some());
    let target = match theirs.filter(|_| **path == *certificates) {
        Some(other) => from(place, other),
        None if **path == *place => return item.clone(),
        None => path.follow(target).map_or_else(|| target.clone(), |target| from(place, &target)),
    };
    Item { kind: Kind::Symlink(target), ..item.clone() }
}

/// A link at `place` that leads to `target`, a path from the root on.
fn from(place: &str, target: &str) -> String {
    format!("{}{target}", "../".repeat(place.matches('/').count()))
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::layer;
    use super::*;
    use crate::image::base::{Carried, base};

    fn lacking(lines: &[&str]) -> Option<Vec<(String, String)>> {
        let mut seen = Seen::default();
        layer(&mut seen, lines);
        let zones = b"Etc/UTC 0 4\nUTC 0 4\n\nTZif".to_vec();
        let root = base(&Carried { zones: Some(zones), certificates: true, locale: true }).unwrap();
        let lacking = lacks(&root, &seen).unwrap()?;
        let text = |item: &Item| match &item.kind {
            Kind::Symlink(target) => format!("-> {target}"),
            _ => String::from_utf8_lossy(&item.content).into_owned(),
        };
        let files = lacking.items().filter(|(_, item)| item.kind != Kind::Directory);
        Some(files.map(|(path, item)| (path.to_string(), text(item))).collect())
    }

    fn find<'a>(all: &'a [(String, String)], path: &str) -> Option<&'a str> {
        all.iter().find(|(there, _)| there == path).map(|(_, text)| text.as_str())
    }

    #[test]
    fn what_a_base_has_stays_and_what_it_lacks_comes_where_its_links_lead() {
        let all = lacking(&[
            "etc/",
            "etc/passwd=root:x:0:0:root:/root:/bin/sh",
            "etc/group=root:x:0:\nnonroot:x:7:\n",
            "etc/nsswitch.conf=mine",
            "etc/ssl/",
            "etc/ssl/certs -> ../pki/tls/certs",
            "etc/pki/",
            "etc/pki/tls/",
            "etc/pki/tls/certs/",
            "usr/",
            "usr/share/",
            "usr/share/zoneinfo/",
            "usr/share/zoneinfo/UTC",
        ])
        .unwrap();
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
        assert_eq!(find(&all, "etc/passwd"), Some(passwd));
        assert_eq!(find(&all, "etc/group"), None, "the name is taken");
        assert_eq!((find(&all, "etc/nsswitch.conf"), find(&all, "etc/os-release")), (None, None));
        let link = find(&all, "etc/pki/tls/certs/ca-certificates.crt");
        assert_eq!(link, Some("-> ../../../../python/share/certificates.pem"));
        assert!(find(&all, "etc/services").is_some());
        assert!(!all.iter().any(|(path, _)| path.starts_with("usr/share/zoneinfo")), "{all:?}");
    }

    #[test]
    fn certificates_of_the_base_go_before_ours() {
        let all = lacking(&["etc/", "etc/ssl/", "etc/ssl/cert.pem=theirs"]).unwrap();
        assert_eq!(find(&all, "etc/ssl/certs/ca-certificates.crt"), Some("-> ../../../etc/ssl/cert.pem"));
    }

    #[test]
    fn a_base_that_has_everything_gets_nothing() {
        let zones = b"Etc/UTC 0 4\nUTC 0 4\n\nTZif".to_vec();
        let root = base(&Carried { zones: Some(zones), certificates: true, locale: true }).unwrap();
        let line = |(path, item): (&TreePath, &Item)| match &item.kind {
            Kind::Directory => format!("{path}/"),
            Kind::Symlink(target) => format!("{path} -> {target}"),
            Kind::File { .. } => format!("{path}={}", String::from_utf8_lossy(&item.content)),
        };
        let everything: Vec<String> = root.items().map(line).collect();
        let lines: Vec<&str> = everything.iter().map(String::as_str).collect();
        assert_eq!(lacking(&lines), None);
    }

    #[test]
    fn directories_keep_the_modes_and_owners_that_the_base_gave_them() {
        let mut seen = Seen::default();
        layer(&mut seen, &["etc/", "var/"]);
        let root = base(&Carried::default()).unwrap();
        let lacking = lacks(&root, &seen).unwrap().unwrap();
        let etc = lacking.items().find(|(path, _)| ***path == *"etc").unwrap().1;
        assert_eq!(etc.mode, Some(0o711));
    }
}
