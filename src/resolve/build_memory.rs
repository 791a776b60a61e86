//! What a build backend asked for last time, so that it need not be asked at every pack.
//!
//! The answer is kept by the files that it follows from. Losing it costs time and nothing else.

use std::fs;
use std::path::PathBuf;

use coil_bootstrap::format::digest::Digest;
use serde_json::json;

use super::build::Workshop;
use super::key::interpreter_essence;
use crate::project::Build;

/// The place of one answer.
pub struct Memory {
    file: PathBuf,
    refresh: bool,
}

impl Memory {
    /// The answer for a directory with these files, built for this interpreter.
    pub fn of(build: &Build, workshop: &Workshop) -> Memory {
        let files = ["pyproject.toml", "setup.py", "setup.cfg"]
            .map(|name| fs::read(build.directory.join(name)).map(|bytes| Digest::of(&bytes)).ok());
        let key = json!([files, interpreter_essence(workshop.interpreter)]);
        let name = format!("{}.needs", &Digest::of(key.to_string().as_bytes()).hex()[..32]);
        Memory { file: workshop.cache.join(name), refresh: workshop.refresh }
    }

    /// What was asked for last time.
    pub fn recall(&self) -> Option<Vec<String>> {
        if self.refresh {
            return None;
        }
        serde_json::from_slice(&fs::read(&self.file).ok()?).ok()
    }

    /// Keeps what is asked for now, where it can be kept.
    pub fn keep(&self, needs: &[String]) {
        let Ok(text) = serde_json::to_vec(needs) else { return };
        let Some(directory) = self.file.parent() else { return };
        let written = tempfile::NamedTempFile::new_in(directory)
            .and_then(|file| fs::write(file.path(), text).map(|()| file))
            .and_then(|file| file.persist(&self.file).map_err(Into::into));
        drop(written);
    }
}
