//! The tar entries of a layer: POSIX ustar, with pax records where ustar has no room.
//!
//! What is written is fixed to the byte: owner 0:0, mode 0755 or 0644, time [`MTIME`], no names of
//! owners. What is read is what is written and nothing else: a device, a hard link, a set-id bit or a
//! path that climbs out is damage, because coil never writes one.

use std::io::{self, Read};

use super::Damage;
use super::path::TreePath;

/// The length of a header and the unit that content is padded to, in bytes.
pub const BLOCK: usize = 512;

/// The end-of-archive mark: two blocks of zeros.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The time of every entry: 1980-02-01 00:00 UTC, in seconds since 1970. Zip archives cannot hold a time
/// before 1980 in any time zone, so an app that zips its own files keeps working; 0 would break it.
pub const MTIME: u64 = 318_211_200;

/// The longest pax header that is read, in bytes: room for a path and a link of 3000 bytes each.
const MAX_PAX: u64 = 8192;

/// The longest header of an entry, with a pax header in front, in bytes.
pub const MAX_HEADER: usize = 2 * BLOCK + MAX_PAX as usize;

/// The largest size that ustar's eleven octal digits can say, in bytes.
const MAX_USTAR_SIZE: u64 = 0o77_777_777_777;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory, mode 0755.
    Directory,
    /// A file whose content of `size` bytes follows, padded to whole blocks.
    File {
        /// Its length in bytes.
        size: u64,
        /// Mode 0755 instead of 0644.
        executable: bool,
    },
    /// A symbolic link that stays inside the layer.
    Symlink(String),
}

impl Entry {
    /// The header blocks of this entry.
    pub fn encode(&self) -> Vec<u8> {
        let directory = matches!(self.kind, Kind::Directory);
        let name = if directory { format!("{}/", self.path) } else { self.path.to_string() };
        let (type_flag, size, mode, link) = match &self.kind {
            Kind::Directory => (b'5', 0, 0o755, ""),
            Kind::File { size, executable: true } => (b'0', *size, 0o755, ""),
            Kind::File { size, executable: false } => (b'0', *size, 0o644, ""),
            Kind::Symlink(target) => (b'2', 0, 0o777, target.as_str()),
        };
        let mut pax = Vec::new();
        let short_name = split_name(&name);
        if short_name.is_none() {
            pax_record(&mut pax, "path", &name);
        }
        if link.len() > 100 || !link.is_ascii() {
            pax_record(&mut pax, "linkpath", link);
        }
        if size > MAX_USTAR_SIZE {
            pax_record(&mut pax, "size", &size.to_string());
        }
        let mut blocks = Vec::with_capacity(BLOCK);
        if !pax.is_empty() {
            blocks.extend(header(("", "pax"), b'x', pax.len() as u64, 0o644, ""));
            blocks.extend(&pax);
            blocks.resize(blocks.len() + padding(pax.len() as u64), 0);
        }
        let name = short_name.unwrap_or(("", "long"));
        let size = if size > MAX_USTAR_SIZE { 0 } else { size };
        let link = if link.len() > 100 || !link.is_ascii() { "long" } else { link };
        blocks.extend(header(name, type_flag, size, mode, link));
        blocks
    }

    /// Reads the next entry's header blocks, `None` at the end-of-archive mark or at the end of input.
    ///
    /// What follows in `reader` is the content. An [`io::ErrorKind::InvalidData`] error carries the [`Damage`].
    pub fn read(reader: &mut dyn Read) -> io::Result<Option<Entry>> {
        let Some(mut block) = read_block(reader)? else { return Ok(None) };
        let mut pax = Pax::default();
        if block[156] == b'x' {
            let size = checked(&block)?;
            if size > MAX_PAX {
                return Err(damage("a layer has an extended header that is too long"));
            }
            let mut records = vec![0; size as usize + padding(size)];
            reader.read_exact(&mut records)?;
            pax = Pax::parse(&records[..size as usize])?;
            block = read_block(reader)?.ok_or_else(|| damage("a layer ends inside an entry"))?;
        }
        let size = pax.size.unwrap_or(checked(&block)?);
        let path = match pax.path {
            Some(path) => path,
            None => name(&block)?,
        };
        let path = TreePath::new(path.trim_end_matches('/')).map_err(|error| damage(error.to_string()))?;
        let kind = match (block[156], octal(&block[100..108])?) {
            (b'5', 0o755) => Kind::Directory,
            (b'0', 0o755) => Kind::File { size, executable: true },
            (b'0', 0o644) => Kind::File { size, executable: false },
            (b'2', 0o777) => Kind::Symlink(match pax.link {
                Some(link) => link,
                None => text(&block[157..257])?,
            }),
            _ => return Err(damage(format!("a layer's entry {path} is of a kind that coil does not write"))),
        };
        match &kind {
            Kind::Symlink(target) if path.follow(target).is_none() => {
                Err(damage(format!("the link {path} in a layer leads out of it")))
            }
            Kind::Directory | Kind::Symlink(_) if size != 0 => {
                Err(damage(format!("a layer's entry {path} has content where it can have none")))
            }
            _ => Ok(Some(Entry { path, kind })),
        }
    }
}

/// How many zero bytes follow content of `size` bytes.
pub const fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

fn damage(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Damage::new(what))
}

