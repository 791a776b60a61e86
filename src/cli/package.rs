//! `coil deb` and `coil rpm`.

use std::path::PathBuf;

use clap::Args;

/// A package of a bundle for a distribution.
#[derive(Debug, Args)]
pub struct Package {
    /// The bundle.
    pub bundle: PathBuf,
    /// The file to write [default: as packages are called, in the current directory].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The version of the package [default: the bundle's].
    #[arg(long = "version", value_name = "VERSION")]
    pub of_version: Option<String>,
    /// Who answers for it, such as "Jo Doe <jo@example.com>".
    #[arg(long, value_name = "NAME <ADDRESS>")]
    pub maintainer: Option<String>,
}
