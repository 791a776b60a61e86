//! Unpacking: layers become directories, on all cores.
//!
//! Frames are decoded into memory (4 MiB at a time) and written straight into files. While some
//! threads do that others sum the blobs up; nothing unpacked may be used before [`unpack`] has returned
//! without an error, because only then is every checksum known to be right. It writes below the target
//! directories and nowhere else: paths are checked, files are only ever created anew, and symbolic
//! links are made when everything else is there, so that nothing can be written through one.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use zstd::bulk::Decompressor;

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::format::Damage;
use crate::format::checksum::Summing;
use crate::format::frames::{Frame, MAX_FRAME};
use crate::format::manifest::Layer;
use crate::format::path::TreePath;
use crate::format::tar::{self, Entry, Kind};
use crate::tally::{Part as Doing, Tally};
use crate::trace;

/// More threads than this gain little, and each holds two frames in memory, some 8 MiB.
const MAX_THREADS: usize = 6;

/// How much of a blob is hashed between two looks at whether to go on, in bytes.
const HASH_STEP: usize = 1 << 20;

/// Unpacks each layer into the directory beside it, which must exist and be empty.
///
/// `progress` is called now and then, from any thread, with the bytes unpacked so far.
pub fn unpack(bundle: &Bundle, layers: &[(&Layer, PathBuf)], progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
    let mut work = Vec::with_capacity(layers.len());
    for (layer, target) in layers {
        work.push(LayerWork {
            layer,
            target,
            frames: bundle.frames(layer)?,
            links: Mutex::default(),
            tally: Tally::default(),
        });
    }
    let tasks = work.iter().map(|work| work.frames.len() + 1).sum();
    let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS).min(tasks);
    let unpacking = Unpacking {
        bundle,
        layers: &work,
        queue: Mutex::default(),
        stopped: AtomicBool::new(false),
        unpacked: AtomicU64::new(0),
        progress,
    };
    let first_error = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, || unpacking.run()).ok();
        // Where no more threads can be had (a limit on processes), this one does it all.
        let others: Vec<_> = (1..threads).map_while(spawn).collect();
        let mut result = unpacking.run();
        for other in others {
            let theirs = other.join().unwrap_or(Ok(()));
            result = result.and(theirs);
        }
        result
    });
    first_error?;
    work.iter().try_for_each(|work| work.make_links(bundle))?;
    work.iter().for_each(LayerWork::tell);
    Ok(())
}

/// One layer on its way.
struct LayerWork<'a> {
    layer: &'a Layer,
    target: &'a Path,
    frames: Vec<Frame>,
    links: Mutex<Vec<(TreePath, String)>>,
    tally: Tally,
}

/// What all threads share.
struct Unpacking<'a> {
    bundle: &'a Bundle,
    layers: &'a [LayerWork<'a>],
    queue: Mutex<Queue>,
    stopped: AtomicBool,
    unpacked: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// What is still to be done: hashes first (they are the longest single pieces), then frames in order.
#[derive(Default)]
struct Queue {
    hashed: usize,
    layer: usize,
    frame: usize,
    parts: VecDeque<Part>,
}

/// A frame that holds nothing but a piece of one large file.
struct Part {
    layer: usize,
    frame: Frame,
    file: Arc<File>,
    offset: u64,
    length: usize,
}

enum Task {
    Hash(usize),
    Part(Part),
    /// A frame that begins with an entry, not decoded yet.
    Frame(usize, Frame),
    /// The same, decoded already, because whether the frames after it belong to it had to be known.
    Decoded(usize, Frame),
}

/// Buffers that a thread uses again and again.
struct Buffers {
    decompressor: Decompressor<'static>,
    compressed: Vec<u8>,
    decoded: Vec<u8>,
}

