//! Build environments: virtualenvs with what a build backend needs, kept by what they are made of.
//!
//! An environment is complete when the file `complete` is in it; one without is made anew. A lock file
//! beside it keeps two packs from making the same one at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use coil_bootstrap::format::digest::Digest;
use serde_json::json;

use super::build::Workshop;
use super::key::interpreter_essence;
use super::settings::Indexes;
use super::tool::{clean, run};
use crate::error::{Context, Result};

/// The environments for the builds of one directory.
pub struct BuildEnvironments<'a> {
    /// Where they are, and what they are made with.
    pub workshop: &'a Workshop<'a>,
    /// The directory that is built: named in failures.
    pub directory: &'a Path,
}

impl BuildEnvironments<'_> {
    /// The interpreter of an environment with these requirements.
    pub fn with(&self, requirements: &[String]) -> Result<PathBuf> {
        let mut sorted = requirements.to_vec();
        sorted.sort();
        sorted.dedup();
        let place = self.workshop.cache.join(&self.key(&sorted)[..32]);
        let python = place.join("bin/python");
        let shown = || format!("the build environment {} cannot be made", place.display());
        fs::create_dir_all(self.workshop.cache).context(shown)?;
        let lock = File::create(place.with_extension("lock")).context(shown)?;
        // Without locks (NFS) two packs may at worst disturb each other, and the next one repairs it.
        let _ = lock.lock();
        let complete = place.join("complete");
        let is_fresh = !self.workshop.refresh || self.made_by_this_process(&place);
        if complete.exists() && python.exists() && is_fresh {
            crate::last_use::mark(&complete);
            return Ok(python);
        }
        if place.exists() {
            fs::remove_dir_all(&place).context(shown)?;
        }
        self.make(&place, &sorted)?;
        fs::write(&complete, std::process::id().to_string()).context(shown)?;
        Ok(python)
    }

    /// A second call in one refreshing pack does not make it a second time.
    fn made_by_this_process(&self, place: &Path) -> bool {
        fs::read_to_string(place.join("complete")).is_ok_and(|text| text == std::process::id().to_string())
    }

    fn key(&self, requirements: &[String]) -> String {
        let workshop = self.workshop;
        let key = json!([
            requirements,
            interpreter_essence(workshop.interpreter),
            workshop.interpreter.base_executable,
            workshop.options.essence(),
        ]);
        Digest::of(key.to_string().as_bytes()).hex()
    }

    fn make(&self, place: &Path, requirements: &[String]) -> Result<()> {
        let tools = self.workshop.tools()?;
        let interpreter = self.workshop.interpreter;
        let what = format!("what is needed to build {} cannot be installed", self.directory.display());
        let mut command = Command::new(&interpreter.base_executable);
        command.args(["-m", "venv", "--without-pip"]).arg(place);
        clean(&mut command);
        run(command, &what)?;
        if requirements.is_empty() {
            return Ok(());
        }
        let list = place.join("requirements.txt");
        fs::write(&list, requirements.join("\n") + "\n")
            .context(|| format!("{} cannot be written", list.display()))?;
        let indexes = Indexes::collect(self.workshop.options, false);
        let python = place.join("bin/python");
        let mut command = match &tools.uv {
            Some(uv) => {
                let mut command = Command::new(uv);
                // The backend runs without writing byte code.
                command.args([
                    "pip",
                    "install",
                    "--compile-bytecode",
                    "--quiet",
                    "--no-progress",
                    "--color",
                    "never",
                    "--python",
                ]);
                command.arg(&python);
                let (words, variables) = indexes.for_uv();
                command.args(words).envs(variables);
                clean(&mut command);
                command
            }
            None => {
                let mut command = tools.pip(interpreter)?;
                command.arg("--python").arg(&python).args(["install", "--quiet"]);
                let (words, variables) = indexes.for_pip();
                command.args(words).envs(variables);
                command
            }
        };
        command.arg("-r").arg(&list);
        run(command, &what)?;
        Ok(())
    }
}
