//! How a bundle is cut into what other bundles have as well and what they do not.
//!
//! Both sides cut in the same way: the sender the bundle that it offers, the receiver those that it has. What is between
//! the parts that a bundle names (its layers, its manifest, its stamp) is the launcher, which is the same in most bundles
//! of one version of coil.

use std::ops::Range;

use crate::bundle::Bundle;
use crate::format::manifest::Layer;

/// The length of an ELF header, which tells where the section table is and so differs from bundle to bundle.
const ELF_HEADER: u64 = 64;

/// What is shorter, in bytes, is sent rather than looked for.
const WORTH: u64 = 16 << 10;

/// A part of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// What differs from bundle to bundle.
    Changing,
    /// A piece of the launcher.
    Fixed,
    /// A layer.
    Layer(&'a Layer),
}

/// The parts of a bundle in order; they fill the file.
pub fn parts(bundle: &Bundle) -> Vec<(Range<u64>, Part<'_>)> {
    let (payload, size) = (bundle.payload(), bundle.size());
    let mut named: Vec<(Range<u64>, Part)> = Vec::new();
    // Nearly always in this order; another tool may have moved the sections.
    let mut name = |range: Range<u64>, part| {
        let place =
            named.iter().rposition(|(other, _)| other.start <= range.start).map_or(0, |last| last + 1);
        named.insert(place, (range, part));
    };
    name(0..ELF_HEADER, Part::Changing);
    name(payload.stamp.clone(), Part::Changing);
    for layer in &bundle.manifest().layers {
        let start = bundle.layer_offset(layer);
        name(start..start + layer.size, Part::Layer(layer));
    }
    name(payload.manifest.clone(), Part::Changing);
    let mut parts = Vec::with_capacity(2 * named.len());
    let mut end = 0;
    for (range, part) in named {
        // Sections that lie over each other are no bundle of ours, and cost nothing but bytes sent.
        if range.start < end || range.end > size || range.is_empty() {
            continue;
        }
        parts.extend(gap(end..range.start));
        end = range.end;
        parts.push((range, part));
    }
    parts.extend(gap(end..size));
    parts
}

fn gap<'a>(range: Range<u64>) -> Option<(Range<u64>, Part<'a>)> {
    let part = if range.end - range.start < WORTH { Part::Changing } else { Part::Fixed };
    (!range.is_empty()).then_some((range, part))
}

/// The pieces of a layer, and whether another state of it may have them: its frames, by their places in the file. One
/// piece where it is not worth while, or where its index cannot be read.
pub fn frames(bundle: &Bundle, layer: &Layer) -> Vec<(Range<u64>, bool)> {
    let start = bundle.layer_offset(layer);
    let whole = start..start + layer.size;
    let mut pieces: Vec<(Range<u64>, bool)> = Vec::new();
    for frame in bundle.frames(layer).unwrap_or_default() {
        let from = start + frame.offset;
        add(&mut pieces, from..from + u64::from(frame.compressed));
    }
    if pieces.iter().filter(|(_, worth)| *worth).count() < 2 {
        return vec![(whole, true)];
    }
    let end = pieces.last().map_or(start, |(last, _)| last.end);
    add(&mut pieces, end..whole.end);
    pieces
}

/// Adds a piece, to the one before if both are short.
fn add(pieces: &mut Vec<(Range<u64>, bool)>, piece: Range<u64>) {
    let worth = piece.end - piece.start >= WORTH;
    match pieces.last_mut() {
        Some((last, false)) if !worth => last.end = piece.end,
        _ if piece.is_empty() => {}
        _ => pieces.push((piece, worth)),
    }
}
