//! Promise: damage of every kind is an error with a sentence; never a panic, never something unpacked.
//!
//! A small bundle is made of made-up layers, then cut, flipped and lied about. What is checked is the
//! whole way of a first start, down to the directories in the cache.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use coil::bundle::{Launcher, align};
use coil::launcher::LAUNCHER;
use coil::layer::{self, Blob};
use coil::pool::Pool;
use coil::tree::{Content, Node, Tree};
use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::cache::Candidate;
use coil_bootstrap::error::Error;
use coil_bootstrap::first_start::prepare;
use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::manifest::{
    CLibraryRule, Command, Environment, Layer, LayerKind, Manifest, Platform, Python, SCHEMA, Slot, Source,
};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::stamp;
use coil_bootstrap::host::Host;
use coil_bootstrap::verify::{check_stamp, verify};

/// A bundle on disk, its layers, and an empty cache beside it.
struct Fixture {
    directory: tempfile::TempDir,
    layers: Vec<(Layer, Vec<u8>)>,
}

impl Fixture {
    fn new() -> Self {
        let runtime =
            tree(&[("python/bin/python3.12", vec![b'#'; 20_000]), ("python/libc/ld.so", vec![1; 64])]);
        let app = tree(&[("app/main.py", b"print()\n".to_vec()), ("app/large", vec![7; 5 << 20])]);
        let mut layers: Vec<(Layer, Vec<u8>)> = Vec::new();
        for (kind, tree) in [(LayerKind::Runtime, runtime), (LayerKind::App, app)] {
            let mut bytes = Vec::new();
            let blob = layer::write(&tree, 3, &Pool::new(2), &mut bytes).unwrap();
            let end = layers.last().map_or(0, |(last, _)| last.offset + last.size);
            layers.push((describe(kind, &blob, coil::bundle::align(end)), bytes));
        }
        Fixture { directory: tempfile::tempdir().unwrap(), layers }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn manifest(&self) -> Manifest {
        manifest(self.layers.iter().map(|(layer, _)| layer.clone()).collect())
    }

    /// Writes the bundle with this manifest.
    fn write(&self, manifest: &Manifest) {
        let blob = |index: usize| self.directory.path().join(format!("blob{index}"));
        for (index, (_, bytes)) in self.layers.iter().enumerate() {
            let mut bytes = bytes.clone();
            bytes.resize(manifest.layers[index].size as usize, 0);
            fs::write(blob(index), bytes).unwrap();
        }
        let blobs: Vec<_> = (0..self.layers.len()).map(|index| blob(index).into()).collect();
        coil::bundle::write(&self.path(), Launcher::ours().unwrap(), manifest, &blobs).unwrap();
    }

    /// Flips one bit of the file, does something with it, and flips it back.
    fn with_flipped<T>(&self, at: usize, bit: usize, act: impl FnOnce() -> T) -> T {
        let file = fs::File::options().read(true).write(true).open(self.path()).unwrap();
        let flip = || {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at as u64).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << bit], at as u64).unwrap();
        };
        flip();
        let result = act();
        flip();
        result
    }

    /// Does what a first start does, and returns the environment's directory.
    fn first_start(&self) -> Result<PathBuf, Error> {
        let candidate = Candidate::at(self.cache());
        let uid = fs::metadata(self.directory.path()).unwrap().uid();
        let host =
            Host { args: vec![], uid, bundle: None, candidates: vec![candidate], libc: None, keep: None };
        prepare(&Bundle::open(&self.path())?, &host, false)
    }

    /// What a refused start left in the cache: nothing may be visible, and nothing lie about.
    fn remains(&self) -> Vec<String> {
        let list = |name: &str| fs::read_dir(self.cache().join(name)).into_iter().flatten().flatten();
        ["layers", "envs", "tmp"]
            .into_iter()
            .flat_map(list)
            .map(|entry| entry.path().display().to_string())
            .collect()
    }
}

fn tree(files: &[(&str, Vec<u8>)]) -> Tree {
    let mut tree = Tree::new();
    for (name, bytes) in files {
        let node =
            Node { content: Content::bytes(bytes.as_slice()), executable: false, origin: "fixture".into() };
        tree.insert(TreePath::new(*name).unwrap(), node).unwrap();
    }
    tree
}

fn describe(kind: LayerKind, blob: &Blob, offset: u64) -> Layer {
    blob.described(kind, format!("{kind:?}"), offset)
}

