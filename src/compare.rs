//! Two bundles compared: the same, or where they begin to differ.
//!
//! Layers are compared first, entry by entry, because they say most; then the manifests, key by key; then
//! the launchers. One frame of each bundle is in memory at a time.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use coil_bootstrap::archive::Archive;
use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::manifest::{Layer, LayerKind};
use coil_bootstrap::format::tar::{Entry, Kind};
use serde_json::Value;

use crate::error::{Context, Result};

/// Where two bundles begin to differ, as the end of a sentence about the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `the layer hello (app)`, `the manifest`, `the launcher`.
    pub part: String,
    /// The entry or the key, where there is one, and in what it differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.part, self.what)
    }
}

/// The first difference between two bundles; `None` where they are the same, bit for bit.
pub fn first_difference(one: &Bundle, other: &Bundle) -> Result<Option<Difference>> {
    let read = |path: &Path| File::open(path).context(|| format!("cannot read {}", path.display()));
    let same = first_differing_byte(&mut read(one.path())?, &mut read(other.path())?)
        .context(|| format!("cannot compare {} with {}", one.path().display(), other.path().display()))?;
    if same.is_none() {
        return Ok(None);
    }
    let found = match layer_sets(one, other) {
        Some(difference) => Some(difference),
        None => first_in_layers(one, other)?,
    };
    let found = found.or_else(|| {
        let value = |bundle: &Bundle| serde_json::to_value(bundle.manifest()).unwrap_or_default();
        let what = first_in_values(&value(one), &value(other), "")?;
        Some(Difference { part: "the manifest".into(), what })
    });
    // Neither layers nor manifest: what is left is the launcher in front.
    Ok(Some(found.unwrap_or_else(|| Difference {
        part: "the launcher".into(),
        what: "differs: it comes with another build of coil".into(),
    })))
}

/// A layer that only one of the two has.
fn layer_sets(one: &Bundle, other: &Bundle) -> Option<Difference> {
    let names = |bundle: &Bundle| -> BTreeSet<(String, String)> {
        bundle.manifest().layers.iter().map(|layer| (kind(layer).to_owned(), layer.name.clone())).collect()
    };
    let (here, there) = (names(one), names(other));
    let missing = here.difference(&there).map(|name| (name, "is missing"));
    let (name, what) = missing.chain(there.difference(&here).map(|name| (name, "is extra"))).next()?;
    Some(Difference { part: format!("the layer {} ({})", name.1, name.0), what: what.into() })
}

fn first_in_layers(one: &Bundle, other: &Bundle) -> Result<Option<Difference>> {
    for layer in &one.manifest().layers {
        let same = |there: &&Layer| there.kind == layer.kind && there.name == layer.name;
        let Some(there) = other.manifest().layers.iter().find(same) else { continue };
        if layer.digest == there.digest {
            continue;
        }
        let what = if layer.diff_id == there.diff_id {
            "holds the same and is compressed differently".to_owned()
        } else {
            let entry = first_in_archives(Archive::open(one, layer), Archive::open(other, there))?;
            entry.map_or_else(|| "differs".to_owned(), |what| format!("differs first at {what}"))
        };
        return Ok(Some(Difference { part: format!("the layer {} ({})", layer.name, kind(layer)), what }));
    }
    Ok(None)
}

type Opened<'a> = coil_bootstrap::error::Result<Archive<'a>>;

/// The first entry that differs. What follows from other files (byte code, RECORD) counts only where those
/// are the same.
fn first_in_archives(one: Opened, other: Opened) -> Result<Option<String>> {
    let unreadable = || "a layer cannot be read".to_owned();
    let (mut one, mut other) = (one.context(unreadable)?, other.context(unreadable)?);
    let mut derived = None;
    // Both are sorted by path. The entries that were read and not compared yet:
    let (mut here, mut there) = (one.entry().context(unreadable)?, other.entry().context(unreadable)?);
    loop {
        let order = match (&here, &there) {
            (None, None) => return Ok(derived),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(here), Some(there)) => here.path.cmp(&there.path),
        };
        let what = match (&here, &there, order) {
            (Some(here), Some(there), Ordering::Equal) => in_entry(here, there, &mut one, &mut other)?,
            (_, _, Ordering::Less) => Some("it is missing".to_owned()),
            _ => Some("it is extra".to_owned()),
        };
        let entry = if order == Ordering::Greater { &there } else { &here };
        if let (Some(what), Some(entry)) = (what, entry) {
            let told = Some(format!("{}: {what}", entry.path));
            if !is_derived(&entry.path) {
                return Ok(told);
            }
            derived = derived.or(told);
        }
        if order != Ordering::Greater {
            here = one.entry().context(unreadable)?;
        }
        if order != Ordering::Less {
            there = other.entry().context(unreadable)?;
        }
    }
}

fn is_derived(path: &str) -> bool {
    path.ends_with(".pyc") || path.ends_with("/__pycache__") || path.ends_with(".dist-info/RECORD")
}

