//! Copying layers into a bundle before all that it is made of is known.
//!
//! Who packs a project again has changed a line of it, and most layers are those of the last time. So these are
//! copied from the first moment on. It is a guess: what turns out otherwise is copied anew, and the bundle is the same.

use std::path::{Path, absolute};

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{LayerKind, Manifest};
use serde::{Deserialize, Serialize};

use super::Parts;
use crate::bundle::{Begun, Launcher};
use crate::cli;
use crate::error::Result;
use crate::layer::Blob;
use crate::store::{Key, Store};

/// A bundle that is written while its parts are being made.
pub struct Ahead<'a> {
    begun: Begun,
    store: &'a Store,
    key: Key,
    guessed: Vec<Guess>,
}

/// A layer that is likely to be one of the bundle's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Guess {
    digest: Digest,
    size: u64,
}

impl<'a> Ahead<'a> {
    /// Begins the bundle of this project: at `output`, or in the working directory under a name that the project
    /// decides. Its directory must exist.
    pub fn begin(store: &'a Store, project: &cli::Project, output: Option<&Path>) -> Result<Self> {
        let output = output.unwrap_or(Path::new("bundle"));
        let begun = Begun::new(output, Launcher::ours()?);
        let place = absolute(output).unwrap_or_default();
        let key =
            Key::new("ahead", &[&place.as_os_str().as_encoded_bytes(), &format!("{:?}", project.projects)]);
        let guessed: Vec<Guess> = store.get(key).unwrap_or_default();
        let ahead = Ahead { begun, store, key, guessed };
        ahead.copy(ahead.guessed.iter().take_while(|guess| store.has_blob(&guess.digest, guess.size)));
        Ok(ahead)
    }

    /// Tells the first layers of the bundle, before others are known that may come after them or between.
    pub fn know<'b>(&self, blobs: impl Iterator<Item = &'b Blob>) {
        let known: Vec<_> = blobs.map(|blob| Guess { digest: blob.digest, size: blob.size }).collect();
        let mut guessed = self.guessed.iter();
        if !known.iter().all(|known| guessed.any(|guess| guess == known)) {
            self.copy(known.iter());
        }
    }

    /// Completes the bundle and gives it its name; another time its layers are a good guess.
    pub fn finish(self, out: &Path, parts: &Parts) -> Result<()> {
        let Ahead { begun, store, key, guessed } = self;
        begun.finish(out, &parts.manifest, &parts.blobs)?;
        let good = good_guess(&parts.manifest);
        if good != guessed {
            // Nothing but time is lost without it.
            let _ = store.put(key, &good);
        }
        Ok(())
    }

    fn copy<'b>(&self, guesses: impl Iterator<Item = &'b Guess>) {
        self.begun.copy(guesses.map(|guess| (self.store.blob(&guess.digest).into(), guess.size)));
    }
}

/// All layers up to the app's, which is the one that changes.
fn good_guess(manifest: &Manifest) -> Vec<Guess> {
    let before = manifest.layers.iter().take_while(|layer| layer.kind != LayerKind::App);
    before.map(|layer| Guess { digest: layer.digest, size: layer.size }).collect()
}