fn manifest(layers: Vec<Layer>) -> Manifest {
    let path = |text: &str| TreePath::new(text).unwrap();
    Manifest {
        schema: SCHEMA,
        name: "fixture".into(),
        version: None,
        platform: Platform { os: "linux".into(), architecture: "amd64".into() },
        python: Python {
            implementation: "cpython".into(),
            version: "3.12.1".into(),
            abi: "cp312".into(),
            magic: "cb0d0d0a".into(),
            libc: "glibc-2.36".into(),
            executable: path("python/bin/python3.12"),
            loader: path("python/libc/ld.so"),
            search_path: ["python/lib", "python/libgcc", "python/libc"].map(path),
            libstdcxx: None,
            loader_slot: Slot { offset: 100, size: 4096 },
            search_path_slot: Slot { offset: 5000, size: 12288 },
            site_packages: path("lib/python3.12/site-packages"),
        },
        layers,
        commands: [("main".into(), Command::of(path("app/main.py")))].into(),
        default: Some("main".into()),
        c_library: CLibraryRule::Bundled,
        environment: Environment {
            links: [(path("app"), Source { layer: 1, path: path("app") })].into(),
            ..Environment::default()
        },
        image: Default::default(),
        production: Default::default(),
        lock: None,
        source: None,
        recipe: None,
    }
}

