//! Everything of a bundle that is read, called with bytes that anybody may have written.
//!
//! Each entry point takes any bytes, and panics where one of the promises is broken: no panic, nothing accepted that was
//! said to be checked, nothing written outside of the cache, no set-id bits, no devices, no link that leads out of its
//! layer. The tests mutate a corpus of real bundles with it (`tests/hostile.rs`), and so does cargo-fuzz (`fuzz/`).

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::cache::Candidate;
use coil_bootstrap::first_start::prepare;
use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::frames::{self, FOOTER_SIZE, MAX_FRAME};
use coil_bootstrap::format::manifest::{LAYER_MEDIA_TYPE, Layer, LayerKind, Manifest};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::sections::{self, ALIGNMENT};
use coil_bootstrap::format::tar::{self, END, Entry, Kind};
use coil_bootstrap::format::{stamp, template};
use coil_bootstrap::host::Host;
use coil_bootstrap::receive::offer::{Group, Item, Offer};
use coil_bootstrap::receive::{take, wire};
use coil_bootstrap::record::Record;
use coil_bootstrap::trace::Told;

/// What takes bytes.
pub type Target = fn(&[u8]);

/// All entry points by their names.
pub const TARGETS: [(&str, Target); 8] = [
    ("sections", read_sections),
    ("manifest", read_manifest),
    ("index", read_index),
    ("tar", read_tar),
    ("record", read_record),
    ("plan", follow_plan),
    ("unpack", unpack),
    ("receive", receive),
];

/// The section table of a file.
pub fn read_sections(bytes: &[u8]) {
    if let Ok(payload) = sections::locate(bytes, bytes.len() as u64) {
        for range in [payload.manifest, payload.layers, payload.stamp] {
            assert!(range.start <= range.end && range.end <= bytes.len() as u64, "{range:?}");
        }
    }
    let _ = stamp::read(bytes);
}

/// A manifest, for a payload of a megabyte.
pub fn read_manifest(bytes: &[u8]) {
    const PAYLOAD: u64 = 1 << 20;
    let Ok(manifest) = Manifest::parse(bytes, PAYLOAD) else { return };
    let again = Manifest::parse(&manifest.encode(), PAYLOAD);
    assert_eq!(again.as_ref(), Ok(&manifest), "what was accepted is not after it was written");
    for layer in &manifest.layers {
        assert!(layer.offset + layer.size <= PAYLOAD, "{layer:?}");
        assert!(!manifest.directory_of(layer).contains(['/', '.']), "{layer:?}");
    }
    let plan = &manifest.environment;
    for (path, source) in plan.links.iter().chain(&plan.scripts) {
        assert!(source.layer < manifest.layers.len());
        assert!(is_inside(path) && is_inside(&source.path), "{path} {source:?}");
    }
    let _ = manifest.unpacked_size();
}

fn is_inside(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The frame index at the end of a layer.
pub fn read_index(bytes: &[u8]) {
    let Some(footer) = bytes.last_chunk::<FOOTER_SIZE>() else { return };
    // What the blob and the archive have to be long for this index.
    let sizes = bytes.get(8..).unwrap_or_default().chunks_exact(8).map(|entry| {
        let number =
            |at: usize| u64::from(u32::from_le_bytes(entry[at..at + 4].try_into().expect("4 bytes")));
        (number(0), number(4))
    });
    let listed = bytes.len().saturating_sub(8 + FOOTER_SIZE) / 8;
    let (blob, unpacked) = sizes.take(listed).fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    for (blob, unpacked) in
        [(blob + bytes.len() as u64, unpacked), (bytes.len() as u64, 0), (1 << 20, 1 << 22)]
    {
        if let Ok(size) = frames::index_size(footer, blob) {
            assert!(size as u64 <= blob);
        }
        let Ok(frames) = frames::parse(bytes, blob, unpacked) else { continue };
        let mut end = 0;
        for frame in &frames {
            assert_eq!(frame.offset, end);
            assert!(u64::from(frame.decompressed) <= MAX_FRAME && frame.decompressed > 0);
            end += u64::from(frame.compressed);
        }
        assert_eq!(end + bytes.len() as u64, blob);
        assert_eq!(frames.iter().map(|frame| u64::from(frame.decompressed)).sum::<u64>(), unpacked);
    }
}

/// The entries of an archive.
pub fn read_tar(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(entry)) = Entry::read(&mut rest) {
        assert!(is_inside(&entry.path), "{entry:?}");
        match &entry.kind {
            Kind::Symlink(target) => assert!(!target.starts_with('/') && entry.path.follow(target).is_some()),
            Kind::File { size, .. } => {
                let padded =
                    usize::try_from(*size).ok().and_then(|size| size.checked_add(tar::padding(size as u64)));
                let Some(after) = padded.and_then(|padded| rest.get(padded..)) else { return };
                rest = after;
            }
            Kind::Directory => {}
        }
        assert_eq!(Entry::read(&mut entry.encode().as_slice()).ok().flatten().as_ref(), Some(&entry));
    }
}