/// The name as ustar's prefix and name, if it fits: at most 155 and 100 bytes, split at a `/`.
fn split_name(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= 100 {
        return Some(("", name));
    }
    let cut = name.len().saturating_sub(101);
    let slash = cut + name.get(cut..name.len() - 1)?.find('/')?;
    (slash <= 155).then(|| (&name[..slash], &name[slash + 1..]))
}

fn header((prefix, name): (&str, &str), type_flag: u8, size: u64, mode: u32, link: &str) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{MTIME:011o}").as_bytes());
    put(148, b"        ");
    put(156, &[type_flag]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts itself (POSIX.1-2001, pax).
fn pax_record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} {key}={value}\n").bytes());
}

/// One block; `None` at the end of input and for the first block of the end-of-archive mark.
fn read_block(reader: &mut dyn Read) -> io::Result<Option<[u8; BLOCK]>> {
    let mut block = [0; BLOCK];
    let mut filled = 0;
    while filled < BLOCK {
        match reader.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(damage("a layer ends inside an entry")),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((block != [0; BLOCK]).then_some(block))
}

/// Checks magic and checksum of a header and returns the size it states.
fn checked(block: &[u8; BLOCK]) -> io::Result<u64> {
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
    if &block[257..265] != b"ustar\x0000" || octal(&block[148..154])? != sum - own + 8 * u64::from(b' ') {
        return Err(damage("a layer has a header that is not tar"));
    }
    octal(&block[124..136])
}

fn octal(field: &[u8]) -> io::Result<u64> {
    let digits = field.strip_suffix(b"\0").unwrap_or(field);
    let digit = |value: u64, byte: &u8| match byte {
        b'0'..=b'7' => Some(value << 3 | u64::from(byte - b'0')),
        _ => None,
    };
    digits.iter().try_fold(0, digit).ok_or_else(|| damage("a layer has a malformed number in a header"))
}

fn text(field: &[u8]) -> io::Result<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = std::str::from_utf8(&field[..end]);
    text.map(str::to_owned).map_err(|_| damage("a layer has a name that is not UTF-8"))
}

fn name(block: &[u8; BLOCK]) -> io::Result<String> {
    let (prefix, name) = (text(&block[345..500])?, text(&block[..100])?);
    Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
}

#[derive(Default)]
struct Pax {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Pax {
    fn parse(mut records: &[u8]) -> io::Result<Pax> {
        let malformed = || damage("a layer has a malformed extended header");
        let mut pax = Pax::default();
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse().ok());
            let length: usize = length.filter(|length| *length > space + 1).ok_or_else(malformed)?;
            let record = records.get(space + 1..length).ok_or_else(malformed)?;
            let record = std::str::from_utf8(record).map_err(|_| malformed())?;
            let (key, value) =
                record.strip_suffix('\n').and_then(|record| record.split_once('=')).ok_or_else(malformed)?;
            match key {
                "path" => pax.path = Some(value.to_owned()),
                "linkpath" => pax.link = Some(value.to_owned()),
                "size" => pax.size = Some(value.parse().map_err(|_| malformed())?),
                _ => return Err(malformed()),
            }
            records = &records[length..];
        }
        Ok(pax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let path = |text: &str| TreePath::new(text).unwrap();
        let long = format!("venv/{}/{}", "d".repeat(255), "n".repeat(255));
        let deep = format!("venv/{}/{}", "d".repeat(120), "n".repeat(99));
        let file = |size, executable| Kind::File { size, executable };
        vec![
            Entry { path: path("python"), kind: Kind::Directory },
            Entry { path: path("python/bin/python3.12"), kind: file(7, true) },
            Entry { path: path("python/bin/python"), kind: Kind::Symlink("python3.12".into()) },
            Entry { path: path("app/grüße.txt"), kind: file(0, false) },
            Entry { path: path(&long), kind: file(9 << 30, false) },
            Entry { path: path(&deep), kind: Kind::Directory },
            Entry { path: path("app/l"), kind: Kind::Symlink(format!("{}/é", "t".repeat(200))) },
        ]
    }

    #[test]
    fn an_entry_reads_back_what_was_written() {
        for entry in entries() {
            let header = entry.encode();
            assert_eq!(header.len() % BLOCK, 0);
            assert_eq!(Entry::read(&mut header.as_slice()).unwrap(), Some(entry));
        }
        assert_eq!(Entry::read(&mut END.as_slice()).unwrap(), None);
    }

    #[test]
    fn no_flipped_bit_in_a_header_panics_and_every_cut_is_an_error() {
        for entry in entries() {
            let good = entry.encode();
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let _ = Entry::read(&mut bad.as_slice());
            }
            for length in 1..good.len() {
                assert!(Entry::read(&mut &good[..length]).is_err());
            }
        }
    }

    #[test]
    fn entries_that_would_leave_the_layer_or_carry_privileges_are_refused() {
        let entry = |name: &str, flag, mode, link: &str| {
            Entry::read(&mut header(("", name), flag, 0, mode, link).as_slice())
        };
        assert!(entry("python/../../x", b'0', 0o644, "").is_err());
        assert!(entry("/etc/passwd", b'0', 0o644, "").is_err());
        assert!(entry("python/x", b'0', 0o4755, "").is_err());
        assert!(entry("python/x", b'3', 0o644, "").is_err());
        assert!(entry("python/x", b'1', 0o644, "python/y").is_err());
        assert!(entry("python/x", b'2', 0o777, "/etc").is_err());
        assert!(entry("python/x", b'2', 0o777, "../../etc").is_err());
    }
}
