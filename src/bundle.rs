//! Writing a bundle: the launcher's ELF file with the manifest and the layers as sections.
//!
//! Nothing of the launcher moves. Its bytes come first, then the two sections, then a new section name
//! table and a new section header table, which the ELF header is made to point to. Layers are copied
//! from file to file by the kernel and never held in memory.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::format::sections::{ALIGNMENT, LAYERS, MANIFEST};
use coil_bootstrap::format::stamp;
use object::elf::{FileHeader64, SHT_NOBITS, SHT_PROGBITS, SectionFlags, SectionHeader64};
use object::read::elf::{FileHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};
use object::{LittleEndian, U16, U32, U64, pod};

use crate::error::{Context, Failure, Result};
use crate::launcher::LAUNCHER;
use crate::layer::BlobPlace;

type Header = FileHeader64<LittleEndian>;
type Section = SectionHeader64<LittleEndian>;

const E: LittleEndian = LittleEndian;

/// No launcher is longer, in bytes: a bound for what a damaged file can make us read.
const MAX_LAUNCHER: u64 = 64 << 20;

/// What the names of unfinished bundles begin with.
const PREFIX: &str = ".coil-";

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
    tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory).map(drop).map_err(|error| {
        Failure::new(message()).because(error).hint("name a file in a directory you can write to with -o")
    })
}

/// Writes the bundle to `out`, complete or not at all. `blobs` are those of the manifest's layers.
pub fn write(out: &Path, launcher: &Launcher, manifest: &Manifest, blobs: &[BlobPlace]) -> Result<()> {
    let cannot = || format!("cannot write the bundle to {}", out.display());
    let mut builder = tempfile::Builder::new();
    // Less the user's umask.
    let builder = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o777));
    let mut file = builder.tempfile_in(directory_of(out)).context(cannot)?;
    write_to(file.as_file_mut(), launcher, manifest, blobs).context(cannot)?;
    file.persist(out).map(drop).map_err(|error| error.error).context(cannot)
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

fn write_to(
    file: &mut File,
    launcher: &Launcher,
    manifest: &Manifest,
    blobs: &[BlobPlace],
) -> io::Result<()> {
    let json = manifest.encode();
    let mut elf = launcher.clone();
    elf.bytes[elf.stamp..elf.stamp + stamp::SIZE].copy_from_slice(&stamp::of(&Digest::of(&json)));
    file.write_all(&elf.bytes)?;

    let manifest_at = pad(file, 8)?;
    file.write_all(&json)?;
    elf.add(MANIFEST, manifest_at, json.len() as u64, 1);

    let layers_at = pad(file, ALIGNMENT)?;
    for (layer, place) in manifest.layers.iter().zip(blobs) {
        file.seek(SeekFrom::Start(layers_at + layer.offset))?;
        let mut blob = File::open(&place.file)?;
        blob.seek(SeekFrom::Start(place.offset))?;
        // Copied by the kernel, by reference where the file system can.
        let copied = io::copy(&mut blob.take(layer.size), file)?;
        if copied != layer.size {
            return Err(io::Error::other(format!("{} has changed its length", place.file.display())));
        }
    }
    let layers_end = file.stream_position()?;
    elf.add(LAYERS, layers_at, layers_end - layers_at, ALIGNMENT);

    let names_at = file.stream_position()?;
    file.write_all(&elf.names)?;
    let table_at = pad(file, 8)?;
    file.write_all(&elf.table(names_at))?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(pod::bytes_of(&elf.header(table_at)))
}

/// Goes on to the next multiple of `alignment` and returns it.
fn pad(file: &mut File, alignment: u64) -> io::Result<u64> {
    let end = file.stream_position()?;
    file.seek(SeekFrom::Start(end.next_multiple_of(alignment)))
}

/// What stands in front of a bundle, and the parts of it that change.
#[derive(Clone)]
pub struct Launcher {
    /// The file up to the payload.
    bytes: Vec<u8>,
    header: Header,
    sections: Vec<Section>,
    names: Vec<u8>,
    /// Which section `names` is.
    names_index: usize,
    /// The file offset of the stamp.
    stamp: usize,
}

impl Launcher {
    /// The launcher that this coil carries.
    pub fn ours() -> Result<Self> {
        let unreadable = || Failure::new("the launcher inside coil is not the ELF file it should be");
        let mut launcher = Launcher::read(LAUNCHER).ok_or_else(unreadable)?;
        launcher.bytes = LAUNCHER.to_vec();
        launcher.check().ok_or_else(unreadable)
    }

