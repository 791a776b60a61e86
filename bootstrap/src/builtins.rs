//! The launcher's own commands: `COIL=NAME ./app`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::bundle::Bundle;
use crate::c_library;
use crate::cache::{Cache, Candidate, SYSTEM_STORE};
use crate::clean_up::{self, Keep, Removed, Rules};
use crate::error::{Error, Result};
use crate::extract::extract;
use crate::first_start;
use crate::format::manifest::{LayerKind, Manifest};
use crate::host::Host;
use crate::mend;
use crate::release;
use crate::verify;

/// One of the launcher's own commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// Makes its release the one that serves.
    Activate,
    /// Removes what is not used from the cache.
    Clean,
    /// Runs a command as the services of the app run.
    Exec,
    /// Lists these commands and those of the app.
    Help,
    /// Lists what is inside.
    Inspect,
    /// Unpacks into a store for all users, and makes a release of a bundle with services.
    Install,
    /// Starts the interpreter.
    Python,
    /// Receives a bundle over standard input, and installs it.
    Receive,
    /// Takes the app off this machine.
    Remove,
    /// Makes again what of the cache differs from the bundle.
    Repair,
    /// Makes the release before the one that serves the one that serves.
    RollBack,
    /// Tells which releases are there.
    Status,
    /// Prints its units.
    Units,
    /// Writes everything into a directory.
    Unpack,
    /// Compares the bundle with its digests, and what is unpacked with the bundle.
    Verify,
    /// Prints where this bundle's environment is or would be.
    Where,
}

const ALL: [(&str, Builtin, &str); 16] = [
    (
        "activate",
        Builtin::Activate,
        "bring its services up here, and end those of the release before it; --weight N: so many of 100 requests beside it",
    ),
    ("exec", Builtin::Exec, "run COMMAND with the user, settings and sandbox of its services"),
    (
        "gc",
        Builtin::Clean,
        "remove what has not been used for a day from the cache (COIL_KEEP=DAYS: for so long)",
    ),
    ("help", Builtin::Help, "this list"),
    ("inspect", Builtin::Inspect, "what is inside: commands, Python, layers with their sizes"),
    (
        "install",
        Builtin::Install,
        "unpack into /var/lib/coil, or DIR, for every user; with services: a release in /var/lib/NAME; --quiet",
    ),
    ("python", Builtin::Python, "start the interpreter inside, with ARGS"),
    ("receive", Builtin::Receive, "take a bundle from `coil deploy` over standard input, and install it"),
    (
        "remove",
        Builtin::Remove,
        "stop its services, remove its releases and what is unpacked in /var/lib/coil; --purge: settings and state, too",
    ),
    ("repair", Builtin::Repair, "make again what of it in the cache is not as it was unpacked"),
    ("rollback", Builtin::RollBack, "bring the release up that served before, or RELEASE"),
    ("status", Builtin::Status, "releases on this machine, which of them serves, and its units; --json"),
    ("units", Builtin::Units, "print the units that systemd would get"),
    ("unpack", Builtin::Unpack, "write all files inside into DIR, to look at them"),
    ("verify", Builtin::Verify, "compare every byte of the payload with its digest, and of what is unpacked"),
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
        Builtin::Help | Builtin::Python | Builtin::Receive => help(bundle.manifest()),
        Builtin::Inspect => inspect(bundle.manifest()),
        Builtin::Clean => clean(host)?,
        Builtin::Activate => release::activate(bundle, host)?,
        Builtin::Exec => return release::exec(bundle, host),
        Builtin::Remove => release::remove(bundle, host)?,
        Builtin::RollBack => release::roll_back(bundle, host)?,
        Builtin::Status => release::status(bundle, host.args.get(1).is_some_and(|arg| arg == "--json"))?,
        Builtin::Units => units(bundle),
        Builtin::Install => install(bundle, host)?,
        Builtin::Repair => mend::repair(bundle, host)?,
        Builtin::Unpack => {
            let directory = host.args.get(1).map(Path::new).ok_or(Error::NoDirectory)?;
            extract(bundle, directory)?;
            format!("{}\n", directory.display())
        }
        Builtin::Verify => {
            verify::verify(bundle)?;
            say(&format!("{} layers are intact\n", bundle.manifest().layers.len()))?;
            let (text, verdict) = mend::check(bundle, host)?;
            return say(&text).and(verdict);
        }
        Builtin::Where if host.args.get(1).is_some_and(|arg| arg == "--static") => {
            static_files(bundle, host)?
        }
        Builtin::Where => {
            let libc = c_library::choose(bundle.manifest(), host.order()?)?;
            let place = |candidate: &Candidate| candidate.environment(&bundle.digest(), libc);
            let counts = |candidate: &&Candidate| !candidate.prepared || place(candidate).exists();
            let places = host.candidates.iter().filter(counts).map(place);
            places.map(|place| format!("{}\n", place.display())).collect()
        }
    };
    say(&text)
}

