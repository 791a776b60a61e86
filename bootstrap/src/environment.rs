//! Assembling an environment: a virtualenv whose content is links into unpacked layers.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::c_library::{Choice, HOST_LOADER, host_directories};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::manifest::{Manifest, Slot, Source, is_command_name};
use crate::format::path::TreePath;
use crate::record::{Command, Record};

/// The launch record's place in an environment.
pub const RECORD: &str = ".launch";

/// The first line of every script in a layer: the interpreter's place in an image. On this machine the
/// line names the environment's interpreter instead.
const SHEBANG: &[u8] = b"#!/venv/bin/python\n";

/// The longest first line every supported kernel reads, in bytes (128 before Linux 5.1).
const MAX_SHEBANG: usize = 127;

/// An environment that is about to be assembled.
pub struct Assembly<'a> {
    /// The cache its layers are in.
    pub cache: &'a Cache,
    /// What it is made from.
    pub manifest: &'a Manifest,
    /// Its name: the manifest's digest.
    pub digest: Digest,
    /// The host it is for, as the launch record has it.
    pub host: &'a str,
}

impl Assembly<'_> {
    /// Puts the environment together in the empty directory `target`, as it will stand at its final place.
    pub fn assemble(&self, target: &Path) -> Result<()> {
        let python = &self.manifest.python;
        let plan = &self.manifest.environment;
        let place = self.cache.environment(&self.digest);
        let mut directories = Directories { root: target, made: BTreeSet::new() };
        for directory in ["bin", "run", python.site_packages.as_str()] {
            directories.make(directory)?;
        }
        for (path, source) in &plan.links {
            directories.make_above(path)?;
            make_link(&self.link_target(path, source), &target.join(path))?;
        }
        for (path, source) in &plan.scripts {
            directories.make_above(path)?;
            self.write_script(source, &place, &target.join(path))?;
        }
        self.link_interpreter(target)?;
        self.write_configuration(target)?;
        let commands = commands(self.manifest);
        for command in commands.iter().filter(|command| !command.native) {
            // Named like the command, so that /proc/PID/comm is; beside `bin`, so that Python still
            // finds `pyvenv.cfg` one directory up.
            make_link(Path::new("../bin/python"), &target.join("run").join(command.name))?;
        }
        let variables = plan.variables.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let layers: Vec<String> =
            self.manifest.layers.iter().map(|layer| self.cache.directory(layer)).collect();
        let record = Record {
            environment: &place,
            host: self.host,
            default: self.manifest.default.as_deref(),
            layers: layers.iter().map(String::as_str).collect(),
            commands,
            variables: variables.collect(),
        };
        write_file(&target.join(RECORD), &record.encode(), 0o644)
    }

    /// Where a link at `path` in the environment leads: relative, from `ROOT/envs/HEX/path`.
    fn link_target(&self, path: &str, source: &Source) -> PathBuf {
        let layer = &self.manifest.layers[source.layer];
        let up = "../".repeat(path.split('/').count() + 1);
        PathBuf::from(format!("{up}layers/{}/{}", self.cache.directory(layer), source.path))
    }

    fn link_interpreter(&self, target: &Path) -> Result<()> {
        let python = &self.manifest.python;
        let source = Source { layer: 0, path: python.executable.clone() };
        let bin = target.join("bin");
        make_link(&self.link_target("bin/python", &source), &bin.join("python"))?;
        make_link(Path::new("python"), &bin.join("python3"))?;
        let versioned = python.executable.file_name();
        let taken =
            ["python", "python3"].contains(&versioned) || fs::symlink_metadata(bin.join(versioned)).is_ok();
        if taken { Ok(()) } else { make_link(Path::new("python"), &bin.join(versioned)) }
    }

    /// `pyvenv.cfg` makes it a virtualenv (PEP 405).
    fn write_configuration(&self, target: &Path) -> Result<()> {
        let home = self.cache.layer(&self.manifest.layers[0]);
        let home = self.manifest.python.executable.parent().map_or(home.clone(), |bin| home.join(bin));
        let mut text = b"home = ".to_vec();
        text.extend(home.as_os_str().as_bytes());
        text.extend(b"\ninclude-system-site-packages = false\nversion = ");
        text.extend(self.manifest.python.version.bytes());
        text.push(b'\n');
        write_file(&target.join("pyvenv.cfg"), &text, 0o644)
    }

    /// Copies a script, naming the environment's interpreter in its first line.
    fn write_script(&self, source: &Source, place: &Path, target: &Path) -> Result<()> {
        let path = self.cache.layer(&self.manifest.layers[source.layer]).join(&source.path);
        let script = fs::read(&path).map_err(Error::at("read", &path))?;
        let body = script.strip_prefix(SHEBANG).unwrap_or(&script);
        let interpreter = place.join("bin/python");
        let mut text = shebang(&interpreter);
        text.extend(body);
        write_file(target, &text, 0o755)
    }
}

/// The first line of a script for this interpreter. A path the kernel cannot take there (too long, or
/// with white space) is left to the shell, in lines that Python reads as a string.
fn shebang(interpreter: &Path) -> Vec<u8> {
    let path = interpreter.as_os_str().as_bytes();
    let simple = path.len() + 3 <= MAX_SHEBANG && !path.iter().any(u8::is_ascii_whitespace);
    let mut line = Vec::new();
    if simple {
        line.extend(b"#!");
        line.extend(path);
        line.push(b'\n');
    } else {
        let quoted = interpreter.to_string_lossy().replace('\'', "'\"'\"'");
        line.extend(format!("#!/bin/sh\n'''exec' '{quoted}' \"$0\" \"$@\"\n' '''\n").bytes());
    }
    line
}

