//! Making a file look for its libraries inside the bundle only. The file keeps its size.
//!
//! Two things go wrong with search paths as they come. A `DT_RUNPATH` hides the interpreter's search
//! path from the libraries it loads, so that they are found on the host or not at all; and absolute
//! entries name directories of the build machine. So every runpath becomes an rpath (another tag, the same
//! string), and only entries relative to `$ORIGIN` stay:
//!
//! ```text
//! DT_RUNPATH "$ORIGIN/libs:/opt/build/lib"   ->   DT_RPATH "$ORIGIN/libs"
//! DT_RUNPATH "/opt/build/lib"                ->   (the entry is gone, its string is zeros)
//! ```

use object::LittleEndian as LE;
use object::elf::{self, DynamicTag};
use object::pod;

use super::ElfError;
use super::image::{Dynamic, Entry, Image, entry};
use super::strings;

/// The tags of search paths.
pub(super) const TAGS: [DynamicTag; 2] = [elf::DT_RUNPATH, elf::DT_RPATH];

/// Makes `bytes` look for libraries beside itself and where the interpreter does; returns whether it
/// had to be changed.
///
/// What the loader would not load here (no ELF file, or one for another kind of machine) passes
/// unchanged. Where a file has both tags glibc heeds the runpath only, and so does this.
pub fn contain(bytes: &mut [u8]) -> Result<bool, ElfError> {
    edit(bytes, is_relative)
}

