//! One tree out of several layers' trees, directory by directory.
//!
//! A directory that one layer alone provides is taken as it is, and nobody looks into it: what a plan costs is a
//! matter of the directories that are shared, not of how many files there are.

use std::collections::{BTreeMap, BTreeSet};

use coil_bootstrap::format::manifest::{Environment, Source};
use coil_bootstrap::format::path::TreePath;

use super::files::File;
use super::{Listing, Plan, Real, namespaces};
use crate::error::{Failure, Result};

/// Merges all layers but the first. Fails where two of them want one place for different things.
pub fn merge(layers: &[Listing], real: &Real) -> Result<Plan> {
    let mut merge = Merge { layers, real, notes: Vec::new() };
    let roots =
        (1..layers.len()).flat_map(|layer| ["venv/", ""].map(|start| Part { layer, start: start.into() }));
    let Merged { links, .. } = merge.directory("", roots.collect(), None)?;
    let mut environment = Environment::default();
    for Link { place, source, is_script } in links {
        let table = if is_script { &mut environment.scripts } else { &mut environment.links };
        table.insert(place, source);
    }
    Ok(Plan { environment, notes: merge.notes })
}

struct Merge<'a> {
    layers: &'a [Listing],
    real: &'a Real<'a>,
    notes: Vec<String>,
}

/// A directory of a layer: how the paths of what is in it begin.
#[derive(Clone)]
struct Part {
    layer: usize,
    start: String,
}

/// A file or link of a layer.
#[derive(Clone, Copy)]
struct Leaf<'a> {
    layer: usize,
    file: File<'a>,
}

/// What the layers have at one place, in their order.
#[derive(Default)]
struct Child<'a> {
    leaves: Vec<Leaf<'a>>,
    parts: Vec<Part>,
}

/// A directory of the environment.
#[derive(Default)]
struct Merged {
    /// The layers that something in it was taken of.
    providers: BTreeSet<usize>,
    links: Vec<Link>,
}

struct Link {
    place: TreePath,
    source: Source,
    is_script: bool,
}

impl<'a> Merge<'a> {
    /// Merges the directories that several layers have at `place`. `initial` is, in a directory for byte code, the
    /// layer whose `__init__.py` was taken.
    fn directory(&mut self, place: &str, parts: Vec<Part>, initial: Option<usize>) -> Result<Merged> {
        let is_real = self.real.0.contains(place);
        if let [part] = &parts[..]
            && !is_real
        {
            return Ok(Merged { providers: [part.layer].into(), ..Merged::default() });
        }
        let mut children = BTreeMap::new();
        parts.iter().for_each(|part| self.read(part, &mut children));
        let mut merged = Merged::default();
        let mut own_initial = None;
        // Byte code comes after its source, because it follows it.
        for (name, child) in &children {
            let below = below(place, name);
            let Some(taken) = self.choose(&below, child, initial)? else { continue };
            if *name == "__init__.py" {
                own_initial = Some(taken.layer);
            }
            let path = taken.file.path;
            let is_script =
                is_real && self.layers[taken.layer].scripts.iter().any(|script| script.as_str() == path);
            merged.add(taken.layer, &below, path, is_script)?;
        }
        for (name, child) in children.into_iter().filter(|(_, child)| !child.parts.is_empty()) {
            let below = below(place, name);
            let initial = own_initial.filter(|_| name == "__pycache__");
            let inner = self.directory(&below, child.parts.clone(), initial)?;
            let is_one = inner.providers.len() == 1 && !self.real.0.contains(below.as_str());
            let provider = inner.providers.first().filter(|_| is_one);
            match provider.and_then(|layer| child.parts.iter().find(|part| part.layer == *layer)) {
                Some(whole) => merged.add(whole.layer, &below, whole.start.trim_end_matches('/'), false)?,
                None => merged.join(inner),
            }
        }
        Ok(merged)
    }

    /// Adds what is directly in a layer's directory to the `children` of its place. Of what is further down nothing
    /// is looked at.
    fn read(&self, part: &Part, children: &mut BTreeMap<&'a str, Child<'a>>) {
        let files = &self.layers[part.layer].files;
        let mut rest = files.from(&part.start);
        while let Some(file) = rest.next() {
            let Some(below) = file.path.strip_prefix(part.start.as_str()) else { break };
            match below.split_once('/') {
                None => {
                    let leaf = Leaf { layer: part.layer, file };
                    children.entry(below).or_default().leaves.push(leaf);
                }
                Some((name, _)) => {
                    let start = format!("{}{name}/", part.start);
                    // `0` is the byte after `/`: the first path that is not in that directory.
                    rest = files.from(&format!("{}{name}0", part.start));
                    // What is in `venv` has its place at the root, and is there already.
                    if start != "venv/" {
                        children.entry(name).or_default().parts.push(Part { layer: part.layer, start });
                    }
                }
            }
        }
    }

    /// Which of the files at one place is taken; `None` where there are only directories.
    fn choose(&mut self, place: &str, child: &Child<'a>, initial: Option<usize>) -> Result<Option<Leaf<'a>>> {
        let Child { leaves, parts } = child;
        let Some((first, others)) = leaves.split_first() else { return Ok(None) };
        if let Some(part) = parts.first() {
            return Err(self.conflict(first.layer.min(part.layer), first.layer.max(part.layer), place));
        }
        let mut taken = *first;
        // Where the sources agree, the byte code of either will do.
        if place.contains("/__pycache__/") {
            let follows = place.rsplit('/').next().is_some_and(|name| name.starts_with("__init__."));
            let with_its_source = leaves.iter().find(|leaf| follows && Some(leaf.layer) == initial);
            return Ok(with_its_source.or(Some(&taken)).copied());
        }
        for other in others {
            // Wheels that share a namespace package often bring the same `__init__.py`.
            if other.file.is_like(&taken.file) {
                continue;
            }
            let (one, two) = (&self.layers[taken.layer], &self.layers[other.layer]);
            let Some(second) = namespaces::takes_second(one, two, other.file.path) else {
                return Err(self.conflict(taken.layer, other.layer, place));
            };
            let (better, worse) = if second { (two, one) } else { (one, two) };
            self.notes.push(namespaces::note(better, worse, place));
            if second {
                taken = *other;
            }
        }
        Ok(Some(taken))
    }

    fn conflict(&self, first: usize, second: usize, place: &str) -> Failure {
        let (first, second) = (&self.layers[first].origin, &self.layers[second].origin);
        Failure::new(format!("{first} and {second} both install {place}, with different content"))
            .hint("leave one of the two out, or ask for versions that do not overlap")
    }
}

impl Merged {
    fn add(&mut self, layer: usize, place: &str, path: &str, is_script: bool) -> Result<()> {
        let checked = |path: &str| {
            TreePath::new(path).map_err(|error| {
                let damage = "a listing in the cache is damaged";
                Failure::new(damage).because(error).hint("run `coil cache prune --all`, and pack again")
            })
        };
        let (place, path) = (checked(place)?, checked(path)?);
        self.providers.insert(layer);
        self.links.push(Link { place, source: Source { layer, path }, is_script });
        Ok(())
    }

    fn join(&mut self, inner: Merged) {
        self.providers.extend(inner.providers);
        self.links.extend(inner.links);
    }
}

fn below(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") }
}
