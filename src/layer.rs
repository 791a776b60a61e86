//! Writing a layer: a tree becomes a blob, its digest and its diff_id in one pass.
//!
//! The blob depends on the tree's paths, contents and exec bits and on nothing else: not on the number
//! of cores, which only decides how many frames are compressed at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use coil_bootstrap::format::checksum::{Checksum, Summing};
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::frames::{self, FrameRange, MAX_FRAME};
use coil_bootstrap::format::manifest::{LAYER_MEDIA_TYPE, Layer, LayerKind};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::{self, Entry, Kind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;

use crate::pool::{Line, Pool};
use crate::runtime::SEARCH_PATH;
use crate::tree::{Content, Node, Tree};

/// The compression level where the user names none.
pub const DEFAULT_LEVEL: i32 = 9;

/// The level after which files get no smaller, whatever the price (docs/COMPRESSION.md).
pub const SMALL_LEVEL: i32 = 19;

/// A level that is decoded in two thirds of the time, and larger by two thirds (docs/COMPRESSION.md).
pub const FAST_LEVEL: i32 = -5;

/// The library that compresses, with its version: another one makes other bytes of the same tree.
pub fn compressor() -> String {
    format!("libzstd {}", zstd::zstd_safe::version_string())
}

/// What is known of a blob once it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The SHA-256 of the blob.
    pub digest: Digest,
    /// The BLAKE3 of the blob.
    pub checksum: Checksum,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The SHA-256 of the uncompressed tar archive.
    pub diff_id: Digest,
    /// The length of the uncompressed tar archive in bytes.
    pub unpacked_size: u64,
    /// Directories whose entries have frames to themselves.
    pub apart: BTreeMap<TreePath, FrameRange>,
}

impl Blob {
    /// This blob in a manifest, `offset` bytes behind the beginning of the section of layers; without a version and
    /// without programs.
    pub fn described(&self, kind: LayerKind, name: impl Into<String>, offset: u64) -> Layer {
        Layer {
            kind,
            name: name.into(),
            version: None,
            media_type: LAYER_MEDIA_TYPE.into(),
            digest: self.digest,
            checksum: self.checksum,
            size: self.size,
            diff_id: self.diff_id,
            unpacked_size: self.unpacked_size,
            offset,
            programs: BTreeMap::new(),
            apart: self.apart.clone(),
        }
    }
}

/// Where the blob of a layer lies: in a file of its own, or inside a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace {
    /// The file.
    pub file: PathBuf,
    /// Where in it the blob begins, in bytes.
    pub offset: u64,
}

impl From<PathBuf> for BlobPlace {
    fn from(file: PathBuf) -> Self {
        BlobPlace { file, offset: 0 }
    }
}

/// Writes `tree` to `sink` as a layer, compressed at `level` (-7 to 22, not 0) by the threads of `pool`.
///
/// Fails as reading the tree's contents or writing the sink fails. At most a few frames a core are in
/// memory at a time, whatever the size of the tree and however many layers are written at once.
pub fn write(tree: &Tree, level: i32, pool: &Pool, sink: &mut dyn Write) -> io::Result<Blob> {
    let mut writer = Writer::new(pool, level, sink);
    write_entries(tree, &mut writer)?;
    writer.finish()
}

