//! Promise: whatever the bytes of a bundle say, the launcher ends with an error or with what it was told to do inside of
//! its own cache directory; never with a panic.
//!
//! A corpus of real bundles, and some made up to be hostile, is mutated with a fixed seed for ten seconds, or for
//! COIL_TEST_HOSTILE seconds. The same entry points are cargo-fuzz targets (`fuzz/`), for which
//! COIL_FUZZ_CORPUS=DIR writes the corpus.

mod kit;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coil_bootstrap::archive::Archive;
use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::frames::FOOTER_SIZE;
use coil_bootstrap::format::tar::{BLOCK, Entry, Kind};
use kit::hostile::{self, TARGETS, Target};
use kit::probe;

/// The same mutations in every run.
const SEED: u64 = 0x636f_696c_636f_696c;

/// How many entries of a real layer are in the corpus.
const ENTRIES: usize = 40;

/// Words that mean something somewhere.
const WORDS: [&[u8]; 24] = [
    b"../",
    b"..",
    b"/etc/passwd",
    b"./",
    b"//",
    b"\0",
    b"\xff",
    b"0000755",
    b"0004755",
    b"77777777777",
    b"00000000000",
    b"12 path=/x\n",
    b"20 linkpath=../../x\n",
    b"19 size=99999999999\n",
    b"ustar\x0000",
    b"\"",
    b"\":{}",
    b"18446744073709551615",
    b"-1",
    b"\xff\xff\xff\xff",
    b"python",
    b"app",
    b"${A:-",
    b"1e308",
];

/// Marsaglia's xorshift: numbers that look like chance and are always the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// A few changes of one of the inputs, with pieces of others.
fn mutated(corpus: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = corpus[numbers.below(corpus.len())].clone();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len());
        let length = 1 + numbers.below(64).min(bytes.len().saturating_sub(at + 1));
        let end = (at + length).min(bytes.len());
        match numbers.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 if at < bytes.len() => bytes[at] = numbers.next() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let word = WORDS[numbers.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            5 => {
                let word = WORDS[numbers.below(WORDS.len())];
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word.iter().copied());
            }
            6 => {
                let other = &corpus[numbers.below(corpus.len())];
                let from = numbers.below(other.len());
                let piece = other[from..(from + BLOCK).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
            _ => {
                // Whole blocks of an archive trade places.
                let (one, two) = (at / BLOCK * BLOCK, numbers.below(bytes.len()) / BLOCK * BLOCK);
                for offset in 0..BLOCK {
                    if one.max(two) + offset < bytes.len() {
                        bytes.swap(one + offset, two + offset);
                    }
                }
            }
        }
    }
    bytes
}

/// Puts the sums of an archive's headers right, so that what they sum up is looked at.
fn summed(mut bytes: Vec<u8>, start: usize) -> Vec<u8> {
    let start = start.min(bytes.len());
    for block in bytes[start..].chunks_exact_mut(BLOCK) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let bundle = Bundle::open(probe().path()).unwrap();
    let manifest = bundle.manifest();
    match name {
        "sections" => vec![hostile::sound_file()],
        "manifest" => vec![manifest.encode(), hostile::sound_manifest(&[]).encode()],
        "plan" => vec![manifest.encode(), hostile::sound_manifest(&[]).encode()],
        "index" => manifest.layers.iter().map(|layer| index(&bundle, layer.size, layer)).collect(),
        "tar" => archives(&bundle),
        "unpack" => {
            let cut = |archive: Vec<u8>, cut: u8| [vec![cut], archive].concat();
            let all = archives(&bundle).into_iter().chain([hostile::app_archive()]).chain(traps());
            all.flat_map(|archive| [cut(archive.clone(), 1), cut(archive, 8)]).collect()
        }
        "record" => records(),
        other => panic!("{other} has no corpus"),
    }
}