/// Every command: those of the manifest, and whatever the environment has in `bin` under its own name.
fn commands(manifest: &Manifest) -> Vec<Command<'_>> {
    let plan = &manifest.environment;
    let native = |script: &TreePath| script.top() == "bin" && plan.links.contains_key(script);
    let mut commands: Vec<Command> = Vec::new();
    for (name, command) in &manifest.commands {
        let args = command.args.iter().map(OsStr::new).collect();
        commands.push(Command { name, native: native(&command.script), script: &command.script, args });
    }
    for path in plan.scripts.keys().chain(plan.links.keys()) {
        if let Some(name) = path.below("bin")
            && is_command_name(name)
            && !manifest.commands.contains_key(name)
        {
            commands.push(Command { name, native: native(path), script: path, args: Vec::new() });
        }
    }
    commands.sort_by_key(|command| command.name);
    commands
}

/// Whether there is an environment at `place` that this launcher can start, made for this host.
pub fn is_usable(place: &Path, host: &str) -> bool {
    fs::read(place.join(RECORD)).is_ok_and(|bytes| {
        Record::parse(&bytes)
            .is_some_and(|record| record.environment == place && record.host == host && is_whole(&record))
    })
}

/// Whether the layers that the environment links to are there: any part of a cache may be deleted.
pub fn is_whole(record: &Record) -> bool {
    let Some(root) = record.environment.ancestors().nth(2) else { return false };
    let layers = root.join("layers");
    record.layers.iter().all(|layer| fs::symlink_metadata(layers.join(layer)).is_ok())
}

/// Writes the absolute paths of this machine into the interpreter that lies unpacked in `layer` and
/// will stand at `place`.
pub fn settle_runtime(manifest: &Manifest, libc: Choice, layer: &Path, place: &Path) -> Result<()> {
    let python = &manifest.python;
    let path = layer.join(&python.executable);
    let file = OpenOptions::new().write(true).open(&path).map_err(Error::at("open", &path))?;
    let length = file.metadata().map_err(Error::at("read", &path))?.len();
    let (loader, search_path) = paths(manifest, libc, place);
    for (slot, text) in [(python.loader_slot, loader), (python.search_path_slot, search_path)] {
        let fits = (text.len() as u64) < slot.size && slot.offset + slot.size <= length;
        if !fits {
            let source = io::Error::other("a path does not fit into its slot");
            return Err(Error::System { action: "settle", path, source });
        }
        let mut bytes = text;
        bytes.resize(slot.size as usize, 0);
        file.write_all_at(&bytes, slot.offset).map_err(Error::at("write", &path))?;
    }
    Ok(())
}

/// Whether the runtime at `place` was settled for that place: not one that was moved or copied there.
pub fn is_settled(manifest: &Manifest, libc: Choice, place: &Path) -> bool {
    let python = &manifest.python;
    let (loader, search_path) = paths(manifest, libc, place);
    let Ok(file) = File::open(place.join(&python.executable)) else { return false };
    let holds = |slot: Slot, text: Vec<u8>| {
        let mut bytes = vec![0; text.len() + 1];
        file.read_exact_at(&mut bytes, slot.offset).is_ok() && bytes.strip_suffix(b"\0") == Some(&text)
    };
    holds(python.loader_slot, loader) && holds(python.search_path_slot, search_path)
}

/// The loader, and the search path, of the runtime at `place`.
fn paths(manifest: &Manifest, libc: Choice, place: &Path) -> (Vec<u8>, Vec<u8>) {
    let python = &manifest.python;
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let own = place.join(&python.loader);
    let loader = if libc.is_host() { Path::new(HOST_LOADER) } else { &own };
    let carried = match libc {
        Choice::HostWithCompiler => 1,
        Choice::Host => 2,
        Choice::Carried => 3,
    };
    let mut search_path: Vec<_> =
        python.search_path.iter().take(carried).map(|path| bytes(&place.join(path))).collect();
    if libc.is_host() {
        // They would be searched in any case, but after LD_LIBRARY_PATH.
        search_path.extend(host_directories().iter().map(|path| bytes(path)));
    }
    (bytes(loader), search_path.join(&b':'))
}

/// Directories of the environment, each made once.
struct Directories<'a> {
    root: &'a Path,
    made: BTreeSet<String>,
}

impl Directories<'_> {
    fn make_above(&mut self, path: &TreePath) -> Result<()> {
        path.parent().map_or(Ok(()), |parent| self.make(&parent))
    }

    fn make(&mut self, path: &str) -> Result<()> {
        if !self.made.contains(path) {
            let full = self.root.join(path);
            fs::create_dir_all(&full).map_err(Error::at("create", &full))?;
            self.made.insert(path.to_owned());
        }
        Ok(())
    }
}

fn make_link(target: &Path, link: &Path) -> Result<()> {
    symlink(target, link).map_err(Error::at("create", link))
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    options.open(path).and_then(|mut file| file.write_all(bytes)).map_err(Error::at("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_a_first_line_cannot_hold_is_left_to_the_shell() {
        assert_eq!(shebang(Path::new("/c/bin/python")), b"#!/c/bin/python\n");
        let with_space = String::from_utf8(shebang(Path::new("/my c/it's/python"))).unwrap();
        assert_eq!(with_space, "#!/bin/sh\n'''exec' '/my c/it'\"'\"'s/python' \"$0\" \"$@\"\n' '''\n");
        assert!(shebang(Path::new(&"/x".repeat(70))).starts_with(b"#!/bin/sh\n"));
    }
}