fn write_entries(tree: &Tree, writer: &mut Writer) -> io::Result<()> {
    let mut before = Frames::Common;
    for (path, item) in entries(tree) {
        let frames = Frames::of(&path, item.is_none());
        if frames != before {
            writer.change_frames(before, frames)?;
        }
        before = frames;
        let Some(node) = item else {
            writer.entry(&Entry { path, kind: Kind::Directory }, 0, &mut io::empty())?;
            continue;
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", node.origin));
        if let Content::Symlink(target) = &node.content {
            let entry = Entry { path, kind: Kind::Symlink(target.clone()) };
            writer.entry(&entry, 0, &mut io::empty())?;
        } else if let Some((size, mut reader)) = node.content.open().map_err(named)? {
            let entry = Entry { path, kind: Kind::File { size, executable: node.executable } };
            writer.entry(&entry, size, &mut reader).map_err(named)?;
        }
    }
    writer.change_frames(before, Frames::Common)
}

/// Which frames an entry belongs to: those of one kind hold no entries of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// Those of all others.
    Common,
    /// Those of directories that most wheels have.
    Shared,
    /// Those of a directory of libraries that a host may have itself, where it is left packed.
    Apart(&'static str),
}

impl Frames {
    fn of(path: &TreePath, is_directory: bool) -> Self {
        let [_, apart @ ..] = SEARCH_PATH;
        let within = |directory: &&str| **path == **directory || path.below(directory).is_some();
        match apart.into_iter().find(within) {
            Some(directory) => Frames::Apart(directory),
            None if is_directory && is_shared(path) => Frames::Shared,
            None => Frames::Common,
        }
    }
}

/// Whether this is a directory that most wheels have. Those have frames to themselves: a layer of several wheels names
/// each once, and the frames with files can be copied as they are.
fn is_shared(path: &TreePath) -> bool {
    let Some(below) = path.below("venv") else { return &**path == "venv" };
    let below: Vec<&str> = below.split('/').collect();
    match below.as_slice() {
        ["bin" | "etc" | "include" | "lib" | "share"] => true,
        ["share", "man"] | ["share", "man", "man1"] => true,
        ["lib", python] | ["lib", python, "site-packages"] => python.starts_with("python"),
        _ => false,
    }
}

/// All entries sorted by path, with the directories above every node: `None` for a directory.
fn entries(tree: &Tree) -> Vec<(TreePath, Option<&Node>)> {
    let mut directories = BTreeSet::new();
    for (path, _) in tree.iter() {
        let mut above = path.parent();
        while let Some(directory) = above {
            above = directory.parent();
            if !directories.insert(directory) {
                break;
            }
        }
    }
    let directories = directories.into_iter().map(|path| (path, None));
    let mut all: Vec<_> =
        tree.iter().map(|(path, node)| (path.clone(), Some(node))).chain(directories).collect();
    all.sort_by(|one, two| one.0.cmp(&two.0));
    all
}

/// A compressed frame, and its length before.
type Compressed = io::Result<(Vec<u8>, u32)>;

fn compress(frame: &[u8], level: i32) -> Compressed {
    let bytes = Compressor::new(level)?.compress(frame)?;
    Ok((bytes, frame.len() as u32))
}

/// Cuts entries into frames and puts the compressed frames into the sink.
struct Writer<'a> {
    line: Line<'a, Compressed>,
    level: i32,
    sink: &'a mut dyn Write,
    frame: Vec<u8>,
    frames: Vec<(u32, u32)>,
    /// How many frames have ended, compressed or not yet.
    ended: u32,
    apart: BTreeMap<TreePath, FrameRange>,
    digest: Sha256,
    checksum: Summing,
    size: u64,
    diff_id: Sha256,
    unpacked_size: u64,
}

impl<'a> Writer<'a> {
    fn new(pool: &'a Pool, level: i32, sink: &'a mut dyn Write) -> Self {
        Writer {
            line: Line::new(pool),
            level,
            sink,
            frame: Vec::new(),
            frames: Vec::new(),
            ended: 0,
            apart: BTreeMap::new(),
            digest: Sha256::new(),
            checksum: Summing::default(),
            size: 0,
            diff_id: Sha256::new(),
            unpacked_size: 0,
        }
    }

    /// Ends the frame between entries that belong to different ones, and notes which frames are a directory's own.
    fn change_frames(&mut self, before: Frames, after: Frames) -> io::Result<()> {
        self.end_frame()?;
        if let Frames::Apart(directory) = before
            && let Some(range) = self.apart.get_mut(directory)
        {
            range.count = self.ended - range.first;
        }
        if let Frames::Apart(directory) = after {
            let path = TreePath::new(directory).map_err(io::Error::other)?;
            self.apart.insert(path, FrameRange { first: self.ended, count: 0 });
        }
        Ok(())
    }