/// What a receiver reads. Where it takes these bytes for a file, that is where files arrive; nothing else is there.
pub fn receive(bytes: &[u8]) {
    if let Some(offer) = Offer::parse(bytes.get(5..).unwrap_or_default()) {
        assert_eq!(Offer::parse(&offer.encode()), Some(offer));
    }
    let _ = wire::parse_ranges(bytes, 1 << 20);
    static STATE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let memory = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let state = STATE.get_or_init(memory).path();
    let mut said = Vec::new();
    let arrived = take(state, "app", None, &mut &*bytes, &mut said);
    assert!(said.len() < 1 << 20);
    let incoming = state.join("coil/incoming");
    if let Ok(path) = arrived {
        assert!(path.starts_with(&incoming) && path.ends_with("app"), "{path:?}");
    }
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    assert!(names(state).iter().all(|name| name == "coil"), "{:?}", names(state));
    let _ = fs::remove_dir_all(incoming);
}

/// All that a sender says of a file of some bytes: the offer, and the file.
pub fn sound_conversation() -> Vec<u8> {
    let file: Vec<u8> = (0..3000u32).map(|number| number as u8).collect();
    let item = |range: std::ops::Range<u64>, known: bool| {
        let bytes = &file[range.start as usize..range.end as usize];
        Item { checksum: known.then(|| Checksum::of(bytes)), range }
    };
    let offer = Offer {
        size: 3000,
        checksum: Checksum::of(&file),
        release: "0123456789ab".into(),
        items: vec![
            item(0..64, false),
            item(64..1000, true),
            item(1000..2000, true),
            item(2000..3000, false),
        ],
        layers: vec![Group { items: 1..3, range: 64..2000, checksum: Checksum::of(&file[64..2000]) }],
    };
    let mut said = Vec::new();
    wire::write(&mut said, wire::Kind::Offer, &offer.encode()).expect("a vector takes all");
    wire::write(&mut said, wire::Kind::Raw, &file).expect("a vector takes all");
    said
}

/// A launch record, and whatever else is text.
pub fn read_record(bytes: &[u8]) {
    if let Some(record) = Record::parse(bytes) {
        assert_eq!(Record::parse(&record.encode()), Some(record));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = template::expand(text, |_| Some(b"a b"));
        let _ = template::expand_whole(text, |_| None);
        let _ = Told::parse(text);
    }
}

/// A first start of a bundle with this manifest: its layers are in order, so that the plan is followed to its end. The
/// sizes and digests of the layers are put right, and nothing else.
pub fn follow_plan(bytes: &[u8]) {
    let Ok(mut manifest) = Manifest::parse(bytes, 1 << 40) else { return };
    let sound = sound_manifest(&[]).layers;
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    let mut offset = 0;
    for layer in &mut manifest.layers {
        let index = blobs.len().min(1);
        let programs = std::mem::take(&mut layer.programs);
        *layer = Layer { kind: layer.kind, programs, offset, ..sound[index].clone() };
        offset = (offset + layer.size).next_multiple_of(ALIGNMENT);
        blobs.push(if index == 0 { runtime().to_vec() } else { app() });
    }
    first_start(&manifest, &blobs);
}

/// A first start of a bundle whose second layer holds this archive, in frames cut where the first byte says.
pub fn unpack(bytes: &[u8]) {
    let Some((cut, archive)) = bytes.split_first() else { return };
    let step = match cut % 8 {
        0 => tar::BLOCK * (1 + usize::from(cut / 8)),
        _ => MAX_FRAME as usize,
    };
    let blob = blob(archive, step);
    first_start(&sound_manifest(&[(&blob, archive.len() + END.len())]), &[runtime().to_vec(), blob]);
}

