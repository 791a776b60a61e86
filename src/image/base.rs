//! The base: what `FROM scratch` lacks and a program expects, and nothing else.
//!
//! The C library and its loader are in the runtime, where PT_INTERP of every program names them, and so are the
//! certificates. What is here comes from this crate and from the runtime, never from the machine that packs. A
//! container's engine provides `/proc`, `/sys`, `/dev`, and `resolv.conf`, `hosts` and `hostname` in `/etc`.

use super::root::Root;
use crate::error::{Failure, Result};

/// The unprivileged user and his group, as `distroless` and others number him.
pub const USER: u32 = 65532;

/// His home.
pub const HOME: &str = "/home/nonroot";

/// The certificates' usual place.
pub const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

const PASSWD: &str = "\
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
";

const GROUP: &str = "\
root:x:0:
tty:x:5:
nogroup:x:65534:
nonroot:x:65532:
";

/// Without it, an old C library asks the network before `/etc/hosts`.
const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
";

const OS_RELEASE: &str = "\
NAME=\"coil image\"
ID=coil
PRETTY_NAME=\"An image from scratch, made by coil\"
";

/// What a runtime carries for hosts that have none.
#[derive(Debug, Default)]
pub struct Carried {
    /// Its time zones.
    pub zones: Option<Vec<u8>>,
    /// Whether it has certificates.
    pub certificates: bool,
    /// Whether it has the locale C.UTF-8.
    pub locale: bool,
}

/// The base's files, for a runtime that carries this.
pub fn base(carried: &Carried) -> Result<Root> {
    let mut root = Root::default();
    for (path, text) in [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/nsswitch.conf", NSSWITCH),
        ("etc/services", include_str!("base/services")),
        ("etc/protocols", include_str!("base/protocols")),
        ("etc/mime.types", include_str!("base/mime.types")),
        ("usr/lib/os-release", OS_RELEASE),
    ] {
        root.file(path, text, false)?;
    }
    root.link("etc/os-release", "../usr/lib/os-release")?;
    root.directory("root", 0o700, 0)?;
    root.directory(&HOME[1..], 0o755, USER)?;
    root.directory("run", 0o755, 0)?;
    root.directory("tmp", 0o1777, 0)?;
    root.directory("var/tmp", 0o1777, 0)?;
    if carried.certificates {
        root.link(&CERTIFICATES[1..], "../../../python/share/certificates.pem")?;
    }
    if carried.locale {
        root.link("usr/lib/locale/C.utf8", "../../../python/share/locale/C.utf8")?;
    }
    carried.zones.as_deref().map_or(Ok(()), |zones| add_zones(&mut root, zones))?;
    Ok(root)
}

/// Writes the runtime's one file of time zones (`src/runtime/time_zones.rs`) as the files that the C library reads.
/// Of the names of one zone the first has the file, and the others are links to it.
fn add_zones(root: &mut Root, zones: &[u8]) -> Result<()> {
    let malformed = || Failure::new("the time zones in the runtime cannot be read");
    let end = zones.windows(2).position(|pair| pair == b"\n\n").ok_or_else(malformed)?;
    let index = std::str::from_utf8(&zones[..end]).map_err(|_| malformed())?;
    let content = &zones[end + 2..];
    let mut first: std::collections::BTreeMap<usize, &str> = std::collections::BTreeMap::new();
    for line in index.lines() {
        let mut words = line.split(' ');
        let (name, offset, length) = (words.next(), words.next(), words.next());
        let number =
            |word: Option<&str>| word.and_then(|word| word.parse::<usize>().ok()).ok_or_else(malformed);
        let (name, offset, length) = (name.ok_or_else(malformed)?, number(offset)?, number(length)?);
        let path = format!("usr/share/zoneinfo/{name}");
        match first.get(&offset) {
            Some(other) => root.link(&path, format!("{}{other}", "../".repeat(name.matches('/').count())))?,
            None => {
                let end = offset.checked_add(length).ok_or_else(malformed)?;
                root.file(&path, content.get(offset..end).ok_or_else(malformed)?, false)?;
                first.insert(offset, name);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_become_files_and_links_among_them() {
        let zones = b"Etc/UTC 0 8\nEurope/Berlin 8 11\nZulu 0 8\n\nTZif-utcTZif-berlin";
        let with = |zones: &[u8]| base(&Carried { zones: Some(zones.to_vec()), ..Carried::default() });
        let archive = with(zones).unwrap().archive();
        let mut reader = tar::Archive::new(archive.as_slice());
        let mut found = Vec::new();
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let Some(name) = path.strip_prefix("usr/share/zoneinfo/") else { continue };
            let target = entry.link_name().unwrap().map(|target| target.display().to_string());
            let text = std::io::read_to_string(&mut entry).unwrap();
            found.push((name.to_owned(), target.unwrap_or(text)));
        }
        let expected = [("", ""), ("Etc/", ""), ("Etc/UTC", "TZif-utc"), ("Europe/", "")];
        let more = [("Europe/Berlin", "TZif-berlin"), ("Zulu", "Etc/UTC")];
        let expected =
            expected.into_iter().chain(more).map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(found, expected.collect::<Vec<_>>());
        for bad in [&b""[..], b"x 0 9\n\nTZif", b"x y z\n\n", b"../x 0 1\n\nTZif"] {
            assert!(with(bad).is_err());
        }
    }

    #[test]
    fn everybody_in_the_table_of_users_has_a_group() {
        for line in PASSWD.lines() {
            let group = line.split(':').nth(3).unwrap();
            assert!(GROUP.lines().any(|line| line.split(':').nth(2) == Some(group)), "{line}");
        }
        assert!(PASSWD.contains(&format!(":{USER}:{USER}:nonroot:{HOME}:")));
    }
}