#[test]
fn a_sound_bundle_is_unpacked_and_assembled() {
    let fixture = Fixture::new();
    fixture.write(&fixture.manifest());
    verify(&Bundle::open(&fixture.path()).unwrap()).unwrap();
    let environment = fixture.first_start().unwrap();
    assert_eq!(fs::read(environment.join("app/main.py")).unwrap(), b"print()\n");
    assert_eq!(fs::read(environment.join("app/large")).unwrap(), vec![7; 5 << 20]);
    let interpreter = fs::read(environment.join("bin/python")).unwrap();
    let loader = fs::canonicalize(environment.join("bin/python")).unwrap();
    let loader = loader.ancestors().nth(3).unwrap().join("python/libc/ld.so");
    assert!(interpreter[100..].starts_with(loader.to_str().unwrap().as_bytes()));
    assert_eq!(fixture.first_start().unwrap(), environment, "a second start finds it");
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_refused() {
    let fixture = Fixture::new();
    fixture.write(&fixture.manifest());
    let good = fs::read(fixture.path()).unwrap();
    let lengths = (0..LAUNCHER.len()).step_by(9973).chain((LAUNCHER.len()..good.len()).step_by(61));
    for length in lengths.chain(good.len() - 64..good.len()) {
        fs::write(fixture.path(), &good[..length]).unwrap();
        assert!(fixture.first_start().is_err(), "cut to {length} bytes");
        assert!(fixture.remains().is_empty(), "cut to {length} bytes");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_layers_is_refused() {
    let fixture = Fixture::new();
    fixture.write(&fixture.manifest());
    let start = align(LAUNCHER.len() as u64) as usize;
    for at in (start..start + payload_length(&fixture) as usize).step_by(31) {
        fixture.with_flipped(at, at % 8, || match fixture.first_start() {
            Err(_) => assert!(fixture.remains().is_empty(), "byte {at}"),
            Ok(_) => {
                // Then nothing that is used has changed.
                verify(&Bundle::open(&fixture.path()).unwrap()).unwrap();
                fs::remove_dir_all(fixture.cache()).unwrap();
            }
        });
    }
}

#[test]
fn every_flipped_bit_in_the_manifest_changes_its_digest_or_is_refused() {
    let fixture = Fixture::new();
    let manifest = fixture.manifest();
    fixture.write(&manifest);
    let good = fs::read(fixture.path()).unwrap();
    let json = manifest.encode();
    let at = good.windows(json.len()).position(|window| window == json).unwrap();
    let digest = Bundle::open(&fixture.path()).unwrap().digest();
    drop(good);
    for bit in 0..json.len() * 8 {
        fixture.with_flipped(at + bit / 8, bit % 8, || {
            if let Ok(bundle) = Bundle::open(&fixture.path()) {
                assert_ne!(bundle.digest(), digest, "bit {bit}: the stamp would not notice");
            }
        });
    }
}

#[test]
fn a_bomb_and_lying_sizes_are_refused_before_they_do_harm() {
    let fixture = Fixture::new();
    let refused = |change: &dyn Fn(&mut Layer)| {
        let mut manifest = fixture.manifest();
        change(&mut manifest.layers[1]);
        fixture.write(&manifest);
        let error = fixture.first_start().expect_err("it was believed");
        assert!(fixture.remains().is_empty());
        error.to_string()
    };
    refused(&|layer| layer.unpacked_size += 512);
    refused(&|layer| layer.unpacked_size = 1 << 60);
    refused(&|layer| layer.size -= 1);
    refused(&|layer| layer.size += 1);
    refused(&|layer| layer.size = 3);
    let other = Checksum::of(b"");
    assert!(refused(&|layer| layer.checksum = other).contains("another checksum"));
}

#[test]
fn entries_that_reach_out_of_a_layer_are_refused() {
    // Paths are checked by the tar reader; what is left is writing through a link of the same layer.
    let mut through = Tree::new();
    let node = |content| Node { content, executable: false, origin: "fixture".into() };
    through
        .insert(TreePath::new("app/x").unwrap(), node(Content::Symlink("../../../../tmp".into())))
        .unwrap();
    let mut bytes = Vec::new();
    let blob = layer::write(&through, 3, &Pool::new(2), &mut bytes).unwrap();
    let mut fixture = Fixture::new();
    let offset = fixture.layers[1].0.offset;
    fixture.layers[1] = (describe(LayerKind::App, &blob, offset), bytes);
    fixture.write(&fixture.manifest());
    assert!(fixture.first_start().unwrap_err().to_string().contains("leads out of it"));
    assert!(fixture.remains().is_empty());
}

#[test]
fn a_stripped_bundle_still_has_its_payload() {
    let fixture = Fixture::new();
    fixture.write(&fixture.manifest());
    let stripped = std::process::Command::new("strip").arg(fixture.path()).status();
    assert!(stripped.expect("binutils are installed").success());
    verify(&Bundle::open(&fixture.path()).unwrap()).unwrap();
    fixture.first_start().unwrap();
}

#[test]
fn a_plain_program_and_an_empty_file_are_no_bundles() {
    let directory = tempfile::tempdir().unwrap();
    let refusal = |name: &str, bytes: &[u8]| {
        let path: &Path = &directory.path().join(name);
        fs::write(path, bytes).unwrap();
        Bundle::open(path).map(drop).unwrap_err().to_string()
    };
    assert!(refusal("empty", b"").contains("not an ELF file"));
    assert!(refusal("text", b"#!/bin/sh\n").contains("not an ELF file"));
    assert!(refusal("launcher", LAUNCHER).contains("no section .coil.manifest"));
}

/// The length of everything from the first layer to the end of the file.
fn payload_length(fixture: &Fixture) -> u64 {
    let last = fixture.manifest().layers.pop().unwrap();
    last.offset + last.size
}

#[test]
fn no_flipped_bit_in_the_headers_of_the_file_panics_or_lets_other_bytes_pass() {
    let fixture = Fixture::new();
    fixture.write(&fixture.manifest());
    let file = fs::read(fixture.path()).unwrap();
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let passes = || {
        let bundle = Bundle::open(&fixture.path()).ok()?;
        check_stamp(&bundle).ok()?;
        let layers = bundle.manifest().layers.iter().map(|layer| {
            let mut blob = vec![0; layer.size as usize];
            bundle.read_layer(layer, 0, &mut blob).map(|()| blob)
        });
        Some((bundle.digest(), layers.collect::<Result<Vec<_>, _>>().ok()?))
    };
    let good = passes().unwrap();
    // The ELF header, the stamp, and from the name table to the end of the section headers.
    let stamp = file.windows(64).position(|window| window == stamp::of(&good.0)).unwrap();
    let names = file.windows(15).rposition(|window| window == b".coil.manifest\0").unwrap();
    assert!(names < number(0x28), "the section headers come last");
    for at in (0..64).chain(stamp..stamp + 64).chain(names..file.len()) {
        for bit in 0..8 {
            let (passed, noticed) = fixture.with_flipped(at, bit, || {
                let passed = passes();
                // What nobody looks at may differ; where other bytes would be used, their digests tell.
                let other = passed.as_ref().is_some_and(|passed| *passed != good);
                (passed.is_some(), !other || verify(&Bundle::open(&fixture.path()).unwrap()).is_err())
            });
            assert!(noticed, "byte {at}, bit {bit}");
            assert!(!(stamp..stamp + 48).contains(&at) || !passed, "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_layer_that_lies_about_its_archive_is_found_by_looking_into_it() {
    let verified = |change: &dyn Fn(&mut Manifest)| {
        let fixture = Fixture::new();
        let mut manifest = fixture.manifest();
        change(&mut manifest);
        fixture.write(&manifest);
        verify(&Bundle::open(&fixture.path()).unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(verified(&|_| ()), Ok(()));
    let digest = |manifest: &mut Manifest| manifest.layers[1].digest = manifest.layers[0].digest;
    assert!(verified(&digest).unwrap_err().contains("the layer App has another digest"));
    let other = |manifest: &mut Manifest| manifest.layers[1].diff_id = manifest.layers[0].diff_id;
    assert!(verified(&other).unwrap_err().contains("the layer App unpacks to another archive"));
    let nowhere = |manifest: &mut Manifest| {
        let source = Source { layer: 1, path: TreePath::new("app/lost.py").unwrap() };
        manifest.environment.links.insert(TreePath::new("lost").unwrap(), source);
    };
    assert!(verified(&nowhere).unwrap_err().contains("the layer App has no app/lost.py"));
}
