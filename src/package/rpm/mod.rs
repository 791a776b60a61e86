//! A package of an rpm distribution: "RPM v4 package format" of rpm's own documentation.
//!
//! ```text
//! lead         96 bytes, of which nothing but the magic counts today
//! signature    a header: sizes, and the digest of the next header
//! header       a header: everything that is said of the package and its files
//! payload      the files, as a cpio archive (newc) in gzip
//! ```
//! What is in the payload is compressed already, and rpm takes a payload without a compressor for gzip. So it is gzip that
//! stores what it is given: every version of rpm reads it.

mod header;
mod payload;

use std::io::Write;

use sha2::{Digest as _, Sha256};

use self::header::Header;
use self::payload::{Payload, Summed};
use super::scripts::{self, Moment};
use super::{Entry, Kind, Package, Role};
use crate::error::{Context, Failure, Result};

/// The size of a file that a header of cpio can say, in bytes.
const LARGEST: u64 = 0xFFFF_FFFF;

/// Flags of files (rpmfiles.h).
const CONFIG: u32 = 1;
const DOC: u32 = 2;
const NOREPLACE: u32 = 16;

/// Flags of what is required and provided (rpmds.h).
const LESS: u32 = 2;
const EQUAL: u32 = 8;
const RPMLIB: u32 = 1 << 24;
const INTERPRETER: u32 = 1 << 8;

/// SHA-256 (RFC 4880, 9.4).
const SHA256: u32 = 8;

/// A package of an rpm distribution.
pub struct Rpm<'a>(pub &'a Package);

