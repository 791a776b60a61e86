//! A script that says itself what it needs (PyPA, "Inline script metadata", PEP 723).

use serde::Deserialize;

use super::requirement::Requirement;
use super::settings::Settings;
use crate::error::{Context, Failure, Result};

/// What a script says of itself; nothing where it has no block.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScriptMetadata {
    /// What it needs.
    pub requirements: Vec<Requirement>,
    /// The versions of Python it runs on.
    pub requires_python: Option<String>,
    /// Its `[tool.coil]`.
    pub settings: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Block {
    #[serde(default)]
    dependencies: Vec<String>,
    requires_python: Option<String>,
    #[serde(default)]
    tool: toml::Table,
}

impl ScriptMetadata {
    /// Reads the block of the script `source`, which is called `file`.
    pub fn read(source: &str, file: &str) -> Result<ScriptMetadata> {
        let Some(block) = block(source, file)? else {
            return Ok(ScriptMetadata::default());
        };
        let block: Block = toml::from_str(&block)
            .context(|| format!("the block `# /// script` of {file} cannot be read"))?;
        let settings = match block.tool.get("coil") {
            Some(toml::Value::Table(table)) => Settings::read(table, file)?,
            Some(_) => return Err(Failure::new(format!("{file}: tool.coil must be a table"))),
            None => Settings::default(),
        };
        settings.check_default(&settings.commands, file)?;
        if !settings.build.is_empty() || !settings.artifacts.is_empty() {
            return Err(Failure::new(format!(
                "{file}: build and artifacts in [tool.coil] are for directories"
            ))
            .hint("pack the directory that the script is in"));
        }
        let requirements = block.dependencies.iter().map(|text| Requirement::parse(text, file));
        Ok(ScriptMetadata {
            requirements: requirements.collect::<Result<_>>()?,
            requires_python: block.requires_python,
            settings,
        })
    }
}

/// The TOML inside the block of type `script`.
///
/// "Any Python script may have top-level comment blocks that MUST start with the line `# /// TYPE` ...
/// every line between these two lines MUST be a comment starting with #. If there are characters after
/// the # then the first character MUST be a space. ... When there are multiple comment blocks of the same
/// TYPE defined, tools MUST produce an error."
fn block(source: &str, file: &str) -> Result<Option<String>> {
    let mut found: Option<String> = None;
    let lines: Vec<&str> = source.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        at += 1;
        if lines[at - 1] != "# /// script" {
            continue;
        }
        let is_inside = |line: &&&str| **line == "#" || line.starts_with("# ");
        let body: Vec<&str> = lines[at..].iter().take_while(is_inside).copied().collect();
        // "Precedence for an ending line # /// is given when the next line is not a valid embedded content
        // line": the last such line of the run ends the block.
        let Some(end) = body.iter().rposition(|line| *line == "# ///") else {
            return Err(Failure::new(format!("the block `# /// script` of {file} is not closed"))
                .hint("end it with a line `# ///`"));
        };
        let text = body[..end].iter().map(|line| format!("{}\n", line.get(2..).unwrap_or("")));
        if found.replace(text.collect()).is_some() {
            return Err(Failure::new(format!("{file} has more than one block `# /// script`")));
        }
        at += end + 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Result<ScriptMetadata> {
        ScriptMetadata::read(source, "x.py")
    }

    #[test]
    fn a_block_says_what_the_script_needs() {
        let source = "#!/usr/bin/env python3\n# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#\n\
                      #   \"rich\",\n# ]\n# [tool.coil]\n# python = \"3.12\"\n# ///\nimport rich\n";
        let script = read(source).unwrap();
        assert_eq!(script.requirements[0].text, "rich");
        assert_eq!(script.requirements[0].origin, "x.py");
        assert_eq!(script.requires_python.as_deref(), Some(">=3.11"));
        assert_eq!(script.settings.python.as_deref(), Some("3.12"));
        assert_eq!(read(&source.replace('\n', "\r\n")).unwrap(), script);
    }

    #[test]
    fn a_script_without_a_block_needs_nothing() {
        assert_eq!(read("print(1)\n# /// other\n# x\n# ///\n").unwrap(), ScriptMetadata::default());
    }

    #[test]
    fn broken_blocks_are_refused() {
        let block = "# /// script\n# dependencies = []\n# ///\n";
        assert!(read(&format!("{block}\n{block}")).is_err());
        assert!(read("# /// script\n# dependencies = []\n").is_err());
        assert!(read("# /// script\n# dependencies = [\n# ///\n").is_err());
        assert!(read("# /// script\n# dependencies = [\"x=1\"]\n# ///\n").is_err());
        assert!(read("# /// script\n# [tool.coil]\n# nope = 1\n# ///\n").is_err());
    }
}
