//! What a bundle or a runtime is made of, by size.
//!
//! A layer is compressed as a whole. What a part of it takes there is estimated: the layer's length is divided
//! among its files by what each comes to when it is compressed alone, quickly. So the parts add up to the whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use coil_bootstrap::format::manifest::{Layer, LayerKind};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::{Entry, Kind, padding};
use serde::Serialize;

use crate::layer::BlobPlace;
use crate::runtime::SEARCH_PATH;

/// The level that files are weighed with.
const QUICK: i32 = 1;

/// A part, and what it takes, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// What it takes in the file.
    pub packed: u64,
    /// What it takes unpacked.
    pub unpacked: u64,
}

/// The parts of these layers, in the order they are listed here; none that is empty.
pub const NAMES: [&str; 11] = [
    "launcher",
    "interpreter",
    "standard library",
    "byte code",
    "extension modules",
    "C library",
    "OpenSSL",
    "other libraries",
    "wheels",
    "byte code of wheels",
    "app",
];

/// Adds up parts.
#[derive(Debug, Default)]
pub struct Sizes(BTreeMap<&'static str, (u64, u64)>);

impl Sizes {
    /// Adds a part that is stored as it is.
    pub fn add_plain(&mut self, name: &'static str, size: u64) {
        self.add(name, size, size);
    }

    /// Adds the files of `layer`, whose blob is at `place`.
    ///
    /// Fails as reading and decoding fail.
    pub fn add_layer(&mut self, layer: &Layer, place: &BlobPlace) -> io::Result<()> {
        let mut file = File::open(&place.file)?;
        file.seek(SeekFrom::Start(place.offset))?;
        let mut archive = zstd::Decoder::new(file.take(layer.size))?;
        let mut weights: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
        while let Some(Entry { path, kind }) = Entry::read(&mut archive)? {
            let size = if let Kind::File { size, .. } = kind { size } else { 0 };
            let (weight, unpacked) = weights.entry(part(layer.kind, &path)).or_default();
            let mut weighed = Weight(0);
            zstd::stream::copy_encode((&mut archive).take(size), &mut weighed, QUICK)?;
            archive.read_exact(&mut vec![0; padding(size)])?;
            *weight += weighed.0;
            *unpacked += size;
        }
        let mut left: u64 = weights.values().map(|(weight, _)| *weight).sum();
        let mut packed = layer.size;
        for (name, (weight, unpacked)) in weights {
            // Of what is left, so that nothing is lost by rounding.
            let share = (u128::from(packed) * u128::from(weight) / u128::from(left.max(1))) as u64;
            self.add(name, share, unpacked);
            packed -= share;
            left -= weight;
        }
        Ok(())
    }

    /// The parts, those of [`NAMES`] in that order.
    pub fn parts(&self) -> Vec<Part> {
        let known = NAMES.iter().filter_map(|name| self.0.get_key_value(name));
        known.map(|(name, (packed, unpacked))| Part { name, packed: *packed, unpacked: *unpacked }).collect()
    }

    fn add(&mut self, name: &'static str, packed: u64, unpacked: u64) {
        let sum = self.0.entry(name).or_default();
        *sum = (sum.0 + packed, sum.1 + unpacked);
    }
}

/// Counts what is written.
struct Weight(u64);

impl Write for Weight {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The part that a file belongs to.
fn part(kind: LayerKind, path: &TreePath) -> &'static str {
    let library = path.file_name().contains(".so");
    let [lib, compiler, libc] = SEARCH_PATH;
    match kind {
        LayerKind::Wheel if path.ends_with(".pyc") => "byte code of wheels",
        LayerKind::Wheel => "wheels",
        LayerKind::App => "app",
        _ if path.below(libc).is_some() => "C library",
        _ if path.below(compiler).is_some() => "other libraries",
        _ if path.below("python/bin").is_some() || path.file_name().starts_with("libpython") => "interpreter",
        _ if path.ends_with(".pyc") => "byte code",
        _ if path.parent().is_some_and(|parent| &*parent == lib) && library => {
            let of_openssl = ["libssl.", "libcrypto."].iter().any(|name| path.file_name().starts_with(name));
            if of_openssl { "OpenSSL" } else { "other libraries" }
        }
        _ if library => "extension modules",
        _ => "standard library",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_runtime_has_a_part() {
        let of = |path: &str| part(LayerKind::Runtime, &TreePath::new(path).unwrap());
        for (path, name) in [
            ("python/bin/python3.12", "interpreter"),
            ("python/lib/libpython3.12.so.1.0", "interpreter"),
            ("python/lib/libcrypto.so.3", "OpenSSL"),
            ("python/lib/libsqlite3.so.0", "other libraries"),
            ("python/libgcc/libstdc++.so.6", "other libraries"),
            ("python/libc/libc.so.6", "C library"),
            ("python/lib/python3.12/os.py", "standard library"),
            ("python/lib/python3.12/__pycache__/os.cpython-312.pyc", "byte code"),
            ("python/lib/python3.12/lib-dynload/_ssl.cpython-312-x86_64-linux-gnu.so", "extension modules"),
        ] {
            assert_eq!(of(path), name, "{path}");
            assert!(NAMES.contains(&of(path)));
        }
    }
}