    /// Adds an entry and its content. One that does not fit into what is left of a frame begins the next;
    /// one that does not fit into a whole frame fills as many as it needs, alone.
    fn entry(&mut self, entry: &Entry, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let header = entry.encode();
        let padding = tar::padding(size);
        let total = header.len() as u64 + size + padding as u64;
        if self.frame.len() as u64 + total > MAX_FRAME {
            self.end_frame()?;
        }
        self.frame.extend(header);
        let mut left = size;
        while left > 0 {
            let room = (MAX_FRAME - self.frame.len() as u64).min(left);
            let read = content.take(room).read_to_end(&mut self.frame)? as u64;
            if read < room {
                return Err(io::Error::other("the file became shorter while it was read"));
            }
            left -= read;
            if left > 0 {
                self.end_frame()?;
            }
        }
        if content.read(&mut [0])? > 0 {
            return Err(io::Error::other("the file became longer while it was read"));
        }
        // Frames are whole blocks long, so the last piece has room for its padding.
        self.frame.resize(self.frame.len() + padding, 0);
        if total > MAX_FRAME { self.end_frame() } else { Ok(()) }
    }

    fn finish(mut self) -> io::Result<Blob> {
        self.end_frame()?;
        self.frame.extend(tar::END);
        self.end_frame()?;
        while let Some(compressed) = self.line.next() {
            self.take(compressed.map_err(io::Error::other)?)?;
        }
        let index = frames::encode(&self.frames);
        self.put(&index)?;
        Ok(Blob {
            digest: Digest::from_bytes(self.digest.finalize().into()),
            checksum: self.checksum.finish(),
            size: self.size,
            diff_id: Digest::from_bytes(self.diff_id.finalize().into()),
            unpacked_size: self.unpacked_size,
            apart: self.apart,
        })
    }

    fn end_frame(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let frame = std::mem::take(&mut self.frame);
        self.ended += 1;
        self.diff_id.update(&frame);
        self.unpacked_size += frame.len() as u64;
        let level = self.level;
        let due = self.line.push(move || compress(&frame, level)).map_err(io::Error::other)?;
        due.into_iter().try_for_each(|compressed| self.take(compressed))
    }

