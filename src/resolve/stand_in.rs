//! Stand-ins: wheels that hold nothing but what a project says it needs.
//!
//! The resolver is given a stand-in instead of the project's own wheel, so that a changed line of code
//! does not ask for a new resolution: only changed metadata does.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::build::Built;
use crate::error::{Context, Result};

/// Writes the stand-in into `scratch` and returns its path.
pub fn write(built: &Built, scratch: &Path) -> Result<PathBuf> {
    let stem = format!("{}-{}", built.name.replace('-', "_"), built.version);
    let path = scratch.join(format!("{stem}-py3-none-any.whl"));
    fill(&path, &stem, &built.metadata).context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}

fn fill(path: &Path, stem: &str, metadata: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    let mut archive = ZipWriter::new(File::create(path)?);
    let files = [
        ("METADATA", metadata),
        ("WHEEL", "Wheel-Version: 1.0\nGenerator: coil\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        ("RECORD", ""),
    ];
    for (name, text) in files {
        archive.start_file(format!("{stem}.dist-info/{name}"), options)?;
        archive.write_all(text.as_bytes())?;
    }
    archive.finish()?;
    Ok(())
}

/// The lines of a wheel's METADATA that a resolution depends on.
///
/// "Core metadata" is a list of headers, as in mail, then a description after an empty line; a header's
/// value may go on in indented lines.
pub fn essential(metadata: &str) -> String {
    const KEPT: [&str; 6] =
        ["metadata-version", "name", "version", "requires-python", "requires-dist", "provides-extra"];
    let mut kept = String::new();
    let mut keeps = false;
    for line in metadata.lines().take_while(|line| !line.is_empty()) {
        if !line.starts_with([' ', '\t']) {
            let key = line.split(':').next().unwrap_or_default().to_lowercase();
            keeps = KEPT.contains(&key.as_str());
        }
        if keeps {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The value of a header that occurs once.
pub fn header<'a>(metadata: &'a str, name: &str) -> Option<&'a str> {
    metadata.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = "Metadata-Version: 2.1\nName: Tool\nSummary: Name: other\n  and more\nVersion: 1.0\n\
                            Requires-Dist: click\n  >=8\nLicense-File: L\n\nRequires-Dist: not-this\n";

    #[test]
    fn only_what_a_resolution_depends_on_is_kept() {
        let kept = essential(METADATA);
        assert_eq!(kept, "Metadata-Version: 2.1\nName: Tool\nVersion: 1.0\nRequires-Dist: click\n  >=8\n");
        assert_eq!((header(METADATA, "name"), header(METADATA, "Requires-Python")), (Some("Tool"), None));
    }
}