/// A manifest that is right, for a runtime and one layer: of this blob and unpacked size, or a small one.
pub fn sound_manifest(app_layer: &[(&[u8], usize)]) -> Manifest {
    let own = app();
    let (blob, unpacked) = app_layer.first().copied().unwrap_or((&own, app_archive().len() + END.len()));
    let layer = |kind, blob: &[u8], unpacked: usize, offset| Layer {
        kind,
        name: format!("{kind:?}"),
        version: None,
        media_type: LAYER_MEDIA_TYPE.into(),
        digest: Digest::of(blob),
        checksum: Checksum::of(blob),
        size: blob.len() as u64,
        diff_id: Digest::of(b"nobody compares it at a start"),
        unpacked_size: unpacked as u64,
        offset,
        programs: Default::default(),
        apart: Default::default(),
    };
    let runtime_size = runtime_archive().len() + END.len();
    let offset = (runtime().len() as u64).next_multiple_of(ALIGNMENT);
    let layers = vec![
        layer(LayerKind::Runtime, runtime(), runtime_size, 0),
        layer(LayerKind::App, blob, unpacked, offset),
    ];
    let slot = |offset| serde_json::json!({"offset": offset, "size": 4096});
    let manifest = serde_json::json!({
        "schema": 1, "name": "fixture", "platform": {"os": "linux", "architecture": "amd64"},
        "python": {
            "implementation": "cpython", "version": "3.12.1", "abi": "cp312", "magic": "cb0d0d0a",
            "libc": "glibc-2.36", "executable": "python/bin/python3.12", "loader": "python/libc/ld.so",
            "searchPath": ["python/lib", "python/libgcc", "python/libc"],
            "loaderSlot": slot(100), "searchPathSlot": slot(5000), "sitePackages": "lib/python3.12/site-packages",
        },
        "layers": layers, "commands": {"main": {"script": "app/main.py"}}, "default": "main", "libc": "bundled",
        "environment": {
            "links": {"app": {"layer": 1, "path": "app"}},
            "scripts": {"bin/tool": {"layer": 1, "path": "venv/bin/tool"}},
        },
    });
    serde_json::from_value(manifest).expect("the fixture is a manifest")
}

/// The archive of an app with a script and a link.
pub fn app_archive() -> Vec<u8> {
    archive(&[
        ("app", Kind::Directory, ""),
        ("app/link", Kind::Symlink("main.py".into()), ""),
        ("app/main.py", Kind::File { size: 8, executable: false }, "print()\n"),
        ("venv/bin/tool", Kind::File { size: 19, executable: true }, "#!/venv/bin/python\n"),
    ])
}

/// An archive of these entries, without its end.
pub fn archive(entries: &[(&str, Kind, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, kind, content) in entries {
        let path = TreePath::new(*path).expect("a path of the fixture");
        bytes.extend(Entry { path, kind: kind.clone() }.encode());
        bytes.extend(content.bytes());
        bytes.resize(bytes.len().next_multiple_of(tar::BLOCK), 0);
    }
    bytes
}

fn app() -> Vec<u8> {
    blob(&app_archive(), MAX_FRAME as usize)
}

fn runtime_archive() -> Vec<u8> {
    let interpreter = "#".repeat(20_000);
    archive(&[
        ("python/bin/python3.12", Kind::File { size: 20_000, executable: true }, &interpreter),
        ("python/libc/ld.so", Kind::File { size: 4, executable: true }, "ELF?"),
    ])
}

fn runtime() -> &'static [u8] {
    static BLOB: OnceLock<Vec<u8>> = OnceLock::new();
    BLOB.get_or_init(|| blob(&runtime_archive(), MAX_FRAME as usize))
}

/// A layer's blob: this archive in frames of `step` bytes, its end in another, and the index.
fn blob(archive: &[u8], step: usize) -> Vec<u8> {
    let mut blob = Vec::new();
    let mut sizes = Vec::new();
    for piece in archive.chunks(step).chain([END.as_slice()]) {
        let frame = zstd::bulk::compress(piece, 1).expect("memory can be compressed");
        sizes.push((frame.len() as u32, piece.len() as u32));
        blob.extend(frame);
    }
    blob.extend(frames::encode(&sizes));
    blob
}

