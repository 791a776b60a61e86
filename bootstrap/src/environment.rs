//! Assembling an environment: a virtualenv whose content is links into unpacked layers.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::manifest::{Manifest, Source, is_command_name};
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
        let layers = self.manifest.layers.iter().map(|layer| self.cache.directory(self.manifest, layer));
        let layers: Vec<String> = layers.collect();
        let record = Record {
            app: &self.manifest.name,
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
        PathBuf::from(format!("{up}layers/{}/{}", self.cache.directory(self.manifest, layer), source.path))
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
        let home = self.cache.layer(self.manifest, &self.manifest.layers[0]);
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
        let path = self.cache.layer(self.manifest, &self.manifest.layers[source.layer]).join(&source.path);
        let script = fs::read(&path).map_err(Error::at("read", &path))?;
        let body = script.strip_prefix(SHEBANG).unwrap_or(&script);
        let interpreter = place.join("bin/python");
        let mut text = shebang(&interpreter);
        text.extend(body);
        write_file(target, &text, 0o755)
    }
}

/// The first line of a script for this interpreter. A path that cannot stand there (too long for the
/// kernel, with white space, or with what Python takes for an encoding, PEP 263) is left to the shell, in
/// lines that Python reads as a string. A backslash is doubled for that string, in quotes in which the
/// shell reads two of them as one.
fn shebang(interpreter: &Path) -> Vec<u8> {
    let path = interpreter.as_os_str().as_bytes();
    let blank = path.iter().any(u8::is_ascii_whitespace);
    let encoding = path.windows(7).any(|part| part == b"coding=");
    let mut line = Vec::new();
    if path.len() + 3 <= MAX_SHEBANG && !blank && !encoding {
        line.extend(b"#!");
        line.extend(path);
        line.push(b'\n');
    } else {
        let quoted = interpreter.to_string_lossy().replace('\'', r#"'"'"'"#).replace('\\', r#"'"\\"'"#);
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
        let variables = command.variables.iter();
        commands.push(Command {
            args: command.args.iter().map(OsStr::new).collect(),
            variables: variables.map(|(name, value)| (OsStr::new(name), OsStr::new(value))).collect(),
            expand: command.expand,
            ..Command::of(name, &command.script, native(&command.script))
        });
    }
    for path in plan.scripts.keys().chain(plan.links.keys()) {
        if let Some(name) = path.below("bin")
            && is_command_name(name)
            && !manifest.commands.contains_key(name)
        {
            commands.push(Command::of(name, path, native(path)));
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
    missing_layer(record).is_none()
}

/// The first layer that the environment links to and that is not there.
pub fn missing_layer<'a>(record: &Record<'a>) -> Option<&'a str> {
    let Some(root) = record.environment.ancestors().nth(2) else { return record.layers.first().copied() };
    let layers = root.join("layers");
    record.layers.iter().copied().find(|layer| fs::symlink_metadata(layers.join(layer)).is_err())
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
        for (path, quoted) in [
            ("/my c/it's/python", r#"'/my c/it'"'"'s/python'"#),
            (r"/my \x/python", r#"'/my '"\\"'x/python'"#),
            ("/coding=no/python", "'/coding=no/python'"),
        ] {
            let line = String::from_utf8(shebang(Path::new(path))).unwrap();
            assert_eq!(line, format!("#!/bin/sh\n'''exec' {quoted} \"$0\" \"$@\"\n' '''\n"));
        }
        assert!(shebang(Path::new(&"/x".repeat(70))).starts_with(b"#!/bin/sh\n"));
    }
}
