//! The `.dist-info` directory: what a wheel says of itself, checked against its name and its members.

use std::collections::{BTreeMap, BTreeSet};

use super::archive::{Archive, Member};
use super::entry_points::EntryPoints;
use super::metadata::{Metadata, Packaging};
use super::name::WheelName;
use super::record::{self, Claim};
use crate::error::{Failure, Result};

/// What a wheel says of itself.
pub struct DistInfo {
    /// The directory's name: `click-8.1.7.dist-info`.
    pub directory: String,
    /// `METADATA`.
    pub metadata: Metadata,
    /// `WHEEL`.
    pub packaging: Packaging,
    /// `entry_points.txt`, empty where there is none.
    pub entry_points: EntryPoints,
    /// `RECORD`.
    pub claims: BTreeMap<String, Claim>,
}

/// The longest file of the directory that is read, in bytes. RECORD of 300,000 members has 40 MB.
const LONGEST: u64 = 256 << 20;

/// Signatures of RECORD: they cannot be in it, and a rewritten RECORD makes them void.
const SIGNATURES: [&str; 2] = ["RECORD.jws", "RECORD.p7s"];

impl DistInfo {
    /// Reads the directory of the wheel `name`, and refuses what contradicts its name or its members.
    pub fn read(archive: &mut Archive, name: &WheelName) -> Result<Self> {
        let directory = directory(archive.members(), name)?;
        let mut file = |file: &str| -> Result<Option<Vec<u8>>> {
            let path = format!("{directory}/{file}");
            let member =
                archive.members().iter().find(|member| *member.path == *path && !member.link).cloned();
            member.map(|member| archive.read(&member, LONGEST)).transpose()
        };
        let missing = |file: &str| refuse(name, &format!("it has no {directory}/{file}"));
        let wrong = |file: &str, why: String| refuse(name, &format!("its {directory}/{file} {why}"));

        let metadata = file("METADATA")?.ok_or_else(|| missing("METADATA"))?;
        let metadata = Metadata::parse(&metadata).map_err(|why| wrong("METADATA", why))?;
        let packaging = file("WHEEL")?.ok_or_else(|| missing("WHEEL"))?;
        let packaging = Packaging::parse(&packaging).map_err(|why| wrong("WHEEL", why))?;
        let entry_points = file("entry_points.txt")?.unwrap_or_default();
        let entry_points = EntryPoints::parse(&entry_points).map_err(|why| wrong("entry_points.txt", why))?;
        let claims = file("RECORD")?.ok_or_else(|| missing("RECORD"))?;
        let claims = record::parse(&claims).map_err(|why| wrong("RECORD", why))?;

        let dist_info = DistInfo { directory, metadata, packaging, entry_points, claims };
        dist_info.refuse_another_name(name)?;
        dist_info.refuse_unrecorded(archive.members(), name)?;
        Ok(dist_info)
    }

    /// Whether `path` is RECORD or a signature of it.
    pub fn is_record(&self, path: &str) -> bool {
        self.file(path).is_some_and(|file| file == "RECORD" || SIGNATURES.contains(&file))
    }

    /// Whether `path` is a file of this directory that an installer writes, not a wheel.
    pub fn is_installers(&self, path: &str) -> bool {
        self.file(path).is_some_and(|file| matches!(file, "INSTALLER" | "REQUESTED" | "direct_url.json"))
    }

    fn file<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.directory.as_str())?.strip_prefix('/')
    }

    fn refuse_another_name(&self, name: &WheelName) -> Result<()> {
        let Metadata { name: own, version, .. } = &self.metadata;
        if name.is(own, version) {
            return Ok(());
        }
        Err(refuse(name, &format!("its METADATA says that it is {own} {version}"))
            .hint("give the file the name back that it was built with"))
    }

    /// "Apart from RECORD and its signatures, installation will fail if any file in the archive is not
    /// both mentioned and correctly hashed in RECORD."
    fn refuse_unrecorded(&self, members: &[Member], name: &WheelName) -> Result<()> {
        for member in members.iter().filter(|member| !self.is_record(&member.path)) {
            match self.claims.get(member.path.as_str()) {
                None => return Err(refuse(name, &format!("its member {} is not in RECORD", member.path))),
                Some(Claim { hash: None, .. }) => {
                    return Err(refuse(name, &format!("its RECORD has no hash for {}", member.path)));
                }
                Some(_) => {}
            }
        }
        let present: BTreeSet<&str> = members.iter().map(|member| member.path.as_str()).collect();
        let absent = |path: &&String| !present.contains(path.as_str()) && !self.is_record(path);
        match self.claims.keys().find(absent) {
            None => Ok(()),
            Some(path) => Err(refuse(name, &format!("its RECORD names {path}, which is not in it"))),
        }
    }
}

fn directory(members: &[Member], name: &WheelName) -> Result<String> {
    let directories: BTreeSet<&str> = members
        .iter()
        .filter_map(|member| member.path.split_once('/'))
        .filter_map(|(top, _)| top.ends_with(".dist-info").then_some(top))
        .collect();
    let mut directories = directories.into_iter();
    let Some(directory) = directories.next() else {
        return Err(refuse(name, "it has no .dist-info directory"));
    };
    if let Some(second) = directories.next() {
        return Err(refuse(name, &format!("it has two .dist-info directories, {directory} and {second}")));
    }
    let stem = directory.strip_suffix(".dist-info").unwrap_or(directory);
    match stem.split_once('-') {
        Some((own, version)) if name.is(own, version) => Ok(directory.to_owned()),
        _ => Err(refuse(name, &format!("its directory {directory} belongs to something else"))
            .hint("give the file the name back that it was built with")),
    }
}

fn refuse(name: &WheelName, why: &str) -> Failure {
    Failure::new(format!("{name} cannot be used: {why}"))
}
