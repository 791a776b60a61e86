//! The `coil` command.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use coil::cli::{Cli, Command};
use coil::commands;
use coil::error::Failure;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Pack(pack) => commands::pack::run(&pack),
        Command::Run(run) => commands::run::run(&run),
        Command::Inspect(inspect) => commands::inspect::run(&inspect),
        Command::Verify(verify) => commands::verify::run(&verify),
        Command::Rebase(rebase) => commands::rebase::run(&rebase),
        Command::Runtime(runtime) => commands::runtime::run(&runtime),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Prints the failure, what caused it, and the way out.
fn report(failure: &Failure) {
    eprintln!("error: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        eprintln!("  caused by: {}", error.to_string().replace('\n', "\n    "));
        cause = error.source();
    }
    if let Some(hint) = failure.advice() {
        eprintln!("hint: {hint}");
    }
}
