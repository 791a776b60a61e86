//! Time zones, for hosts that have none: one file, because six hundred small ones would cost every first start.
//!
//! ```text
//! Europe/Berlin 4096 2298      a zone: its name, its offset behind the empty line, its length; sorted
//! Europe/Busingen 4096 2298    names of one zone share their bytes
//!                              an empty line
//! TZif2...                     the zones, as RFC 8536 has them
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the runtime has them.
pub const PLACE: &str = "python/share/zoneinfo";

/// Where a system has them.
const SYSTEM: &str = "/usr/share/zoneinfo";

/// The zone that everyone has, and that tells which package the others are of.
pub const WITNESS: &str = "Etc/UTC";

/// The first bytes of a zone.
const MAGIC: &[u8] = b"TZif";

/// What lies beside the zones: copies of them for clocks that count otherwise, and what this machine has chosen.
const OTHERS: [&str; 5] = ["posix", "right", "localtime", "posixrules", "leapseconds"];

/// Where they are on this machine; `None` where there are none.
pub fn source() -> Option<PathBuf> {
    Some(PathBuf::from(SYSTEM)).filter(|path| path.join(WITNESS).is_file())
}

/// All of them as one file.
pub fn read(source: &Path) -> io::Result<Vec<u8>> {
    let mut zones = BTreeMap::new();
    walk(source, "", &mut zones)?;
    let (mut index, mut content) = (String::new(), Vec::new());
    let mut offsets: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (name, zone) in &zones {
        let offset = *offsets.entry(zone).or_insert_with(|| {
            content.extend_from_slice(zone);
            content.len() - zone.len()
        });
        index += &format!("{name} {offset} {}\n", zone.len());
    }
    index.push('\n');
    Ok([index.into_bytes(), content].concat())
}

fn walk(directory: &Path, prefix: &str, zones: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if prefix.is_empty() && OTHERS.contains(&name) || name.contains(char::is_whitespace) {
            continue;
        }
        let name = format!("{prefix}{name}");
        // A link to a directory may lead back up.
        if fs::symlink_metadata(&path)?.is_dir() {
            walk(&path, &format!("{name}/"), zones)?;
        } else if path.is_file() {
            let bytes = fs::read(&path)?;
            if bytes.starts_with(MAGIC) {
                zones.insert(name, bytes);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_become_one_file_in_which_names_share_their_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["Europe", "posix", "Etc"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("Europe/Berlin"), "TZif-berlin").unwrap();
        fs::write(root.join("Etc/UTC"), "TZif-utc").unwrap();
        fs::write(root.join("posix/Berlin"), "TZif-posix").unwrap();
        fs::write(root.join("zone.tab"), "# no zone").unwrap();
        std::os::unix::fs::symlink("Etc/UTC", root.join("Zulu")).unwrap();
        std::os::unix::fs::symlink(".", root.join("circle")).unwrap();
        std::os::unix::fs::symlink("/nowhere", root.join("dangling")).unwrap();
        let expected = "Etc/UTC 0 8\nEurope/Berlin 8 11\nZulu 0 8\n\nTZif-utcTZif-berlin";
        assert_eq!(String::from_utf8(read(root).unwrap()).unwrap(), expected);
    }
}
