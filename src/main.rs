//! The `coil` command.

use std::process::ExitCode;

use clap::Parser;
use coil::cli::{Cli, Command};
use coil::{commands, report};

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.color.choose();
    let result = match cli.command {
        Command::Pack(pack) => commands::pack::run(&pack),
        Command::Run(run) => commands::run::run(&run),
        Command::Init(init) => commands::init::run(&init),
        Command::Inspect(inspect) => commands::inspect::run(&inspect),
        Command::Lock(lock) => commands::lock::run(&lock),
        Command::Cache(cache) => commands::cache::run(&cache),
        Command::Unpack(unpack) => commands::unpack::run(&unpack),
        Command::Verify(verify) => commands::verify::run(&verify),
        Command::Rebase(rebase) => commands::rebase::run(&rebase),
        Command::Image(image) => commands::image::run(&image),
        Command::Deploy(deploy) => commands::deploy::run(&deploy),
        Command::Rollback(rollback) => commands::deploy::run_rollback(&rollback),
        Command::Deb(package) => commands::package::deb(&package),
        Command::Rpm(package) => commands::package::rpm(&package),
        Command::Units(units) => commands::units::run(&units),
        Command::Release(release) => commands::release::run(&release),
        Command::Runtime(runtime) => commands::runtime::run(&runtime),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::failure(&failure);
            ExitCode::FAILURE
        }
    }
}
