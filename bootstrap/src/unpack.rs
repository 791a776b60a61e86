//! Unpacking: layers become directories, on all cores.
//!
//! Frames are decoded into memory (4 MiB at a time) and written straight into files. While some
//! threads do that others sum the blobs up; nothing unpacked may be used before [`unpack`] has returned
//! without an error, because only then is every checksum known to be right. It writes below the target
//! directories and nowhere else: paths are checked, files are only ever created anew, and symbolic
//! links are made when everything else is there, so that nothing can be written through one.

mod room;
mod target;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use zstd::bulk::Decompressor;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use self::room::Room;
use self::target::Target;
use crate::bundle::Bundle;
use crate::c_library::Choice;
use crate::error::{Error, Result};
use crate::format::Damage;
use crate::format::checksum::Summing;
use crate::format::frames::{Frame, MAX_FRAME};
use crate::format::manifest::Layer;
use crate::format::tar::{self, Entry, Kind};
use crate::tally::Part as Doing;
use crate::trace;

/// More threads than this gain little, and each holds two frames in memory, some 8 MiB.
const MAX_THREADS: usize = 6;

/// How much of a blob is hashed between two looks at whether to go on, in bytes: what stays in a core's own cache.
const HASH_STEP: usize = 128 << 10;

/// With so many large files open, those are written first, so that there are enough descriptors.
const MAX_OPEN: usize = 64;

/// As much of a frame as always holds its first block, compressed, in bytes (RFC 8878, 3.1.1.2.4).
const ZSTD_BLOCK: usize = (128 << 10) + 32;

/// Unpacks each layer into the directory beside it, which must exist and be empty. What nothing searches with the
/// C library that is chosen stays packed.
///
/// `progress` is called now and then, from any thread, with the bytes unpacked so far.
pub fn unpack(
    bundle: &Bundle,
    layers: &[(&Layer, PathBuf)],
    libc: Choice,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let mut work = Vec::with_capacity(layers.len());
    let mut left_packed = 0;
    for (layer, target) in layers {
        let left = libc.left_packed(bundle.manifest(), layer);
        let mut frames = bundle.frames(layer)?;
        let mut place = 0..;
        frames.retain(|frame| {
            let needed =
                place.next().is_none_or(|place| !left.iter().any(|(_, frames)| frames.contains(place)));
            left_packed += if needed { 0 } else { u64::from(frame.decompressed) };
            needed
        });
        work.push(Work { target: Target::open(layer, target)?, frames });
    }
    if left_packed > 0 {
        trace::say("libc", || format!("{} of libraries are left packed", trace::megabytes(left_packed)));
    }
    let tasks = work.iter().map(|work| work.frames.len() + 1).sum();
    let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS).min(tasks);
    let unpacking = Unpacking {
        bundle,
        layers: &work,
        queue: Mutex::default(),
        stopped: AtomicBool::new(false),
        unpacked: AtomicU64::new(left_packed),
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
    work.iter().try_for_each(|work| work.target.make_links(bundle))?;
    work.iter().for_each(|work| work.target.tell());
    Ok(())
}

/// One layer on its way.
struct Work<'a> {
    target: Target<'a>,
    frames: Vec<Frame>,
}

/// What all threads share.
struct Unpacking<'a> {
    bundle: &'a Bundle,
    layers: &'a [Work<'a>],
    queue: Mutex<Queue>,
    stopped: AtomicBool,
    unpacked: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// What is still to be done: hashes first (they are the longest single pieces), then frames with many files in
/// order, then pieces of large files, the smallest last, so that all threads come to the end together.
#[derive(Default)]
struct Queue {
    hashed: usize,
    layer: usize,
    frame: usize,
    /// Whole frames of large files.
    parts: VecDeque<Part>,
    /// The last frame of each.
    ends: Vec<Part>,
}

/// A frame that holds nothing but a piece of one large file.
struct Part {
    layer: usize,
    frame: Frame,
    file: Arc<File>,
    /// Where the piece begins in the frame: behind the entry's header, in the first one.
    skip: usize,
    offset: u64,
    length: usize,
}

