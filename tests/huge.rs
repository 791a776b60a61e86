//! Promise: no number of an old format ends a bundle: more than 65,535 files, links and members, sizes of more
//! than 4 GiB. What takes minutes or a disk (`benches/huge.py`) is done here in small: through the library,
//! and with zeros; the largest only where COIL_TEST_HUGE=1.

mod kit;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use coil::bundle::Launcher;
use coil::layer::{self, Blob};
use coil::plan::{Listing, plan};
use coil::pool::Pool;
use coil::tree::{Content, Node, Tree};
use coil_bootstrap::archive::Archive;
use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::manifest::{LayerKind, Manifest};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::Kind;
use coil_bootstrap::verify::check_layer;
use kit::{Bench, Packed, probe, scratch, skip};

const MANY: usize = 66_000;

fn path(text: String) -> TreePath {
    TreePath::new(text).unwrap()
}

/// A bundle like the probe whose app's layer is made of this tree.
fn bundle_with(tree: &Tree, directory: &Path) -> (Bundle, Blob) {
    let original = Bundle::open(probe().path()).unwrap();
    let mut manifest: Manifest = original.manifest().clone();
    let mut blobs: Vec<PathBuf> = Vec::new();
    for (index, layer) in manifest.layers.iter().enumerate() {
        let mut bytes = vec![0; layer.size as usize];
        original.read_layer(layer, 0, &mut bytes).unwrap();
        blobs.push(directory.join(format!("blob{index}")));
        fs::write(&blobs[index], bytes).unwrap();
    }
    let last = manifest.layers.len() - 1;
    let mut file = BufWriter::new(File::create(&blobs[last]).unwrap());
    let blob = layer::write(tree, 1, &Pool::for_this_machine(), &mut file).unwrap();
    file.flush().unwrap();
    let layer = &mut manifest.layers[last];
    assert_eq!(layer.kind, LayerKind::App);
    (layer.digest, layer.checksum, layer.size) = (blob.digest, blob.checksum, blob.size);
    (layer.diff_id, layer.unpacked_size) = (blob.diff_id, blob.unpacked_size);
    manifest.environment.links.retain(|_, source| source.layer != last);
    let out = directory.join("huge");
    let blobs: Vec<_> = blobs.into_iter().map(Into::into).collect();
    coil::bundle::write(&out, Launcher::ours().unwrap(), &manifest, &blobs).unwrap();
    (Bundle::open(&out).unwrap(), blob)
}

#[test]
fn a_layer_of_more_files_than_a_short_number_can_count_reads_back() {
    let mut tree = Tree::new();
    for number in 0..MANY {
        let node = Node {
            content: Content::bytes(number.to_string().as_bytes()),
            executable: false,
            origin: "x".into(),
        };
        tree.insert(path(format!("app/d{}/f{number}", number % 10)), node).unwrap();
    }
    let directory = scratch();
    let (bundle, _) = bundle_with(&tree, directory.path());
    let last = bundle.manifest().layers.len() - 1;
    check_layer(&bundle, last).unwrap();
    let mut archive = Archive::open(&bundle, &bundle.manifest().layers[last]).unwrap();
    let (mut files, mut content) = (0, [0; 16]);
    while let Some(entry) = archive.entry().unwrap() {
        if let Kind::File { size, .. } = entry.kind {
            files += 1;
            let read = archive.content(&mut content).unwrap();
            assert_eq!(read as u64, size);
            let number = std::str::from_utf8(&content[..read]).unwrap();
            assert!(entry.path.ends_with(&format!("/f{number}")), "{} holds {number}", entry.path);
        }
    }
    assert_eq!(files, MANY);
}

