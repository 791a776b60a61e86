//! What a wheel must be, and every way in which it is refused.

use std::path::Path;

use tempfile::TempDir;

use super::fixture::WheelBuilder;
use super::*;
use crate::elf::View;
use crate::elf::fixture::Library;
use crate::tree::Content;

fn target() -> Target {
    Target {
        version: (3, 12),
        abi: "cp312".to_owned(),
        glibc: (2, 36),
        machine: "x86_64".to_owned(),
        site_packages: TreePath::new("lib/python3.12/site-packages").unwrap(),
    }
}

fn demo() -> WheelBuilder {
    WheelBuilder::new("demo", "1.0").file("demo/__init__.py", "x = 1\n")
}

fn read(builder: &WheelBuilder) -> Result<Wheel> {
    let directory = TempDir::new().unwrap();
    Wheel::read(&builder.build(directory.path()), &target())
}

fn text(wheel: &Wheel, path: &str) -> String {
    String::from_utf8(wheel.tree.get(path).expect(path).content.read().unwrap()).unwrap()
}

/// The sentence that refuses the wheel, with its causes.
#[track_caller]
fn refusal(builder: &WheelBuilder) -> String {
    told(read(builder))
}

#[track_caller]
fn told(result: Result<Wheel>) -> String {
    let Err(failure) = result else { panic!("the wheel was accepted") };
    let mut sentence = failure.to_string();
    let mut cause = std::error::Error::source(&failure);
    while let Some(error) = cause {
        sentence.push_str(&format!(": {error}"));
        cause = error.source();
    }
    sentence
}

#[track_caller]
fn refused(builder: &WheelBuilder, expected: &str) {
    let sentence = refusal(builder);
    assert!(sentence.contains(expected), "{sentence}");
    assert!(sentence.contains(".whl"), "{sentence}");
}

const SITE: &str = "venv/lib/python3.12/site-packages";

#[test]
fn a_wheel_becomes_the_tree_of_its_installation() {
    let builder = demo()
        .data("scripts", "run", "#!pythonw -u\r\nprint(1)\n")
        .data("scripts", "shell", "#!/bin/sh\n")
        .data("data", "share/demo.txt", "data")
        .data("headers", "demo.h", "header")
        .data("purelib", "pure.py", "pure")
        .data("platlib", "plat.py", "plat")
        .program("demo/tool", "tool")
        .link("demo/link", "../pure.py")
        .entry_points("[console_scripts]\ndemo = demo:main\n[gui_scripts]\nwindow = demo.gui:Window.open\n")
        .requires("other>1");
    let wheel = read(&builder).unwrap();
    let listed: Vec<String> = wheel
        .tree
        .iter()
        .map(|(path, node)| format!("{path}{}", if node.executable { " *" } else { "" }))
        .collect();
    assert_eq!(
        listed,
        [
            "venv/bin/demo *",
            "venv/bin/run *",
            "venv/bin/shell *",
            "venv/bin/window *",
            "venv/include/site/python3.12/demo/demo.h",
            "venv/lib/python3.12/site-packages/demo-1.0.dist-info/INSTALLER",
            "venv/lib/python3.12/site-packages/demo-1.0.dist-info/METADATA",
            "venv/lib/python3.12/site-packages/demo-1.0.dist-info/RECORD",
            "venv/lib/python3.12/site-packages/demo-1.0.dist-info/WHEEL",
            "venv/lib/python3.12/site-packages/demo-1.0.dist-info/entry_points.txt",
            "venv/lib/python3.12/site-packages/demo/__init__.py",
            "venv/lib/python3.12/site-packages/demo/link",
            "venv/lib/python3.12/site-packages/demo/tool *",
            "venv/lib/python3.12/site-packages/plat.py",
            "venv/lib/python3.12/site-packages/pure.py",
            "venv/share/demo.txt",
        ]
    );
    assert_eq!(text(&wheel, "venv/bin/run"), "#!/venv/bin/python\nprint(1)\n");
    assert_eq!(text(&wheel, "venv/bin/shell"), "#!/bin/sh\n");
    assert!(text(&wheel, "venv/bin/window").contains("from demo.gui import Window\n"));
    let scripts: Vec<&str> = wheel.scripts.iter().map(TreePath::as_str).collect();
    assert_eq!(scripts, ["venv/bin/demo", "venv/bin/run", "venv/bin/window"]);
    let link = &wheel.tree.get(&format!("{SITE}/demo/link")).unwrap().content;
    assert!(matches!(link, Content::Symlink(target) if target == "../pure.py"));
    assert_eq!(wheel.metadata.requires_dist, ["other>1"]);
    assert_eq!(wheel.digest, Digest::of(&builder.bytes()));
    assert!(wheel.warnings.is_empty());
}

