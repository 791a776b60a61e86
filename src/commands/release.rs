//! `coil release`: what a bundle does for itself on a server (`COIL=install ./app`), for a file that cannot be executed
//! where it lies.

use std::ffi::OsString;

use coil_bootstrap::builtins::{self, Builtin};
use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::host::Host;
use coil_bootstrap::verify::check_stamp;

use super::runs_here;
use crate::cli::Release;
use crate::error::{Failure, Result};

/// Does it, and leaves with the same exit code.
pub fn run(options: &Release) -> Result<()> {
    let (builtin, file, words): (Builtin, _, Vec<OsString>) = match options {
        Release::Install { bundle } => (Builtin::Install, bundle, vec![]),
        Release::Activate { bundle, weight } => {
            let words = weight.map(|weight| ["--weight".into(), weight.to_string().into()]);
            (Builtin::Activate, bundle, words.into_iter().flatten().collect())
        }
        Release::Rollback { bundle, release } => {
            (Builtin::RollBack, bundle, release.iter().map(OsString::from).collect())
        }
        Release::Remove { bundle, purge } => {
            (Builtin::Remove, bundle, purge.then(|| "--purge".into()).into_iter().collect())
        }
        Release::Status { bundle, json } => {
            (Builtin::Status, bundle, json.then(|| "--json".into()).into_iter().collect())
        }
        Release::Exec { bundle, command } => (Builtin::Exec, bundle, command.clone()),
    };
    let opened = Bundle::open(file).and_then(|bundle| check_stamp(&bundle).map(|()| bundle));
    let bundle = opened.map_err(|error| Failure::new(error.to_string()))?;
    runs_here(&bundle)?;
    let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let args = std::iter::once(path.clone().into_os_string()).chain(words).collect();
    let host = Host { args, bundle: Some(path), ..Host::observe() };
    match builtins::run(builtin, &bundle, &host) {
        Ok(0) => Ok(()),
        Ok(code) => std::process::exit(code),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}
