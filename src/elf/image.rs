//! An ELF file as the loader sees it: header, segments and the dynamic section. Sections play no part.

use std::ops::Range;

use object::LittleEndian as LE;
use object::elf::{self, Dyn64, DynamicTag, FileHeader64, ProgramHeader64, ProgramType, SectionHeader64};
use object::read::elf::FileHeader;
use object::{I64, U64, pod};

use super::ElfError;

pub type Header = FileHeader64<LE>;
pub type Segment = ProgramHeader64<LE>;
pub type Section = SectionHeader64<LE>;
pub type Entry = Dyn64<LE>;

/// A 64-bit little-endian ELF file.
pub struct Image<'a> {
    pub bytes: &'a [u8],
    pub header: &'a Header,
    pub segments: &'a [Segment],
}

/// The dynamic section: what the loader is told.
pub struct Dynamic<'a> {
    /// Where its entries begin in the file.
    pub offset: usize,
    /// All entries there is room for.
    pub entries: &'a [Entry],
    /// How many come before the first `DT_NULL`.
    pub used: usize,
    /// Where the string table is in the file.
    pub strings: Range<usize>,
}

impl<'a> Image<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        if !bytes.starts_with(&elf::ELFMAG) {
            return Err(ElfError::NotElf);
        }
        match bytes.get(4..6) {
            Some([2, 1]) => {}
            Some([1, _]) => return Err(ElfError::Foreign("a 32-bit ELF file")),
            Some([2, 2]) => return Err(ElfError::Foreign("a big-endian ELF file")),
            _ => return Err(ElfError::Damaged("its header is of no known class")),
        }
        let header =
            Header::parse(bytes).map_err(|_| ElfError::Damaged("its header is cut or impossible"))?;
        let segments = header
            .program_headers(LE, bytes)
            .map_err(|_| ElfError::Damaged("its program headers are outside the file"))?;
        Ok(Image { bytes, header, segments })
    }

    /// The first segment of this type.
    pub fn segment(&self, kind: ProgramType) -> Option<&'a Segment> {
        self.segments.iter().find(|segment| segment.p_type.get(LE) == kind)
    }

    /// Whether it is something the loader maps: an executable or a shared library.
    pub fn is_loaded(&self) -> bool {
        matches!(self.header.e_type.get(LE), elf::ET_EXEC | elf::ET_DYN)
            && self.segment(elf::PT_LOAD).is_some()
    }

    /// The bytes a segment takes in the file.
    pub fn range(&self, segment: &Segment) -> Result<Range<usize>, ElfError> {
        let (start, size) = (segment.p_offset.get(LE), segment.p_filesz.get(LE));
        start
            .checked_add(size)
            .filter(|end| *end <= self.bytes.len() as u64)
            .map(|end| start as usize..end as usize)
            .ok_or(ElfError::Damaged("a segment is outside the file"))
    }

    /// Where the byte at this address is in the file, with all that follows it both there and in memory:
    /// a table may run on from one segment into the next.
    pub fn at(&self, address: u64) -> Option<Range<usize>> {
        let loads = || self.segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_LOAD);
        let (mut found, mut end) = loads().find_map(|segment| {
            let inner = address.checked_sub(segment.p_vaddr.get(LE))?;
            let range = self.range(segment).ok()?;
            let end = segment.p_vaddr.get(LE).checked_add(range.len() as u64)?;
            (inner < range.len() as u64).then(|| (range.start + inner as usize..range.end, end))
        })?;
        let follows = |segment: &&Segment, found: &Range<usize>, end: u64| {
            let adjacent = segment.p_vaddr.get(LE) == end && segment.p_offset.get(LE) == found.end as u64;
            adjacent && segment.p_filesz.get(LE) > 0
        };
        while let Some(next) = loads().find(|segment| follows(segment, &found, end)) {
            let range = self.range(next).ok()?;
            end = end.checked_add(range.len() as u64)?;
            found.end = range.end;
        }
        Some(found)
    }

    /// The end of the last byte of the file that is loaded, or that loading needs.
    pub fn end_of_loaded(&self) -> Result<usize, ElfError> {
        let table = match self.segments {
            [] => size_of::<Header>(),
            segments => self.header.e_phoff.get(LE) as usize + size_of_val(segments),
        };
        self.segments.iter().try_fold(table, |end, segment| Ok(end.max(self.range(segment)?.end)))
    }

    /// The dynamic section; `None` for what is linked statically or not at all.
    pub fn dynamic(&self) -> Result<Option<Dynamic<'a>>, ElfError> {
        let Some(segment) = self.segment(elf::PT_DYNAMIC) else { return Ok(None) };
        let range = self.range(segment)?;
        if range.is_empty() || !self.is_loaded() {
            return Ok(None);
        }
        if self.at(segment.p_vaddr.get(LE)).is_none_or(|there| there.start != range.start) {
            return Err(ElfError::Damaged("its dynamic section is not where it is loaded from"));
        }
        let bytes = &self.bytes[range.clone()];
        let (entries, _) = pod::slice_from_bytes::<Entry>(bytes, bytes.len() / size_of::<Entry>())
            .map_err(|()| ElfError::Damaged("its dynamic section cannot be read"))?;
        let used = entries.iter().position(|entry| entry.d_tag.get(LE) == elf::DT_NULL);
        let used = used.ok_or(ElfError::Damaged("its dynamic section does not end"))?;
        let mut dynamic = Dynamic { offset: range.start, entries, used, strings: 0..0 };
        if let (Some(address), Some(size)) = (dynamic.value(elf::DT_STRTAB), dynamic.value(elf::DT_STRSZ)) {
            dynamic.strings = self
                .at(address)
                .filter(|there| size <= there.len() as u64)
                .map(|there| there.start..there.start + size as usize)
                .ok_or(ElfError::Damaged("its dynamic strings are outside the file"))?;
        }
        Ok(Some(dynamic))
    }

    /// The dynamic string that begins at `at`, without its NUL.
    pub fn string(&self, dynamic: &Dynamic, at: u64) -> Result<&'a [u8], ElfError> {
        let table = &self.bytes[dynamic.strings.clone()];
        let rest = usize::try_from(at).ok().and_then(|at| table.get(at..));
        rest.and_then(|rest| rest.split(|byte| *byte == 0).next().filter(|text| text.len() < rest.len()))
            .ok_or(ElfError::Damaged("a name is outside its string table"))
    }

    /// Reads a plain record at this offset in the file.
    pub fn record<T: pod::Pod>(&self, offset: usize) -> Option<&'a T> {
        pod::from_bytes(self.bytes.get(offset..)?).ok().map(|(record, _)| record)
    }
}

impl<'a> Dynamic<'a> {
    /// The entries before the first `DT_NULL`.
    pub fn entries(&self) -> &'a [Entry] {
        &self.entries[..self.used]
    }

    /// The value of the last entry with this tag: the one that glibc goes by.
    pub fn value(&self, tag: DynamicTag) -> Option<u64> {
        self.entries().iter().rfind(|entry| entry.d_tag.get(LE) == tag).map(|entry| entry.d_val.get(LE))
    }
}

/// A dynamic entry.
pub fn entry(tag: DynamicTag, value: u64) -> Entry {
    Entry { d_tag: I64::new(LE, tag), d_val: U64::new(LE, value) }
}

/// Writes a plain record over the bytes at `offset`, which the caller knows to be inside.
pub fn put<T: pod::Pod>(bytes: &mut [u8], offset: usize, record: &T) {
    let record = pod::bytes_of(record);
    bytes[offset..offset + record.len()].copy_from_slice(record);
}
