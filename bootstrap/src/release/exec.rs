//! A command of the app beside its services: with their user, their settings, their state and their sandbox.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::app::{App, need_root};
use super::credentials;
use super::store::Release;
use super::systemd;
use super::units;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::host::Host;

/// Becomes `systemd-run`, which runs the command that the arguments name and exits as it does. It is of the release that
/// serves; of the bundle itself where none does. Returns only an error.
pub fn exec(bundle: &Bundle, host: &Host) -> Result<i32> {
    need_root("running a command as the app's services run")?;
    systemd::need("running a command as the app's services run")?;
    let app = App::of(bundle.manifest());
    let Some((name, args)) = host.args.get(1..).and_then(<[OsString]>::split_first) else {
        let known: Vec<&str> = bundle.manifest().commands.keys().map(String::as_str).collect();
        return Err(Error::NoCommand { asked: None, known: known.into_iter().map(str::to_owned).collect() });
    };
    let file = match Release::linked(&app, "current") {
        Some(release) => release.file().to_owned(),
        None => host.bundle.clone().ok_or(Error::NoBundle)?,
    };
    let mut run = OsString::from("COIL_RUN=");
    run.push(name);
    let program = Path::new("systemd-run");
    let mut command = Command::new(program);
    command.args(["--quiet", "--wait", "--collect", "--service-type=exec"]);
    command.arg(if is_terminal() { "--pty" } else { "--pipe" });
    for line in units::sandbox(&app) {
        command.arg("--property").arg(line);
    }
    // Where no release serves, there are no defaults of one.
    let release = app.home().join("current").display().to_string();
    for file in units::environment_files(&app, &release) {
        command.arg("--property").arg(format!("EnvironmentFile=-{file}"));
    }
    for property in credentials::properties(&app) {
        command.arg("--property").arg(property);
    }
    command.arg("--property").arg("Environment=PYTHONUNBUFFERED=1");
    command.arg("--setenv").arg(run).arg("--").arg(file).args(args);
    command.env_remove("COIL");
    Err(Error::Exec { program: program.to_owned(), source: command.exec() })
}

fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
