//! `coil pack`: a project becomes one executable.

use std::path::Path;
use std::time::Instant;

use coil_bootstrap::format::manifest::LayerKind;

use super::inspect::size;
use crate::bundle;
use crate::cli::Pack;
use crate::error::Result;
use crate::pack::{Ahead, Given, Parts, default_output, pack_with};
use crate::report::{Loudness, Report};

/// Packs and says what came of it.
pub fn run(options: &Pack) -> Result<()> {
    let start = Instant::now();
    let report = Report::new(options.volume.or(Loudness::Normal));
    options.output.as_deref().map_or(Ok(()), bundle::check_output)?;
    let store = super::open_store()?;
    let ahead = Ahead::begin(&store, &options.project, options.output.as_deref())?;
    let given = Given { ahead: Some(&ahead), ..Given::default() };
    let parts = pack_with(&options.project, options.output.clone(), given, &store, &report)?;
    let output = match &options.output {
        Some(output) => output.clone(),
        None => {
            let output = default_output(&parts.manifest);
            bundle::check_output(&output)?;
            output
        }
    };
    ahead.finish(&output, &parts)?;
    report.done(&summary(&output, &parts, start));
    Ok(())
}

fn summary(output: &Path, parts: &Parts, start: Instant) -> String {
    let layers = &parts.manifest.layers;
    let of = |kind: LayerKind| layers.iter().filter(move |layer| layer.kind == kind);
    let sum = |kind: LayerKind| size(of(kind).map(|layer| layer.size).sum());
    let total = std::fs::metadata(output).map_or(0, |file| file.len());
    let wheels = match of(LayerKind::Wheel).count() {
        0 => String::new(),
        1 => format!(", 1 wheel {}", sum(LayerKind::Wheel)),
        count => format!(", {count} wheels {}", sum(LayerKind::Wheel)),
    };
    let python = format!("CPython {} {}", parts.manifest.python.version, sum(LayerKind::Runtime));
    let seconds = start.elapsed().as_secs_f64();
    format!("packed {}: {} ({python}{wheels}) in {seconds:.2} s", output.display(), size(total))
}