/// Makes `bytes` ask for its libraries by name where it asks by place (`$ORIGIN/../lib/libpython3.12.so.1.0`);
/// returns whether it had to be changed.
///
/// A name with a slash is not searched for, and `$ORIGIN` in the main executable's needs `/proc`. The name is
/// the end of the string that is there, so only the entry changes, not the string.
pub fn ask_by_name(bytes: &mut [u8]) -> Result<bool, ElfError> {
    let image = match Image::parse(bytes) {
        Ok(image) => image,
        Err(ElfError::NotElf | ElfError::Foreign(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(dynamic) = image.dynamic()? else { return Ok(false) };
    let mut entries = dynamic.entries().to_vec();
    for needed in entries.iter_mut().filter(|entry| entry.d_tag.get(LE) == elf::DT_NEEDED) {
        let at = needed.d_val.get(LE);
        if let Some(slash) = image.string(&dynamic, at)?.iter().rposition(|byte| *byte == b'/') {
            *needed = entry(elf::DT_NEEDED, at + slash as u64 + 1);
        }
    }
    let entries_at = dynamic.offset;
    Ok(overwrite(bytes, entries_at, pod::bytes_of_slice(&entries)))
}

/// Takes every search path out of `bytes`; returns whether there was one.
pub(super) fn remove(bytes: &mut [u8]) -> Result<bool, ElfError> {
    edit(bytes, |_| false)
}

/// Whether an entry moves with the file. An empty or a relative one is the working directory's.
pub(super) fn is_relative(entry: &[u8]) -> bool {
    let below =
        |origin: &[u8]| entry.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    below(b"$ORIGIN") || below(b"${ORIGIN}")
}

fn edit(bytes: &mut [u8], keep: impl Fn(&[u8]) -> bool) -> Result<bool, ElfError> {
    let image = match Image::parse(bytes) {
        Ok(image) => image,
        Err(ElfError::NotElf | ElfError::Foreign(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(dynamic) = image.dynamic()? else { return Ok(false) };
    let Some(counting) = dynamic.value(elf::DT_RUNPATH).or(dynamic.value(elf::DT_RPATH)) else {
        return Ok(false);
    };
    let all = image.string(&dynamic, counting)?.split(|byte| *byte == b':');
    let path = all.filter(|entry| keep(entry)).collect::<Vec<_>>().join(&b':');
    let mut strings = image.bytes[dynamic.strings.clone()].to_vec();
    let place = rewrite(&image, &dynamic, &mut strings, counting, &path)?;
    let entries = new_entries(&dynamic, place);
    let (strings_at, entries_at) = (dynamic.strings.start, dynamic.offset);
    let changed = overwrite(bytes, strings_at, &strings);
    Ok(overwrite(bytes, entries_at, pod::bytes_of_slice(&entries)) || changed)
}

fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) -> bool {
    let old = &mut bytes[at..at + new.len()];
    let changed = old != new;
    old.copy_from_slice(new);
    changed
}

/// Puts `path` where the search path `counting` was, blanks all of that and of the other search paths that
/// nobody else refers to, and returns where it now is; `None` for an empty one.
fn rewrite(
    image: &Image,
    dynamic: &Dynamic,
    strings: &mut [u8],
    counting: u64,
    path: &[u8],
) -> Result<Option<u64>, ElfError> {
    let others = strings::references(image, dynamic, &TAGS)?;
    let old = image.string(dynamic, counting)?;
    let mut place = None;
    if old == path {
        place = Some(counting);
    } else if !path.is_empty() {
        // The end of the old string can stay where it is, even if others share it.
        place = old.ends_with(path).then(|| counting + (old.len() - path.len()) as u64);
    }
    for search_path in dynamic.entries().iter().filter(|entry| TAGS.contains(&entry.d_tag.get(LE))) {
        let at = search_path.d_val.get(LE);
        let length = image.string(dynamic, at)?.len();
        let own = own_bytes(strings, at as usize, length, &others);
        let kept = place.map_or(usize::MAX..usize::MAX, |place| place as usize..place as usize + path.len());
        own.filter(|byte| !kept.contains(byte)).for_each(|byte| strings[byte] = 0);
    }
    if path.is_empty() || place.is_some() {
        return Ok(place.filter(|_| !path.is_empty()));
    }
    let before = &image.bytes[dynamic.strings.clone()];
    let own = own_bytes(before, counting as usize, old.len(), &others);
    if own.len() < path.len() + 1 {
        return Err(ElfError::Unsuitable("its search path shares its bytes with other names"));
    }
    strings[own.start..own.start + path.len()].copy_from_slice(path);
    Ok(Some(counting))
}

/// Which bytes of the string at `at` (with its NUL) belong to it alone: none where it is itself the end
/// of another name, else those before the first one that another name begins at.
fn own_bytes(strings: &[u8], at: usize, length: usize, others: &[u64]) -> std::ops::Range<usize> {
    let end = at + length + 1;
    let name = strings[..at].iter().rposition(|byte| *byte == 0).map_or(0, |nul| nul + 1);
    let next = others.partition_point(|other| (*other as usize) < name);
    match others.get(next).map(|other| *other as usize) {
        Some(other) if other <= at => at..at,
        Some(other) if other < end => at..other,
        _ => at..end,
    }
}

/// The entries before the first `DT_NULL` without search paths, then the one, and null entries in place
/// of those that are gone.
fn new_entries(dynamic: &Dynamic, mut place: Option<u64>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(dynamic.used);
    for old in dynamic.entries() {
        if !TAGS.contains(&old.d_tag.get(LE)) {
            entries.push(*old);
        } else if let Some(place) = place.take() {
            entries.push(entry(elf::DT_RPATH, place));
        }
    }
    entries.resize(dynamic.used, entry(elf::DT_NULL, 0));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::View;
    use crate::elf::fixture::Library;

    /// The search path after `contain`, as an rpath; no file may have a runpath any more.
    fn contained(mut bytes: Vec<u8>) -> (Vec<u8>, String) {
        let length = bytes.len();
        assert!(contain(&mut bytes).unwrap());
        assert_eq!(bytes.len(), length);
        let view = View::read(&bytes).unwrap();
        assert_eq!(view.runpath, None);
        assert_eq!(view.needed, ["liby.so"]);
        assert_eq!(view.soname.as_deref(), Some("libx.so"));
        assert!(!contain(&mut bytes.clone()).unwrap(), "a second time changes it again");
        (bytes, view.rpath.join(":"))
    }

    fn library() -> Library {
        Library::new("libx.so").needed("liby.so")
    }

    fn holds(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn a_runpath_becomes_an_rpath_with_the_same_entries() {
        let (_, path) = contained(library().runpath("$ORIGIN/../libs:${ORIGIN}").build());
        assert_eq!(path, "$ORIGIN/../libs:${ORIGIN}");
    }

    #[test]
    fn entries_that_name_a_place_on_the_build_machine_are_gone_without_a_trace() {
        let cases = [
            ("/opt/build/lib", ""),
            ("/opt/build/lib:$ORIGIN/a", "$ORIGIN/a"),
            ("$ORIGIN/a:/opt/build/lib", "$ORIGIN/a"),
            ("$ORIGIN/a:/opt/build/lib:$ORIGIN", "$ORIGIN/a:$ORIGIN"),
            (":$ORIGIN/a::lib/opt/build:$ORIGINAL/opt/build", "$ORIGIN/a"),
        ];
        for (before, after) in cases {
            for library in [library().runpath(before), library().rpath(before)] {
                let (bytes, path) = contained(library.build());
                assert_eq!(path, after, "{before}");
                assert!(!holds(&bytes, "opt"), "{before}");
            }
        }
    }

    #[test]
    fn of_two_search_paths_the_runpath_counts_as_it_does_for_glibc() {
        let (bytes, path) = contained(library().rpath("$ORIGIN/old").runpath("$ORIGIN/new").build());
        assert_eq!(path, "$ORIGIN/new");
        assert!(!holds(&bytes, "old"));
    }

    #[test]
    fn names_that_share_bytes_with_a_search_path_keep_them() {
        let (bytes, path) = contained(library().runpath("/opt/build").symbol("build").build());
        assert_eq!(path, "");
        assert!(holds(&bytes, "\0build\0") && !holds(&bytes, "/opt"));
        let (bytes, path) = contained(library().symbol("x/opt/build").runpath("/opt/build").build());
        assert_eq!(path, "");
        assert!(holds(&bytes, "x/opt/build"));
        let (_, path) = contained(library().runpath("$ORIGIN/a:/opt/build").symbol("build").build());
        assert_eq!(path, "$ORIGIN/a");
        let mut impossible =
            library().symbol("x$ORIGIN/a:/opt/build").runpath("$ORIGIN/a:/opt/build").build();
        assert!(matches!(contain(&mut impossible), Err(ElfError::Unsuitable(_))));
    }

    #[test]
    fn a_library_that_is_needed_by_its_place_can_be_asked_for_by_name() {
        let mut bytes = Library::new("libx.so").needed("$ORIGIN/../lib/liby.so").needed("libz.so").build();
        assert!(ask_by_name(&mut bytes).unwrap());
        assert_eq!(View::read(&bytes).unwrap().needed, ["liby.so", "libz.so"]);
        assert!(!ask_by_name(&mut bytes).unwrap());
    }

    #[test]
    fn what_has_no_search_path_or_is_no_library_passes_unchanged() {
        for other in [library().build(), b"#!/bin/sh".to_vec(), b"\x7fELF\x01\x01".to_vec()] {
            let mut bytes = other.clone();
            assert!(!contain(&mut bytes).unwrap());
            assert_eq!(bytes, other);
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_an_answer() {
        let library = library().rpath("/opt/a").runpath("$ORIGIN:/opt/b").symbol("b").build();
        for length in 0..library.len() {
            let _ = contain(&mut library[..length].to_vec());
        }
        for at in 0..library.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = library.clone();
                bad[at] = value;
                let _ = contain(&mut bad);
                let _ = ask_by_name(&mut bad);
            }
        }
    }
}
