//! `coil deb` and `coil rpm`: a bundle as a package of a distribution.

use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coil_bootstrap::bundle::Bundle;

use super::inspect::size;
use crate::cli;
use crate::error::{Context, Failure, Result, Writing};
use crate::package::{Deb, Package, Rpm, Words};
use crate::report::{Loudness, Report};

/// Makes a package of Debian.
pub fn deb(options: &cli::Package) -> Result<()> {
    let package = package(options)?;
    let deb = Deb(&package);
    write(options, &deb.file_name(), |out, cannot| deb.write(out, cannot))
}

/// Makes a package of an rpm distribution.
pub fn rpm(options: &cli::Package) -> Result<()> {
    let package = package(options)?;
    let rpm = Rpm(&package);
    write(options, &rpm.file_name(), |out, cannot| rpm.write(out, cannot))
}

fn package(options: &cli::Package) -> Result<Package> {
    let bundle = Bundle::open(&options.bundle).map_err(|error| {
        Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
    })?;
    let words = Words {
        version: options.of_version.clone(),
        maintainer: options.maintainer.clone(),
        epoch: std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty()),
    };
    Package::of(&bundle, &words)
}

/// Writes a file that is there whole or not at all.
fn write(
    options: &cli::Package,
    name: &str,
    put: impl Fn(&mut dyn Write, &dyn Fn() -> String) -> Result<()>,
) -> Result<()> {
    let output = match &options.output {
        Some(output) if output.is_dir() => output.join(name),
        Some(output) => output.clone(),
        None => PathBuf::from(name),
    };
    let cannot = || format!("cannot write the package to {}", output.display());
    let directory = output.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let elsewhere = "name a file on another disk with -o";
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(".coil-").permissions(std::fs::Permissions::from_mode(0o666));
    let mut file = builder.tempfile_in(directory).writing(directory, elsewhere, cannot)?;
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    put(&mut out, &cannot)?;
    out.into_inner().map_err(|error| error.into_error()).writing(directory, elsewhere, cannot)?;
    let length = file.as_file().metadata().context(cannot)?.len();
    file.persist(&output).map_err(|error| error.error).context(cannot)?;
    Report::new(Loudness::Normal).done(&format!("wrote {} ({})", output.display(), size(length)));
    Ok(())
}
