//! `coil init`: writes a starting point for the settings of a project, after a look at it.
//!
//! What is there is never changed: a table is added to the end of a pyproject.toml, and if the file would then
//! say anything else than before, a coil.toml is written instead.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::cli::Init;
use crate::error::{Context, Failure, Result};
use crate::project::settings;
use crate::project::starter::Starter;
use crate::project::survey::look_at;
use crate::report::{Loudness, Report};

/// Looks, writes, and says what was written.
pub fn run(options: &Init) -> Result<()> {
    let directory = &options.directory;
    if !directory.is_dir() {
        return Err(Failure::new(format!("{}: no such directory", directory.display())));
    }
    let own = directory.join(settings::FILE);
    if own.symlink_metadata().is_ok() {
        return Err(
            Failure::new(format!("{} is there already", own.display())).hint("edit it, or remove it first")
        );
    }
    let pyproject = directory.join("pyproject.toml");
    let there = match fs::read_to_string(&pyproject) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Failure::new(format!("{} cannot be read", pyproject.display())).because(error));
        }
    };
    if there.as_deref().is_some_and(has_table) {
        return Err(Failure::new(format!("{} has a table [tool.coil] already", pyproject.display()))
            .hint("edit it, or remove it first"));
    }
    let starter = Starter::of(&look_at(directory)?)?;
    let added = there.as_deref().and_then(|text| with_table(text, &starter.table()));
    let (path, text) = match added {
        Some(text) => (pyproject, text),
        None => (own, starter.file()),
    };
    write(&path, &text)?;
    let report = Report::new(Loudness::Normal);
    report.done(&format!("wrote {}", path.display()));
    for (name, command) in &starter.commands {
        let mark = if starter.default.as_ref() == Some(name) { "*" } else { " " };
        report.done(&format!("  {mark} {name:<12} {command}"));
    }
    report.done(&format!("next: coil pack {}", directory.display()));
    Ok(())
}

fn has_table(text: &str) -> bool {
    let page: Option<toml::Table> = text.parse().ok();
    page.is_some_and(|page| page.get("tool").is_some_and(|tool| tool.get("coil").is_some()))
}

/// `text` with the table at its end, if it then says what it said before and the table.
fn with_table(text: &str, table: &str) -> Option<String> {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let gap = match text {
        "" => "",
        _ if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let more = format!("{gap}{table}").replace('\n', line_end);
    let whole = format!("{text}{more}");
    let before: toml::Table = text.parse().ok()?;
    let mut after: toml::Table = whole.parse().ok()?;
    let tool = after.get_mut("tool")?.as_table_mut()?;
    tool.remove("coil")?;
    if tool.is_empty() && !before.contains_key("tool") {
        after.remove("tool");
    }
    (before == after).then_some(whole)
}

/// Writes the file, whole or not at all, with the mode it has.
fn write(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("{} cannot be written", path.display());
    // Behind a link is the file that is meant.
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = fs::metadata(&place).map(|there| there.permissions()).ok();
    let mut builder = tempfile::Builder::new();
    let umasked = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = builder.permissions(umasked).tempfile_in(directory).context(cannot)?;
    file.write_all(text.as_bytes()).context(cannot)?;
    if let Some(mode) = mode {
        file.as_file().set_permissions(mode).context(cannot)?;
    }
    file.persist(&place).map(drop).map_err(|error| error.error).context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "[tool.coil]\na = 1\n";

    #[test]
    fn what_is_there_stays_as_it_is() {
        assert_eq!(with_table("x = 1 # why\n", TABLE).unwrap(), "x = 1 # why\n\n[tool.coil]\na = 1\n");
        assert_eq!(
            with_table("[tool.x]\r\ny = 1", TABLE).unwrap(),
            "[tool.x]\r\ny = 1\r\n\r\n[tool.coil]\r\na = 1\r\n"
        );
        assert_eq!(with_table("", TABLE).unwrap(), TABLE);
    }

    #[test]
    fn where_a_table_cannot_be_added_none_is() {
        assert_eq!(with_table("tool = { x = 1 }\n", TABLE), None);
        assert_eq!(with_table("x = \"\"\"\n", TABLE), None);
        assert!(has_table("tool.coil.x = 1") && has_table(TABLE) && !has_table("[tool.coi]"));
    }
}
