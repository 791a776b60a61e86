//! `coil units`.

use std::path::PathBuf;

use clap::Args;

use crate::units::{Proxy, Supervisor};

/// `coil units`
#[derive(Debug, Args)]
pub struct Units {
    /// The bundle, at the place where it will be on the machine.
    pub bundle: PathBuf,
    /// The program that keeps its services running.
    #[arg(long, value_enum, value_name = "PROGRAM", default_value = "systemd")]
    pub supervisor: Supervisor,
    /// Print what a proxy in front of it is told, instead.
    #[arg(long, value_enum, value_name = "PROGRAM", conflicts_with = "supervisor")]
    pub proxy: Option<Proxy>,
    /// Write each file below DIR, which stands for /, instead of printing them.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}
