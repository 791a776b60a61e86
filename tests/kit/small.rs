//! A bundle with everything a first start has to do and next to no bytes: its interpreter is a shell script that
//! prints a line of its app. Real launcher, real layers, real environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use coil::bundle::{Launcher, align};
use coil::layer::{self, Blob};
use coil::pool::Pool;
use coil::tree::{Content, Node, Tree};
use coil_bootstrap::format::manifest::{
    CLibraryRule, Command, Environment, Layer, LayerKind, Manifest, Platform, Program, Python, SCHEMA, Slot,
    Source,
};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::production::{Kind, Production, Service};

use super::{Packed, standing};

/// Where the interpreter and the program have room for paths.
const SLOTS: [Slot; 2] = [Slot { offset: 256, size: 4096 }, Slot { offset: 5000, size: 12288 }];

/// A bundle of the app `small` in this version; versions share the runtime and the wheel. It prints `started` and its version;
/// with the argument `wait` it then reads a line, and prints `there` if its environment still is.
pub fn small(version: &str) -> Packed {
    static MADE: Mutex<BTreeMap<String, Packed>> = Mutex::new(BTreeMap::new());
    // Another test of this program may be using it.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(version.to_owned()).or_insert_with(|| pack(version)).clone()
}

fn pack(version: &str) -> Packed {
    let layers = [runtime(), wheel(), app(version)];
    bundle_of(&standing(&format!("small-{version}")), &layers, Production::default())
}

/// A bundle called `small` of a runtime, a wheel and an app, in the directory `place`.
pub fn bundle_of(place: &Path, layers: &[Tree; 3], production: Production) -> Packed {
    let kinds = [LayerKind::Runtime, LayerKind::Wheel, LayerKind::App];
    let (mut described, mut blobs, mut end) = (Vec::new(), Vec::new(), 0);
    for (kind, tree) in kinds.into_iter().zip(layers) {
        let path = place.join(format!("{kind:?}"));
        let mut bytes = Vec::new();
        let blob = layer::write(tree, 3, &Pool::new(2), &mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let layer = describe(kind, &blob, align(end));
        end = layer.offset + layer.size;
        described.push(layer);
        blobs.push(path.into());
    }
    let (written, path) = (place.join("written"), place.join("small"));
    let mut manifest = manifest(described);
    let service = |name: &String| (name.clone(), Command::of(path_of("app/main.py")));
    manifest.commands.extend(production.services.keys().map(service));
    manifest.production = production;
    coil::bundle::write(&written, Launcher::ours().unwrap(), &manifest, &blobs).unwrap();
    // A program that another test starts meanwhile inherits the open file for a moment, and what is open for writing cannot be
    // executed. Nobody inherits what `cp` has open.
    let copied = std::process::Command::new("cp").arg(written).arg(&path).status().unwrap();
    assert!(copied.success());
    Packed::at(path)
}

/// The layers of `small` with so many bytes more in each that do not compress; one number makes one content.
pub fn heavy(version: &str, runtime_seed: u64, wheel_seed: u64) -> [Tree; 3] {
    let (mut runtime, mut wheel, mut app) = (runtime(), wheel(), app(version));
    add(&mut runtime, "python/lib/heavy", noise(runtime_seed, 6 << 20), false);
    add(&mut wheel, "venv/lib/python3.12/site-packages/greet/heavy", noise(wheel_seed, 300 << 10), false);
    for number in 0..8 {
        add(&mut app, &format!("app/static/{number}"), noise(1000 + number, 1 << 20), false);
    }
    [runtime, wheel, app]
}

/// What a server does with `small`: a step before a release becomes active, and a timer.
pub fn on_a_server() -> Production {
    let timer = Service { schedule: Some("daily".into()), ..Service::of(Kind::Timer) };
    let services = [("step".into(), Service::of(Kind::Release)), ("tick".into(), timer)];
    Production { services: services.into(), ..Production::default() }
}

/// Bytes that no compressor makes shorter, always the same for one seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(next).collect()
}

fn runtime() -> Tree {
    let mut tree = Tree::new();
    add(
        &mut tree,
        "python/bin/python3.12",
        program(
            "IFS= read -r line < \"$1\"\necho \"started $line\"\n\
             [ \"$2\" = wait ] || exit 0\nread -r go\n[ -e \"$1\" ] && echo there\n",
        ),
        true,
    );
    add(&mut tree, "python/libc/ld.so", vec![1; 64], true);
    add(&mut tree, "python/lib/python3.12/os.py", b"import sys\n".to_vec(), false);
    add(&mut tree, "python/lib/python3.12/json/__init__.py", Vec::new(), false);
    link(&mut tree, "python/bin/python3", "python3.12");
    tree
}

