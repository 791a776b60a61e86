//! Which interpreter compiles, and what is known of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bytecode::Compiler;
use crate::interpreter::Interpreter;
use crate::store::{Key, Store};

/// An interpreter that compiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledBy {
    executable: PathBuf,
    version: (u16, u16),
    /// What says which compiler it has: also of a build between two versions, by the executable itself.
    build: String,
}

impl CompiledBy {
    /// This one; in a virtualenv the one behind it.
    pub fn new(interpreter: &Interpreter) -> Self {
        let Interpreter { base_executable, implementation, full_version, abi_flags, magic, machine, .. } =
            interpreter;
        let program =
            fs::metadata(base_executable).map(|file| (file.size(), file.mtime(), file.mtime_nsec())).ok();
        let build = format!("{:?}", (implementation, full_version, abi_flags, magic, machine, program));
        let (major, minor, _) = interpreter.version;
        CompiledBy { executable: base_executable.clone(), version: (major, minor), build }
    }

    /// What says which compiler it has. What it compiled counts for all that have the same.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// A compiler that has not been started.
    pub fn compiler(&self, store: &Store) -> Arc<Compiler> {
        let program = store.program(Key::new("compiler", &[&self.build]));
        Arc::new(Compiler::new(&self.executable, self.version, program, Arc::clone(store.pool())))
    }
}
