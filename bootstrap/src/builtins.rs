//! The launcher's own commands: `COIL=NAME ./app`.

use std::io::{self, Write};

use crate::bundle::Bundle;
use crate::c_library;
use crate::cache::Candidate;
use crate::error::{Error, Result};
use crate::format::manifest::{LayerKind, Manifest};
use crate::host::Host;
use crate::verify;

/// One of the launcher's own commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// Lists these commands and those of the app.
    Help,
    /// Lists what is inside.
    Inspect,
    /// Starts the interpreter.
    Python,
    /// Checks every digest.
    Verify,
    /// Prints where this bundle's environment is or would be.
    Where,
}

const ALL: [(&str, Builtin, &str); 5] = [
    ("help", Builtin::Help, "this list"),
    ("inspect", Builtin::Inspect, "what is inside: commands, Python, layers with their sizes"),
    ("python", Builtin::Python, "start the interpreter inside, with ARGS"),
    ("verify", Builtin::Verify, "compare every byte of the payload with its digest"),
    ("where", Builtin::Where, "print the directories it is or would be unpacked to, best first"),
];

impl Builtin {
    /// The command with this name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(known, ..)| *known == name).map(|(_, builtin, _)| *builtin)
    }

    /// Whether it can only run in the environment.
    pub fn needs_environment(self) -> bool {
        self == Builtin::Python
    }
}

/// Runs a command that needs no environment and returns the exit code.
pub fn run(builtin: Builtin, bundle: &Bundle, host: &Host) -> Result<i32> {
    let text = match builtin {
        Builtin::Help | Builtin::Python => help(bundle.manifest()),
        Builtin::Inspect => inspect(bundle.manifest()),
        Builtin::Verify => {
            verify::verify(bundle)?;
            format!("{} layers are intact\n", bundle.manifest().layers.len())
        }
        Builtin::Where => {
            let libc = c_library::choose(bundle.manifest(), host.order()?)?;
            let place = |candidate: &Candidate| candidate.environment(&bundle.digest(), libc);
            host.candidates.iter().map(|candidate| format!("{}\n", place(candidate).display())).collect()
        }
    };
    // A reader that went away (`| head`) is no error.
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::at("write to", "standard output")(error))
        }
        _ => Ok(0),
    }
}

fn help(manifest: &Manifest) -> String {
    let mut text =
        format!("{} is a coil bundle. Started plainly, it passes every argument on.\n\n", manifest.name);
    for (name, _, what) in ALL {
        text += &format!("  COIL={name:<9} {what}\n");
    }
    text += "\n  COIL_RUN=NAME  run another command: ";
    text += &manifest.commands.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    text +=
        "\n                 (or any program of its environment; a symbolic link called NAME does the same)\n";
    text += "  COIL_CACHE=DIR unpack below DIR\n";
    text += "  COIL_LIBC=RULE run with the newer C library (auto), the carried one (bundled) or the host's (host)\n";
    text += "  COIL_INHERIT=1 let PYTHONPATH and PYTHONHOME reach the app\n";
    text
}

fn inspect(manifest: &Manifest) -> String {
    let python = &manifest.python;
    let version = manifest.version.as_deref().unwrap_or("");
    let mut text = format!("{} {version}\n", manifest.name).replace(" \n", "\n");
    text += &format!("python {} ({}, {})\n", python.version, python.abi, python.libc);
    if let Some(source) = &manifest.source {
        text += &format!("commit {}{}\n", source.commit, if source.dirty { " (with changes)" } else { "" });
    }
    for (name, command) in &manifest.commands {
        let mark = if manifest.default.as_ref() == Some(name) { " (default)" } else { "" };
        text += &format!("command {name}{mark}: {}\n", command.script);
    }
    for layer in &manifest.layers {
        let kind = match layer.kind {
            LayerKind::Runtime => "runtime",
            LayerKind::Libraries => "libs",
            LayerKind::Wheel => "wheel",
            LayerKind::App => "app",
        };
        let version = layer.version.as_deref().unwrap_or("");
        text += &format!(
            "{kind:<8}{:<32} {version:<12} {:>10} bytes  {}\n",
            layer.name, layer.size, layer.digest
        );
    }
    text
}
