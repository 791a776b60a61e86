//! `coil inspect`: what is inside a bundle.

use std::collections::BTreeMap;
use std::io::{self, Write};

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::image::ImageSettings;
use coil_bootstrap::format::manifest::{Layer, LayerKind, Manifest, Revision};

use crate::cli::Inspect;
use crate::columns::width;
use crate::error::{Context, Failure, Result};
use crate::layer::BlobPlace;
use crate::portability;
use crate::sizes::{Part, Sizes};

/// Prints the manifest for people, or as JSON, or the lock.
pub fn run(options: &Inspect) -> Result<()> {
    let bundle = Bundle::open(&options.bundle).map_err(|error| {
        Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
    })?;
    let manifest = bundle.manifest();
    let text = if options.portability {
        let portability = portability::of(&bundle)?;
        if options.json { json(&portability)? } else { portability.text() }
    } else if options.sizes {
        let parts = parts(&bundle)?;
        if options.json { json(&parts)? } else { table(&parts) }
    } else if options.json {
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

/// Any value, for programs.
pub fn json(value: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context(|| "cannot print JSON".into())? + "\n")
}

/// The parts of a bundle by size.
fn parts(bundle: &Bundle) -> Result<Vec<Part>> {
    let unreadable = || format!("cannot read {}", bundle.path().display());
    let all = std::fs::metadata(bundle.path()).context(unreadable)?.len();
    let mut sizes = Sizes::default();
    let layers = &bundle.manifest().layers;
    // With the manifest, the sections' names and what keeps layers apart.
    sizes.add_plain("launcher", all.saturating_sub(layers.iter().map(|layer| layer.size).sum()));
    for layer in layers {
        let place = BlobPlace { file: bundle.path().to_owned(), offset: bundle.layer_offset(layer) };
        sizes.add_layer(layer, &place).context(unreadable)?;
    }
    Ok(sizes.parts())
}

/// Parts for people.
pub fn table(parts: &[Part]) -> String {
    let line =
        |name: &str, packed, unpacked| format!("  {name:<24}{:>10}  {:>10}\n", size(packed), size(unpacked));
    let mut text = format!("{:<26}{:>10}  {:>10}\n", "part", "packed", "unpacked");
    parts.iter().for_each(|part| text += &line(part.name, part.packed, part.unpacked));
    let sum = |of: fn(&Part) -> u64| parts.iter().map(of).sum();
    text + &line("together", sum(|part| part.packed), sum(|part| part.unpacked))
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
    let width = width(20, manifest.commands.keys());
    for (name, command) in &manifest.commands {
        let mark = if manifest.default.as_ref() == Some(name) { "*" } else { " " };
        let variables = command.variables.iter().map(|(name, value)| format!(" {name}={value}"));
        let args = command.args.iter().map(|arg| format!(" {arg}")).chain(variables).collect::<String>();
        text += &format!("  {mark} {name:<width$} {}{args}\n", command.script);
    }
    text += &image(&manifest.image);
    text += &layers(manifest);
    text
}

/// What the bundle is made of, a line each.
fn layers(manifest: &Manifest) -> String {
    let names: Vec<String> = manifest.layers.iter().map(name).collect();
    let width = width(29, &names);
    let mut text = format!("\n{:<11}{:<width$}{:>10}  {:>10}\n", "layers", "", "packed", "unpacked");
    for (layer, name) in manifest.layers.iter().zip(names) {
        let kind = match layer.kind {
            LayerKind::Runtime => "runtime",
            LayerKind::Libraries => "libs",
            LayerKind::Wheel => "wheel",
            LayerKind::App => "app",
        };
        let [packed, unpacked] = [layer.size, layer.unpacked_size].map(size);
        text += &format!("  {kind:<8}{name:<width$} {packed:>10}  {unpacked:>10}\n");
    }
    let packed: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    let [packed, unpacked] = [packed, manifest.unpacked_size()].map(size);
    text + &format!("  {:<8}{:<width$} {packed:>10}  {unpacked:>10}\n", "together", "")
}

/// What the project says of its image, in the words of `[tool.coil.image]`.
fn image(settings: &ImageSettings) -> String {
    let words = |words: &Vec<String>| shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
    let single = [
        ("entrypoint", settings.entrypoint.as_ref().map(words)),
        ("cmd", settings.cmd.as_ref().map(words)),
        ("user", settings.user.clone()),
        ("workdir", settings.workdir.clone()),
        ("stop-signal", settings.stop_signal.clone()),
    ];
    let mut lines: Vec<(&str, String)> =
        single.into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
    lines.extend(settings.ports.iter().map(|port| ("port", port.clone())));
    let pairs = |key, pairs: &BTreeMap<String, String>| -> Vec<(&str, String)> {
        pairs.iter().map(|(name, value)| (key, format!("{name}={value}"))).collect()
    };
    lines.extend(pairs("env", &settings.env));
    lines.extend(pairs("label", &settings.labels));
    if lines.is_empty() {
        return String::new();
    }
    let line = |(key, text): &(&str, String)| format!("    {key:<20} {}\n", text.replace('\n', "\\n"));
    format!("\nimage\n{}", lines.iter().map(line).collect::<String>())
}

fn name(layer: &Layer) -> String {
    match &layer.version {
        Some(version) => format!("{} {version}", layer.name),
        None => layer.name.clone(),
    }
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
