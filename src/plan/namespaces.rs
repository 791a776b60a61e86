//! Which of two `__init__.py` is taken where both only declare a namespace, or say nothing.
//!
//! pip lets the distribution win that it installs last. Here it is the file that says more, and of two that
//! say the same the one with the smaller checksum: the order of the layers does not count.

use coil_bootstrap::format::checksum::Checksum;

use super::Listing;
use super::files::digits;
use crate::wheel::namespace::Initial;

/// Whether the second layer's file is taken instead of the first's; `None` where one of the two is an ordinary
/// file, so that there is no choice.
pub fn takes_second(first: &Listing, second: &Listing, path: &str) -> Option<bool> {
    Some(rank(second, path)? < rank(first, path)?)
}

/// What is said of the choice.
pub fn note(taken: &Listing, other: &Listing, place: &str) -> String {
    let (taken, other) = (&taken.origin, &other.origin);
    format!(
        "{place} of {taken} is taken, not that of {other}: both are there for the namespace package alone"
    )
}

fn rank<'a>(layer: &'a Listing, path: &str) -> Option<(Initial, &'a str)> {
    let checksum = layer.files.get(path)?.checksum();
    let is_empty = || path.ends_with("/__init__.py") && checksum == digits(&Checksum::of(b""));
    let initial = layer.initials.get(path).copied();
    Some((initial.or_else(|| is_empty().then_some(Initial::Blank))?, checksum))
}
