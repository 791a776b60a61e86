//! What is written down of the user's words, so that the bundle can be made again from them.
//!
//! Paths become names and credentials are left out: a recipe looks the same wherever it was followed.

use std::path::Path;

use coil_bootstrap::format::recipe::{Input, InputKind, Recipe};

use super::split_command;
use crate::cli;
use crate::error::{Failure, Result};
use crate::layer::compressor;
use crate::lock::url;
use crate::project::argument::Argument;
use crate::project::lock_file::LockFile;
use crate::runtime::Kept;

/// The recipe of what these words lead to.
pub fn of(options: &cli::Project, kept: Kept) -> Result<Recipe> {
    let mut inputs = options.projects.iter().map(|text| input(text)).collect::<Result<Vec<_>>>()?;
    // What a lock says is in the manifest whole.
    for file in options.requirements.iter().filter(|file| LockFile::named(file).is_none()) {
        inputs.push(Input { kind: InputKind::Requirements, name: name_of(file)?, extras: Vec::new() });
    }
    for (kind, directory) in [(InputKind::App, &options.app), (InputKind::Virtualenv, &options.venv)] {
        if directory.is_some() {
            inputs.push(Input { kind, name: ".".into(), extras: Vec::new() });
        }
    }
    let choice = super::choice(&options.choice).normal();
    Ok(Recipe {
        coil: env!("CARGO_PKG_VERSION").into(),
        compressor: compressor(),
        level: options.shape.level(),
        keep: kept.words(),
        inputs,
        extras: choice.extras.into_iter().collect(),
        all_extras: choice.all_extras,
        groups: choice.groups.into_iter().collect(),
        entry: options.entry.clone(),
        commands: options.commands.iter().map(split_command).collect::<Result<_>>()?,
        host_libraries: options.libraries.host_library.clone(),
        bring_libraries: options.libraries.bring_library.clone(),
    })
}

fn input(text: &str) -> Result<Input> {
    Ok(match Argument::classify(text)? {
        Argument::Directory(_, extras) => Input { kind: InputKind::Directory, name: ".".into(), extras },
        Argument::Script(path) => {
            Input { kind: InputKind::Script, name: name_of(&path)?, extras: Vec::new() }
        }
        Argument::Wheel(path, extras) => Input { kind: InputKind::Wheel, name: name_of(&path)?, extras },
        Argument::Requirement(requirement) => {
            Input { kind: InputKind::Requirement, name: shareable(&requirement.text), extras: Vec::new() }
        }
    })
}

/// The requirement without what only this machine and this user can know: `NAME @ file:///...` is `NAME`, and
/// an address has no credentials.
fn shareable(requirement: &str) -> String {
    match requirement.split_once('@') {
        Some((name, address)) if address.trim_start().starts_with("file:") => name.trim_end().to_owned(),
        Some((name, address)) => format!("{name}@{}", url::without_credentials(address)),
        None => requirement.to_owned(),
    }
}

fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| Failure::new(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_tells_no_path_and_no_password() {
        assert_eq!(shareable("flask>=3; python_version > '3'"), "flask>=3; python_version > '3'");
        assert_eq!(shareable("x[a] @ file:///home/me/x.whl"), "x[a]");
        assert_eq!(shareable("x@https://me:secret@host/x.zip#sha256=0"), "x@https://host/x.zip#sha256=0");
        assert_eq!(shareable("x @ git+https://token@host/x.git@v1"), "x @ git+https://host/x.git@v1");
    }
}
