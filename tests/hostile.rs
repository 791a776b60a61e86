//! Promise: whatever the bytes of a bundle say, the launcher ends with an error or with what it was told to do inside of
//! its own cache directory; never with a panic. Nor does the packer panic on what others have written.
//!
//! A corpus of real bundles, and some made up to be hostile, is mutated with a fixed seed for ten seconds, or for
//! COIL_TEST_HOSTILE seconds. The same entry points are cargo-fuzz targets (`fuzz/`), for which
//! COIL_FUZZ_CORPUS=DIR writes the corpus.

mod kit;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use coil_bootstrap::archive::Archive;
use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::frames::FOOTER_SIZE;
use coil_bootstrap::format::tar::{BLOCK, Entry, Kind};
use kit::hostile::{self, TARGETS, Target};
use kit::{Bench, Ran, hostile_packer, probe, small};

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
        "receive" => {
            vec![hostile::sound_conversation(), [hostile::sound_conversation(), vec![5, 0, 0, 0, 0]].concat()]
        }
        other => panic!("{other} has no corpus"),
    }
}

fn packers_corpus(name: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match name {
        "elf" => elf_files(),
        "oci" => vec![image()],
        "metadata" => texts(&[
            "a/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n\"b,c\",sha384=,1\na.dist-info/RECORD,,\n",
            "Metadata-Version: 2.1\nName: leaf\nVersion: 1.0\nRequires-Dist: x[y]>=1; extra == 'z'\n\nLong\n",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "[console_scripts]\na = b.c:d.e [x]\n[other.group]\nn=m\n",
            "{\"url\": \"file:///x\", \"dir_info\": {\"editable\": true}}",
        ]),
        "lock" => texts(&["lock-version = \"1.0\"\ncreated-by = \"coil\"\nrequires-python = \">=3.9\"\n\
            [[packages]]\nname = \"leaf\"\nversion = \"1.0\"\nmarker = \"python_version > '3'\"\n\
            [[packages.wheels]]\nname = \"leaf-1.0-py3-none-any.whl\"\nurl = \"https://x.example/a%20b.whl#c\"\n\
            hashes = {sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"}\n"]),
        "project" => texts(&[
            "[build-system]\nrequires = []\n[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"a>1\"]\n\
             [project.scripts]\nx = \"x:main\"\n[tool.coil]\ndefault = \"web\"\nkeep = [\"tests\"]\n\
             [tool.coil.commands]\nweb = \"A=b main.py --port ${PORT:-8000}\"\n",
            "# /// script\n# dependencies = ['one']\n# requires-python = \">=3.9\"\n# ///\nimport one\n",
        ]),
        "words" => texts(&[
            "A=b gunicorn 'x y' \"${PORT:-8000}\" $HOME \\$ $$",
            "name[extra,b] @ https://user:pw@x.example:80/a-1.whl ; python_version >= '3.9' and (os_name == \"x\" or extra != 'y')",
            "name>=1.0rc1,!=2.*,~=3.1.post2,===x ; sys_platform in 'linux win32'",
            "Bearer realm=\"https://x.example/token\",service=\"y\",scope=\"repository:a:pull\"",
            "1!2.3.4rc5.post6.dev7+local.8",
            "r.example:5000/team/app:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "leaf_x-1.0-1_b-cp39.cp310-abi3-manylinux_2_17_x86_64.whl",
        ]),
        other => panic!("{other} has no corpus"),
    }
}

/// The smallest programs and libraries of this machine.
fn elf_files() -> Vec<Vec<u8>> {
    let modules = "import glob, os, sysconfig\n\
                   found = glob.glob(sysconfig.get_config_var('DESTSHARED') + '/*.so')\n\
                   print(*sorted(found, key=os.path.getsize)[:3], sep='\\n')";
    let told = Command::new("python3").args(["-c", modules]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let read = |path: &str| fs::read(path).ok().filter(|bytes| bytes.len() < 200_000);
    let found: Vec<Vec<u8>> = ["/bin/true"].into_iter().chain(told.lines()).filter_map(read).collect();
    assert!(!found.is_empty(), "there is no small ELF file here");
    found
}

/// The archive of an image of next to no bytes.
fn image() -> Vec<u8> {
    let bench = Bench::new();
    let bundle = small("image");
    let words = ["image".as_ref(), bundle.path().as_os_str(), "-o".as_ref(), "image.tar".as_ref()];
    Ran::of(bench.coil(&words), b"").succeeded();
    fs::read(bench.path("image.tar")).unwrap()
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

/// Mutates the corpus of each of these for its share of the time.
fn mutate(targets: &[(&str, Target)], corpus: &dyn Fn(&str) -> Vec<Vec<u8>>) {
    let seconds = std::env::var("COIL_TEST_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let share = Duration::from_secs(seconds) / targets.len() as u32;
    for (name, target) in targets {
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
            run(name, *target, input, count);
            count += 1;
        }
        let mut numbers = Numbers(SEED);
        let start = Instant::now();
        while start.elapsed() < share {
            let mut input = mutated(&corpus, &mut numbers);
            if matches!(*name, "tar" | "unpack" | "oci") && numbers.below(8) > 0 {
                input = summed(input, usize::from(*name == "unpack"));
            }
            run(name, *target, &input, count);
            count += 1;
        }
        eprintln!("{name}: {count} inputs");
    }
}

#[test]
fn no_bytes_make_the_launcher_panic_or_write_outside_of_its_cache() {
    mutate(&TARGETS, &corpus);
}

#[test]
fn no_bytes_that_others_have_written_make_the_packer_panic() {
    mutate(&hostile_packer::TARGETS, &packers_corpus);
}

#[test]
fn a_link_that_leads_out_of_its_layer_through_another_is_refused() {
    for (number, trap) in traps().into_iter().enumerate() {
        run("unpack", hostile::unpack, &[vec![1], trap].concat(), number as u64);
    }
}

#[test]
fn an_index_of_images_that_lists_itself_or_too_much_is_read_to_an_end() {
    use coil_bootstrap::format::digest::Digest;
    let index = |digest: &str, size: usize| {
        let one = format!(
            "{{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"digest\":\"{digest}\",\"size\":{size}}}"
        );
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{one},{one}]}}"
        )
    };
    let member = |path: &str, content: &str| {
        hostile::archive(&[(path, Kind::File { size: content.len() as u64, executable: false }, content)])
    };
    let name = |digest: &str| format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
    let zero = format!("sha256:{}", "0".repeat(64));
    let itself = [member(&name(&zero), &index(&zero, 1)), member("index.json", &index(&zero, 1))].concat();
    // Forty that list the one below twice, each with its true digest.
    let (mut members, mut inner) = (Vec::new(), index(&zero, 1));
    for _ in 0..40 {
        let digest = Digest::of(inner.as_bytes()).to_string();
        members.extend(member(&name(&digest), &inner));
        inner = index(&digest, inner.len());
    }
    members.extend(member("index.json", &inner));
    for archive in [itself, members] {
        hostile_packer::read_oci(&[archive, vec![0; 1024]].concat());
    }
}