enum Task {
    Hash(usize),
    Part(Part),
    /// A frame that holds whole entries.
    Frame(usize, Frame),
}

/// Buffers that a thread uses again and again.
struct Buffers {
    decompressor: Decompressor<'static>,
    compressed: Room,
    decoded: Room,
}

impl Unpacking<'_> {
    fn run(&self) -> Result<()> {
        let decompressor = Decompressor::new().map_err(Error::at("decode", self.bundle.path()))?;
        let largest = |size: fn(&Frame) -> u32| {
            let sizes = self.layers.iter().flat_map(|work| &work.frames).map(size);
            Room::new(sizes.max().unwrap_or_default() as usize)
        };
        let compressed = largest(|frame| frame.compressed);
        let decoded = largest(|frame| frame.decompressed);
        let mut buffers = Buffers { decompressor, compressed, decoded };
        let result = self.work(&mut buffers);
        if result.is_err() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        result
    }

    fn work(&self, buffers: &mut Buffers) -> Result<()> {
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(task) = self.next()? else { return Ok(()) };
            match task {
                Task::Hash(layer) => {
                    let Target { layer, tally, .. } = &self.layers[layer].target;
                    let _timing = tally.time(Doing::Verify);
                    self.hash(layer)?;
                }
                Task::Part(part) => {
                    self.write_part(&part, self.decode(part.layer, part.frame, buffers)?)?;
                    self.advance(part.frame);
                }
                Task::Frame(layer, frame) => {
                    self.write_entries(layer, self.decode(layer, frame, buffers)?)?;
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
    /// entry; its beginning is decoded here, under the lock.
    fn next(&self) -> Result<Option<Task>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.hashed < self.layers.len() {
            queue.hashed += 1;
            return Ok(Some(Task::Hash(queue.hashed - 1)));
        }
        while queue.ends.len() < MAX_OPEN {
            let layer = queue.layer;
            let Some(work) = self.layers.get(layer) else { break };
            let Some(frame) = work.frames.get(queue.frame).copied() else {
                queue.layer += 1;
                queue.frame = 0;
                continue;
            };
            queue.frame += 1;
            let is_full = u64::from(frame.decompressed) == MAX_FRAME;
            if !is_full || !self.begin_large_file(&mut queue, frame)? {
                return Ok(Some(Task::Frame(layer, frame)));
            }
        }
        let part = queue.parts.pop_front().or_else(|| {
            let (largest, _) = queue.ends.iter().enumerate().max_by_key(|(_, end)| end.length)?;
            Some(queue.ends.swap_remove(largest))
        });
        Ok(part.map(Task::Part))
    }

    /// If a full frame begins an entry that is longer than itself, creates that file and queues all frames that
    /// hold pieces of it.
    fn begin_large_file(&self, queue: &mut Queue, first: Frame) -> Result<bool> {
        let work = &self.layers[queue.layer];
        let beginning = self.beginning(queue.layer, first)?;
        let mut rest = beginning.as_slice();
        let entry = Entry::read(&mut rest).map_err(|error| self.unreadable(error))?;
        let Some(Entry { path, kind: Kind::File { size, executable } }) = entry else { return Ok(false) };
        let header = beginning.len() - rest.len();
        if size <= u64::from(first.decompressed) - header as u64 {
            return Ok(false);
        }
        let file = Arc::new(work.target.create_file(&path, executable)?);
        let (mut frame, mut skip, mut offset) = (first, header, 0);
        loop {
            let room = u64::from(frame.decompressed) - skip as u64;
            let length = (size - offset).min(room);
            let padding = if offset + length == size { tar::padding(size) as u64 } else { 0 };
            if length + padding != room {
                return Err(self.damaged("a large file in a layer is cut in the wrong places"));
            }
            let (layer, file) = (queue.layer, Arc::clone(&file));
            let part = Part { layer, frame, file, skip, offset, length: length as usize };
            offset += length;
            if offset == size {
                queue.ends.push(part);
                return Ok(true);
            }
            queue.parts.push_back(part);
            let next = work.frames.get(queue.frame).copied();
            frame = next.ok_or_else(|| self.damaged("a layer ends inside a file"))?;
            queue.frame += 1;
            skip = 0;
        }
    }

    /// The first bytes of a frame, decoded: enough for the header of any entry.
    fn beginning(&self, layer: usize, frame: Frame) -> Result<Vec<u8>> {
        let Target { layer, tally, .. } = &self.layers[layer].target;
        let _timing = tally.time(Doing::Decode);
        let mut compressed = vec![0; ZSTD_BLOCK.min(frame.compressed as usize)];
        self.bundle.read_layer(layer, frame.offset, &mut compressed)?;
        let mut beginning = vec![0; tar::MAX_HEADER];
        let mut input = InBuffer::around(&compressed);
        let mut output = OutBuffer::around(&mut beginning);
        let mut decode = || -> io::Result<()> {
            // One call may do no more than read the frame's own header.
            let mut decoder = Decoder::new()?;
            loop {
                let before = (input.pos(), output.pos());
                decoder.run(&mut input, &mut output)?;
                if output.pos() == tar::MAX_HEADER || before == (input.pos(), output.pos()) {
                    return Ok(());
                }
            }
        };
        decode().map_err(|_| self.undecodable(layer))?;
        let length = output.pos();
        beginning.truncate(length);
        Ok(beginning)
    }

    fn write_part(&self, part: &Part, decoded: &[u8]) -> Result<()> {
        let Target { path, tally, .. } = &self.layers[part.layer].target;
        let _timing = tally.time(Doing::Write);
        let piece = &decoded[part.skip..part.skip + part.length];
        part.file.write_all_at(piece, part.offset).map_err(Error::at("write below", path))
    }

    /// Writes every entry of a frame that holds whole entries.
    fn write_entries(&self, layer: usize, decoded: &[u8]) -> Result<()> {
        let target = &self.layers[layer].target;
        let mut rest = decoded;
        while let Some(Entry { path, kind }) =
            Entry::read(&mut rest).map_err(|error| self.unreadable(error))?
        {
            match kind {
                Kind::Directory => target.create_directory(&path)?,
                Kind::Symlink(link) => {
                    target.add_link(path, link);
                }
                Kind::File { size, executable } => {
                    let end = usize::try_from(size)
                        .ok()
                        .and_then(|size| size.checked_add(tar::padding(size as u64)));
                    let content = end.and_then(|end| rest.split_at_checked(end));
                    let (content, after) =
                        content.ok_or_else(|| self.damaged("a file in a layer goes past its frame"))?;
                    let mut file = target.create_file(&path, executable)?;
                    let _timing = target.tally.time(Doing::Write);
                    file.write_all(&content[..size as usize])
                        .map_err(|error| Error::at("write", target.path.join(&path))(error))?;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    fn decode<'b>(&self, layer: usize, frame: Frame, buffers: &'b mut Buffers) -> Result<&'b [u8]> {
        let Target { layer, tally, .. } = &self.layers[layer].target;
        let _timing = tally.time(Doing::Decode);
        let compressed = buffers.compressed.first(frame.compressed as usize);
        self.bundle.read_layer(layer, frame.offset, compressed)?;
        let decoded = buffers.decoded.first(frame.decompressed as usize);
        match buffers.decompressor.decompress_to_buffer(compressed, decoded) {
            Ok(length) if length == decoded.len() => Ok(decoded),
            _ => Err(self.undecodable(layer)),
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

    fn undecodable(&self, layer: &Layer) -> Error {
        self.damaged(&format!("the layer {} cannot be decoded", layer.name))
    }

    fn damaged(&self, what: &str) -> Error {
        self.bundle.damaged(Damage::new(what))
    }
}
