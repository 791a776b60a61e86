//! The runtime of the tests, harvested once: for packs that would harvest it anew and are not about that.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::{Bench, Ran, packer_cache, scratch, standing};

/// The level of [`runtime_file`].
pub const QUICK: &str = "--level=1";

/// A runtime as a file, for `--runtime`: that of a pack at the level [`QUICK`].
pub fn runtime_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| build(&Bench::new(), "quick.rt", &[QUICK]))
}

/// That of the lean CPython.
pub fn lean_runtime_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| build(&Bench::new().lean(), "lean.rt", &[QUICK]))
}

/// A packer's cache of the test's own that holds the runtime, as it is packed where nothing is said of it, and
/// nothing else.
pub fn cache_with_runtime() -> TempDir {
    static DIGEST: OnceLock<String> = OnceLock::new();
    cache_with(DIGEST.get_or_init(|| usual(&Bench::new(), "usual.rt")))
}

/// One with that of a lean bench.
pub fn cache_with_lean_runtime() -> TempDir {
    static DIGEST: OnceLock<String> = OnceLock::new();
    cache_with(DIGEST.get_or_init(|| usual(&Bench::new().lean(), "usual-lean.rt")))
}

/// The digest of the runtime that this bench packs where nothing is said of it.
fn usual(bench: &Bench, name: &str) -> String {
    let file = build(bench, name, &[]);
    let told = Ran::of(bench.coil(&["runtime", "inspect", "--json", file.to_str().unwrap()]), b"");
    told.json()["layer"]["digest"].as_str().expect("a layer has a digest").to_owned()
}

fn cache_with(digest: &str) -> TempDir {
    let cache = scratch();
    let (from, to) = (packer_cache().join("pack"), cache.path().join("pack"));
    let link = |name: &str| {
        fs::create_dir_all(to.join(name).parent().unwrap()).expect("a scratch directory can be written");
        fs::hard_link(from.join(name), to.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    link(&format!("blobs/{}", digest.trim_start_matches("sha256:")));
    for made in fs::read_dir(from.join("made")).expect("the runtime was made").flatten() {
        let name = made.file_name().into_string().expect("names in the cache are plain");
        if name.starts_with("runtime-")
            && fs::read(made.path()).is_ok_and(|text| String::from_utf8_lossy(&text).contains(digest))
        {
            link(&format!("made/{name}"));
        }
    }
    cache
}

fn build(bench: &Bench, name: &str, words: &[&str]) -> PathBuf {
    let file = standing(name).join(name);
    let mut command = bench.coil(&["runtime", "build", "-o"]);
    command.arg(&file).args(words);
    Ran::of(command, b"").succeeded();
    file
}
