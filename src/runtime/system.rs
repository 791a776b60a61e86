//! Where the loader of the build machine looks for libraries: its cache, or the directories it knows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::{U32, pod};

use crate::elf::Machine;

/// The header of the cache (glibc, `sysdeps/generic/dl-cache.h`, `struct cache_file_new`), as read here:
///
/// ```text
///  0  "glibc-ld.so.cache1.1"                             20 bytes
/// 20  number of entries, length of strings, flags, ...   28 bytes
/// 48  entries: flags, name, path, (unused), capabilities  4 + 4 + 4 + 4 + 8 bytes each
/// ```
///
/// Names and paths are given by their distance from the beginning of the header.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 6;

/// How deep configuration files may include each other.
const DEPTH: usize = 8;

/// The libraries that every program of this machine can have.
pub struct System {
    cache: BTreeMap<String, Vec<PathBuf>>,
    directories: Vec<PathBuf>,
}

impl System {
    /// Reads the cache, or where there is none the configuration it is made from.
    pub fn look(machine: &Machine) -> Self {
        let cache = fs::read("/etc/ld.so.cache").unwrap_or_default();
        let cache = parse_cache(&cache, machine.cache_flags).unwrap_or_default();
        let mut directories = Vec::new();
        if cache.is_empty() {
            add_configured(Path::new("/etc/ld.so.conf"), DEPTH, &mut directories);
        }
        let below =
            [machine.multiarch, ""].map(|name| ["/lib", "/usr/lib"].map(|lib| Path::new(lib).join(name)));
        directories.extend(["/lib64", "/usr/lib64"].map(PathBuf::from));
        directories.extend(below.into_iter().flatten());
        System { cache, directories }
    }

    /// Where `name` may be, the loader's first choice first. Not all of these need exist.
    pub fn candidates(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let cached = self.cache.get(name).into_iter().flatten().cloned();
        cached.chain(self.directories.iter().map(move |directory| directory.join(name)))
    }
}

/// The libraries for this machine by name. `None` where the format is another.
///
/// Variants for newer processors are passed over: what is packed must run on all of them.
fn parse_cache(bytes: &[u8], flags: u32) -> Option<BTreeMap<String, Vec<PathBuf>>> {
    // A table in the format of libc5 may come first.
    let start = bytes.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let bytes = &bytes[start..];
    let count = pod::from_bytes::<U32<LE>>(bytes.get(MAGIC.len()..)?).ok()?.0.get(LE) as usize;
    let entries = pod::slice_from_bytes::<[U32<LE>; ENTRY]>(bytes.get(HEADER..)?, count).ok()?.0;
    let text = |at: &U32<LE>| {
        let rest = bytes.get(at.get(LE) as usize..)?;
        std::str::from_utf8(rest.split(|byte| *byte == 0).next()?).ok()
    };
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for [its_flags, name, path, _, low, high] in entries {
        let plain = low.get(LE) == 0 && high.get(LE) == 0;
        if its_flags.get(LE) == flags
            && plain
            && let (Some(name), Some(path)) = (text(name), text(path))
        {
            found.entry(name.to_owned()).or_default().push(path.into());
        }
    }
    Some(found)
}

/// Adds the directories that a configuration file and those it includes name (ldconfig(8)).
fn add_configured(file: &Path, depth: usize, directories: &mut Vec<PathBuf>) {
    let text = fs::read_to_string(file).unwrap_or_default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            Some(patterns) if depth > 0 => {
                let base = file.parent().unwrap_or(Path::new("/"));
                for file in patterns.split_whitespace().flat_map(|pattern| matching(&base.join(pattern))) {
                    add_configured(&file, depth - 1, directories);
                }
            }
            None if line.starts_with('/') => directories.push(line.into()),
            _ => {}
        }
    }
}

/// The files that a pattern with at most one `*`, in its last component, stands for, sorted.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) =
        (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Some((before, after)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(u32, &str, &str, u64)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let base = HEADER + entries.len() * 24;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((entries.len() as u32).to_le_bytes());
        bytes.resize(HEADER, 0);
        for (flags, name, path, capabilities) in entries {
            let mut text = |text: &str| {
                let at = (base + strings.len()) as u32;
                strings.extend([text.as_bytes(), b"\0"].concat());
                at
            };
            let words =
                [*flags, text(name), text(path), 0, *capabilities as u32, (capabilities >> 32) as u32];
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
        [bytes, strings].concat()
    }

    #[test]
    fn the_cache_names_plain_libraries_of_this_machine_only() {
        let bytes = cache(&[
            (0x0303, "libz.so.1", "/lib/glibc-hwcaps/x86-64-v3/libz.so.1", 1 << 62),
            (0x0303, "libz.so.1", "/lib/libz.so.1", 0),
            (0x0003, "libz.so.1", "/lib32/libz.so.1", 0),
        ]);
        let found = parse_cache(&bytes, 0x0303).unwrap();
        assert_eq!(found["libz.so.1"], [PathBuf::from("/lib/libz.so.1")]);
        assert!(parse_cache(&[b"ld.so-1.7.0\0junk", &bytes[..]].concat(), 0x0303).is_some());
    }

    #[test]
    fn a_damaged_cache_is_no_cache() {
        let bytes = cache(&[(0x0303, "libz.so.1", "/lib/libz.so.1", 0)]);
        for length in 0..HEADER + 24 {
            assert_eq!(parse_cache(&bytes[..length], 0x0303), None);
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] = 0xff;
            let _ = parse_cache(&bad, 0x0303);
        }
    }

    #[test]
    fn configuration_files_include_others_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("main", "# comment\ninclude *.conf\n/last # the rest\n");
        write("b.conf", "/b\n");
        write("a.conf", "/a\ninclude main\n");
        let mut found = Vec::new();
        add_configured(&directory.path().join("main"), 1, &mut found);
        assert_eq!(found, ["/a", "/b", "/last"].map(PathBuf::from));
    }
}
