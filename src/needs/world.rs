//! All layers of a bundle together: what is asked for and provided by none of them.
//!
//! A library counts as provided if a file of any layer is called by its name. Where the loader would have to
//! search for it is not asked: wheels load their libraries before they are needed, or find those of other wheels,
//! in too many ways to refuse one for it.

use std::collections::{BTreeSet, HashSet};

use coil_bootstrap::format::path::TreePath;

use super::version::{Newest, SymbolVersion};
use super::{Needs, Want, Wanted};

/// One layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// Who provides it, in words a user understands.
    pub origin: &'a str,
    /// What its files need.
    pub needs: &'a Needs,
}

/// All layers of a bundle; the first is the runtime's.
pub struct World<'a> {
    layers: &'a [Layer<'a>],
    provided: HashSet<&'a str>,
    asked: HashSet<&'a str>,
    carried: Newest,
}

/// A library that nothing provides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing<'a> {
    /// Whether what asks is essential to its layer.
    pub essential: bool,
    /// Whose layer it is that asks.
    pub origin: &'a str,
    /// Which file of it.
    pub file: &'a TreePath,
    /// What it asks for.
    pub library: &'a str,
}

/// A version of symbols that is newer than the one in the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooNew<'a> {
    /// Whose layer needs it.
    pub origin: &'a str,
    /// What is needed, and by which file.
    pub wanted: &'a Wanted<SymbolVersion>,
    /// The newest there is.
    pub carried: Option<SymbolVersion>,
}

impl<'a> World<'a> {
    /// The world of these layers, the runtime's first.
    pub fn new(layers: &'a [Layer<'a>]) -> Self {
        let provided = layers.iter().flat_map(|layer| &layer.needs.provides).map(String::as_str).collect();
        let wants = layers.iter().flat_map(|layer| &layer.needs.wants);
        let asked = wants.filter(|want| want.essential).map(|want| want.library.as_str()).collect();
        let mut carried = Newest::default();
        layers.iter().for_each(|layer| carried.add_all(&layer.needs.defines));
        World { layers, provided, asked, carried }
    }

    /// What is asked for and not there, in the order of the layers.
    pub fn missing(&self) -> Vec<Missing<'a>> {
        let mut found = Vec::new();
        for Layer { origin, needs } in self.layers {
            for want in needs.wants.iter().filter(|want| !self.provided.contains(want.library.as_str())) {
                let essential = self.is_essential(want);
                found.push(Missing { essential, origin, file: &want.file, library: &want.library });
            }
        }
        found
    }

    /// The versions that are newer than what is there, in the order of the layers. A family that is not there at all
    /// belongs to a library that is missing.
    pub fn too_new(&self) -> Vec<TooNew<'a>> {
        let mut found = Vec::new();
        for Layer { origin, needs } in self.layers {
            for wanted in &needs.versions {
                let carried = self.carried.of(&wanted.what.family);
                if carried.as_ref().is_some_and(|carried| carried.number < wanted.what.number) {
                    found.push(TooNew { origin, wanted, carried });
                }
            }
        }
        found
    }

    /// A plugin of one wheel may be what another one cannot do without.
    fn is_essential(&self, want: &Want) -> bool {
        want.essential || want.names.iter().any(|name| self.asked.contains(name.as_str()))
    }
}

/// Whether a library belongs to a driver of the host: another one than the host's would not work.
pub fn is_driver(library: &str) -> bool {
    ["libcuda.so", "libnvidia-", "libnvcuvid.so", "libnvoptix.so", "libvdpau_nvidia.so"]
        .iter()
        .any(|start| library.starts_with(start))
}

/// The name of a library, in which `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The patterns in these words.
    pub fn all<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<Pattern> {
        let unique: BTreeSet<&String> = texts.into_iter().collect();
        unique.into_iter().map(|text| Pattern(text.clone())).collect()
    }

    /// Whether it stands for this name.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        true
    }

    /// The only name that it stands for, if it has no `*`.
    pub fn name(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }
}