/// In what two entries of one path, the last of their archives, differ.
fn in_entry(here: &Entry, there: &Entry, one: &mut Archive, other: &mut Archive) -> Result<Option<String>> {
    if let Some(what) = in_kind(here, there) {
        return Ok(Some(what));
    }
    let at = first_differing_byte(&mut Content(one), &mut Content(other))
        .context(|| format!("{} cannot be read", here.path))?;
    Ok(at.map(|at| format!("its content, from byte {at} on")))
}

/// In what two entries of one path differ, but for their contents.
fn in_kind(here: &Entry, there: &Entry) -> Option<String> {
    let name = |kind: &Kind| match kind {
        Kind::Directory => "a directory",
        Kind::File { .. } => "a file",
        Kind::Symlink(_) => "a link",
    };
    let mode = |executable: bool| if executable { "0755" } else { "0644" };
    match (&here.kind, &there.kind) {
        (Kind::File { executable: one, .. }, Kind::File { executable: other, .. }) => {
            (one != other).then(|| format!("its mode is {} instead of {}", mode(*other), mode(*one)))
        }
        (Kind::Symlink(one), Kind::Symlink(other)) => {
            (one != other).then(|| format!("it is a link to {other} instead of {one}"))
        }
        (Kind::Directory, Kind::Directory) => None,
        (one, other) => Some(format!("it is {} instead of {}", name(other), name(one))),
    }
}

/// The content of an archive's last entry.
struct Content<'c, 'a>(&'c mut Archive<'a>);

impl Read for Content<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.content(buffer).map_err(io::Error::other)
    }
}

/// Where two streams begin to differ, in bytes; `None` where they never do.
fn first_differing_byte(one: &mut dyn Read, other: &mut dyn Read) -> io::Result<Option<u64>> {
    let mut buffers = [vec![0; 1 << 18], vec![0; 1 << 18]];
    let mut before = 0;
    loop {
        let [here, there] = &mut buffers;
        let (here, there) = (fill(one, here)?, fill(other, there)?);
        if here == there {
            if here.is_empty() {
                return Ok(None);
            }
            before += here.len() as u64;
            continue;
        }
        let common = here.iter().zip(there).take_while(|(one, other)| one == other).count();
        return Ok(Some(before + common as u64));
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill<'b>(reader: &mut dyn Read, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

/// The first key, in the order of the manifest's bytes, that has another value: `differs first at KEY: ...`.
fn first_in_values(one: &Value, other: &Value, place: &str) -> Option<String> {
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match (one, other) {
        (Value::Object(here), Value::Object(there)) => {
            let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
            names.into_iter().find_map(|name| match (here.get(name), there.get(name)) {
                (Some(one), Some(other)) => first_in_values(one, other, &below(name)),
                (one, _) => {
                    let what = if one.is_some() { "it is missing" } else { "it is extra" };
                    Some(format!("differs first at {}: {what}", below(name)))
                }
            })
        }
        (Value::Array(here), Value::Array(there)) if here.len() == there.len() => {
            let mut pairs = here.iter().zip(there).enumerate();
            pairs.find_map(|(at, (one, other))| first_in_values(one, other, &below(&at.to_string())))
        }
        _ if one == other => None,
        _ => Some(format!("differs first at {place}: {} instead of {}", shown(other), shown(one))),
    }
}

/// A value as it can stand in a sentence.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}

fn kind(layer: &Layer) -> &'static str {
    match layer.kind {
        LayerKind::Runtime => "runtime",
        LayerKind::Libraries => "libs",
        LayerKind::Wheel => "wheel",
        LayerKind::App => "app",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_differing_byte_is_told_across_buffers() {
        let long = vec![7; 300_000];
        let mut other = long.clone();
        let differ = |one: &[u8], other: &[u8]| first_differing_byte(&mut &one[..], &mut &other[..]).unwrap();
        assert_eq!(differ(&long, &other), None);
        other[299_999] = 8;
        assert_eq!(differ(&long, &other), Some(299_999));
        assert_eq!(differ(&long, &long[..270_000]), Some(270_000));
        assert_eq!(differ(b"", b"x"), Some(0));
    }

    #[test]
    fn the_first_differing_key_is_named_with_both_values() {
        let one = json!({"a": {"b": [1, {"c": "x"}]}, "d": 1});
        let differ = |other: Value| first_in_values(&one, &other, "");
        assert_eq!(differ(one.clone()), None);
        let told = differ(json!({"a": {"b": [1, {"c": "y"}]}, "d": 2})).unwrap();
        assert_eq!(told, "differs first at a.b.1.c: \"y\" instead of \"x\"");
        assert_eq!(differ(json!({"a": {}, "d": 1})).unwrap(), "differs first at a.b: it is missing");
        assert!(differ(json!({"0": 0, "a": 1})).unwrap().ends_with("0: it is extra"));
    }
}