impl Unpacking<'_> {
    fn run(&self) -> Result<()> {
        let decompressor = Decompressor::new().map_err(Error::at("decode", self.bundle.path()))?;
        let mut buffers = Buffers { decompressor, compressed: Vec::new(), decoded: Vec::new() };
        let result = self.work(&mut buffers);
        if result.is_err() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        result
    }

    fn work(&self, buffers: &mut Buffers) -> Result<()> {
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(task) = self.next(buffers)? else { return Ok(()) };
            match task {
                Task::Hash(layer) => {
                    let _timing = self.layers[layer].tally.time(Doing::Verify);
                    self.hash(self.layers[layer].layer)?;
                }
                Task::Part(part) => {
                    self.decode(part.layer, part.frame, buffers)?;
                    self.write_part(&part, &buffers.decoded)?;
                    self.advance(part.frame);
                }
                Task::Frame(layer, frame) => {
                    self.decode(layer, frame, buffers)?;
                    self.write_entries(layer, &buffers.decoded)?;
                    self.advance(frame);
                }
                Task::Decoded(layer, frame) => {
                    self.write_entries(layer, &buffers.decoded)?;
                    self.advance(frame);
                }
            }
        }
        Ok(())
    }

    /// Takes the next task.
    ///
    /// An entry longer than a frame begins a full frame and goes on alone through the following ones.
    /// So only a full frame has to be looked into before it is known whether the next begins with an
    /// entry; that happens here, under the lock, once for every large file.
    fn next(&self, buffers: &mut Buffers) -> Result<Option<Task>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.hashed < self.layers.len() {
            queue.hashed += 1;
            return Ok(Some(Task::Hash(queue.hashed - 1)));
        }
        loop {
            if let Some(part) = queue.parts.pop_front() {
                return Ok(Some(Task::Part(part)));
            }
            let layer = queue.layer;
            let Some(work) = self.layers.get(layer) else { return Ok(None) };
            let Some(frame) = work.frames.get(queue.frame).copied() else {
                queue.layer += 1;
                queue.frame = 0;
                continue;
            };
            queue.frame += 1;
            if u64::from(frame.decompressed) < MAX_FRAME {
                return Ok(Some(Task::Frame(layer, frame)));
            }
            self.decode(layer, frame, buffers)?;
            if !self.begin_large_file(&mut queue, &buffers.decoded)? {
                return Ok(Some(Task::Decoded(layer, frame)));
            }
            self.advance(frame);
        }
    }

    /// If the decoded frame begins an entry that is longer than itself, creates that file, writes its
    /// first piece and queues the frames that hold the others.
    fn begin_large_file(&self, queue: &mut Queue, decoded: &[u8]) -> Result<bool> {
        let mut rest = decoded;
        let entry = Entry::read(&mut rest).map_err(|error| self.unreadable(error))?;
        let Some(Entry { path, kind: Kind::File { size, executable } }) = entry else { return Ok(false) };
        if size <= rest.len() as u64 {
            return Ok(false);
        }
        let work = &self.layers[queue.layer];
        let path = work.target.join(path);
        let file = Arc::new(work.create_file(&path, executable)?);
        let _timing = work.tally.time(Doing::Write);
        file.write_all_at(rest, 0).map_err(Error::at("write", &path))?;
        let mut offset = rest.len() as u64;
        while offset < size {
            let frame = work.frames.get(queue.frame).copied();
            let frame = frame.ok_or_else(|| self.damaged("a layer ends inside a file"))?;
            queue.frame += 1;
            let length = (size - offset).min(u64::from(frame.decompressed));
            let padding = if offset + length == size { tar::padding(size) as u64 } else { 0 };
            if length + padding != u64::from(frame.decompressed) {
                return Err(self.damaged("a large file in a layer is cut in the wrong places"));
            }
            let (layer, file) = (queue.layer, Arc::clone(&file));
            queue.parts.push_back(Part { layer, frame, file, offset, length: length as usize });
            offset += length;
        }
        Ok(true)
    }

    fn write_part(&self, part: &Part, decoded: &[u8]) -> Result<()> {
        let target = self.layers[part.layer].target;
        let _timing = self.layers[part.layer].tally.time(Doing::Write);
        part.file.write_all_at(&decoded[..part.length], part.offset).map_err(Error::at("write below", target))
    }

    /// Writes every entry of a frame that holds whole entries.
    fn write_entries(&self, layer: usize, decoded: &[u8]) -> Result<()> {
        let work = &self.layers[layer];
        let mut rest = decoded;
        while let Some(Entry { path, kind }) =
            Entry::read(&mut rest).map_err(|error| self.unreadable(error))?
        {
            let target = work.target.join(&path);
            match kind {
                Kind::Directory => match work.create_directory(&target) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => create_directories(&target)?,
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(Error::at("create", &target)(error));
                    }
                    _ => {}
                },
                Kind::Symlink(link) => {
                    work.links.lock().unwrap_or_else(PoisonError::into_inner).push((path, link));
                }
                Kind::File { size, executable } => {
                    let end = usize::try_from(size)
                        .ok()
                        .and_then(|size| size.checked_add(tar::padding(size as u64)));
                    let content = end.and_then(|end| rest.split_at_checked(end));
                    let (content, after) =
                        content.ok_or_else(|| self.damaged("a file in a layer goes past its frame"))?;
                    let mut file = work.create_file(&target, executable)?;
                    let _timing = work.tally.time(Doing::Write);
                    file.write_all(&content[..size as usize]).map_err(Error::at("write", &target))?;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    fn decode(&self, layer: usize, frame: Frame, buffers: &mut Buffers) -> Result<()> {
        let _timing = self.layers[layer].tally.time(Doing::Decode);
        let layer = self.layers[layer].layer;
        buffers.compressed.resize(frame.compressed as usize, 0);
        self.bundle.read_layer(layer, frame.offset, &mut buffers.compressed)?;
        buffers.decoded.clear();
        buffers.decoded.reserve(frame.decompressed as usize);
        let decoded = buffers.decompressor.decompress_to_buffer(&buffers.compressed, &mut buffers.decoded);
        match decoded {
            Ok(length) if length == frame.decompressed as usize => Ok(()),
            _ => Err(self.damaged(&format!("the layer {} cannot be decoded", layer.name))),
        }
    }

    fn hash(&self, layer: &Layer) -> Result<()> {
        let mut sum = Summing::default();
        let mut buffer = vec![0; HASH_STEP.min(layer.size as usize)];
        let mut offset = 0;
        while offset < layer.size && !self.stopped.load(Ordering::Relaxed) {
            let step = (layer.size - offset).min(HASH_STEP as u64) as usize;
            self.bundle.read_layer(layer, offset, &mut buffer[..step])?;
            sum.update(&buffer[..step]);
            offset += step as u64;
        }
        if offset == layer.size && sum.finish() != layer.checksum {
            return Err(
                self.damaged(&format!("the layer {} has another checksum than it should", layer.name))
            );
        }
        Ok(())
    }

    fn advance(&self, frame: Frame) {
        let length = u64::from(frame.decompressed);
        let before = self.unpacked.fetch_add(length, Ordering::Relaxed);
        (self.progress)(before + length);
    }

    fn unreadable(&self, error: io::Error) -> Error {
        match error.downcast::<Damage>() {
            Ok(damage) => self.bundle.damaged(damage),
            Err(_) => self.damaged("a layer ends inside an entry"),
        }
    }

    fn damaged(&self, what: &str) -> Error {
        self.bundle.damaged(Damage::new(what))
    }
}

impl LayerWork<'_> {
    fn create_file(&self, path: &Path, executable: bool) -> Result<File> {
        let _timing = self.tally.time(Doing::Create);
        create_file(path, executable)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let _timing = self.tally.time(Doing::Create);
        fs::create_dir(path)
    }

    /// Says where the time went.
    fn tell(&self) {
        trace::say("layer", || {
            let (unpacked, packed) = (self.layer.unpacked_size, self.layer.size);
            let (unpacked, packed) = (trace::megabytes(unpacked), trace::megabytes(packed));
            format!("{}: {unpacked} of {packed}, {}", self.layer.name, self.tally)
        });
    }

    fn make_links(&self, bundle: &Bundle) -> Result<()> {
        let _timing = self.tally.time(Doing::Link);
        let mut links = std::mem::take(&mut *self.links.lock().unwrap_or_else(PoisonError::into_inner));
        links.sort_unstable();
        for (path, link) in &links {
            if passes_through_links(path, link, &links) {
                let what = format!("the link {path} in a layer leads through another link");
                return Err(bundle.damaged(Damage::new(what)));
            }
            let target = self.target.join(path);
            let made = symlink(link, &target);
            let missing = matches!(&made, Err(error) if error.kind() == io::ErrorKind::NotFound);
            if missing && let Some(parent) = target.parent() {
                create_directories(parent)?;
                symlink(link, &target).map_err(Error::at("create", &target))?;
            } else {
                made.map_err(Error::at("create", &target))?;
            }
        }
        Ok(())
    }
}

