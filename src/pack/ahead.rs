//! What a pack does before it knows that it is needed: it starts the interpreter that compiles, and copies layers into the bundle.
//!
//! Who packs a project again has changed a line of it. So the interpreter starts in the first moment, and when git has answered,
//! before which the processors are needed more for that, all layers of the last time but the app's are copied. What is
//! guessed wrong is done anew, and the bundle is the same.

use std::path::{Path, PathBuf, absolute};
use std::sync::{Arc, OnceLock};

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{LayerKind, Manifest};
use serde::{Deserialize, Serialize};

use super::Parts;
use super::compiler::CompiledBy;
use crate::bundle::{Begun, Launcher};
use crate::bytecode::Compiler;
use crate::cli;
use crate::error::Result;
use crate::interpreter::Interpreter;
use crate::layer::Blob;
use crate::store::{Key, Store};

/// A bundle that is written while its parts are being made.
pub struct Ahead<'a> {
    begun: Begun,
    store: &'a Store,
    key: Key,
    guess: Guess,
    compiler: Option<Arc<Compiler>>,
    /// The compiler that is used, and of which interpreter it is.
    taken: OnceLock<(CompiledBy, Arc<Compiler>)>,
}

/// What is likely to be needed.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Guess {
    /// The bundle's name, which decides what is in its way.
    out: PathBuf,
    /// The first layers of the bundle.
    layers: Vec<Known>,
    /// The interpreter that compiles, if the last pack had anything to be compiled.
    by: Option<CompiledBy>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    digest: Digest,
    size: u64,
}

impl<'a> Ahead<'a> {
    /// Begins the bundle of this project: at `output`, or in the working directory under a name that the project
    /// decides. Its directory must exist.
    pub fn begin(store: &'a Store, project: &cli::Project, output: Option<&Path>) -> Result<Self> {
        let place = absolute(output.unwrap_or(Path::new("bundle"))).unwrap_or_default();
        let key =
            Key::new("ahead", &[&place.as_os_str().as_encoded_bytes(), &format!("{:?}", project.projects)]);
        let guess: Guess = store.get(key).unwrap_or_default();
        let compiler = guess.by.as_ref().map(|by| by.compiler(store));
        compiler.iter().for_each(|compiler| compiler.begin());
        let begun = Begun::new(output.unwrap_or(&guess.out), Launcher::ours()?);
        Ok(Ahead { begun, store, key, guess, compiler, taken: OnceLock::new() })
    }

    /// What compiles with this interpreter, which is what was started if the guess was right.
    pub fn compiler(&self, interpreter: &Interpreter) -> Arc<Compiler> {
        let by = CompiledBy::new(interpreter);
        let guessed = self.compiler.as_ref().filter(|_| self.guess.by.as_ref() == Some(&by));
        let compiler = guessed.cloned().unwrap_or_else(|| by.compiler(self.store));
        Arc::clone(&self.taken.get_or_init(|| (by, compiler)).1)
    }

    /// Copies the layers of the last time, which are probably those of this time.
    pub fn copy_likely(&self) {
        self.copy(&self.guess.layers);
    }

    /// Copies the layers that are known by now, before others are that may come after them or between, unless they are those that
    /// were likely: what came between the last time probably does again.
    pub fn know<'b>(&self, blobs: impl Iterator<Item = &'b Blob>) {
        let known: Vec<_> = blobs.map(|blob| Known { digest: blob.digest, size: blob.size }).collect();
        let mut guessed = self.guess.layers.iter();
        let is_right = known.iter().all(|known| guessed.any(|guess| guess == known));
        if !is_right {
            self.copy(&known);
        }
    }

    fn copy(&self, layers: &[Known]) {
        let there = layers.iter().take_while(|layer| self.store.has_blob(&layer.digest, layer.size));
        self.begun.copy(there.map(|layer| (self.store.blob(&layer.digest).into(), layer.size)));
    }

    /// Completes the bundle and gives it its name; another time its layers are a good guess.
    pub fn finish(self, out: &Path, parts: &Parts) -> Result<()> {
        let Ahead { begun, store, key, guess, compiler, taken } = self;
        compiler.iter().for_each(|compiler| compiler.end());
        begun.finish(out, &parts.manifest, &parts.blobs)?;
        let used = taken.into_inner().filter(|(_, compiler)| compiler.was_used());
        let by = used.map(|(by, _)| by);
        let good = Guess { out: out.to_owned(), layers: likely(&parts.manifest), by };
        if good != guess {
            // Nothing but time is lost without it.
            let _ = store.put(key, &good);
        }
        Ok(())
    }
}

/// All layers up to the app's, which is the one that changes.
fn likely(manifest: &Manifest) -> Vec<Known> {
    let before = manifest.layers.iter().take_while(|layer| layer.kind != LayerKind::App);
    before.map(|layer| Known { digest: layer.digest, size: layer.size }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::tags::tests::cpython_312;

    #[test]
    fn an_interpreter_that_was_guessed_is_taken_only_where_it_is_the_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let interpreter = Interpreter { base_executable: "/bin/false".into(), ..cpython_312() };
        let taken = |executable: &str, minor: u16| {
            let base_executable = executable.into();
            let by =
                CompiledBy::new(&Interpreter { base_executable, version: (3, minor, 1), ..cpython_312() });
            let guessed = by.compiler(&store);
            guessed.begin();
            let ahead = Ahead {
                begun: Begun::new(&directory.path().join("out"), Launcher::ours().unwrap()),
                store: &store,
                key: Key::new("ahead", &[&"test"]),
                guess: Guess { by: Some(by), ..Guess::default() },
                compiler: Some(Arc::clone(&guessed)),
                taken: OnceLock::new(),
            };
            let first = ahead.compiler(&interpreter);
            assert!(Arc::ptr_eq(&first, &ahead.compiler(&interpreter)) && !first.was_used());
            Arc::ptr_eq(&first, &guessed)
        };
        assert!(taken("/bin/false", 12));
        assert!(!taken("/bin/false", 11));
        assert!(!taken("/bin/true", 12));
        assert!(!taken("/gone/python3", 12), "what cannot be started is no error");
    }
}
