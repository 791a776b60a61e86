//! The versions of symbols that a file needs of its libraries, and the names of its own.
//!
//! Both tables are chains of records, each with the distance to the next one (Linux Standard Base,
//! "Symbol Versioning"). Distances only go forward, and the number of steps is bounded by the file's length.

use object::LittleEndian as LE;
use object::elf::{self, Verdaux, Verdef, Vernaux, Verneed};

use super::ElfError;
use super::image::{Dynamic, Image};

/// A needed version: where the names of the library and of the version begin in the dynamic strings.
pub struct Needed {
    pub library: u32,
    pub version: u32,
    /// Whether the loader goes on without it (`VER_FLG_WEAK`).
    pub weak: bool,
}

const DAMAGED: ElfError = ElfError::Damaged("its table of symbol versions is cut or runs in circles");

/// All versions in `DT_VERNEED`.
pub fn needed(image: &Image, dynamic: &Dynamic) -> Result<Vec<Needed>, ElfError> {
    let mut found = Vec::new();
    let Some(mut at) = start(image, dynamic, elf::DT_VERNEED)? else { return Ok(found) };
    let mut steps = Steps::new(image);
    loop {
        steps.take()?;
        let need: &Verneed<LE> = image.record(at).ok_or(DAMAGED)?;
        let mut inner = at + need.vn_aux.get(LE) as usize;
        for _ in 0..need.vn_cnt.get(LE) {
            steps.take()?;
            let aux: &Vernaux<LE> = image.record(inner).ok_or(DAMAGED)?;
            let weak = aux.vna_flags.get(LE).contains(elf::VER_FLG_WEAK);
            found.push(Needed { library: need.vn_file.get(LE), version: aux.vna_name.get(LE), weak });
            inner += aux.vna_next.get(LE) as usize;
        }
        match need.vn_next.get(LE) {
            0 => return Ok(found),
            next => at += next as usize,
        }
    }
}

/// Where the names of all versions in `DT_VERDEF` begin in the dynamic strings.
pub fn defined(image: &Image, dynamic: &Dynamic) -> Result<Vec<u32>, ElfError> {
    let mut found = Vec::new();
    let Some(mut at) = start(image, dynamic, elf::DT_VERDEF)? else { return Ok(found) };
    let mut steps = Steps::new(image);
    loop {
        steps.take()?;
        let definition: &Verdef<LE> = image.record(at).ok_or(DAMAGED)?;
        let mut inner = at + definition.vd_aux.get(LE) as usize;
        for _ in 0..definition.vd_cnt.get(LE) {
            steps.take()?;
            let aux: &Verdaux<LE> = image.record(inner).ok_or(DAMAGED)?;
            found.push(aux.vda_name.get(LE));
            inner += aux.vda_next.get(LE) as usize;
        }
        match definition.vd_next.get(LE) {
            0 => return Ok(found),
            next => at += next as usize,
        }
    }
}

fn start(image: &Image, dynamic: &Dynamic, tag: elf::DynamicTag) -> Result<Option<usize>, ElfError> {
    let Some(address) = dynamic.value(tag) else { return Ok(None) };
    Ok(Some(image.at(address).ok_or(DAMAGED)?.start))
}

/// No honest table has more records than fit into the file.
struct Steps(usize);

impl Steps {
    fn new(image: &Image) -> Self {
        Steps(image.bytes.len() / size_of::<Verdaux<LE>>())
    }

    fn take(&mut self) -> Result<(), ElfError> {
        self.0 = self.0.checked_sub(1).ok_or(DAMAGED)?;
        Ok(())
    }
}
