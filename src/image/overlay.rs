//! What is seen where layers of an image lie over each other.
//!
//! In an environment made of links the plan says whose file is at a path that several wheels have. In an image the
//! uppermost layer's is seen, and one layer may have a path only once. So of a group that is joined the right one stays,
//! and where the uppermost is another than the plan's, the environment's layer brings the right one again.

use std::collections::{BTreeMap, BTreeSet};

use coil_bootstrap::format::manifest::Environment;
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::{Entry, Kind};

/// What overlaps in an image.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Files that are left out of a layer of the bundle when it is joined with others of its group.
    pub dropped: BTreeSet<(usize, TreePath)>,
    /// Files that the uppermost layer has wrong: the layer of the bundle that has the right one.
    pub again: BTreeMap<TreePath, usize>,
}

/// Finds what overlaps. `entries` are those of the bundle's layers, by index; `groups` the image's layers, bottom first.
pub fn overlay(entries: &BTreeMap<usize, Vec<Entry>>, groups: &[Vec<usize>], plan: &Environment) -> Overlay {
    let mut overlay = Overlay::default();
    for (path, owners) in shared(entries) {
        let right = planned(plan, path).filter(|layer| owners.contains(layer)).unwrap_or(owners[0]);
        let mut seen = None;
        for group in groups {
            let here: Vec<usize> = group.iter().copied().filter(|layer| owners.contains(layer)).collect();
            let Some(first) = here.first() else { continue };
            let kept = if here.contains(&right) { right } else { *first };
            let others = here.iter().filter(|layer| **layer != kept);
            overlay.dropped.extend(others.map(|layer| (*layer, path.clone())));
            seen = Some(kept);
        }
        if seen != Some(right) {
            overlay.again.insert(path.clone(), right);
        }
    }
    overlay
}

/// The paths that several layers have as something else than a directory, with those layers.
fn shared(entries: &BTreeMap<usize, Vec<Entry>>) -> BTreeMap<&TreePath, Vec<usize>> {
    let mut owners: BTreeMap<&TreePath, Vec<usize>> = BTreeMap::new();
    for (layer, entries) in entries {
        for entry in entries.iter().filter(|entry| entry.kind != Kind::Directory) {
            owners.entry(&entry.path).or_default().push(*layer);
        }
    }
    owners.retain(|_, layers| layers.len() > 1);
    owners
}

/// The layer whose file the plan has for `path`, a path in an image.
fn planned(plan: &Environment, path: &TreePath) -> Option<usize> {
    let place = TreePath::new(path.below("venv").unwrap_or(path)).ok()?;
    let mut above = Some(place);
    while let Some(here) = above {
        if let Some(source) = plan.links.get(&here).or_else(|| plan.scripts.get(&here)) {
            return Some(source.layer);
        }
        above = here.parent();
    }
    None
}

#[cfg(test)]
mod tests {
    use coil_bootstrap::format::manifest::Source;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn layer(paths: &[&str]) -> Vec<Entry> {
        let file = Kind::File { size: 0, executable: false };
        let directory = Entry { path: path("venv"), kind: Kind::Directory };
        let files = paths.iter().map(|name| Entry { path: path(name), kind: file.clone() });
        std::iter::once(directory).chain(files).collect()
    }

    #[test]
    fn the_file_that_the_plan_has_is_seen_whatever_the_order() {
        let entries = BTreeMap::from([
            (1, layer(&["venv/ns/__init__.py", "venv/a.py"])),
            (2, layer(&["venv/ns/__init__.py"])),
            (3, layer(&["venv/ns/__init__.py"])),
        ]);
        let mut plan = Environment::default();
        plan.links.insert(path("ns/__init__.py"), Source { layer: 2, path: path("venv/ns/__init__.py") });
        let shared = path("venv/ns/__init__.py");
        let dropped = |layers: &[usize]| layers.iter().map(|layer| (*layer, shared.clone())).collect();
        let one = overlay(&entries, &[vec![1, 2, 3]], &plan);
        assert_eq!(one, Overlay { dropped: dropped(&[1, 3]), again: BTreeMap::new() });
        let apart = overlay(&entries, &[vec![1], vec![2], vec![3]], &plan);
        assert_eq!(apart, Overlay { dropped: dropped(&[]), again: [(shared.clone(), 2)].into() });
        let below = overlay(&entries, &[vec![1, 3], vec![2]], &plan);
        assert_eq!(below, Overlay { dropped: dropped(&[3]), again: BTreeMap::new() });
    }
}