    fn take(&mut self, compressed: Compressed) -> io::Result<()> {
        let (bytes, decompressed) = compressed?;
        self.frames.push((bytes.len() as u32, decompressed));
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.checksum.update(bytes);
        self.size += bytes.len() as u64;
        self.sink.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, Vec<u8>)]) -> Tree {
        let mut tree = Tree::new();
        for (path, bytes) in files {
            let content = Content::bytes(bytes.as_slice());
            let node = Node { content, executable: false, origin: "test".into() };
            tree.insert(TreePath::new(*path).unwrap(), node).unwrap();
        }
        tree
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn blob(tree: &Tree) -> (Vec<u8>, Blob) {
        let mut bytes = Vec::new();
        let blob = write(tree, 3, &Pool::new(2), &mut bytes).unwrap();
        (bytes, blob)
    }

    #[test]
    fn an_ordinary_decoder_sees_one_stream_that_is_the_tar_archive() {
        let (bytes, blob) = blob(&tree(&[("venv/a", noise(9 << 20)), ("venv/b", b"x".to_vec())]));
        assert_eq!(&bytes[..4], &0xFD2F_B528_u32.to_le_bytes(), "it begins with a data frame");
        let archive = zstd::decode_all(bytes.as_slice()).unwrap();
        assert_eq!(archive.len() as u64, blob.unpacked_size);
        assert_eq!(Digest::of(&archive), blob.diff_id);
        assert_eq!(Digest::of(&bytes), blob.digest);
        assert_eq!(Checksum::of(&bytes), blob.checksum);
        assert_eq!(bytes.len() as u64, blob.size);
        assert!(archive.ends_with(&tar::END));
    }

    #[test]
    fn frames_end_with_entries_except_inside_a_large_one() {
        let around = |delta: i64| noise((MAX_FRAME as i64 - 512 + delta) as usize);
        for delta in [-513, -512, -1, 0, 1, 511, 512, 513] {
            let (bytes, blob) = blob(&tree(&[("a", b"x".to_vec()), ("b", around(delta)), ("c", vec![7])]));
            let footer = bytes.last_chunk().unwrap();
            let index = frames::index_size(footer, blob.size).unwrap();
            let index = &bytes[bytes.len() - index..];
            let frames = frames::parse(index, blob.size, blob.unpacked_size).unwrap();
            let sizes: Vec<_> = frames.iter().map(|frame| u64::from(frame.decompressed)).collect();
            let b = around(delta).len() as u64 + 512;
            let b = b + tar::padding(b) as u64;
            let expected = if b > MAX_FRAME {
                vec![1024, MAX_FRAME, b - MAX_FRAME, 1024, 1024]
            } else {
                vec![1024, b, 1024, 1024]
            };
            let joined = if b + 1024 <= MAX_FRAME { vec![1024, b + 1024, 1024] } else { expected };
            assert_eq!(sizes, joined, "delta {delta}");
        }
    }

    #[test]
    fn directories_that_wheels_share_have_frames_to_themselves() {
        let packages = "venv/lib/python3.12/site-packages";
        let files = ["venv/bin/run", &format!("{packages}/a/b.py"), &format!("{packages}/c.py")];
        let (bytes, blob) = blob(&tree(&files.map(|path| (path, b"x".to_vec()))));
        let index = frames::index_size(bytes.last_chunk().unwrap(), blob.size).unwrap();
        let frames = frames::parse(&bytes[bytes.len() - index..], blob.size, blob.unpacked_size).unwrap();
        let sizes: Vec<_> = frames.iter().map(|frame| frame.decompressed / 512).collect();
        // venv, bin; run; lib, python3.12, site-packages; a, b.py, c.py; the end.
        assert_eq!(sizes, [2, 2, 3, 5, 2]);
    }

    #[test]
    fn libraries_that_a_host_may_have_itself_have_frames_to_themselves() {
        let large = noise(5 << 20);
        let files =
            ["python/lib/a.so", "python/libc/libc.so.6", "python/libexec/x", "python/libgcc/y", "python/z"];
        let content = |path: &str| if path.ends_with(".6") { large.clone() } else { b"x".to_vec() };
        let (bytes, blob) = blob(&tree(&files.map(|path| (path, content(path)))));
        let index = frames::index_size(bytes.last_chunk().unwrap(), blob.size).unwrap();
        let frames = frames::parse(&bytes[bytes.len() - index..], blob.size, blob.unpacked_size).unwrap();
        let range = |path: &str| blob.apart[&TreePath::new(path).unwrap()];
        assert_eq!(blob.apart.len(), 2);
        // The directory, and two of the file, which is longer than a frame.
        assert_eq!(range("python/libc"), FrameRange { first: 1, count: 3 });
        assert_eq!(range("python/libgcc"), FrameRange { first: 5, count: 1 });
        let sizes: Vec<_> = frames.iter().map(|frame| frame.decompressed / 512).collect();
        // python, lib, a.so; libc; libc.so.6; libexec, x; libgcc, y; z; the end.
        assert_eq!(sizes, [4, 1, 8192, 2049, 3, 3, 2, 2]);
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"12345").unwrap();
        let mut file = std::fs::File::open(&path).unwrap();
        let pool = Pool::new(1);
        let mut sink = Vec::new();
        let mut writer = Writer::new(&pool, 1, &mut sink);
        let kind = |size| Kind::File { size, executable: false };
        let mut add = |size, file: &mut dyn Read| {
            writer.entry(&Entry { path: TreePath::new("x").unwrap(), kind: kind(size) }, size, file)
        };
        assert!(add(6, &mut file).unwrap_err().to_string().contains("shorter"));
        assert!(add(1, &mut std::fs::File::open(&path).unwrap()).unwrap_err().to_string().contains("longer"));
    }

    #[test]
    fn the_bytes_of_a_layer_are_what_they_were() {
        // These digests are the names of layers on machines out there. They change with libzstd, with
        // its parameters and with the tar writer: none of these may change unnoticed.
        let (_, blob) = blob(&tree(&[("app/a.py", b"print()\n".to_vec()), ("app/b/c.txt", noise(100_000))]));
        assert_eq!(blob.diff_id.hex(), GOLDEN_DIFF_ID);
        assert_eq!(blob.digest.hex(), GOLDEN_DIGEST);
    }

    const GOLDEN_DIFF_ID: &str = "68ce8da950986723c3ab2237d8d4b5d4f9b8505ffe285a9162f7423e27e25a07";
    const GOLDEN_DIGEST: &str = "93865ce00b835fed49595ea2606a47f006fc4a2356e54c7325def78a15f984d1";
}
