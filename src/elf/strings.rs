//! Who refers to the dynamic strings. Linkers let names share bytes: `opt` may be the end of `/usr/opt`.

use object::LittleEndian as LE;
use object::elf::{self, DynamicTag, GnuHashHeader, HashHeader, Sym64};
use object::read::elf::FileHeader;
use object::{U32, pod};

use super::ElfError;
use super::image::{Dynamic, Image};
use super::versions;

/// Every tag whose value is the place of a string.
const STRING_TAGS: [DynamicTag; 9] = [
    elf::DT_NEEDED,
    elf::DT_SONAME,
    elf::DT_RPATH,
    elf::DT_RUNPATH,
    elf::DT_CONFIG,
    elf::DT_DEPAUDIT,
    elf::DT_AUDIT,
    elf::DT_AUXILIARY,
    elf::DT_FILTER,
];

const DAMAGED: ElfError = ElfError::Damaged("its table of symbols is outside the file");

/// Where in the dynamic strings anything but the entries tagged `except` points to, sorted.
pub fn references(image: &Image, dynamic: &Dynamic, except: &[DynamicTag]) -> Result<Vec<u64>, ElfError> {
    let mut found = Vec::new();
    for entry in dynamic.entries() {
        let tag = entry.d_tag.get(LE);
        if STRING_TAGS.contains(&tag) && !except.contains(&tag) {
            found.push(entry.d_val.get(LE));
        }
    }
    found.extend(versions::defined(image, dynamic)?.into_iter().map(u64::from));
    for need in versions::needed(image, dynamic)? {
        found.extend([u64::from(need.library), u64::from(need.version)]);
    }
    found.extend(symbols(image, dynamic)?.iter().map(|symbol| u64::from(symbol.st_name.get(LE))));
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The dynamic symbols. Nothing says how many there are: it follows from the hash tables that cover
/// them, or from the section table. The largest answer is right, the others leave some out.
fn symbols<'a>(image: &Image<'a>, dynamic: &Dynamic) -> Result<&'a [Sym64<LE>], ElfError> {
    let Some(address) = dynamic.value(elf::DT_SYMTAB) else { return Ok(&[]) };
    let table = image.bytes.get(image.at(address).ok_or(DAMAGED)?).ok_or(DAMAGED)?;
    let counts = [by_hash(image, dynamic)?, by_gnu_hash(image, dynamic)?, by_section(image, address)];
    let count = counts.into_iter().max().unwrap_or(0);
    pod::slice_from_bytes(table, count).map(|(symbols, _)| symbols).map_err(|()| DAMAGED)
}

fn by_hash(image: &Image, dynamic: &Dynamic) -> Result<usize, ElfError> {
    let Some(address) = dynamic.value(elf::DT_HASH) else { return Ok(0) };
    let at = image.at(address).ok_or(DAMAGED)?.start;
    let header: &HashHeader<LE> = image.record(at).ok_or(DAMAGED)?;
    Ok(header.chain_count.get(LE) as usize)
}

/// The chain that the highest bucket begins ends with the last symbol.
fn by_gnu_hash(image: &Image, dynamic: &Dynamic) -> Result<usize, ElfError> {
    let Some(address) = dynamic.value(elf::DT_GNU_HASH) else { return Ok(0) };
    let bytes = image.bytes.get(image.at(address).ok_or(DAMAGED)?).ok_or(DAMAGED)?;
    let (header, rest) = pod::from_bytes::<GnuHashHeader<LE>>(bytes).map_err(|()| DAMAGED)?;
    let bloom = header.bloom_count.get(LE) as usize * size_of::<u64>();
    let rest = rest.get(bloom..).ok_or(DAMAGED)?;
    let (buckets, chains) =
        pod::slice_from_bytes::<U32<LE>>(rest, header.bucket_count.get(LE) as usize).map_err(|()| DAMAGED)?;
    let base = header.symbol_base.get(LE) as usize;
    let highest = buckets.iter().map(|bucket| bucket.get(LE) as usize).max().unwrap_or(0);
    if highest < base {
        return Ok(base);
    }
    let (chains, _) =
        pod::slice_from_bytes::<U32<LE>>(chains, chains.len() / size_of::<u32>()).map_err(|()| DAMAGED)?;
    let chain = chains.get(highest - base..).ok_or(DAMAGED)?;
    let last = chain.iter().position(|hash| hash.get(LE) & 1 == 1).ok_or(DAMAGED)?;
    Ok(highest + last + 1)
}

fn by_section(image: &Image, address: u64) -> usize {
    let sections = image.header.section_headers(LE, image.bytes).unwrap_or_default();
    let table = sections
        .iter()
        .find(|section| section.sh_type.get(LE) == elf::SHT_DYNSYM && section.sh_addr.get(LE) == address);
    table.map_or(0, |section| (section.sh_size.get(LE) / size_of::<Sym64<LE>>() as u64) as usize)
}
