//! A Python in an archive, as python-build-standalone publishes them: unpacked once, named by its digest.
//!
//! The archive is somebody else's: it may write below its own directory and nowhere else, and whatever it
//! says of owners, devices and set-id bits is refused or passed over.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use crate::error::{Context, Failure, Result};

/// What archives of Pythons are called: those of python-build-standalone, and what is made of a prefix.
const ENDINGS: [&str; 5] = [".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar"];

/// Where in an archive the prefix may be: `python` in an `install_only` archive, `python/install` in a full one.
const PREFIXES: [&str; 3] = ["python/install", "python", ""];

/// Whether a file is called like an archive.
pub fn is_archive(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|ending| name.ends_with(ending)) && path.is_file()
}

/// The prefix of the Python in `archive`, unpacked to the directory `target` unless that is there already.
///
/// Fails where the archive cannot be read, leads out of its directory, or holds no Python.
pub fn prefix(archive: &Path, target: &Path) -> Result<PathBuf> {
    let shown = archive.display();
    if !target.is_dir() {
        let place = target.parent().unwrap_or(target);
        let cannot_write = || format!("cannot write to {}", place.display());
        fs::create_dir_all(place).context(cannot_write)?;
        let made = tempfile::tempdir_in(place).context(cannot_write)?;
        unpack(archive, made.path())?;
        match fs::rename(made.path(), target) {
            // Somebody else was first.
            Err(_) if target.is_dir() => {}
            renamed => renamed.context(cannot_write)?,
        }
    }
    let prefixes = PREFIXES.iter().map(|below| target.join(below)).chain(only_directory(target));
    prefixes.into_iter().find(|prefix| prefix.join("bin/python3").exists()).ok_or_else(|| {
        Failure::new(format!("{shown} holds no Python: there is no bin/python3 in it")).hint(
            "take an archive of python-build-standalone (install_only), or one of an installation's prefix",
        )
    })
}

/// The one directory that everything is in, whatever it is called.
fn only_directory(target: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(target).ok()?.flatten();
    let first = entries.next()?;
    entries.next().is_none().then(|| first.path())
}

fn unpack(archive: &Path, target: &Path) -> Result<()> {
    let shown = archive.display();
    let damaged = |error: io::Error| {
        Failure::new(format!("{shown} cannot be unpacked")).because(error).hint("fetch it again")
    };
    let file = BufReader::new(File::open(archive).context(|| format!("cannot read {shown}"))?);
    let mut archive = Archive::new(decoded(file, archive).map_err(damaged)?);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if let Some(objection) = objection(&entry).map_err(damaged)? {
            return Err(Failure::new(format!("{shown} is no archive of a Python: {objection}")));
        }
        // The crate checks the same again, against links that are there already.
        if !entry.unpack_in(target).map_err(damaged)? {
            return Err(damaged(io::Error::other("an entry leads out of it")));
        }
    }
    Ok(())
}

/// By its first bytes, not by its name.
fn decoded(mut file: BufReader<File>, path: &Path) -> io::Result<Box<dyn Read>> {
    let start = io::BufRead::fill_buf(&mut file)?;
    match start {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Box::new(zstd::Decoder::with_buffer(file)?)),
        [] => Err(io::Error::other(format!("{} is empty", path.display()))),
        _ => Ok(Box::new(file)),
    }
}

/// Why an entry must not be unpacked; `None` for what an installation is made of.
fn objection(entry: &Entry<impl Read>) -> io::Result<Option<String>> {
    let path = entry.path()?;
    let shown = path.display();
    let outside = |path: &Path| {
        let mut depth = 0i32;
        path.components().any(|component| {
            depth += match component {
                Component::Normal(_) => 1,
                Component::CurDir => 0,
                Component::ParentDir => -1,
                Component::RootDir | Component::Prefix(_) => i32::MIN / 2,
            };
            depth < 0
        })
    };
    if outside(&path) || path.components().any(|part| part == Component::ParentDir) {
        return Ok(Some(format!("{shown} leads out of it")));
    }
    let target = entry.link_name()?;
    let leads_out = match (entry.header().entry_type(), target) {
        (EntryType::Symlink, Some(target)) => {
            target.is_absolute() || outside(&path.parent().unwrap_or(Path::new("")).join(target))
        }
        (EntryType::Link, Some(target)) => outside(&target),
        (EntryType::Regular | EntryType::Continuous | EntryType::Directory, _) => false,
        (EntryType::XGlobalHeader, _) => false,
        _ => return Ok(Some(format!("{shown} is neither a file nor a directory nor a link"))),
    };
    Ok(leads_out.then(|| format!("the link {shown} leads out of it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with these files (path, text) and links (path, target).
    fn archive(files: &[(&str, &str)], links: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(text.len() as u64);
            header.set_mode(0o4755);
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        for (path, target) in links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            header.set_cksum();
            builder.append_link(&mut header, path, target).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Result<(tempfile::TempDir, PathBuf)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python.tar.gz");
        fs::write(&path, bytes).unwrap();
        let prefix = prefix(&path, &directory.path().join("place/HEX"))?;
        Ok((directory, prefix))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
        encoder.read_to_end(&mut packed).unwrap();
        packed
    }

    #[test]
    fn every_layout_and_compression_is_found_out() {
        for (name, below) in [
            ("python/bin/python3.12", "python"),
            ("python/install/bin/python3.12", "python/install"),
            ("bin/python3.12", "HEX"),
            ("cpython-3.12/bin/python3.12", "cpython-3.12"),
        ] {
            let link = name.replace("python3.12", "python3");
            let plain = archive(&[(name, "")], &[(&link, "python3.12")]);
            for bytes in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap(), plain] {
                let (_directory, prefix) = unpacked(&bytes).unwrap();
                assert!(prefix.ends_with(below), "{}", prefix.display());
                let mode = std::os::unix::fs::PermissionsExt::mode(
                    &fs::metadata(prefix.join("bin/python3")).unwrap().permissions(),
                );
                assert_eq!(mode & 0o7111, 0o111, "programs, and no set-id bits");
            }
        }
    }

    #[test]
    fn what_leads_out_of_the_archive_is_refused() {
        let python = ("python/bin/python3", "");
        for bytes in [
            archive(&[("../evil", "x"), python], &[]),
            archive(&[("python/../../evil", "x"), python], &[]),
            archive(&[("/tmp/coil-evil", "x"), python], &[]),
            archive(&[python], &[("python/lib", "../../..")]),
            archive(&[python], &[("python/lib", "/etc")]),
        ] {
            let failure = unpacked(&bytes).err().unwrap();
            assert!(failure.to_string().contains("leads out of it"), "{failure}");
        }
        assert!(!Path::new("/tmp/coil-evil").exists());
    }

    #[test]
    fn what_is_no_archive_of_a_python_says_so_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python.tar.gz");
        let good = gzip(&archive(&[("python/bin/python3", "x")], &[]));
        let cases: [(&[u8], &str); 4] = [
            (b"", "cannot be unpacked"),
            (b"no archive at all, but long enough", "cannot be unpacked"),
            (&good[..good.len() / 2], "cannot be unpacked"),
            (&gzip(&archive(&[("readme", "x")], &[])), "holds no Python"),
        ];
        for (bytes, reason) in cases {
            fs::write(&path, bytes).unwrap();
            let place = directory.path().join("place");
            let failure = prefix(&path, &place.join("HEX")).unwrap_err();
            assert!(failure.to_string().contains(reason), "{failure}");
            if reason == "cannot be unpacked" {
                assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
            }
        }
    }
}