#[test]
fn record_describes_what_is_installed() {
    let wheel = read(
        &demo()
            .file("demo/a,b.txt", "")
            .file("demo/__pycache__/x.cpython-312.pyc", "old")
            .data("scripts", "run", "#!python\n")
            .entry_points("[console_scripts]\ndemo = demo:main\n"),
    )
    .unwrap();
    let record = text(&wheel, &format!("{SITE}/demo-1.0.dist-info/RECORD"));
    let hash = |path: &str| fixture::sha256(text(&wheel, path).as_bytes());
    assert!(record.contains(&format!("../../../bin/run,sha256={},19\n", hash("venv/bin/run"))), "{record}");
    assert!(record.contains(&format!("../../../bin/demo,sha256={},", hash("venv/bin/demo"))), "{record}");
    assert!(record.contains("\ndemo-1.0.dist-info/RECORD,,\n"), "{record}");
    assert!(
        record.contains("\n\"demo/a,b.txt\",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"),
        "{record}"
    );
    assert!(record.contains("\ndemo/__pycache__/x.cpython-312.pyc,,\n"), "{record}");
    assert_eq!(record.lines().count(), wheel.tree.len());
    assert!(record.lines().filter(|line| !line.starts_with('"')).is_sorted());
}

#[test]
fn what_an_installer_writes_is_not_taken_from_the_wheel() {
    let wheel = read(
        &demo()
            .file("demo-1.0.dist-info/INSTALLER", "pip\n")
            .file("demo-1.0.dist-info/direct_url.json", "{}")
            .file("demo-1.0.dist-info/REQUESTED", "")
            .unrecorded("demo-1.0.dist-info/RECORD.jws", "signature"),
    )
    .unwrap();
    let files: Vec<&str> =
        wheel.tree.iter().filter_map(|(path, _)| path.below(&format!("{SITE}/demo-1.0.dist-info"))).collect();
    assert_eq!(files, ["INSTALLER", "METADATA", "RECORD", "WHEEL"]);
    assert_eq!(text(&wheel, &format!("{SITE}/demo-1.0.dist-info/INSTALLER")), "coil\n");
}

#[test]
fn an_entry_point_wins_over_the_wrapper_of_an_older_build() {
    let wheel = read(
        &demo()
            .data("scripts", "demo", "#!python\nold\n")
            .data("scripts", "demo-script.py", "#!python\nold\n")
            .entry_points("[console_scripts]\ndemo = demo:main\n"),
    )
    .unwrap();
    assert!(text(&wheel, "venv/bin/demo").contains("from demo import main"));
    assert!(wheel.tree.get("venv/bin/demo-script.py").is_none());
}

#[test]
fn large_members_stay_on_disk() {
    let large = vec![7; spill::IN_MEMORY + 1];
    let wheel = read(&demo().file("demo/large.bin", &large)).unwrap();
    let node = wheel.tree.get(&format!("{SITE}/demo/large.bin")).unwrap();
    assert!(matches!(node.content, Content::Temporary(_)));
    assert!(node.content.read().unwrap() == large);
}

#[test]
fn libraries_look_for_their_own_beside_them_and_record_has_the_changed_bytes() {
    let small = Library::new("libsmall.so").runpath("$ORIGIN/libs:/opt/build").build();
    let mut large = small.clone();
    large.resize(spill::IN_MEMORY + 1, 0);
    let wheel = read(
        &demo()
            .file("demo/small.so", &small)
            .file("demo/large.so", &large)
            .file("demo/odd.o", b"\x7fELF\x02\x01"),
    )
    .unwrap();
    let record = text(&wheel, &format!("{SITE}/demo-1.0.dist-info/RECORD"));
    for (name, original) in [("small.so", small), ("large.so", large)] {
        let bytes = wheel.tree.get(&format!("{SITE}/demo/{name}")).unwrap().content.read().unwrap();
        let view = View::read(&bytes).unwrap();
        assert_eq!((view.runpath, view.rpath), (None, vec!["$ORIGIN/libs".to_owned()]), "{name}");
        assert!(bytes != original);
        let line = format!("\ndemo/{name},sha256={},{}\n", fixture::sha256(&bytes), bytes.len());
        assert!(record.contains(&line), "{record}");
    }
    assert_eq!(wheel.warnings.len(), 1, "{:?}", wheel.warnings);
    assert!(wheel.warnings[0].contains("demo/odd.o keeps the search path"), "{}", wheel.warnings[0]);
}

