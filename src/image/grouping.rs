//! Which layers of a bundle become which layers of an image, and in which order.
//!
//! A wheel that is large stands alone, so that every image which has it shares it. Small ones are joined in the order of
//! their names. Where a group ends depends on the wheels at its end and not on how many came before, so that two
//! apps with nearly the same wheels have most groups in common, and a new wheel changes one group.

use coil_bootstrap::format::manifest::{Layer, LayerKind};

/// From this size on, in bytes as compressed, a wheel stands alone.
const LARGE: u64 = 1 << 20;

/// How many wheels stand alone at most; where there are more, more than [`LARGE`] is asked of them.
const MOST_ALONE: usize = 16;

/// How many groups of small wheels there are, about, at most.
const MOST_GROUPS: usize = 6;

/// A group ends behind one wheel in this many, at first.
const ONE_IN: u8 = 8;

/// The groups, bottom first, as indices into `layers`. The runtime is the first, by itself.
pub fn groups(layers: &[Layer]) -> Vec<Vec<usize>> {
    let of = |kind: LayerKind| (0..layers.len()).filter(move |index| layers[*index].kind == kind);
    let mut groups: Vec<Vec<usize>> = of(LayerKind::Runtime).map(|index| vec![index]).collect();
    groups.extend(of(LayerKind::Libraries).map(|index| vec![index]));
    let mut wheels: Vec<usize> = of(LayerKind::Wheel).collect();
    wheels.sort_by_key(|index| (&layers[*index].name, layers[*index].digest));
    let large = enough_to_stand_alone(layers, &wheels);
    let (alone, small): (Vec<usize>, Vec<usize>) =
        wheels.into_iter().partition(|index| layers[*index].size >= large);
    groups.extend(alone.into_iter().map(|index| vec![index]));
    groups.extend(cut(layers, &small));
    groups.extend(of(LayerKind::App).map(|index| vec![index]));
    groups
}

fn enough_to_stand_alone(layers: &[Layer], wheels: &[usize]) -> u64 {
    let mut large = LARGE;
    while wheels.iter().filter(|index| layers[**index].size >= large).count() > MOST_ALONE {
        large *= 2;
    }
    large
}

/// Cuts the small wheels, which are sorted, into groups.
fn cut(layers: &[Layer], small: &[usize]) -> Vec<Vec<usize>> {
    let mut one_in = ONE_IN;
    loop {
        let ends = |index: &usize| layers[*index].digest.as_bytes()[0].is_multiple_of(one_in);
        let groups: Vec<Vec<usize>> = small.split_inclusive(ends).map(<[usize]>::to_vec).collect();
        match one_in.checked_mul(2) {
            Some(fewer) if groups.len() > MOST_GROUPS => one_in = fewer,
            _ => return groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use coil_bootstrap::format::checksum::Checksum;
    use coil_bootstrap::format::digest::Digest;

    use super::*;

    fn layer(kind: LayerKind, name: &str, size: u64) -> Layer {
        Layer {
            kind,
            name: name.into(),
            version: None,
            media_type: String::new(),
            digest: Digest::of(name.as_bytes()),
            checksum: Checksum::of(name.as_bytes()),
            size,
            diff_id: Digest::of(name.as_bytes()),
            unpacked_size: size,
            offset: 0,
            programs: BTreeMap::new(),
            apart: BTreeMap::new(),
        }
    }

    fn bundle(wheels: impl IntoIterator<Item = (String, u64)>) -> Vec<Layer> {
        let wheels = wheels.into_iter().map(|(name, size)| layer(LayerKind::Wheel, &name, size));
        let first = std::iter::once(layer(LayerKind::Runtime, "cpython", 9 << 20));
        first.chain(wheels).chain([layer(LayerKind::App, "app", 5)]).collect()
    }

    fn named(layers: &[Layer]) -> Vec<Vec<&str>> {
        let name = |index: &usize| layers[*index].name.as_str();
        groups(layers).iter().map(|group| group.iter().map(name).collect()).collect()
    }

    #[test]
    fn large_wheels_stand_alone_between_the_runtime_and_the_app() {
        let wheels = [("tiny".to_owned(), 10), ("numpy".to_owned(), 20 << 20), ("small".to_owned(), 10)];
        let layers = bundle(wheels);
        let groups = named(&layers);
        assert_eq!((groups[0].as_slice(), groups[1].as_slice()), (&["cpython"][..], &["numpy"][..]));
        assert_eq!(groups.last().unwrap(), &["app"]);
        assert_eq!(groups.concat().len(), layers.len());
    }

    #[test]
    fn one_wheel_more_changes_one_group() {
        let many = |count: usize| (0..count).map(|number| (format!("wheel-{number:03}"), 1000));
        let before = bundle(many(40));
        let after = bundle(many(40).chain([("wheel-020a".into(), 1000)]));
        let (before, after) = (named(&before), named(&after));
        let one: BTreeSet<_> = before.iter().collect();
        let two: BTreeSet<_> = after.iter().collect();
        assert!(one.difference(&two).count() == 1 && two.difference(&one).count() <= 2, "{one:?} {two:?}");
        assert!(before.len() > 4, "{before:?}");
    }

    #[test]
    fn however_many_wheels_there_are_the_layers_stay_few() {
        let large = (0..150).map(|number| (format!("large-{number:03}"), 1 << (20 + number % 7)));
        let small = (0..700).map(|number| (format!("small-{number:03}"), 1000));
        assert!(groups(&bundle(large.chain(small))).len() <= 2 + MOST_ALONE + 16);
        let equal = (0..300).map(|number| (format!("large-{number:03}"), 5 << 20));
        assert!(groups(&bundle(equal)).len() < 20);
    }
}
