//! Several small layers of a bundle as one layer of an image.
//!
//! Frames are copied as they are. Only one with a path that came before already is compressed anew without it, or left out
//! where nothing else is in it: a layer must not name a path twice (OCI image specification, "Layer Changesets"). The
//! directories that all wheels have are frames of their own; what is left are namespace packages, with a directory of
//! several wheels.

use std::collections::BTreeSet;
use std::io;

use coil_bootstrap::format::manifest::Layer;
use coil_bootstrap::format::path::TreePath;

use super::Bytes;
use super::blob::{Blob, Made};
use super::frames::Frames;
use super::hashing::Hashing;
use crate::layer::BlobPlace;

/// Joins layers of a bundle, given with their index in it, bottom first. What is in `dropped` is left out.
pub fn join(
    layers: &[(usize, &Layer, &BlobPlace)],
    dropped: &BTreeSet<(usize, TreePath)>,
) -> io::Result<Made> {
    let mut blob = Blob::default();
    let mut there: BTreeSet<TreePath> = BTreeSet::new();
    for (index, layer, place) in layers {
        check(layer, place)?;
        let mut dropping = false;
        Frames::open(place, layer)?.each(|frame| {
            if frame.is_end {
                return Ok(false);
            }
            let mut kept = Vec::new();
            let mut whole = true;
            for placed in &frame.entries {
                let path = &placed.entry.path;
                dropping = dropped.contains(&(*index, path.clone())) || !there.insert(path.clone());
                whole &= !dropping;
                if !dropping {
                    kept.extend_from_slice(&frame.decoded[placed.range.clone()]);
                }
            }
            // A frame without entries is more of the large file before it, which alone decides.
            match frame.entries.is_empty() && dropping {
                true => {}
                false if whole => blob.copy(&frame.compressed, &frame.decoded),
                false => blob.compress(&kept)?,
            }
            Ok(true)
        })?;
    }
    blob.finish()
}

/// What is made of a layer has a digest of its own, behind which damage would not be seen any more.
fn check(layer: &Layer, place: &BlobPlace) -> io::Result<()> {
    let blob = Bytes::There(place.clone(), layer.size).open()?;
    match Hashing::new(blob).finish()? == (layer.digest, layer.size) {
        true => Ok(()),
        false => Err(io::Error::other(format!("the layer {} has another digest", layer.name))),
    }
}

#[cfg(test)]
mod tests {
    use coil_bootstrap::format::manifest::LayerKind;

    use super::*;
    use crate::layer;
    use crate::pool::Pool;
    use crate::tree::{Content, Node, Tree};

    fn written(directory: &std::path::Path, name: &str, files: &[(&str, usize)]) -> (Layer, BlobPlace) {
        let mut tree = Tree::new();
        for (path, size) in files {
            let bytes: Vec<u8> = (0..*size).map(|at| ((at * at) >> 7) as u8 ^ name.as_bytes()[0]).collect();
            let node = Node { content: Content::bytes(bytes), executable: false, origin: "test".into() };
            tree.insert(TreePath::new(*path).unwrap(), node).unwrap();
        }
        let mut bytes = Vec::new();
        let blob = layer::write(&tree, 3, &Pool::new(1), &mut bytes).unwrap();
        let file = directory.join(name);
        std::fs::write(&file, bytes).unwrap();
        let layer = blob.described(LayerKind::Wheel, name, 0);
        (layer, file.into())
    }

    #[test]
    fn the_files_of_ordinary_wheels_are_copied_as_they_are_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let packages = "venv/lib/python3.12/site-packages";
        let wheel = |name: &str| {
            let (module, program) = (format!("{packages}/{name}/m.py"), format!("venv/bin/{name}"));
            written(directory.path(), name, &[(&module, 3000), (&program, 2000)])
        };
        let (one, two) = (wheel("a"), wheel("b"));
        let made = join(&[(1, &one.0, &one.1), (2, &two.0, &two.1)], &BTreeSet::new()).unwrap();
        let mut files = 0;
        for (layer, place) in [&one, &two] {
            let count_copied = |frame: super::super::frames::Content| {
                if frame.entries.iter().any(|placed| placed.range.len() > 1024) {
                    files += 1;
                    let bytes = &frame.compressed;
                    assert!(made.bytes.windows(bytes.len()).any(|window| window == bytes));
                }
                Ok(true)
            };
            Frames::open(place, layer).unwrap().each(count_copied).unwrap();
        }
        assert_eq!(files, 4, "a program and a module of each");
    }

    #[test]
    fn a_joined_layer_has_every_path_once_and_frames_without_a_second_one_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let one = written(directory.path(), "a", &[("venv/lib/a.py", 10), ("venv/lib/large", 9 << 20)]);
        let files = [
            ("venv/lib/b.py", 10),
            ("venv/lib/large", 5 << 20),
            ("venv/lib/ns.py", 700),
            ("venv/z", 6 << 20),
        ];
        let two = written(directory.path(), "b", &files);
        let dropped = BTreeSet::from([(1, TreePath::new("venv/lib/large").unwrap())]);
        let made = join(&[(1, &one.0, &one.1), (2, &two.0, &two.1)], &dropped).unwrap();
        let archive = zstd::decode_all(made.bytes.as_slice()).unwrap();
        assert_eq!(archive.len() as u64, made.unpacked_size);
        let mut reader = tar::Archive::new(archive.as_slice());
        let entries = reader.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().display().to_string(), entry.size())
        });
        let expected = [
            ("venv/", 0),
            ("venv/lib/", 0),
            ("venv/lib/a.py", 10),
            ("venv/lib/b.py", 10),
            ("venv/lib/large", 5 << 20),
            ("venv/lib/ns.py", 700),
            ("venv/z", 6 << 20),
        ];
        let expected = expected.map(|(path, size)| (path.to_owned(), size));
        assert_eq!(entries.collect::<Vec<_>>(), expected);
        // The large file of the second, frame for frame.
        let blob = std::fs::read(directory.path().join("b")).unwrap();
        let piece = &blob[blob.len() / 2..blob.len() / 2 + 4096];
        assert!(made.bytes.windows(piece.len()).any(|window| window == piece));
    }
}