/// Does what a first start does, deep below a directory of its own, and looks at everything that is there afterwards.
fn first_start(manifest: &Manifest, blobs: &[Vec<u8>]) {
    // In memory where there is some: thousands of trees are made and removed again.
    let memory = tempfile::tempdir_in("/dev/shm");
    let ground = memory.or_else(|_| tempfile::tempdir()).expect("a directory for temporary files");
    let ground = ground.path().canonicalize().expect("it is there");
    let cache = ground.join("a/b/c/d/cache");
    fs::create_dir_all(ground.join("canary")).expect("a directory");
    fs::write(ground.join("canary/file"), "untouched").expect("a file");
    let bundle = ground.join("bundle");
    fs::write(&bundle, file(manifest, blobs)).expect("a file");
    let uid = fs::metadata(&ground).expect("it is there").uid();
    let candidates = vec![Candidate::at(cache.clone())];
    let host = Host { args: vec![], uid, bundle: None, candidates, libc: None, keep: None };
    let started = Bundle::open(&bundle).and_then(|bundle| prepare(&bundle, &host, false));
    let names = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        names.sort();
        names
    };
    let first = names(&ground);
    assert!(
        first.iter().all(|path| ["a", "bundle", "canary"].iter().any(|name| path.ends_with(name))),
        "{first:?}"
    );
    for (above, only) in [("a", "a/b"), ("a/b", "a/b/c"), ("a/b/c", "a/b/c/d"), ("a/b/c/d", "a/b/c/d/cache")]
    {
        let there = names(&ground.join(above));
        assert!(there.iter().all(|path| *path == ground.join(only)), "{there:?}");
    }
    assert_eq!(names(&ground.join("canary")).len(), 1, "something was written outside of the cache");
    let canary = fs::read_to_string(ground.join("canary/file"));
    assert!(canary.is_ok_and(|text| text == "untouched"), "a file outside of the cache was changed");
    let known = ["layers", "envs", "tmp", "cleaned", "lock"].map(|name| cache.join(name));
    assert!(names(&cache).iter().all(|path| known.contains(path)), "{:?}", names(&cache));
    assert!(names(&cache.join("tmp")).is_empty(), "{:?}", names(&cache.join("tmp")));
    if started.is_err() {
        assert!(names(&cache.join("envs")).is_empty(), "{:?}", names(&cache.join("envs")));
    }
    for layer in names(&cache.join("layers")) {
        inspect(&layer, &layer);
    }
    inspect(&cache.join("envs"), &cache);
}

/// Looks at everything below `directory`, whose links must not lead out of `limit`.
fn inspect(directory: &Path, limit: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let there = fs::symlink_metadata(&path).expect("it is there");
        let kind = there.file_type();
        assert!(!kind.is_block_device() && !kind.is_char_device() && !kind.is_fifo() && !kind.is_socket());
        if kind.is_symlink() {
            let target = path.canonicalize();
            assert!(
                target.as_ref().map_or(true, |target| target.starts_with(limit)),
                "{path:?} -> {target:?}"
            );
            continue;
        }
        let mode = there.permissions().mode() & 0o7777;
        assert!(matches!(mode, 0o644 | 0o755), "{path:?} has the mode {mode:o}");
        if kind.is_dir() {
            inspect(&path, limit);
        }
    }
}

/// The smallest ELF file that is a bundle: a header, five sections and their names.
fn file(manifest: &Manifest, blobs: &[Vec<u8>]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.coil.stamp\0.coil.manifest\0.coil.layers\0.shstrtab\0";
    let json = manifest.encode();
    let mut layers = Vec::new();
    for (layer, blob) in manifest.layers.iter().zip(blobs) {
        layers.resize(layer.offset as usize, 0);
        layers.extend(blob);
    }
    let parts: [(u32, &[u8]); 4] =
        [(1, &stamp::of(&Digest::of(&json))), (13, &json), (28, &layers), (41, NAMES)];
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    let mut headers = vec![0; 64];
    for (name, bytes) in parts {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4] = if name == 41 { 3 } else { 1 };
        header[24..32].copy_from_slice(&(file.len() as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        headers.extend(header);
        file.extend(bytes);
    }
    let table = file.len() as u64;
    file[16] = 2;
    file[18] = 62;
    file[20] = 1;
    file[40..48].copy_from_slice(&table.to_le_bytes());
    file[52] = 64;
    file[58] = 64;
    file[60] = 5;
    file[62] = 4;
    file.extend(headers);
    file
}

/// A bundle that is right, to begin with.
pub fn sound_file() -> Vec<u8> {
    file(&sound_manifest(&[]), &[runtime().to_vec(), app()])
}
