//! What is essential and what is missing, on small layers made by code.

use super::*;
use crate::elf::fixture::Library;
use crate::tree::{Content, Node};

const SITE: &str = "venv/lib/python3.12/site-packages";

/// A layer in the making.
#[derive(Default)]
struct Files(Tree);

impl Files {
    fn file(mut self, name: &str, bytes: Vec<u8>) -> Self {
        let node = Node { content: Content::bytes(bytes), executable: false, origin: "x.whl".into() };
        self.0.insert(TreePath::new(format!("{SITE}/{name}")).unwrap(), node).unwrap();
        self
    }

    fn source(self, name: &str, text: &str) -> Self {
        self.file(name, text.as_bytes().to_vec())
    }

    /// The extension module `name.so`.
    fn module(self, name: &str, needed: &[&str]) -> Self {
        let stem = name.rsplit('/').next().unwrap();
        let library = needed.iter().fold(Library::new(stem), |library, name| library.needed(name));
        self.file(&format!("{name}.so"), library.symbol(&format!("PyInit_{stem}")).build())
    }

    fn library(self, name: &str, needed: &[&str]) -> Self {
        let soname = name.rsplit('/').next().unwrap();
        let library = needed.iter().fold(Library::new(soname), |library, name| library.needed(name));
        self.file(name, library.build())
    }

    fn needs(&self) -> Needs {
        of_tree(&self.0).unwrap()
    }

    /// `!` before what an essential file asks for.
    fn missing(&self) -> Vec<String> {
        missing(&[self.needs()])
    }
}

fn missing(layers: &[Needs]) -> Vec<String> {
    let layers: Vec<Layer> = layers.iter().map(|needs| Layer { origin: "x.whl", needs }).collect();
    let shown = |missing: Missing| format!("{}{}", if missing.essential { "!" } else { "" }, missing.library);
    World::new(&layers).missing().into_iter().map(shown).collect()
}

#[test]
fn a_module_that_its_package_imports_is_essential_with_all_it_loads() {
    let files = Files::default()
        .source("p/__init__.py", "from p._p import x\n")
        .module("p/_p", &["libp.so"])
        .module("p/_fine", &[])
        .library("p.libs/libp.so", &["libaway.so.1", "libm.so.6"]);
    assert_eq!(files.missing(), ["!libaway.so.1", "!libm.so.6"]);
}

#[test]
fn a_module_that_may_fail_to_load_is_not_essential() {
    let files = Files::default()
        .source("p/__init__.py", "try:\n    from . import _p\nexcept ImportError:\n    pass\n")
        .module("p/_p", &["libtbb.so.12"]);
    assert_eq!(files.missing(), ["libtbb.so.12"]);
}

#[test]
fn a_module_that_nobody_imports_is_essential_if_none_beside_it_is_whole() {
    assert_eq!(Files::default().module("cv2/cv2", &["libGL.so.1"]).missing(), ["!libGL.so.1"]);
    let qt = Files::default().module("Qt/Core", &[]).module("Qt/Sound", &["libpulse.so.0"]);
    assert_eq!(qt.missing(), ["libpulse.so.0"]);
}

#[test]
fn a_plugin_is_not_essential_and_what_is_opened_by_name_is() {
    let with_modules = Files::default().module("p/_p", &[]).library("p/plugin.so", &["libodbc.so.2"]);
    assert_eq!(with_modules.missing(), ["libodbc.so.2"]);
    assert_eq!(Files::default().library("p/libp.so", &["libgomp.so.1"]).missing(), ["!libgomp.so.1"]);
    let one_of_two =
        Files::default().library("p/liba.so", &["libmlx5.so.1"]).library("p/libb.so", &["libc.so.6"]);
    assert_eq!(one_of_two.missing(), ["!libc.so.6", "libmlx5.so.1"]);
}

#[test]
fn another_layer_provides_what_is_missing_and_passes_on_what_it_misses_itself() {
    let user = Files::default().module("p/_p", &["liba.so"]).needs();
    let provider = Files::default()
        .module("q/_q", &[])
        .library("q/liba.so", &["libaway.so"])
        .library("q/libother.so", &["libfar.so"])
        .needs();
    assert_eq!(missing(std::slice::from_ref(&user)), ["!liba.so"]);
    assert_eq!(missing(&[user, provider.clone()]), ["!libaway.so", "libfar.so"]);
    assert_eq!(missing(&[provider]), ["libaway.so", "libfar.so"]);
}

#[test]
fn a_version_that_is_newer_than_the_carried_one_is_found_with_its_file() {
    let needs = Files::default().module("p/_p", &["libc.so.6"]).needs();
    assert_eq!(needs.versions.len(), 1);
    assert_eq!(needs.versions[0].what.to_string(), "GLIBC_2.17");
    let carrying = |text: &str| {
        let mut runtime = Needs::default();
        runtime.defines.add(SymbolVersion::parse(text).unwrap());
        let layers = [Layer { origin: "CPython", needs: &runtime }, Layer { origin: "x.whl", needs: &needs }];
        World::new(&layers).too_new().iter().map(|new| new.wanted.file.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(carrying("GLIBC_2.17"), Vec::<String>::new());
    assert_eq!(carrying("GLIBC_2.5"), [format!("{SITE}/p/_p.so")]);
}

#[test]
fn a_layer_tells_the_same_as_the_tree_it_was_made_of() {
    let files = Files::default()
        .source("p/__init__.py", "from p._p import x\n")
        .module("p/_p", &["libp.so"])
        .library("p.libs/libp.so", &["libaway.so.1"])
        .file("p/data.bin", vec![7; 5000]);
    let mut blob = tempfile::NamedTempFile::new().unwrap();
    let written = crate::layer::write(&files.0, 1, &crate::pool::Pool::new(1), &mut blob).unwrap();
    let place = crate::layer::BlobPlace { file: blob.path().to_owned(), offset: 0 };
    let machine = Machine::here().unwrap();
    assert_eq!(of_layer(&place, written.size, machine).unwrap(), files.needs());
    assert!(of_layer(&place, written.size / 2, machine).is_err());
}

#[test]
fn a_module_for_another_machine_is_told() {
    let mut bytes = Library::new("x").symbol("PyInit_x").build();
    bytes[18] = 0x08;
    let multiarch = Machine::here().unwrap().multiarch;
    let name = |tag: &str| format!("x.cpython-{tag}-{multiarch}.so");
    let files = Files::default().file(&name("312"), bytes.clone()).file(&name("39"), bytes.clone());
    assert_eq!(files.file("data/x.so", bytes).needs().foreign.len(), 1);
}

#[test]
fn every_cut_and_every_changed_byte_of_a_file_is_passed_over_or_understood() {
    let whole = Library::new("libx.so.1").needed("liby.so").symbol("PyInit_x").build();
    for length in 0..whole.len() {
        let _ = Files::default().file("x.so", whole[..length].to_vec()).needs();
    }
    for at in 0..whole.len() - 4096 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bad = whole.clone();
            bad[at] = value;
            let _ = Files::default().file("x.so", bad).needs();
        }
    }
}

#[test]
fn patterns_stand_for_names() {
    let matches = |pattern: &str, name: &str| Pattern::all([&pattern.to_owned()])[0].matches(name);
    assert!(matches("libGL.so.1", "libGL.so.1") && !matches("libGL.so", "libGL.so.1"));
    assert!(
        matches("libxcb*", "libxcb-cursor.so.0") && matches("*", "x") && matches("lib*.so.*", "liba.so.1")
    );
    assert!(!matches("lib*.so", "liba.so.1") && !matches("*x*y*", "yx"));
}
