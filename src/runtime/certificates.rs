//! Certificates of authorities, for hosts that have none.
//!
//! Those that the distribution publishes, and not those that this machine trusts: an authority that somebody added
//! here (a company's, a proxy's) is nothing to send to others.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the runtime has them.
pub const PLACE: &str = "python/share/certificates.pem";

/// Directories of certificates as published, a file each: Debian and what descends from it, Alpine.
const PUBLISHED: &str = "/usr/share/ca-certificates/mozilla";

/// Files that distributions without such a directory make of theirs: Fedora and what descends from it, openSUSE, Arch.
/// What was added on the machine is in them, too.
const EXTRACTED: [&str; 3] = [
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Where they are on this machine, the directory or the file; `None` where there are none.
pub fn source() -> Option<PathBuf> {
    let directory = Some(PathBuf::from(PUBLISHED)).filter(|path| path.is_dir());
    directory.or_else(|| EXTRACTED.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// All of them in one text: without comments, each once, sorted, however many files they came in.
pub fn read(source: &Path) -> io::Result<String> {
    let mut files = vec![source.to_owned()];
    if source.is_dir() {
        files = fs::read_dir(source)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
    }
    let mut certificates = BTreeSet::new();
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
        for part in text.split(BEGIN).skip(1) {
            let body = part.split_once(END).map(|(body, _)| body.trim());
            certificates.extend(body.map(|body| format!("{BEGIN}\n{body}\n{END}\n")));
        }
    }
    Ok(certificates.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read_without_comments_and_each_once() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("b.crt", &format!("# One\r\n{BEGIN}\nAAAA\n{END}\n"));
        write("a.crt", &format!("{BEGIN}\nBBBB\n{END}\nTwo\n{BEGIN}\nAAAA\n{END}\n{BEGIN}\ncut off"));
        write("README", &format!("{BEGIN}\nCCCC\n{END}\n"));
        let expected = format!("{BEGIN}\nAAAA\n{END}\n{BEGIN}\nBBBB\n{END}\n");
        assert_eq!(read(directory.path()).unwrap(), expected);
        assert!(read(&directory.path().join("a.crt")).unwrap().contains("BBBB"));
    }
}
