//! Wheels made by code, for tests: right ones, and one method for every way to be wrong.
//!
//! It uses nothing of the crate it is in, so that integration tests can include this file by its path.

// Whoever includes it needs only some of it.
#![allow(dead_code)]

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A wheel in the making.
pub struct WheelBuilder {
    distribution: String,
    version: String,
    tag: String,
    file_name: Option<String>,
    metadata: String,
    wheel_version: String,
    entry_points: Option<String>,
    members: Vec<Entry>,
    record: Option<Vec<String>>,
}

/// One member of the archive, and what is wrong with it.
#[derive(Clone)]
struct Entry {
    path: String,
    content: Vec<u8>,
    mode: u32,
    recorded: Recorded,
    encrypted: bool,
    declared: Option<u32>,
}

#[derive(Clone, PartialEq)]
enum Recorded {
    Right,
    Not,
    As(String),
}

const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

impl WheelBuilder {
    /// An empty pure wheel.
    pub fn new(distribution: &str, version: &str) -> Self {
        WheelBuilder {
            distribution: distribution.to_owned(),
            version: version.to_owned(),
            tag: "py3-none-any".to_owned(),
            file_name: None,
            metadata: format!("Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"),
            wheel_version: "1.0".to_owned(),
            entry_points: None,
            members: Vec::new(),
            record: Some(Vec::new()),
        }
    }

    /// A file.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.member(path, content, FILE, Recorded::Right)
    }

    /// A file that may be executed.
    pub fn program(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.member(path, content, PROGRAM, Recorded::Right)
    }

    /// A symbolic link.
    pub fn link(self, path: &str, target: &str) -> Self {
        self.member(path, target, LINK, Recorded::Right)
    }

    /// A file below `.data/SCHEME/`.
    pub fn data(self, scheme: &str, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = format!("{}.data/{scheme}/{path}", self.stem());
        self.file(&path, content)
    }

    /// The content of `entry_points.txt`.
    pub fn entry_points(mut self, text: &str) -> Self {
        self.entry_points = Some(text.to_owned());
        self
    }

    /// One more dependency.
    pub fn requires(mut self, requirement: &str) -> Self {
        self.metadata.push_str(&format!("Requires-Dist: {requirement}\n"));
        self
    }

    /// Tags other than `py3-none-any`.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tag = tag.to_owned();
        self
    }

    /// A file name that belongs to something else.
    pub fn called(mut self, file_name: &str) -> Self {
        self.file_name = Some(file_name.to_owned());
        self
    }

    /// Another text for METADATA.
    pub fn with_metadata(mut self, text: &str) -> Self {
        self.metadata = text.to_owned();
        self
    }

    /// Another format of wheels.
    pub fn wheel_version(mut self, version: &str) -> Self {
        self.wheel_version = version.to_owned();
        self
    }

    /// A member that RECORD does not name.
    pub fn unrecorded(self, path: &str, content: &str) -> Self {
        self.member(path, content, FILE, Recorded::Not)
    }

    /// A member with this instead of `HASH,SIZE` in RECORD.
    pub fn recorded_as(self, path: &str, content: &str, claim: &str) -> Self {
        self.member(path, content, FILE, Recorded::As(claim.to_owned()))
    }

    /// A further line of RECORD.
    pub fn record_line(mut self, line: &str) -> Self {
        self.record.get_or_insert_default().push(line.to_owned());
        self
    }

    /// No RECORD at all.
    pub fn without_record(mut self) -> Self {
        self.record = None;
        self
    }

    /// The member at `path` marked as encrypted.
    pub fn encrypted(mut self, path: &str) -> Self {
        self.find(path).encrypted = true;
        self
    }

    /// The member at `path` declared to have another size than it has.
    pub fn declared(mut self, path: &str, size: u32) -> Self {
        self.find(path).declared = Some(size);
        self
    }

    /// Writes the wheel into `directory`.
    pub fn build(&self, directory: &Path) -> PathBuf {
        let name = format!("{}-{}.whl", self.stem(), self.tag);
        let path = directory.join(self.file_name.as_ref().unwrap_or(&name));
        fs::write(&path, self.bytes()).expect("the directory of a test can be written");
        path
    }

    /// The wheel without its last `lost` bytes.
    pub fn build_cut(&self, directory: &Path, lost: usize) -> PathBuf {
        let path = self.build(directory);
        let bytes = self.bytes();
        fs::write(&path, &bytes[..bytes.len() - lost]).expect("the directory of a test can be written");
        path
    }

    /// The wheel's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        let info = format!("{}.dist-info", self.stem());
        let own = |name: &str, text: &str| {
            Entry::new(&format!("{info}/{name}"), text.as_bytes(), FILE, Recorded::Right)
        };
        members.push(own("METADATA", &self.metadata));
        let wheel = format!(
            "Wheel-Version: {}\nGenerator: test\nRoot-Is-Purelib: true\nTag: {}\n",
            self.wheel_version, self.tag
        );
        members.push(own("WHEEL", &wheel));
        if let Some(text) = &self.entry_points {
            members.push(own("entry_points.txt", text));
        }
        if let Some(extra) = &self.record {
            let mut lines: Vec<String> = members.iter().filter_map(Entry::record_line).collect();
            lines.extend(extra.iter().cloned());
            lines.push(format!("{info}/RECORD,,"));
            members.push(own("RECORD", &(lines.join("\n") + "\n")));
        }
        archive(&members)
    }

    fn stem(&self) -> String {
        format!("{}-{}", self.distribution, self.version)
    }

    fn member(mut self, path: &str, content: impl AsRef<[u8]>, mode: u32, recorded: Recorded) -> Self {
        self.members.push(Entry::new(path, content.as_ref(), mode, recorded));
        self
    }

    fn find(&mut self, path: &str) -> &mut Entry {
        self.members.iter_mut().find(|member| member.path == path).expect("the member was added before")
    }
}

