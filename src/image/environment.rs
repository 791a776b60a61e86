//! The uppermost layer: what makes a virtualenv of the layers below it.
//!
//! Wheels lie in `/venv` already, where their scripts expect the interpreter and their programs the runtime's loader. What
//! is missing is the interpreter's link, `pyvenv.cfg`, links to what lies elsewhere, and the commands. Nothing here
//! depends on the runtime's version, so that another one can be put below.

use coil_bootstrap::format::manifest::Manifest;

use super::root::Root;
use super::starts::{PROGRAMS, Starts};
use crate::error::Result;

/// The environment's files, without those that overlapping layers make necessary.
pub fn environment(manifest: &Manifest, starts: &Starts) -> Result<Root> {
    let mut root = Root::default();
    let python = &manifest.python;
    for (place, source) in &manifest.environment.links {
        let path = format!("venv/{place}");
        if *path != *source.path {
            let up = "../".repeat(path.matches('/').count());
            root.link(&path, format!("{up}{}", source.path))?;
        }
    }
    let home = python.executable.parent().map_or(String::new(), |home| home.to_string());
    let configuration = format!("home = /{home}\ninclude-system-site-packages = false\n");
    root.file("venv/pyvenv.cfg", configuration, false)?;
    root.link("venv/bin/python", format!("../../{}", python.executable))?;
    let versioned = python.executable.file_name();
    for name in ["python3", versioned] {
        let path = format!("venv/bin/{name}");
        let mut taken = manifest.environment.links.keys().chain(manifest.environment.scripts.keys());
        let is_taken = taken.any(|place| place.below("bin") == Some(name));
        if !root.has(&path) && !is_taken {
            root.link(&path, "python")?;
        }
    }
    for (name, text) in &starts.programs {
        root.file(&format!("{PROGRAMS}/{name}"), text.as_str(), true)?;
    }
    Ok(root)
}
