//! Bytes of a package in the making: texts from memory, and the bundle from its file, which may be larger than memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Content;
use crate::error::{Failure, Result};

/// A part of a stream.
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of this many bytes.
    File(PathBuf, u64),
}

impl Part {
    /// The part that is this content.
    pub fn of(content: &Content) -> Part {
        match content {
            Content::Text(text) => Part::Bytes(text.clone().into_bytes()),
            Content::Bundle(path, length) => Part::File(path.clone(), *length),
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File(_, length) => *length,
        }
    }

    /// Gives its bytes to `sink`, piece by piece.
    pub fn each(&self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            Part::Bytes(bytes) => sink(bytes),
            Part::File(path, length) => each(path, *length, sink),
        }
    }
}

fn each(path: &Path, length: u64, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let cannot = |error: io::Error| Failure::new(format!("cannot read {}", path.display())).because(error);
    let mut file = File::open(path).map_err(cannot)?;
    let mut left = length;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(cannot)?;
        if count as u64 > left || (count == 0 && left > 0) {
            return Err(Failure::new(format!("{} was changed while it was read", path.display()))
                .hint("wait until it is written, and do this again"));
        }
        if count == 0 {
            return Ok(());
        }
        left -= count as u64;
        sink(&buffer[..count])?;
    }
}
