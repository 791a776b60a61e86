//! Writing a bundle: the launcher's ELF file with the layers and the manifest as sections.
//!
//! The launcher's bytes come first, then the layers, then the manifest, then the tables that name them. The manifest is
//! known last, and so the layers need not wait for it: what is known of them is copied while the rest is being made.
//! Of them no more than a megabyte is ever held in memory of our own.

mod encoded;
mod growing;
mod launcher;

pub use self::encoded::Encoded;
pub use self::launcher::Launcher;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::panic;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{Layer, Manifest};
use coil_bootstrap::format::sections::{ALIGNMENT, LAYERS, MANIFEST};
use coil_bootstrap::format::stamp;
use object::pod;

use self::growing::Growing;
use crate::error::{Failure, Result, Writing};
use crate::layer::BlobPlace;
use crate::unfinished::Unfinished;

/// Where the next blob of `size` bytes begins after `end`, in the section `.coil.layers`.
pub fn align(end: u64) -> u64 {
    end.next_multiple_of(ALIGNMENT)
}

/// Says why no bundle can be written to `out`, before any work is done for it.
pub fn check_output(out: &Path) -> Result<()> {
    if out.is_dir() {
        let message = format!("cannot write the bundle to {}: it is a directory", out.display());
        return Err(Failure::new(message).hint("name a file in it with -o"));
    }
    let directory = directory_of(out);
    let message = || format!("cannot write the bundle to {}", out.display());
    if holds_something_else(out) {
        let failure = Failure::new(format!("{}: what is there is no program", message()));
        return Err(failure.hint("remove it, or name another file with -o"));
    }
    if !directory.is_dir() {
        let failure = Failure::new(format!("{}: there is no directory {}", message(), directory.display()));
        return Err(failure.hint("create it, or name another file with -o"));
    }
    Unfinished::new(directory).map(drop).map_err(|error| {
        Failure::new(message()).because(error).hint("name a file in a directory you can write to with -o")
    })
}

/// Writes the bundle to `out`, complete or not at all. `blobs` are those of the manifest's layers.
pub fn write(out: &Path, launcher: Launcher, manifest: &Manifest, blobs: &[BlobPlace]) -> Result<()> {
    Begun::new(out, launcher).finish(out, &Encoded::of(manifest.clone()), blobs)
}

/// A bundle that is being written while its last layers and its manifest are being made.
///
/// It has no name before [`Begun::finish`], and is gone if that never comes.
pub struct Begun {
    launcher: Launcher,
    wishes: Sender<Vec<Piece>>,
    writer: JoinHandle<io::Result<Layers>>,
}

impl Begun {
    /// Begins a bundle in the directory of `out`, whose name may turn out to be another one. What goes wrong is told when
    /// it is finished.
    pub fn new(out: &Path, launcher: Launcher) -> Self {
        let directory = directory_of(out).to_owned();
        let bytes = launcher.bytes.clone();
        let (wishes, wanted) = channel();
        let writer = thread::spawn(move || {
            // Nothing waits for it before the end: who compiles goes first. A thread has a niceness of its own.
            let _ = rustix::process::nice(5);
            Layers::copy(Unfinished::new(&directory)?, bytes, &wanted)
        });
        Begun { launcher, wishes, writer }
    }

    /// Copies these blobs already, `place` and size in bytes of the first layers in the manifest's order, instead of
    /// those that were named before. Of these the common beginning stays.
    pub fn copy(&self, blobs: impl IntoIterator<Item = (BlobPlace, u64)>) {
        let mut end = 0;
        let pieces = blobs.into_iter().map(|(place, size)| {
            let piece = Piece { place, offset: align(end), size };
            end = piece.offset + size;
            piece
        });
        // A writer that is gone has failed, and says why when it is asked.
        let _ = self.wishes.send(pieces.collect());
    }

    /// Completes the bundle and gives it its name. `blobs` are those of the manifest's layers.
    pub fn finish(self, out: &Path, manifest: &Encoded, blobs: &[BlobPlace]) -> Result<()> {
        let cannot = || format!("cannot write the bundle to {}", out.display());
        let write = || -> io::Result<()> {
            drop(self.wishes);
            let mut layers = self.writer.join().unwrap_or_else(|panic| panic::resume_unwind(panic))?;
            let wanted = manifest.layers.iter().zip(blobs);
            let wanted = wanted.map(|(layer, place)| Piece::new(layer, place)).collect();
            layers.become_these(wanted, || None::<()>)?;
            complete(&mut layers, self.launcher, manifest)?;
            layers.file.publish(out)
        };
        write().writing(directory_of(out), "name a file on another disk with -o", cannot)
    }
}

/// A blob, and where in the section of the layers it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    place: BlobPlace,
    offset: u64,
    size: u64,
}

impl Piece {
    fn new(layer: &Layer, place: &BlobPlace) -> Self {
        Piece { place: place.clone(), offset: layer.offset, size: layer.size }
    }
}

/// The file with the layers that are in it by now.
struct Layers {
    file: Unfinished,
    /// Its end.
    growing: Growing,
    /// Where in the file their section begins.
    start: u64,
    there: Vec<Piece>,
    /// How many bytes of the file are set aside.
    set_aside: u64,
}

impl Layers {
    /// Copies the launcher, and then what is wanted until nobody can want anything else.
    fn copy(
        mut file: Unfinished,
        launcher: Cow<'static, [u8]>,
        wanted: &Receiver<Vec<Piece>>,
    ) -> io::Result<Layers> {
        let start = align(launcher.len() as u64);
        let growing = Growing::new(file.file());
        let mut layers = Layers { file, growing, start, there: Vec::new(), set_aside: 0 };
        let mut next = wanted.recv().ok();
        layers.growing.add(layers.file.file(), &launcher)?;
        while let Some(pieces) = next {
            next = layers.become_these(pieces, || wanted.try_recv().ok())?;
            next = next.or_else(|| wanted.recv().ok());
        }
        Ok(layers)
    }