/// Whether a link lies below another one, or climbs up out of another one.
///
/// The tar reader follows targets by their names alone: `a/..` is no place but its own. Where `a` is a link to somewhere
/// else, the kernel goes elsewhere, perhaps out of the layer, and what lies below such a link, or is settled through
/// it, would be written there.
fn passes_through_links(path: &TreePath, target: &str, links: &[(TreePath, String)]) -> bool {
    let mut place: Vec<&str> = path.split('/').collect();
    place.pop();
    let is_link = |place: &[&str]| {
        let place = place.join("/");
        links.binary_search_by(|(link, _)| link.as_str().cmp(&place)).is_ok()
    };
    if (1..=place.len()).any(|length| is_link(&place[..length])) {
        return true;
    }
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if is_link(&place) => return true,
            ".." => drop(place.pop()),
            name => place.push(name),
        }
    }
    false
}

/// Creates a file that is not there yet, with the directories above it where another thread has not
/// come to them.
fn create_file(path: &Path, executable: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(if executable { 0o755 } else { 0o644 });
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                create_directories(parent)?;
            }
            options.open(path)
        }
        opened => opened,
    }
    .map_err(Error::at("create", path))
}

fn create_directories(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::at("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_could_leave_its_layer_through_another_is_found() {
        let link = |path: &str, target: &str| (TreePath::new(path).unwrap(), target.to_owned());
        let links = [link("app/a/b/s", "../.."), link("app/lib", "lib64"), link("app/lib64/x.so", "x.so.1")];
        let passes =
            |path: &str, target: &str| passes_through_links(&TreePath::new(path).unwrap(), target, &links);
        assert!(passes("app/t", "a/b/s/../.."), "by its names it stays in app; in truth it leaves the layer");
        assert!(passes("app/a/b/s/x", "y"), "it lies below a link");
        assert!(!passes("app/a/b/u", "../../lib/x"));
        assert!(!passes("app/t", "lib/x.so"));
        assert!(!passes("app/t", "a/../a"));
    }
}
