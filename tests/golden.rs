//! Promise: the same tree is the same layer, for ever: these digests are the names of layers on machines out
//! there. They change with libzstd, with its parameters, with where frames are cut and with the tar writer;
//! none of these may change unnoticed.

use coil::layer;
use coil::pool::Pool;
use coil::tree::{Content, Node, Tree};
use coil_bootstrap::format::path::TreePath;

/// Text that compresses like text, and noise that does not compress.
fn text(seed: u32, length: usize) -> Vec<u8> {
    let mut words = Vec::with_capacity(length + 16);
    let mut state = seed;
    while words.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words.extend(format!("{} ", (state >> 20) % 700).bytes());
    }
    words.truncate(length);
    words
}

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Several frames of small files, a file of several frames, links, programs, long and foreign names.
fn tree() -> Tree {
    let mut tree = Tree::new();
    let mut add = |path: &str, content: Content, executable: bool| {
        let node = Node { content, executable, origin: "test".into() };
        tree.insert(TreePath::new(path).unwrap(), node).unwrap();
    };
    for number in 0..50 {
        add(&format!("venv/lib/m{number}.py"), Content::bytes(text(number, 100_000)), number % 7 == 0);
    }
    add("venv/lib/long.bin", Content::bytes([text(1, 4_000_000), noise(2, 1_000_000)].concat()), false);
    add("venv/lib/exact.bin", Content::bytes(noise(3, (4 << 20) - 512)), false);
    add("venv/bin/tool", Content::Symlink("../lib/m0.py".into()), false);
    add(&format!("venv/share/{}/{}", "d".repeat(200), "n".repeat(200)), Content::bytes(*b"x"), false);
    add("venv/share/grüße", Content::bytes(*b""), true);
    tree
}

/// Levels are tests of their own, so that they are tried side by side.
fn check(level: i32) {
    let made = layer::write(&tree(), level, &Pool::for_this_machine(), &mut std::io::sink()).unwrap();
    let expected = GOLDEN.iter().find(|(known, _)| *known == level).map(|(_, digest)| (*digest).to_owned());
    assert_eq!(Some(made.digest.hex()), expected, "{}", layer::compressor());
    assert_eq!(layer::compressor(), "libzstd 1.5.7");
}

#[test]
fn the_bytes_of_a_layer_are_what_they_were_at_level_1() {
    check(1);
}

#[test]
fn the_bytes_of_a_layer_are_what_they_were_at_level_3() {
    check(3);
}

#[test]
fn the_bytes_of_a_layer_are_what_they_were_at_level_9() {
    check(9);
}

#[test]
fn the_bytes_of_a_layer_are_what_they_were_at_level_17() {
    check(17);
}

const GOLDEN: [(i32, &str); 4] = [
    (1, "aed6094d562ae946042ff004c9ea1e72e0e4cc32f8c476124d13529d5f9538cf"),
    (3, "b8a70eab97f21a71795d90f1f5219dd66d64a7feb0db4857bcaee4ef7c7b25d5"),
    (9, "3f39a73011148400a63dece6cf7632b260292d915a5f788705bec06e5ec6a8c4"),
    (17, "6ae4ba547c15c2deea4ad1f759bf8e07a2c746f85413eef03f2e0fe0829b97aa"),
];
