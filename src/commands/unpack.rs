//! `coil unpack`: all files of a bundle, in a directory, whatever machine it is for.

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::extract::extract;

use crate::cli::Unpack;
use crate::error::{Failure, Result};

/// Writes the files. Layers are compared with their checksums on the way.
pub fn run(options: &Unpack) -> Result<()> {
    let bundle = Bundle::open(&options.bundle).map_err(|error| {
        Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
    })?;
    extract(&bundle, &options.directory).map_err(|error| {
        Failure::new(error.to_string()).hint("name a directory that is empty, or not there yet")
    })
}