#[test]
fn an_environment_of_more_links_than_a_short_number_can_count_has_a_manifest() {
    let listing = |half: usize| {
        let names =
            (half..MANY).step_by(2).map(|number| path(format!("venv/lib/p/site-packages/s/f{number}")));
        let files = names.map(|name| (name, Checksum::of(b"x"))).collect();
        Listing { origin: format!("half{half}"), files, ..Listing::default() }
    };
    let environment =
        plan(&[Listing::default(), listing(0), listing(1)], "lib/p/site-packages").unwrap().environment;
    assert_eq!(environment.links.len(), MANY);
    let mut manifest = Bundle::open(probe().path()).unwrap().manifest().clone();
    manifest.environment = environment;
    let json = manifest.encode();
    let read = Manifest::parse(&json, u64::MAX).unwrap();
    assert_eq!(read.environment.links.len(), MANY);
}

#[test]
fn a_wheel_of_more_members_than_a_short_number_can_count_is_packed_and_started() {
    let bench = Bench::new();
    fs::write(bench.path("make.py"), MAKE_WHEEL).unwrap();
    let mut make = std::process::Command::new("python3");
    make.arg("make.py").arg(MANY.to_string()).current_dir(bench.root());
    kit::Ran::of(make, b"").succeeded();
    let app = bench.pack(&["./many-1.0-py3-none-any.whl", "-e", "many:main", "--level", "1", "--quiet"]);
    let cache = scratch();
    let start = |app: &Packed| app.start().cache(cache.path()).run().printed();
    assert_eq!(start(&app), MANY.to_string());
    assert_eq!(start(&app), MANY.to_string());
}

/// Standard library only: `zipfile` writes zip64 where it has to.
const MAKE_WHEEL: &str = r#"
import base64, hashlib, sys, zipfile
record = []
with zipfile.ZipFile("many-1.0-py3-none-any.whl", "w") as wheel:
    def add(path, text):
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record.append(f"{path},sha256={digest},{len(text)}\n")
        wheel.writestr(zipfile.ZipInfo(path), text)
    code = "import os\ndef main():\n    top = os.path.dirname(os.path.abspath(__file__))\n"
    code += "    print(sum(name.endswith('.txt') for _, _, names in os.walk(top) for name in names))\n"
    add("many/__init__.py", code)
    for number in range(int(sys.argv[1])):
        add(f"many/d{number // 1000}/{number}.txt", str(number))
    add("many-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: many\nVersion: 1.0\n")
    add("many-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("many-1.0.dist-info/RECORD", "".join(record) + "many-1.0.dist-info/RECORD,,\n")
"#;

#[test]
fn a_file_longer_than_its_header_can_say_reads_back() {
    if std::env::var("COIL_TEST_HUGE").as_deref() != Ok("1") {
        return skip("nine gigabytes of zeros take a while; set COIL_TEST_HUGE=1");
    }
    const LENGTH: u64 = (8 << 30) + 12_345;
    let directory = scratch();
    let sparse = directory.path().join("sparse");
    File::create(&sparse).unwrap().set_len(LENGTH).unwrap();
    let mut tree = Tree::new();
    for (name, content) in [("app/a", Content::File(sparse)), ("app/b", Content::bytes(*b"after"))] {
        tree.insert(path(name.into()), Node { content, executable: false, origin: "x".into() }).unwrap();
    }
    let (bundle, blob) = bundle_with(&tree, directory.path());
    assert!(blob.unpacked_size > LENGTH);
    let last = bundle.manifest().layers.len() - 1;
    check_layer(&bundle, last).unwrap();
    let mut archive = Archive::open(&bundle, &bundle.manifest().layers[last]).unwrap();
    assert!(matches!(archive.entry(), Ok(Some(entry)) if entry.kind == Kind::Directory));
    let large = archive.entry().unwrap().unwrap();
    assert_eq!(large.kind, Kind::File { size: LENGTH, executable: false });
    assert_eq!(&*archive.entry().unwrap().unwrap().path, "app/b");
    let mut content = [0; 8];
    assert_eq!(archive.content(&mut content).unwrap(), 5);
    assert_eq!(&content[..5], b"after");
}