impl Rpm<'_> {
    /// How its file is called: `NAME-VERSION-RELEASE.ARCHITECTURE.rpm`.
    pub fn file_name(&self) -> String {
        format!("{}.{}.rpm", self.full_name(), self.architecture())
    }

    /// Writes it.
    pub fn write(&self, out: &mut dyn Write, cannot: &dyn Fn() -> String) -> Result<()> {
        self.check()?;
        let files: Vec<&Entry> = self.0.entries.iter().filter(|entry| is_own(entry)).collect();
        let payload = Payload::of(&files, self.0.time);
        let summed = payload.sum()?;
        let header = self.header(&files, &summed).encode(header::IMMUTABLE);
        let mut signature = Header::default();
        signature.text(header::SIG_SHA256, &hex(&Sha256::digest(&header)));
        signature.numbers(header::SIG_SIZE, &[size32(header.len() as u64 + summed.length)]);
        signature.numbers(header::SIG_PAYLOAD_SIZE, &[size32(summed.plain_length)]);
        let mut signature = signature.encode(header::SIGNATURES);
        signature.resize(signature.len().next_multiple_of(8), 0);
        let mut put = |bytes: &[u8]| out.write_all(bytes).context(cannot);
        put(&self.lead())?;
        put(&signature)?;
        put(&header)?;
        let written = payload.write(&mut put)?;
        if written != summed {
            return Err(Failure::new(format!("the bundle of {} was changed while it was read", self.0.name))
                .hint("wait until it is written, and do this again"));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let lengths = self.0.entries.iter().filter_map(|entry| match &entry.kind {
            Kind::File { content, .. } => Some(content.length()),
            _ => None,
        });
        let largest = lengths.max().unwrap_or(0);
        // What is in the payload beside the largest file is far less than this.
        if largest <= LARGEST - (64 << 20) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} is too large for an rpm: a file in one has less than 4 GiB, and this has {largest} bytes",
            self.0.name
        ))
        .hint("install the bundle itself: copy it, and type COIL=install ./FILE; or make an image of it"))
    }

    fn architecture(&self) -> &str {
        match self.0.architecture.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        }
    }

    fn full_name(&self) -> String {
        let (_, version, release) = self.0.version.rpm();
        format!("{}-{version}-{release}", self.0.name)
    }

    fn lead(&self) -> [u8; 96] {
        let mut lead = [0; 96];
        lead[..6].copy_from_slice(&[0xED, 0xAB, 0xEE, 0xDB, 3, 0]);
        // A binary package; its architecture; its name; Linux; the kind of signature that is a header.
        lead[9] = if self.0.architecture == "arm64" { 19 } else { 1 };
        let name = self.full_name();
        let name = &name.as_bytes()[..name.len().min(65)];
        lead[10..10 + name.len()].copy_from_slice(name);
        lead[77] = 1;
        lead[79] = 5;
        lead
    }

    fn header(&self, files: &[&Entry], summed: &Summed) -> Header {
        let mut header = Header::default();
        self.say(&mut header);
        self.relate(&mut header);
        self.list(&mut header, files, &summed.digests);
        header.texts(header::PAYLOAD_DIGEST, std::slice::from_ref(&summed.digest));
        header.numbers(header::PAYLOAD_DIGEST_ALGORITHM, &[SHA256]);
        header.texts(header::PAYLOAD_DIGEST_PLAIN, std::slice::from_ref(&summed.plain_digest));
        header.text(header::PAYLOAD_FORMAT, "cpio");
        header.text(header::PAYLOAD_COMPRESSOR, "gzip");
        header.text(header::PAYLOAD_FLAGS, "0");
        header
    }

    /// What is said of the package.
    fn say(&self, header: &mut Header) {
        let package = self.0;
        let (epoch, version, release) = package.version.rpm();
        header.texts(header::LOCALES, &["C".to_owned()]);
        header.text(header::NAME, &package.name);
        header.text(header::VERSION, version);
        header.text(header::RELEASE, release);
        if let Some(epoch) = epoch {
            header.numbers(header::EPOCH, &[epoch]);
        }
        header.translated(header::SUMMARY, &package.summary);
        header.translated(header::DESCRIPTION, &package.description);
        header.numbers(header::BUILD_TIME, &[size32(package.time)]);
        header.text(header::BUILD_HOST, "localhost");
        header.numbers(header::SIZE, &[size32(package.size())]);
        header.text(header::LICENSE, package.license.as_deref().unwrap_or("unknown"));
        header.text(header::PACKAGER, &package.maintainer);
        header.translated(header::GROUP, "Unspecified");
        if let Some(homepage) = &package.homepage {
            header.text(header::URL, homepage);
        }
        header.text(header::SYSTEM, "linux");
        header.text(header::ARCHITECTURE, self.architecture());
        // Without it, it would be a package of sources.
        header.text(header::SOURCE_PACKAGE, &format!("{}.src.rpm", self.full_name()));
        header.text(header::RPM_VERSION, "4.11");
        header.text(header::ENCODING, "utf-8");
        for (moment, script) in scripts::rpm(package) {
            let (text, program, _) = tags(moment);
            header.text(text, &script);
            header.text(program, "/bin/sh");
        }
    }

    /// What it provides, requires and recommends.
    fn relate(&self, header: &mut Header) {
        let (epoch, version, release) = self.0.version.rpm();
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let full = format!("{epoch}{version}-{release}");
        let bits = if self.0.architecture == "arm64" { "aarch-64" } else { "x86-64" };
        header.texts(header::PROVIDES, &[self.0.name.clone(), format!("{}({bits})", self.0.name)]);
        header.numbers(header::PROVIDE_FLAGS, &[EQUAL, EQUAL]);
        header.texts(header::PROVIDE_VERSIONS, &[full.clone(), full]);
        let shell = |(moment, _)| ("/bin/sh", INTERPRETER | tags(moment).2, "");
        let mut requires: Vec<(&str, u32, &str)> = scripts::rpm(self.0).into_iter().map(shell).collect();
        requires.extend([
            ("rpmlib(CompressedFileNames)", RPMLIB | LESS | EQUAL, "3.0.4-1"),
            ("rpmlib(FileDigests)", RPMLIB | LESS | EQUAL, "4.6.0-1"),
            ("rpmlib(PayloadFilesHavePrefix)", RPMLIB | LESS | EQUAL, "4.0-1"),
        ]);
        if version.contains('~') {
            requires.push(("rpmlib(TildeInVersions)", RPMLIB | LESS | EQUAL, "4.10.0-1"));
        }
        let texts = |which: fn(&(&str, u32, &str)) -> String| requires.iter().map(which).collect::<Vec<_>>();
        header.texts(header::REQUIRES, &texts(|(name, ..)| (*name).to_owned()));
        header.texts(header::REQUIRE_VERSIONS, &texts(|(.., version)| (*version).to_owned()));
        header
            .numbers(header::REQUIRE_FLAGS, &requires.iter().map(|(_, flags, _)| *flags).collect::<Vec<_>>());
        if self.0.has_services {
            header.texts(header::RECOMMENDS, &["systemd".to_owned()]);
            header.texts(header::RECOMMEND_VERSIONS, &[String::new()]);
            header.numbers(header::RECOMMEND_FLAGS, &[0]);
        }
    }

    /// The files, one array for each of their properties. Directories and names are kept apart.
    fn list(&self, header: &mut Header, files: &[&Entry], digests: &[String]) {
        let split = |entry: &&Entry| {
            let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            (format!("/{directory}/").replace("//", "/"), name.to_owned())
        };
        let (places, names): (Vec<String>, Vec<String>) = files.iter().map(split).unzip();
        let mut directories = places.clone();
        directories.sort();
        directories.dedup();
        let index = |place: &String| directories.binary_search(place).map_or(0, |at| at as u32);
        header.numbers(header::DIRECTORY_INDEXES, &places.iter().map(index).collect::<Vec<_>>());
        header.texts(header::BASE_NAMES, &names);
        header.texts(header::DIRECTORIES, &directories);
        let numbers = |of: &dyn Fn(&Entry) -> u32| files.iter().map(|entry| of(entry)).collect::<Vec<u32>>();
        header.numbers(header::FILE_SIZES, &numbers(&|entry| size32(payload::length(entry))));
        header.shorts(header::FILE_MODES, &numbers(&payload::mode));
        header.shorts(header::FILE_SPECIAL, &numbers(&|_| 0));
        header.numbers(header::FILE_TIMES, &numbers(&|_| size32(self.0.time)));
        header.texts(header::FILE_DIGESTS, digests);
        let targets = files.iter().map(|entry| match &entry.kind {
            Kind::Link(target) => target.clone(),
            _ => String::new(),
        });
        header.texts(header::FILE_TARGETS, &targets.collect::<Vec<_>>());
        header.numbers(header::FILE_FLAGS, &numbers(&flags));
        let root = vec!["root".to_owned(); files.len()];
        header.texts(header::FILE_USERS, &root);
        header.texts(header::FILE_GROUPS, &root);
        header.numbers(header::FILE_VERIFY, &numbers(&|_| u32::MAX));
        header.numbers(header::FILE_DEVICES, &numbers(&|_| 1));
        header.numbers(header::FILE_INODES, &(1..=files.len() as u32).collect::<Vec<_>>());
        header.texts(header::FILE_LANGUAGES, &vec![String::new(); files.len()]);
        header.numbers(header::FILE_DIGEST_ALGORITHM, &[SHA256]);
    }
}

/// The tags of a script's text and program, and the flag of what it requires (rpmds.h).
fn tags(moment: Moment) -> (u32, u32, u32) {
    match moment {
        Moment::Installed => (header::POST, header::POST_PROGRAM, 1 << 10),
        Moment::BeforeRemoval => (header::PREUN, header::PREUN_PROGRAM, 1 << 11),
        Moment::Removed => (header::POSTUN, header::POSTUN_PROGRAM, 1 << 12),
    }
}

/// Directories that every distribution has belong to its own packages.
fn is_own(entry: &Entry) -> bool {
    !matches!(entry.kind, Kind::Directory { own: false })
}

fn flags(entry: &Entry) -> u32 {
    match &entry.kind {
        Kind::File { role: Role::Configuration, .. } => CONFIG | NOREPLACE,
        Kind::File { role: Role::Documentation, .. } => DOC,
        _ => 0,
    }
}

/// A size that was checked to be small enough, as headers have it.
fn size32(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
