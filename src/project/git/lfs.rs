//! Files that Git LFS keeps elsewhere and that are not here: what lies in their place is a pointer, a text of
//! three lines.
//!
//! A clone without `git lfs install` has pointers, and so has the check-out of most build services unless
//! they are told otherwise. Nobody means to ship these.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use super::command;
use crate::error::{Context, Failure, Result};

/// How a pointer begins: "The first key is always version" (Git LFS specification, "The Pointer").
const BEGINNING: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// "Pointer files must be ... less than 1024 bytes in size" (ibid.), and an `oid` and a `size` they have.
const LENGTHS: std::ops::Range<u64> = 100..1024;

/// Those of the files `names` in `directory` that are pointers, although git is to keep them with LFS.
///
/// A file that only looks like one, in the tests of a tool for LFS, has no such attribute.
pub fn pointers<'a>(directory: &Path, names: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let names: Vec<&str> = names.filter(|name| is_pointer(&directory.join(name))).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let attributes = filters(directory, &names)?;
    let kept = names.iter().filter(|name| attributes.contains(&((**name).to_owned(), "lfs".to_owned())));
    Ok(kept.map(|name| (*name).to_owned()).collect())
}

/// What brings the files of a directory, as a hint.
pub fn bring(directory: &Path) -> String {
    format!(
        "`git lfs install`, then `git -C {} lfs pull` brings them; or leave them out with exclude in [tool.coil]",
        directory.display()
    )
}

fn is_pointer(path: &Path) -> bool {
    let looks_like = || -> std::io::Result<bool> {
        let there = path.symlink_metadata()?;
        if !there.is_file() || !LENGTHS.contains(&there.len()) {
            return Ok(false);
        }
        let mut beginning = Vec::new();
        File::open(path)?.take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
        Ok(beginning == BEGINNING)
    };
    // What cannot be read is an error for whoever packs it.
    looks_like().unwrap_or(false)
}

/// The attribute `filter` of each of the files.
fn filters(directory: &Path, names: &[&str]) -> Result<Vec<(String, String)>> {
    let asked = || "git cannot be asked for attributes".to_owned();
    let mut child = command(directory)
        .args(["check-attr", "-z", "--stdin", "filter"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(asked)?;
    let text: String = names.iter().map(|name| format!("{name}\0")).collect();
    let input = child.stdin.take();
    // It answers while it reads: somebody has to listen in the meantime.
    let writer =
        std::thread::spawn(move || input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes())));
    let output = child.wait_with_output().context(asked)?;
    let written = writer.join().unwrap_or(Ok(()));
    if !output.status.success() {
        return Err(Failure::new(asked()).because(String::from_utf8_lossy(&output.stderr).trim()));
    }
    written.context(asked)?;
    let answer = String::from_utf8_lossy(&output.stdout);
    // PATH NUL "filter" NUL VALUE NUL, again and again.
    let fields: Vec<&str> = answer.split('\0').collect();
    let triples = fields.chunks_exact(3);
    Ok(triples.map(|triple| (triple[0].to_owned(), triple[2].to_owned())).collect())
}
