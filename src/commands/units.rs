//! `coil units`: what a machine is told about a bundle's services.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::release;

use crate::cli::Units;
use crate::error::{Context, Failure, Result};
use crate::units::{Definition, Place, Supervisor, proxy, supervised};

/// Prints the files, each under its path, or writes them.
pub fn run(options: &Units) -> Result<()> {
    let bundle = Bundle::open(&options.bundle).map_err(|error| {
        Failure::new(error.to_string()).hint("`coil pack` makes bundles; is this file one?")
    })?;
    let file = std::path::absolute(&options.bundle)
        .context(|| format!("cannot tell where {} is", options.bundle.display()))?;
    let place = Place { manifest: bundle.manifest(), file: &file };
    let definitions = match (options.proxy, options.supervisor) {
        (Some(chosen), _) => vec![proxy(&place, chosen)?],
        (None, Supervisor::Systemd) => systemd(&bundle),
        (None, supervisor) => {
            check(&file)?;
            supervised(&place, supervisor)?
        }
    };
    match &options.output {
        Some(root) => definitions.iter().try_for_each(|definition| write(root, definition)),
        None => print(&definitions),
    }
}

fn systemd(bundle: &Bundle) -> Vec<Definition> {
    let units = release::units(bundle.manifest(), &release::id(&bundle.digest()));
    let definition = |unit: release::Unit| Definition {
        path: format!("{}/{}", release::UNITS, unit.name),
        text: unit.text,
        executable: false,
    };
    units.into_iter().map(definition).collect()
}

/// Every supervisor has its own way of quoting; a path that needs none is the same for all.
fn check(file: &Path) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+".contains(c);
    match file.to_str() {
        Some(path) if path.chars().all(plain) => Ok(()),
        _ => Err(Failure::new(format!("{} has characters that a supervisor could take for something else", file.display()))
            .hint("move the bundle to a path of letters, digits, dots, dashes and underscores, such as /opt/site/site")),
    }
}

fn print(definitions: &[Definition]) -> Result<()> {
    let text = definitions.iter().map(|it| format!("# {}\n{}\n", it.path, it.text));
    match std::io::stdout().write_all(text.collect::<String>().as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

fn write(root: &Path, definition: &Definition) -> Result<()> {
    let path = root.join(definition.path.trim_start_matches('/'));
    let cannot = || format!("cannot write {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).context(cannot)?;
    }
    fs::write(&path, &definition.text).context(cannot)?;
    let mode = if definition.executable { 0o755 } else { 0o644 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).context(cannot)
}
