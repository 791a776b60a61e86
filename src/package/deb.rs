//! A package of Debian (deb(5)): an `ar` archive of three members.
//!
//! ```text
//! !<arch>\n
//! debian-binary    2.0\n
//! control.tar      ./control, ./conffiles, ./postinst, ./postrm, ./preinst, ./prerm
//! data.tar         the files
//! ```
//! Neither archive is compressed: dpkg reads a plain data.tar since 1.10.24 and a plain control.tar since 1.17.6 (2014).

use std::io::Write;

use super::stream::Part;
use super::{Entry, Kind, Package, Role, scripts};
use crate::error::{Context, Failure, Result};

/// The size of a member that the ten digits of its header can say, in bytes.
const LARGEST: u64 = 9_999_999_999;

/// The unit of a tar archive, in bytes.
const BLOCK: usize = 512;

/// A package of Debian.
pub struct Deb<'a>(pub &'a Package);

impl Deb<'_> {
    /// How its file is called: `NAME_VERSION_ARCHITECTURE.deb`.
    pub fn file_name(&self) -> String {
        let Package { name, version, architecture, .. } = self.0;
        format!("{name}_{}_{architecture}.deb", version.in_file_name())
    }

    /// Writes it.
    pub fn write(&self, out: &mut dyn Write, cannot: &dyn Fn() -> String) -> Result<()> {
        let control = self.control()?;
        let data = self.data()?;
        let mut put = |bytes: &[u8]| out.write_all(bytes).context(cannot);
        put(b"!<arch>\n")?;
        let members = [
            ("debian-binary", vec![Part::Bytes(b"2.0\n".into())]),
            ("control.tar", control),
            ("data.tar", data),
        ];
        for (name, parts) in &members {
            let length: u64 = parts.iter().map(Part::length).sum();
            if length > LARGEST {
                return Err(Failure::new(format!(
                    "{} is too large for a package of Debian: one holds {LARGEST} bytes, and this has {length}",
                    self.0.name
                ))
                .hint("install the bundle itself: copy it, and type COIL=install ./FILE; or make an image of it"));
            }
            put(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", self.0.time, 0, 0, "100644")
                .as_bytes())?;
            for part in parts {
                part.each(&mut put)?;
            }
            if length % 2 == 1 {
                put(b"\n")?;
            }
        }
        Ok(())
    }

    /// What the package manager is told, and the scripts.
    fn control(&self) -> Result<Vec<Part>> {
        let mut files = vec![("control", self.fields(), 0o644)];
        let configuration = self.0.entries.iter().filter(|entry| is_configuration(entry));
        let configuration: String = configuration.map(|entry| format!("/{}\n", entry.path)).collect();
        if !configuration.is_empty() {
            files.push(("conffiles", configuration, 0o644));
        }
        files.extend(scripts::deb(self.0).into_iter().map(|(name, text)| (name, text, 0o755)));
        let mut parts = vec![self.header("./", tar::EntryType::Directory, 0o755, 0, None)?];
        for (name, text, mode) in files {
            let length = text.len() as u64;
            parts.push(self.header(&format!("./{name}"), tar::EntryType::Regular, mode, length, None)?);
            parts.extend([Part::Bytes(text.into_bytes()), padding(length)]);
        }
        parts.push(Part::Bytes(vec![0; 2 * BLOCK]));
        Ok(parts)
    }

    /// Debian Policy 5.3, "Binary package control files".
    fn fields(&self) -> String {
        let package = self.0;
        let mut text = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: {}\nInstalled-Size: {}\nSection: misc\nPriority: optional\n",
            package.name,
            package.version.deb(),
            package.architecture,
            package.maintainer,
            package.size().div_ceil(1024),
        );
        if package.has_services {
            text += "Recommends: systemd\n";
        }
        if let Some(homepage) = &package.homepage {
            text += &format!("Homepage: {homepage}\n");
        }
        text + &format!("Description: {}\n {}\n", package.summary, package.description)
    }

    fn data(&self) -> Result<Vec<Part>> {
        let mut parts = vec![self.header("./", tar::EntryType::Directory, 0o755, 0, None)?];
        for entry in &self.0.entries {
            let path = format!("./{}", entry.path);
            match &entry.kind {
                Kind::Directory { .. } => {
                    parts.push(self.header(
                        &format!("{path}/"),
                        tar::EntryType::Directory,
                        0o755,
                        0,
                        None,
                    )?);
                }
                Kind::Link(target) => {
                    parts.push(self.header(&path, tar::EntryType::Symlink, 0o777, 0, Some(target))?);
                }
                Kind::File { content, mode, .. } => {
                    let length = content.length();
                    parts.push(self.header(&path, tar::EntryType::Regular, *mode, length, None)?);
                    parts.extend([Part::of(content), padding(length)]);
                }
            }
        }
        parts.push(Part::Bytes(vec![0; 2 * BLOCK]));
        Ok(parts)
    }

    fn header(
        &self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        length: u64,
        target: Option<&str>,
    ) -> Result<Part> {
        let mut header = tar::Header::new_gnu();
        let name = header.as_gnu_mut().map(|header| &mut header.name[..]);
        // `set_path` takes "./" away, which dpkg's own archives have.
        let fits = name.filter(|name| path.len() <= name.len()).map(|name| {
            name[..path.len()].copy_from_slice(path.as_bytes());
        });
        fits.ok_or_else(|| Failure::new(format!("the path {path} is too long for a package")))?;
        if let Some(target) = target {
            header.set_link_name(target).context(|| format!("the link {path} is too long for a package"))?;
        }
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(length);
        header.set_mtime(self.0.time);
        header.set_uid(0);
        header.set_gid(0);
        let named = header.set_username("root").and_then(|()| header.set_groupname("root"));
        named.context(|| format!("cannot describe {path}"))?;
        header.set_cksum();
        Ok(Part::Bytes(header.as_bytes().to_vec()))
    }
}

fn is_configuration(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::File { role: Role::Configuration, .. })
}

fn padding(length: u64) -> Part {
    Part::Bytes(vec![0; (BLOCK - (length % BLOCK as u64) as usize) % BLOCK])
}
