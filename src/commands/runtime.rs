//! `coil runtime`: a runtime as a file of its own, made and looked at.

use std::io::{self, Write};
use std::path::PathBuf;

use super::inspect::{json, size, table};
use crate::cli::{self, RuntimeBuild, RuntimeInspect};
use crate::columns::width;
use crate::error::{Context, Failure, Result};
use crate::pack::Asked;
use crate::report::{Loudness, Report};
use crate::runtime_file::Runtime;
use crate::sizes::Sizes;

/// Builds or inspects.
pub fn run(options: &cli::Runtime) -> Result<()> {
    match options {
        cli::Runtime::Build(options) => build(options),
        cli::Runtime::Inspect(options) => inspect(options),
    }
}

fn build(options: &RuntimeBuild) -> Result<()> {
    let report = Report::new(Loudness::Normal);
    let store = super::open_store()?;
    let kept = options.shape.kept()?;
    let asked = Asked { runtime: None, python: options.python.as_deref(), kept };
    let (runtime, place) = asked.alone(options.shape.level(), &store, &report)?;
    let default = || PathBuf::from(format!("cpython-{}.rt", runtime.python.version));
    let output = options.output.clone().unwrap_or_else(default);
    runtime.write(&place, &output)?;
    let Runtime { python, layer, .. } = &runtime;
    let output = output.display();
    report.done(&format!(
        "built {output}: CPython {}, {}, {}",
        python.version,
        size(layer.size),
        layer.digest
    ));
    Ok(())
}

fn inspect(options: &RuntimeInspect) -> Result<()> {
    let (runtime, place) = Runtime::open(&options.file)?;
    if options.sizes {
        let mut sizes = Sizes::default();
        let added = sizes.add_layer(&runtime.layer, &place);
        added.context(|| format!("cannot read {}", options.file.display()))?;
        return print(&if options.json { json(&sizes.parts())? } else { table(&sizes.parts()) });
    }
    let text = match options.json {
        true => serde_json::to_string_pretty(&runtime).context(|| "cannot print the runtime".into())? + "\n",
        false => describe(&runtime),
    };
    print(&text)
}

fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

fn describe(runtime: &Runtime) -> String {
    let Runtime { platform, python, layer, .. } = runtime;
    let mut text = format!("CPython {} for {}/{}\n\n", python.version, platform.os, platform.architecture);
    let mut line = |name: &str, value: &str| text += &format!("  {name:<12}{value}\n");
    line("ABI", &python.abi);
    line("byte code", &python.magic);
    line("libc", &python.libc);
    line("OpenSSL", runtime.openssl.as_deref().unwrap_or("none"));
    if !runtime.kept.is_empty() {
        line("kept", &runtime.kept.words().join(", "));
    }
    line("layer", &layer.digest.to_string());
    line("packed", &size(layer.size));
    line("unpacked", &size(layer.unpacked_size));
    if !runtime.carried.is_empty() {
        text += "\nwhat came along from where it was made\n";
    }
    let name = width(27, runtime.carried.iter().map(|library| &library.name));
    let from = width(35, runtime.carried.iter().filter_map(|library| library.package.as_ref()));
    for library in &runtime.carried {
        let package = library.package.as_deref().unwrap_or("");
        text += format!("  {:<name$} {package:<from$} {}", library.name, library.from).trim_end();
        text.push('\n');
    }
    if !runtime.left_out.is_empty() {
        text += "\nleft out\n";
    }
    for what in &runtime.left_out {
        text += &format!("  {}\n", what.trim_start_matches("left out of the standard library: "));
    }
    text
}
