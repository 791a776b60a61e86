//! The words of `coil release`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

/// `coil release`: `COIL=NAME ./app` for a file that cannot be executed where it lies.
#[derive(Debug, Subcommand)]
pub enum Release {
    /// Unpack it into the release store; nothing is started, and nothing that runs is touched.
    Install {
        /// The bundle.
        bundle: PathBuf,
    },
    /// Bring it up beside the release that serves, check it, hand over, and end the other.
    Activate {
        /// The bundle.
        bundle: PathBuf,
        /// Let it have N of a hundred requests beside the release that serves, where nginx or haproxy here weights them
        /// (`coil units --proxy`); 0 ends that, as does a rollback.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=99))]
        weight: Option<u8>,
    },
    /// Bring up the release that served before, or the one that is named, the same way.
    Rollback {
        /// Any bundle of the app.
        bundle: PathBuf,
        /// The beginning of a release's name.
        release: Option<String>,
    },
    /// Stop its services, and remove its units, its releases and what is unpacked in the system's store.
    Remove {
        /// Any bundle of the app.
        bundle: PathBuf,
        /// Remove its settings and its state, too.
        #[arg(long)]
        purge: bool,
    },
    /// List releases, which of them serves and since when, and units.
    Status {
        /// Any bundle of the app.
        bundle: PathBuf,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Run a command of the app with the user, settings, state and sandbox of its services.
    Exec {
        /// Any bundle of the app.
        bundle: PathBuf,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}
