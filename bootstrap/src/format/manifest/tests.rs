use super::*;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn layer(kind: LayerKind, offset: u64) -> Layer {
    Layer {
        kind,
        name: "x".into(),
        version: None,
        media_type: LAYER_MEDIA_TYPE.into(),
        digest: Digest::of(b"blob"),
        checksum: Checksum::of(b"blob"),
        size: 100,
        diff_id: Digest::of(b"tar"),
        unpacked_size: 1000,
        offset,
        programs: BTreeMap::new(),
        apart: BTreeMap::new(),
    }
}

pub(crate) fn manifest() -> Manifest {
    let slot = Slot { offset: 64, size: 4096 };
    let source = |name: &str| Source { layer: 1, path: path(name) };
    Manifest {
        schema: SCHEMA,
        name: "hello".into(),
        version: Some("1.0".into()),
        platform: Platform { os: "linux".into(), architecture: "amd64".into() },
        python: Python {
            implementation: "cpython".into(),
            version: "3.12.1".into(),
            abi: "cp312".into(),
            magic: "cb0d0d0a".into(),
            libc: "glibc-2.36".into(),
            libstdcxx: Some("3.4.30".into()),
            executable: path("python/bin/python3.12"),
            loader: path("python/libc/ld-linux-x86-64.so.2"),
            search_path: ["python/lib", "python/libgcc", "python/libc"].map(path),
            loader_slot: slot,
            search_path_slot: slot,
            site_packages: path("lib/python3.12/site-packages"),
        },
        layers: vec![layer(LayerKind::Runtime, 0), layer(LayerKind::App, 4096)],
        commands: [("hello".into(), Command::of(path("app/hello.py")))].into(),
        default: Some("hello".into()),
        c_library: CLibraryRule::Auto,
        environment: Environment {
            variables: BTreeMap::new(),
            links: [(path("app"), source("app"))].into(),
            scripts: [(path("bin/hello"), source("venv/bin/hello"))].into(),
        },
        image: ImageSettings::default(),
        production: Default::default(),
        lock: None,
        source: None,
        recipe: None,
    }
}

fn refused(change: impl FnOnce(&mut Manifest)) -> String {
    let mut bad = manifest();
    change(&mut bad);
    Manifest::parse(&bad.encode(), 8192).expect_err("the change went unnoticed").to_string()
}

#[test]
fn a_manifest_reads_back_what_was_written() {
    let json = manifest().encode();
    assert_eq!(Manifest::parse(&json, 8192), Ok(manifest()));
    assert!(json.starts_with(br#"{"commands":{"hello":{"script":"app/hello.py"}},"default":"hello","#));
}

#[test]
fn every_cut_is_an_error_and_no_flipped_bit_panics() {
    let json = manifest().encode();
    for length in 0..json.len() {
        assert!(Manifest::parse(&json[..length], 8192).is_err());
    }
    for bit in 0..json.len() * 8 {
        let mut bad = json.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let _ = Manifest::parse(&bad, 8192);
    }
}

#[test]
fn lying_offsets_and_sizes_are_refused() {
    refused(|bad| bad.layers[1].size = u64::MAX);
    refused(|bad| bad.layers[1].size = 5000);
    refused(|bad| bad.layers[1].offset = 0);
    refused(|bad| bad.layers[1].offset = 4097);
    refused(|bad| bad.layers.iter_mut().for_each(|layer| layer.unpacked_size = u64::MAX));
    refused(|bad| bad.python.loader_slot.size = u64::MAX);
    refused(|bad| bad.python.search_path_slot.offset = u64::MAX);
    refused(|bad| bad.layers.clear());
    refused(|bad| bad.layers[1].kind = LayerKind::Runtime);
}

#[test]
fn who_searches_libraries_is_unpacked_for_them() {
    let mut with = manifest();
    let plain = with.directory_of(&with.layers[0]);
    with.layers[1].kind = LayerKind::Libraries;
    with.environment = Environment::default();
    with.commands.clear();
    with.default = None;
    assert_eq!(Manifest::parse(&with.encode(), 8192), Ok(with.clone()));
    let digits = &with.layers[1].checksum.hex()[..16];
    assert_eq!(with.directory_of(&with.layers[0]), format!("{plain}-{digits}"));
    assert_eq!(with.directory_of(&with.layers[1]), with.layers[1].checksum.hex());
    with.layers.insert(1, Layer { kind: LayerKind::App, size: 10, ..layer(LayerKind::App, 4096) });
    with.layers[2].offset = 8192;
    assert!(Manifest::parse(&with.encode(), 80_000).is_err(), "libraries do not come later");
    refused(|bad| bad.layers[1].kind = LayerKind::Libraries);
}

#[test]
fn a_layer_with_programs_is_unpacked_for_its_runtime() {
    let program = |slot| Program { loader_slot: slot, search_path_slot: slot, search_path: Vec::new() };
    let slot = Slot { offset: 64, size: 4096 };
    let mut with = manifest();
    let plain = with.directory_of(&with.layers[1]);
    assert_eq!(plain, with.layers[1].checksum.hex());
    with.layers[1].programs.insert(path("venv/bin/ruff"), program(slot));
    assert_eq!(Manifest::parse(&with.encode(), 8192), Ok(with.clone()));
    let directory = with.directory_of(&with.layers[1]);
    assert_eq!(directory, format!("{plain}-{}", &with.layers[0].checksum.hex()[..16]));
    refused(|bad| drop(bad.layers[0].programs.insert(path("python/x"), program(slot))));
    let slot = Slot { offset: u64::MAX, size: 2 };
    refused(|bad| drop(bad.layers[1].programs.insert(path("venv/bin/x"), program(slot))));
}

#[test]
fn a_plan_cannot_write_through_its_own_links_or_over_what_the_launcher_makes() {
    let source = Source { layer: 1, path: path("app/x") };
    let link = |name: &str| {
        let (name, source) = (path(name), source.clone());
        refused(move |bad| drop(bad.environment.links.insert(name, source)))
    };
    assert!(link("app/below").contains("is a link itself"));
    link("bin/python");
    link("run/hello");
    link("pyvenv.cfg");
    link("bin/hello");
    refused(|bad| drop(bad.environment.links.insert(path("x"), Source { layer: 7, ..source.clone() })));
}

#[test]
fn a_command_that_could_be_mistaken_for_something_else_is_refused() {
    refused(|bad| bad.default = Some("other".into()));
    for name in ["", "-x", "a/b", "..", "a b", "a\0"] {
        let command = Command::of(path("bin/x"));
        refused(|bad| drop(bad.commands.insert(name.into(), command)));
    }
}

#[test]
fn what_a_command_is_started_with_is_checked() {
    let change = |change: fn(&mut Command)| {
        refused(|bad| bad.commands.values_mut().for_each(change));
    };
    change(|command| {
        command.expand = true;
        command.args = vec!["${A".into()];
    });
    change(|command| {
        command.expand = true;
        command.variables.insert("A".into(), "$1".into());
    });
    change(|command| drop(command.variables.insert("A=B".into(), "".into())));
    change(|command| drop(command.variables.insert("A".into(), "\0".into())));
}

#[test]
fn the_source_is_a_commit() {
    let mut good = manifest();
    good.source = Some(Revision { commit: "0123456789abcdef".repeat(4), dirty: true });
    assert_eq!(Manifest::parse(&good.encode(), 8192), Ok(good));
    for commit in ["", "main", &"A".repeat(40), &"a".repeat(41)] {
        refused(|bad| bad.source = Some(Revision { commit: commit.to_owned(), dirty: false }));
    }
}