#[test]
fn the_same_wheel_is_the_same_tree() {
    let builder = demo().entry_points("[console_scripts]\nb = demo:b\na = demo:a\n");
    let listed = || {
        let wheel = read(&builder).unwrap();
        wheel.tree.iter().map(|(path, node)| (path.clone(), node.content.read().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(listed(), listed());
}

#[test]
fn names_that_leave_the_environment_are_refused() {
    refused(
        &demo().file("/etc/passwd", ""),
        "\"/etc/passwd\" has a name that cannot be installed: it is absolute",
    );
    refused(&demo().file("demo/../../x", ""), "it has a component \"..\"");
    refused(&demo().file("demo/../", ""), "it has a component \"..\"");
    refused(&demo().file("demo\\x", ""), "has a backslash in its name");
    refused(&demo().file("demo//x", ""), "it has an empty component");
    refused(&demo().data("data", "pyvenv.cfg", ""), "would replace the environment's own venv/pyvenv.cfg");
    refused(&demo().data("data", "bin/python3", ""), "would replace the environment's own venv/bin/python3");
}

#[test]
fn links_that_leave_the_environment_are_refused() {
    for target in
        ["/etc/passwd", "../../../../../x", "../../../../../../../x", "a/../../x", "./x", "", "a//b"]
    {
        refused(&demo().link("demo/link", target), "demo/link is a link that leads out of the environment");
    }
    refused(&demo().link("demo/link", "x").file("demo/link/y", ""), "twice, with different content");
}

#[test]
fn members_that_contradict_each_other_are_refused() {
    refused(&demo().file("demo/x", "a").file("demo/x", "b"), "demo/x is there twice, with different content");
    refused(&demo().file("x.py", "a").data("purelib", "x.py", "b"), "x.py twice, with different content");
    refused(&demo().file("x", "a").file("x/y", "a"), "x/y twice, with different content");
    let wheel = read(&demo().file("demo/x", "a").file("demo/x", "a")).unwrap();
    assert_eq!(text(&wheel, &format!("{SITE}/demo/x")), "a");
}

#[test]
fn a_record_that_disagrees_is_refused() {
    refused(&demo().without_record(), "it has no demo-1.0.dist-info/RECORD");
    refused(&demo().unrecorded("demo/x", ""), "its member demo/x is not in RECORD");
    refused(&demo().record_line("demo/gone,sha256=x,1"), "its RECORD names demo/gone, which is not in it");
    refused(&demo().recorded_as("demo/x", "x", ","), "its RECORD has no hash for demo/x");
    refused(&demo().recorded_as("demo/x", "x", "md5=x,1"), "RECORD has a md5 hash for \"demo/x\"");
    let other = format!("sha256={},1", fixture::sha256(b"y"));
    refused(&demo().recorded_as("demo/x", "x", &other), "demo/x does not have the hash that RECORD says");
    let size = |size: u32| format!("sha256={},{size}", fixture::sha256(b"x"));
    refused(&demo().recorded_as("demo/x", "x", &size(2)), "demo/x does not have the size that RECORD says");
    refused(&demo().recorded_as("demo/x", "x", &size(0)), "demo/x has 1 bytes instead of at most 0");
    read(&demo().recorded_as("demo/x", "x", &size(1))).unwrap();
}

#[test]
fn directories_in_a_record_or_an_archive_are_passed_over() {
    let empty = format!("sha256={},0", fixture::sha256(b""));
    let wheel = read(&demo().record_line(&format!("demo/,{empty}")).unrecorded("demo/", "")).unwrap();
    let record = text(&wheel, &format!("{SITE}/demo-1.0.dist-info/RECORD"));
    assert!(record.contains("demo/__init__.py,") && !record.contains("demo/,"), "{record}");
}

#[test]
fn longer_hashes_are_verified_too() {
    let sha512 =
        "sha512=pKvVcWfx1CF6-RB77bOGVRLDe9bjoKu-2s7MhoWEUKULMKlmSe3_50w_fqVMgH_yd3ul9_CysTvXMV86dUsbyg,1";
    assert!(refusal(&demo().recorded_as("demo/x", "x", sha512)).contains("does not have the hash"));
    let right = "sha512=pKvVcWfx1CF6-RB77bOGVRLDe9bjoKu-2s7MhoWEUKU,1";
    assert!(refusal(&demo().recorded_as("demo/x", "x", right)).contains("does not have the hash"));
}

#[test]
fn wheels_under_a_wrong_name_are_refused() {
    let other = demo().called("other-1.0-py3-none-any.whl");
    refused(&other, "its directory demo-1.0.dist-info belongs to something else");
    let newer = demo().called("demo-1.1-py3-none-any.whl");
    refused(&newer, "its directory demo-1.0.dist-info belongs to something else");
    refused(&demo().with_metadata("Name: other\nVersion: 1.0\n"), "its METADATA says that it is other 1.0");
    refused(&demo().with_metadata("Name: demo\nVersion: 1.1\n"), "its METADATA says that it is demo 1.1");
    read(&demo().with_metadata("Name: DEMO\nVersion: 1\n")).unwrap();
    assert!(refusal(&demo().called("demo.zip")).contains("\"demo.zip\" is not the name of a wheel"));
}

#[test]
fn one_dist_info_directory_is_needed() {
    refused(
        &demo().file("other-2.dist-info/METADATA", ""),
        "two .dist-info directories, demo-1.0.dist-info and other-2",
    );
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("empty-1.0-py3-none-any.whl");
    std::fs::write(&path, b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").unwrap();
    assert!(told(Wheel::read(&path, &target())).contains("it has no .dist-info directory"));
}

#[test]
fn other_formats_and_other_platforms_are_refused() {
    refused(&demo().wheel_version("2.0"), "has the Wheel-Version 2.0");
    assert_eq!(read(&demo().wheel_version("1.1")).unwrap().warnings.len(), 1);
    refused(&demo().data("stdlib", "x", ""), "belongs to the scheme \"stdlib\"");
    refused(&demo().file("demo-1.0.data/x", ""), "lies in demo-1.0.data without a scheme");
    refused(
        &demo().tag("cp311-cp311-manylinux_2_17_x86_64"),
        "is for another Python or another ABI: it is for cp311-cp311-manylinux_2_17_x86_64, the runtime accepts cp312",
    );
    refused(&demo().tag("cp312-cp312-musllinux_1_1_x86_64"), "is for musl");
    refused(&demo().tag("py3-none-win_amd64"), "is for another platform");
}

#[test]
fn hostile_entry_points_are_refused() {
    refused(
        &demo().entry_points("[console_scripts]\n../x = a:b\n"),
        "entry_points.txt has a script called \"../x\"",
    );
    refused(&demo().entry_points("[console_scripts]\nx = a:b;c\n"), "not MODULE:FUNCTION");
    refused(&demo().entry_points("[gui_scripts]\npython = a:b\n"), "would replace the environment's own");
    refused(&demo().entry_points("[console_scripts]\nx = a:b\nx = a:c\n"), "venv/bin/x twice");
}

#[test]
fn encrypted_and_lying_members_are_refused() {
    refused(&demo().file("demo/x", "x").encrypted("demo/x"), "\"demo/x\" is encrypted");
    let bomb = demo().file("demo/x", vec![0; 1 << 20]);
    refused(&bomb.declared("demo/x", 10), "demo/x");
    let bomb = demo().recorded_as("demo/x", &"x".repeat(1 << 20), "sha256=x,10");
    refused(&bomb, "has 1048576 bytes instead of at most 10");
    let bomb = demo().recorded_as("demo/x", &"x".repeat(1 << 20), "sha256=x,10").declared("demo/x", 10);
    refused(&bomb, "demo/x does not have the 10 bytes that it declares");
    refused(&demo().file("demo/x", "x").declared("demo/x", u32::MAX - 1), "demo/x");
    let short = demo().recorded_as("demo/x", "x", &format!("sha256={},", fixture::sha256(b"x")));
    refused(&short.declared("demo/x", 2), "does not have the 2 bytes that it declares");
}

#[test]
fn a_wheel_cut_anywhere_is_refused() {
    let directory = TempDir::new().unwrap();
    let builder = demo();
    let length = builder.bytes().len();
    for lost in 1..=length {
        let path = builder.build_cut(directory.path(), lost);
        let sentence = told(Wheel::read(&path, &target()));
        assert!(sentence.starts_with("demo-1.0-py3-none-any.whl"), "{lost}: {sentence}");
    }
}

#[test]
fn a_flipped_bit_never_changes_the_content_of_a_file() {
    let directory = TempDir::new().unwrap();
    let builder = demo().entry_points("[console_scripts]\ndemo = demo:main\n");
    let right = builder.bytes();
    let path = builder.build(directory.path());
    let installed = |path: &Path| {
        let wheel = Wheel::read(path, &target()).ok()?;
        // Modes are in the archive's directory alone: one bit of them makes a link of a file.
        let files = wheel.tree.iter().filter(|(_, node)| !matches!(node.content, Content::Symlink(_)));
        Some(files.map(|(path, node)| (path.clone(), node.content.read().unwrap())).collect::<Vec<_>>())
    };
    let expected = installed(&path).unwrap();
    for at in 0..right.len() {
        let mut bytes = right.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        for file in installed(&path).into_iter().flatten() {
            assert!(expected.contains(&file) || file.0.ends_with("RECORD"), "byte {at}: {file:?}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let result = Wheel::read(Path::new("/nonexistent/demo-1.0-py3-none-any.whl"), &target());
    assert!(told(result).contains("/nonexistent/demo-1.0-py3-none-any.whl cannot be read"));
}