fn wheel() -> Tree {
    let mut tree = Tree::new();
    add(&mut tree, "venv/bin/native", program("echo native\n"), true);
    add(&mut tree, "venv/bin/greet", b"#!/venv/bin/python\nhello\n".to_vec(), true);
    add(&mut tree, "venv/lib/python3.12/site-packages/greet/__init__.py", b"pass\n".to_vec(), false);
    link(&mut tree, "venv/lib/python3.12/site-packages/greet/again.py", "__init__.py");
    tree
}

fn app(version: &str) -> Tree {
    let mut tree = Tree::new();
    add(&mut tree, "app/main.py", format!("{version}\n").into_bytes(), false);
    // Longer than a frame, so that it is written in pieces.
    add(&mut tree, "app/large", vec![7; (4 << 20) + 4096], false);
    tree
}

/// A script with room for paths behind its end.
fn program(text: &str) -> Vec<u8> {
    let mut bytes = format!("#!/bin/sh\n{text}exit\n").into_bytes();
    assert!(bytes.len() < SLOTS[0].offset as usize);
    bytes.resize(20_000, b'\n');
    bytes
}

fn add(tree: &mut Tree, path: &str, bytes: Vec<u8>, executable: bool) {
    let node = Node { content: Content::bytes(bytes), executable, origin: "the test".into() };
    tree.insert(path_of(path), node).unwrap();
}

fn link(tree: &mut Tree, path: &str, target: &str) {
    let node =
        Node { content: Content::Symlink(target.into()), executable: false, origin: "the test".into() };
    tree.insert(path_of(path), node).unwrap();
}

fn path_of(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn describe(kind: LayerKind, blob: &Blob, offset: u64) -> Layer {
    let native = Program { loader_slot: SLOTS[0], search_path_slot: SLOTS[1], search_path: Vec::new() };
    let programs = (kind == LayerKind::Wheel).then(|| (path_of("venv/bin/native"), native));
    let programs = programs.into_iter().collect();
    Layer { programs, ..blob.described(kind, format!("{kind:?}").to_lowercase(), offset) }
}

fn manifest(layers: Vec<Layer>) -> Manifest {
    let from = |layer, path| Source { layer, path: path_of(path) };
    let site = "lib/python3.12/site-packages";
    Manifest {
        schema: SCHEMA,
        name: "small".into(),
        version: None,
        platform: Platform { os: "linux".into(), architecture: "amd64".into() },
        python: Python {
            implementation: "cpython".into(),
            version: "3.12.1".into(),
            abi: "cp312".into(),
            magic: "cb0d0d0a".into(),
            libc: "glibc-2.36".into(),
            executable: path_of("python/bin/python3.12"),
            loader: path_of("python/libc/ld.so"),
            search_path: ["python/lib", "python/libgcc", "python/libc"].map(path_of),
            libstdcxx: None,
            loader_slot: SLOTS[0],
            search_path_slot: SLOTS[1],
            site_packages: path_of(site),
        },
        layers,
        commands: [("small".into(), Command::of(path_of("app/main.py")))].into(),
        default: Some("small".into()),
        c_library: CLibraryRule::Bundled,
        environment: Environment {
            links: [
                (path_of("app"), from(2, "app")),
                (path_of("bin/native"), from(1, "venv/bin/native")),
                (path_of(&format!("{site}/greet")), from(1, &format!("venv/{site}/greet"))),
            ]
            .into(),
            scripts: [(path_of("bin/greet"), from(1, "venv/bin/greet"))].into(),
            ..Environment::default()
        },
        image: Default::default(),
        production: Default::default(),
        lock: None,
        source: None,
        recipe: None,
    }
}

/// Everything in `directory`, path by path: kind, mode and what is in it. Times are left out.
pub fn snapshot(directory: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let Ok(there) = std::fs::symlink_metadata(&path) else { continue };
        let name = path.strip_prefix(directory).unwrap().display().to_string();
        let content = if there.is_symlink() {
            format!("-> {}", std::fs::read_link(&path).unwrap().display())
        } else if there.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "directory".into()
        } else {
            let bytes = std::fs::read(&path).unwrap();
            coil_bootstrap::format::digest::Digest::of(&bytes).to_string()
        };
        found.push(format!("{name} {:o} {content}", there.mode()));
    }
    found.sort();
    found
}