    /// The launcher of a bundle: with it and the same layers, the same file can be written again.
    ///
    /// Fails where the file cannot be read, and where another tool has moved its sections about.
    pub fn of(bundle: &Path) -> Result<Self> {
        let mut file = File::open(bundle).context(|| format!("cannot open {}", bundle.display()))?;
        let changed = || {
            Failure::new(format!("{} was changed by another tool after it was packed", bundle.display()))
                .hint("pack it again")
        };
        let mut launcher = Launcher::read(&ReadCache::new(&file)).ok_or_else(changed)?;
        let start = launcher.take_payload().ok_or_else(changed)?;
        let read = file.rewind().and_then(|()| file.take(start).read_to_end(&mut launcher.bytes));
        let read = read.context(|| format!("cannot read {}", bundle.display()))?;
        if read as u64 != start {
            return Err(changed());
        }
        launcher.check().ok_or_else(changed)
    }

    /// Everything but the bytes; `None` for what is no ELF file with a stamp.
    fn read<'data, R: ReadRef<'data>>(data: R) -> Option<Self> {
        let header = Header::parse(data).ok()?;
        let sections = header.sections(E, data).ok()?;
        let index = header.section_strings_index(E, data).ok()?;
        let names = sections.section(index).and_then(|section| section.data(E, data)).ok()?;
        let (_, stamp) = sections.section_by_name(E, stamp::SECTION.as_bytes())?;
        let (stamp, size) = stamp.file_range(E)?;
        (size == stamp::SIZE as u64).then_some(Launcher {
            bytes: Vec::new(),
            header: *header,
            sections: sections.iter().copied().collect(),
            names: names.to_vec(),
            names_index: index.0,
            stamp: usize::try_from(stamp).ok()?,
        })
    }

    /// Takes the sections out that [`write`] added, and says where they began; `None` where they are not as
    /// it left them.
    fn take_payload(&mut self) -> Option<u64> {
        let layers = self.sections.pop()?;
        let manifest = self.sections.pop()?;
        let at = |section: &Section| section.sh_name.get(E) as usize;
        let named = |section: &Section, name: &str| {
            self.names.get(at(section)..)?.strip_prefix(name.as_bytes())?.first().filter(|byte| **byte == 0)
        };
        named(&manifest, MANIFEST).and(named(&layers, LAYERS))?;
        self.names.truncate(at(&manifest));
        let start = manifest.sh_offset.get(E);
        let below = |(index, section): (usize, &Section)| {
            let end = section.sh_offset.get(E).checked_add(section.sh_size.get(E));
            index == self.names_index
                || section.sh_type.get(E) == SHT_NOBITS
                || end.is_some_and(|end| end <= start)
        };
        (start <= MAX_LAUNCHER && self.sections.iter().enumerate().all(below)).then_some(start)
    }

    /// Whether the stamp is inside the bytes.
    fn check(self) -> Option<Self> {
        let end = self.stamp.checked_add(stamp::SIZE)?;
        (end <= self.bytes.len() && self.bytes.len() >= size_of::<Header>()).then_some(self)
    }

    fn add(&mut self, name: &str, offset: u64, size: u64, alignment: u64) {
        let name_at = self.names.len() as u32;
        self.names.extend(name.bytes());
        self.names.push(0);
        self.sections.push(Section {
            sh_name: U32::new(E, name_at),
            sh_type: U32::new(E, SHT_PROGBITS),
            sh_flags: U64::new(E, SectionFlags(0)),
            sh_addr: U64::new(E, 0),
            sh_offset: U64::new(E, offset),
            sh_size: U64::new(E, size),
            sh_link: U32::new(E, 0),
            sh_info: U32::new(E, 0),
            sh_addralign: U64::new(E, alignment),
            sh_entsize: U64::new(E, 0),
        });
    }

    /// The section header table, with the name table at `names_at`.
    fn table(&self, names_at: u64) -> Vec<u8> {
        let mut sections = self.sections.clone();
        if let Some(names) = sections.get_mut(self.names_index) {
            names.sh_offset = U64::new(E, names_at);
            names.sh_size = U64::new(E, self.names.len() as u64);
        }
        pod::bytes_of_slice(&sections).to_vec()
    }

    /// The ELF header, with the section header table at `table_at`.
    fn header(&self, table_at: u64) -> Header {
        let mut header = self.header;
        header.e_shoff = U64::new(E, table_at);
        header.e_shnum = U16::new(E, self.sections.len() as u16);
        header
    }
}