/// Prints the text; a reader that went away (`| head`) is no error.
fn say(text: &str) -> Result<i32> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::at("write to", "standard output")(error))
        }
        _ => Ok(0),
    }
}

/// Cleans up every cache that this user may write to, and says what went. Where the user keeps all, that is what killed
/// starts left behind.
fn clean(host: &Host) -> Result<String> {
    let keep = Keep::of(host.keep.as_deref(), 1)?;
    let mut text = String::new();
    let own = |candidate: &&Candidate| !candidate.prepared && candidate.distrust(host.uid).is_none();
    for candidate in host.candidates.iter().filter(own) {
        let root = fs::canonicalize(&candidate.root).map_err(Error::at("open", &candidate.root))?;
        let Ok(cache) = Cache::there(&root) else { continue };
        let _lock = cache.lock(0);
        cache.sweep(None);
        let removed = match keep {
            Keep::All => Removed::default(),
            Keep::Days(days) => {
                let keep = clean_up::DAY * days;
                clean_up::clean_up(
                    &root,
                    &Rules { keep, app: "", own: Path::new(""), gone: &[], until: None },
                )?
            }
        };
        let Removed { environments, layers, bytes } = removed;
        let place = candidate.root.display();
        text += &format!(
            "{place}: {environments} environments and {layers} layers removed, {} MB\n",
            bytes / 1_000_000
        );
    }
    Ok(text)
}

/// Unpacks, and says where to, unless `--quiet` is said: what a service does before each of its starts is no news.
fn install(bundle: &Bundle, host: &Host) -> Result<String> {
    let (options, named): (Vec<_>, Vec<_>) = host.args.iter().skip(1).partition(|arg| *arg == "--quiet");
    let said = install_at(bundle, host, named.first().copied())?;
    Ok(if options.is_empty() { said } else { String::new() })
}

/// Unpacks into the directory that is named, or the system's store. A bundle with services becomes a release as well,
/// where systemd runs them and no other directory is named.
fn install_at(bundle: &Bundle, host: &Host, named: Option<&OsString>) -> Result<String> {
    if let Some(named) = named {
        return Ok(format!("{}\n", first_start::install_into(bundle, host, Path::new(named))?.display()));
    }
    if bundle.manifest().production.services.is_empty() || !release::is_possible() {
        let environment = first_start::install_into(bundle, host, Path::new(SYSTEM_STORE))?;
        return Ok(format!("{}\n", environment.display()));
    }
    let installed = release::install(bundle, host)?;
    let mut text = format!("{}\n", installed.release.file().display());
    if installed.settings_made {
        let app = release::App::of(bundle.manifest());
        text += &format!("its settings are in {}, which is yours from now on\n", app.settings().display());
    }
    Ok(text)
}

/// Where the app's static files are unpacked.
fn static_files(bundle: &Bundle, host: &Host) -> Result<String> {
    let environment = first_start::prepare(bundle, host, false)?;
    release::static_files(bundle, &environment).map(|path| format!("{}\n", path.display())).ok_or_else(|| {
        let name = &bundle.manifest().name;
        Error::Release(format!(
            "{name} has no static files at app/staticfiles: name their directory (static in [tool.coil.services.web]) and \
             have them collected by a build step"
        ))
    })
}

/// The units of its release, each under its path.
fn units(bundle: &Bundle) -> String {
    let units = release::units(bundle.manifest(), &release::id(&bundle.digest()));
    let path = |unit: &release::Unit| format!("{}/{}", release::UNITS, unit.name);
    units.iter().map(|unit| format!("# {}\n{}\n", path(unit), unit.text)).collect()
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
    text +=
        "  COIL_KEEP=DAYS remove what has not been used for so long from the cache (30; never: keep all)\n";
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