impl Entry {
    fn new(path: &str, content: &[u8], mode: u32, recorded: Recorded) -> Self {
        let (path, content) = (path.to_owned(), content.to_owned());
        Entry { path, content, mode, recorded, encrypted: false, declared: None }
    }

    fn record_line(&self) -> Option<String> {
        let path = match self.path.contains([',', '"']) {
            true => format!("\"{}\"", self.path.replace('"', "\"\"")),
            false => self.path.clone(),
        };
        match &self.recorded {
            Recorded::Right => {
                Some(format!("{path},sha256={},{}", sha256(&self.content), self.content.len()))
            }
            Recorded::Not => None,
            Recorded::As(claim) => Some(format!("{path},{claim}")),
        }
    }
}

/// The archive of `members`, written by hand: no library writes a wrong one.
fn archive(members: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let (packed, crc) = deflated(&member.content);
        let offset = bytes.len() as u32;
        let size = member.declared.unwrap_or(member.content.len() as u32);
        let mut header = Vec::new();
        // Version 2.0, flags, deflate, a constant time.
        for half in [20u16, 0x0800 | u16::from(member.encrypted), 8, 0, 33] {
            header.extend(half.to_le_bytes());
        }
        for word in [crc, packed.len() as u32, size] {
            header.extend(word.to_le_bytes());
        }
        header.extend((member.path.len() as u16).to_le_bytes());
        header.extend([0; 2]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&header);
        bytes.extend(member.path.as_bytes());
        bytes.extend(&packed);
        // Made by Unix; no comment, disk 0, no internal attributes.
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&header);
        directory.extend([0; 6]);
        directory.extend((member.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(member.path.as_bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        bytes.extend((members.len() as u16).to_le_bytes());
    }
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

/// `content` as a raw deflate stream, and its CRC-32.
fn deflated(content: &[u8]) -> (Vec<u8>, u32) {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .large_file(false);
    writer.start_file("x", options).expect("a member can be begun");
    writer.write_all(content).expect("memory can be written");
    let mut archive =
        zip::ZipArchive::new(writer.finish().expect("memory can be written")).expect("it is valid");
    let mut member = archive.by_index_raw(0).expect("there is one member");
    let (mut packed, crc) = (Vec::new(), member.crc32());
    member.read_to_end(&mut packed).expect("memory can be read");
    (packed, crc)
}

/// SHA-256 in URL-safe base64 without padding.
pub fn sha256(content: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digest = Sha256::digest(content);
    let bit = |at: usize| digest.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let letter = |at: usize| (0..6).fold(0, |value, place| value << 1 | usize::from(bit(at * 6 + place)));
    (0..43).map(|at| char::from(letters[letter(at)])).collect()
}
