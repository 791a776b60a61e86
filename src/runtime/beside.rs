//! What stands beside the standard library in a runtime: certificates and time zones of this machine, and where
//! they are kept, headers, static libraries and Tcl's scripts.

use std::fs;
use std::path::{Path, PathBuf};

use super::keep::Keep;
use super::{Harvester, certificates, locale, sysconfig, tcl, time_zones, tree_path};
use crate::error::{Context, Failure, Result};
use crate::tree::Content;

/// Places outside of the installation that a harvest reads, beside libraries: what is in them has changed when their
/// own times have.
pub fn places() -> Vec<PathBuf> {
    let zones = time_zones::source().map(|zones| [zones.join("Etc"), zones]);
    zones.into_iter().flatten().chain(certificates::source()).chain(locale::source()).collect()
}

impl Harvester<'_> {
    /// Certificates and time zones, for hosts without.
    pub(super) fn add_machines(&mut self) -> Result<()> {
        match certificates::source() {
            Some(source) => {
                let cannot = || format!("cannot read the certificates in {}", source.display());
                let text = certificates::read(&source).context(cannot)?;
                self.add_from(certificates::PLACE, text.into_bytes(), &source)?;
                self.machines.push(("certificates".into(), source));
            }
            None => self.notes.push(
                "certificates are not carried: this machine has no ca-certificates; hosts without have none"
                    .into(),
            ),
        }
        match time_zones::source() {
            Some(source) => {
                let cannot = || format!("cannot read the time zones in {}", source.display());
                let zones = time_zones::read(&source).context(cannot)?;
                self.add_from(time_zones::PLACE, zones, &source)?;
                self.machines.push(("time zones".into(), source.join(time_zones::WITNESS)));
            }
            None => self.notes.push(
                "time zones are not carried: this machine has no tzdata; hosts without take a wheel's".into(),
            ),
        }
        if let Some(source) = locale::source() {
            self.add_directory(&source, locale::PLACE)?;
            self.machines.push(("the locale C.UTF-8".into(), source.join("LC_CTYPE")));
        }
        Ok(())
    }

    /// Headers and static libraries, where they are kept.
    pub(super) fn add_for_building(&mut self) -> Result<()> {
        let interpreter = self.interpreter;
        let prefix = &interpreter.base_prefix;
        if self.kept.has(Keep::Headers) {
            let name = format!("include/python{}{}", interpreter.minor_version(), interpreter.abi_flags);
            let directory = prefix.join(&name);
            if !directory.join("Python.h").is_file() {
                return Err(self.nothing_to_keep(Keep::Headers));
            }
            self.add_directory(&directory, &format!("python/{name}"))?;
        }
        if self.kept.has(Keep::Static) {
            let library = format!("libpython{}{}.a", interpreter.minor_version(), interpreter.abi_flags);
            let path = prefix.join("lib").join(&library);
            if path.is_file() {
                self.insert(
                    tree_path(format!("python/lib/{library}"))?,
                    Content::File(path),
                    false,
                    &self.origin.clone(),
                )?;
            }
        }
        Ok(())
    }

    /// The scripts of Tcl and Tk, where tkinter is kept.
    pub(super) fn add_tcl(&mut self) -> Result<()> {
        if !self.kept.has(Keep::Tkinter) {
            return Ok(());
        }
        let found = self.libraries.found();
        let scripts = tcl::scripts(&found, &self.interpreter.base_prefix).map_err(|missing| {
            Failure::new(format!(
                "tkinter cannot be kept: {missing}, a script of Tcl, is not on this machine"
            ))
            .hint("install the packages of Tcl and Tk (Debian: libtcl8.6, libtk8.6), or leave tkinter out")
        })?;
        for directory in scripts {
            self.add_directory(&directory.path, &format!("python/lib/{}", directory.name))?;
        }
        Ok(())
    }

    /// What to say where something is to be kept that this Python does not have.
    pub(super) fn nothing_to_keep(&self, part: Keep) -> Failure {
        let (origin, what) = (&self.origin, part.described());
        let place = self.interpreter.base_prefix.display();
        Failure::new(format!("{origin} in {place} has no {what} to keep")).hint(
            "install them (on Debian in a package of their own, such as python3-tk or python3-dev), name another \
             interpreter with --python, or keep less",
        )
    }

    fn add_from(&mut self, place: &str, bytes: Vec<u8>, source: &Path) -> Result<()> {
        let origin = source.display().to_string().into();
        self.insert(tree_path(place.to_owned())?, Content::bytes(bytes), false, &origin)
    }

    /// Every file in `directory`, below `place` in the runtime. A link to a file becomes that file.
    fn add_directory(&mut self, directory: &Path, place: &str) -> Result<()> {
        let cannot = || format!("cannot read {}", directory.display());
        for entry in fs::read_dir(directory).context(cannot)? {
            let entry = entry.context(cannot)?;
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str() else { continue };
            let below = format!("{place}/{name}");
            let link = entry.file_type().context(cannot)?.is_symlink();
            if path.is_dir() && !link {
                self.add_directory(&path, &below)?;
            } else if path.is_file() {
                let mut text = fs::read(&path).context(cannot)?;
                if sysconfig::is_text(&text) {
                    text = sysconfig::relocated(text, &self.interpreter.base_prefix);
                }
                self.insert(tree_path(below)?, Content::bytes(text), false, &self.origin.clone())?;
            }
        }
        Ok(())
    }
}
