//! `coil inspect`: what is inside a bundle.

use std::io::{self, Write};

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::manifest::{Layer, LayerKind, Manifest, Revision};

use crate::cli::Inspect;
use crate::error::{Context, Failure, Result};

/// Prints the manifest for people, or as JSON, or the lock.
pub fn run(options: &Inspect) -> Result<()> {
    let bundle = Bundle::open(&options.bundle).map_err(|error| {
        Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
    })?;
    let manifest = bundle.manifest();
    let text = if options.json {
        let json = serde_json::to_string_pretty(manifest);
        json.context(|| "cannot print the manifest".into())? + "\n"
    } else if options.lock {
        let none = || Failure::new(format!("{} was packed without a lock", options.bundle.display()));
        manifest.lock.clone().ok_or_else(none)?
    } else {
        describe(manifest)
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

fn describe(manifest: &Manifest) -> String {
    let python = &manifest.python;
    let mut text = match &manifest.version {
        Some(version) => format!("{} {version}\n", manifest.name),
        None => format!("{}\n", manifest.name),
    };
    let platform = &manifest.platform;
    text += &format!(
        "for {}/{}, with CPython {} ({}) ",
        platform.os, platform.architecture, python.version, python.abi
    );
    text += &format!("and {}\n", python.libc);
    if let Some(Revision { commit, dirty }) = &manifest.source {
        let state = if *dirty { ", with changes" } else { "" };
        text += &format!("of commit {commit}{state}\n");
    }
    text += "\ncommands\n";
    for (name, command) in &manifest.commands {
        let mark = if manifest.default.as_ref() == Some(name) { "*" } else { " " };
        let variables = command.variables.iter().map(|(name, value)| format!(" {name}={value}"));
        let args = command.args.iter().map(|arg| format!(" {arg}")).chain(variables).collect::<String>();
        text += &format!("  {mark} {name:<20} {}{args}\n", command.script);
    }
    text += "\nlayers                                      packed    unpacked\n";
    manifest.layers.iter().for_each(|layer| text += &line(layer));
    let packed: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    text += &format!("  {:<38}{:>10}  {:>10}\n", "together", size(packed), size(manifest.unpacked_size()));
    text
}

fn line(layer: &Layer) -> String {
    let kind = match layer.kind {
        LayerKind::Runtime => "runtime",
        LayerKind::Libraries => "libs",
        LayerKind::Wheel => "wheel",
        LayerKind::App => "app",
    };
    let name = match &layer.version {
        Some(version) => format!("{} {version}", layer.name),
        None => layer.name.clone(),
    };
    format!("  {kind:<8}{name:<30}{:>10}  {:>10}\n", size(layer.size), size(layer.unpacked_size))
}

/// A size as people read it: three digits and a unit.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