fn index(bundle: &Bundle, size: u64, layer: &coil_bootstrap::format::manifest::Layer) -> Vec<u8> {
    let frames = bundle.frames(layer).unwrap().len();
    let mut index = vec![0; 8 + 8 * frames + FOOTER_SIZE];
    bundle.read_layer(layer, size - index.len() as u64, &mut index).unwrap();
    index
}

/// The first entries of every layer, with files cut short.
fn archives(bundle: &Bundle) -> Vec<Vec<u8>> {
    let archive = |layer| {
        let mut archive = Archive::open(bundle, layer).unwrap();
        let mut bytes = Vec::new();
        while let Some(Entry { path, kind }) = archive.entry().unwrap() {
            let kind = match kind {
                Kind::File { size, executable } => Kind::File { size: size.min(100), executable },
                other => other,
            };
            let entry = Entry { path, kind };
            bytes.extend(entry.encode());
            if let Kind::File { size, .. } = entry.kind {
                bytes.resize(bytes.len() + (size as usize).next_multiple_of(BLOCK), b'x');
            }
            if bytes.len() > ENTRIES * BLOCK {
                break;
            }
        }
        bytes
    };
    bundle.manifest().layers.iter().map(archive).collect()
}

/// Archives that were made to get out of their layer.
fn traps() -> Vec<Vec<u8>> {
    let link = |target: &str| Kind::Symlink(target.into());
    let file = Kind::File { size: 4, executable: false };
    vec![
        // By its names `app/t` is `app`; the kernel climbs from where `s` leads, out of the layer.
        hostile::archive(&[
            ("app/a/b/c/d/s", link("../../../.."), ""),
            ("app/t", link("a/b/c/d/s/../../../.."), ""),
            ("app/t/planted", link("x"), ""),
        ]),
        hostile::archive(&[("app/s", link("a"), ""), ("app/s/planted", file.clone(), "evil")]),
        hostile::archive(&[("app/s", link("."), ""), ("app/s/s/s/planted", link("x"), "")]),
        hostile::archive(&[("app/main.py", file.clone(), "evil"), ("app/main.py", file, "evil")]),
    ]
}

fn records() -> Vec<Vec<u8>> {
    let cache = kit::scratch();
    let place = probe().start().cache(cache.path()).env("COIL", "where").run().printed();
    probe().start().cache(cache.path()).run().succeeded();
    vec![fs::read(PathBuf::from(place).join(".launch")).unwrap(), b"a${B:-c}$={D}".to_vec()]
}

/// Runs one input, and keeps it where it breaks a promise.
fn run(name: &str, target: Target, input: &[u8], count: u64) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let path = kit::ground().join(format!("hostile-{name}"));
        fs::write(&path, input).unwrap();
        panic!("input {count} of {name} breaks a promise; it is in {}", path.display());
    }
}

#[test]
fn no_bytes_make_the_launcher_panic_or_write_outside_of_its_cache() {
    let seconds = std::env::var("COIL_TEST_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let share = Duration::from_secs(seconds) / TARGETS.len() as u32;
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        if let Some(directory) = std::env::var_os("COIL_FUZZ_CORPUS") {
            let directory = PathBuf::from(directory).join(name);
            fs::create_dir_all(&directory).unwrap();
            for (number, input) in corpus.iter().enumerate() {
                fs::write(directory.join(number.to_string()), input).unwrap();
            }
        }
        let mut count = 0;
        for input in &corpus {
            run(name, target, input, count);
            count += 1;
        }
        let mut numbers = Numbers(SEED);
        let start = Instant::now();
        while start.elapsed() < share {
            let mut input = mutated(&corpus, &mut numbers);
            if matches!(name, "tar" | "unpack") && numbers.below(8) > 0 {
                input = summed(input, usize::from(name == "unpack"));
            }
            run(name, target, &input, count);
            count += 1;
        }
        eprintln!("{name}: {count} inputs");
    }
}

#[test]
fn a_link_that_leads_out_of_its_layer_through_another_is_refused() {
    for (number, trap) in traps().into_iter().enumerate() {
        run("unpack", hostile::unpack, &[vec![1], trap].concat(), number as u64);
    }
}