    /// Copies those that are missing, or until something else is wanted. Nothing but these stays: what lies between
    /// layers is zero in every bundle.
    fn become_these<T>(
        &mut self,
        wanted: Vec<Piece>,
        other: impl Fn() -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.set_aside(self.start + wanted.last().map_or(0, |last| last.offset + last.size));
        let good = wanted.iter().zip(&self.there).take_while(|(one, other)| one == other).count();
        if good < self.there.len() {
            self.there.truncate(good);
            let end = self.there.last().map_or(0, |last| last.offset + last.size);
            self.growing.set_length(self.file.file(), self.start + end)?;
        }
        for piece in wanted.into_iter().skip(good) {
            let instead = other();
            if instead.is_some() {
                return Ok(instead);
            }
            self.add(piece)?;
        }
        Ok(None)
    }

    /// Has `end` bytes set aside, if they are not.
    fn set_aside(&mut self, end: u64) {
        if end > self.set_aside {
            self.file.set_aside(end);
            self.set_aside = end;
        }
    }

    fn add(&mut self, piece: Piece) -> io::Result<()> {
        let file = self.file.file();
        self.growing.set_length(file, self.start + piece.offset)?;
        let mut blob = File::open(&piece.place.file)?;
        let copied = self.growing.copy(file, &mut blob, piece.place.offset, piece.size);
        copied.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                io::Error::other(format!("{} has changed its length", piece.place.file.display()))
            }
            _ => error,
        })?;
        self.there.push(piece);
        Ok(())
    }
}

/// Writes what is around the layers.
fn complete(layers: &mut Layers, mut elf: Launcher, manifest: &Encoded) -> io::Result<()> {
    let json = manifest.bytes();
    let layers_end = layers.start + manifest.layers.last().map_or(0, |last| last.offset + last.size);
    elf.add(LAYERS, layers.start, layers_end - layers.start, ALIGNMENT);
    let manifest_at = layers_end.next_multiple_of(8);
    elf.add(MANIFEST, manifest_at, json.len() as u64, 1);
    let names_at = manifest_at + json.len() as u64;
    let table_at = (names_at + elf.names.len() as u64).next_multiple_of(8);

    let table = elf.table(names_at);

    // All of it: ext4 writes to the disk at once, before it takes another's name, a file of which one byte has no place yet.
    layers.set_aside(table_at + table.len() as u64);
    let file = layers.file.file();
    let stamp = stamp::of(&Digest::of(json));
    for (at, bytes) in [(manifest_at, json), (names_at, &elf.names[..]), (table_at, &table[..])] {
        layers.growing.set_length(file, at)?;
        layers.growing.add(file, bytes)?;
    }
    layers.growing.flush(file)?;
    if layers.growing.length() < layers.set_aside {
        file.set_len(layers.growing.length())?;
    }
    file.write_all_at(pod::bytes_of(&elf.header(table_at)), 0)?;
    file.write_all_at(&stamp, elf.stamp as u64)
}

/// Whether something is there that no earlier pack can have written: a source, a wheel, a device.
fn holds_something_else(out: &Path) -> bool {
    let Ok(there) = std::fs::metadata(out) else { return false };
    let mut start = [0; 4];
    let mut read = || File::open(out)?.read(&mut start);
    !there.is_file() || read().is_ok_and(|count| !b"\x7fELF".starts_with(&start[..count]))
}

fn directory_of(out: &Path) -> &Path {
    out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_copied_ahead_that_are_not_wanted_leave_no_byte() {
        let directory = tempfile::tempdir().unwrap();
        let blob = |name: &str, byte: u8, size: usize| {
            let file = directory.path().join(name);
            std::fs::write(&file, vec![byte; size]).unwrap();
            (BlobPlace { file, offset: 0 }, size as u64)
        };
        let (runtime, wheel, libraries) = (blob("r", 1, 5000), blob("w", 2, 9000), blob("l", 3, 10));
        let pieces = |blobs: &[&(BlobPlace, u64)]| {
            let mut end = 0;
            let piece = |(place, size): &&(BlobPlace, u64)| {
                let piece = Piece { place: place.clone(), offset: align(end), size: *size };
                end = piece.offset + size;
                piece
            };
            blobs.iter().map(piece).collect::<Vec<_>>()
        };
        let made = |ahead: &[&[&(BlobPlace, u64)]]| {
            let (sender, wanted) = channel();
            ahead.iter().for_each(|wish| sender.send(pieces(wish)).unwrap());
            drop(sender);
            let file = Unfinished::new(directory.path()).unwrap();
            let mut layers = Layers::copy(file, vec![0; 4096].into(), &wanted).unwrap();
            layers.become_these(pieces(&[&runtime, &libraries, &wheel]), || None::<()>).unwrap();
            layers.growing.flush(layers.file.file()).unwrap();
            layers.file.publish(&directory.path().join("out")).unwrap();
            std::fs::read(directory.path().join("out")).unwrap()
        };
        let plain = made(&[]);
        assert_eq!(plain.len(), 4096 + 8192 + 4096 + 9000);
        assert!(made(&[&[&runtime, &libraries]]) == plain);
        assert!(made(&[&[&runtime, &wheel]]) == plain, "a layer came between the two");
        assert!(made(&[&[&wheel, &runtime, &wheel]]) == plain);
        assert!(made(&[&[&wheel, &runtime], &[&runtime]]) == plain, "another was wanted in the meantime");
    }
}
