//! The layer of libraries that are brought from the machine that packs: what the user names, and all that needs,
//! as far as the bundle does not have it.

use std::collections::{BTreeMap, BTreeSet};

use super::Packing;
use super::closed_world::{Expected, layers};
use crate::checksums::Checksums;
use crate::error::{Context, Result};
use crate::needs::World;
use crate::plan::{Files, Listing};
use crate::runtime::brought::{Brought, bring};
use crate::store::{Key, Made, StoredLayer};

/// Who provides what was brought.
const ORIGIN: &str = "what was brought from this machine";

/// The layer; `None` where nothing is brought. Its listing names no file: it is no part of the environment.
pub fn layer(
    packing: &Packing,
    listings: &[&Listing],
    expected: &Expected,
) -> Result<Option<StoredLayer<()>>> {
    if expected.brought.is_empty() {
        return Ok(None);
    }
    let layers = layers(listings.iter().copied());
    let missing = World::new(&layers).missing();
    let named: BTreeSet<&str> = expected.brought.iter().filter_map(|pattern| pattern.name()).collect();
    let matches = |name: &&str| expected.brought.iter().any(|pattern| pattern.matches(name));
    let matching: BTreeSet<&str> = missing.iter().map(|missing| missing.library).filter(matches).collect();
    let runtime = layers.first().map(|runtime| &runtime.needs.provides);
    let has = |name: &str| runtime.is_some_and(|provides| provides.contains(name));
    let Brought { tree, notes } = bring(&named, &matching, &has)?;
    notes.iter().for_each(|note| packing.report.note(note));
    if tree.is_empty() {
        return Ok(None);
    }
    let checksums = Checksums::of(&tree).context(|| format!("{ORIGIN} cannot be read again"))?;
    let key = Key::new("libraries", &[checksums.all().as_bytes(), &packing.level.to_string()]);
    let mut layer = packing.store.layer(key, packing.level, || {
        let (scripts, reaching, programs) = (Vec::new(), Vec::new(), BTreeMap::new());
        Ok(Made { tree, origin: ORIGIN.to_owned(), scripts, reaching, programs, facts: () })
    })?;
    layer.listing.files = Files::default();
    Ok(Some(layer))
}
