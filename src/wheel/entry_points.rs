//! `entry_points.txt`: the functions a distribution offers, and the scripts that call them.
//!
//! Entry points specification, "File format": an INI file with `=` alone between name and value. It is
//! read line by line, as `importlib.metadata` does. Only the two groups of scripts are looked into;
//! what a plugin group says is nobody's business here.

/// The scripts a distribution offers, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryPoints {
    /// `[console_scripts]`.
    pub console: Vec<EntryPoint>,
    /// `[gui_scripts]`: the same on Linux.
    pub gui: Vec<EntryPoint>,
}

/// A script's name and the function it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// The script's file name.
    pub name: String,
    /// The module, with dots.
    pub module: String,
    /// The function in the module, with dots where it is an attribute of something.
    pub attribute: String,
}

impl EntryPoints {
    /// Reads `entry_points.txt`; the error is the end of a sentence about the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        let mut points = EntryPoints::default();
        let mut section = "";
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name.trim();
                continue;
            }
            let group = match section {
                "console_scripts" => &mut points.console,
                "gui_scripts" => &mut points.gui,
                _ => continue,
            };
            group.push(EntryPoint::parse(line)?);
        }
        Ok(points)
    }

    /// The scripts of both groups.
    pub fn scripts(&self) -> impl Iterator<Item = &EntryPoint> {
        self.console.iter().chain(&self.gui)
    }
}

impl EntryPoint {
    /// Reads `NAME = MODULE:ATTRIBUTE [EXTRAS]`. Extras say nothing when a script starts.
    fn parse(line: &str) -> Result<Self, String> {
        let (name, value) =
            line.split_once('=').ok_or_else(|| format!("has a line without \"=\": {line:?}"))?;
        let (name, value) = (name.trim(), value.trim());
        if let Some(fault) = fault(name) {
            return Err(format!("has a script called {name:?}, which {fault}"));
        }
        let target = match value.split_once('[') {
            Some((target, extras)) if extras.trim_end().ends_with(']') => target.trim(),
            _ => value,
        };
        let (module, attribute) = target
            .split_once(':')
            .map(|(module, attribute)| (module.trim(), attribute.trim()))
            .filter(|(module, attribute)| is_dotted_name(module) && is_dotted_name(attribute))
            .ok_or_else(|| format!("has a script {name:?} that is {value:?}, not MODULE:FUNCTION"))?;
        Ok(EntryPoint { name: name.to_owned(), module: module.to_owned(), attribute: attribute.to_owned() })
    }

    /// The Python file that calls the function, run by `interpreter`.
    pub fn script(&self, interpreter: &str) -> String {
        let EntryPoint { module, attribute, .. } = self;
        let imported = attribute.split('.').next().unwrap_or(attribute);
        format!(
            "#!{interpreter}\n# -*- coding: utf-8 -*-\nimport sys\n\nfrom {module} import {imported}\n\n\
             if __name__ == \"__main__\":\n    sys.exit({attribute}())\n"
        )
    }
}

/// What is wrong with the name of a script, if anything.
fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name == "." || name == ".." {
        return Some("is no file name");
    }
    if name.contains(['/', '\\']) {
        return Some("leads to another directory");
    }
    if name.chars().any(char::is_control) {
        return Some("holds a control character");
    }
    None
}

/// Names with dots between them. They are written into a Python file, so nothing else gets through.
fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|name| {
        name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
            && name.chars().next().is_some_and(|first| !first.is_numeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_both_groups_are_found() {
        let points = EntryPoints::parse(
            b"# comment\n[console_scripts]\r\nfoo = pkg.mod:main\nfoo-bar=pkg : Class.run [extra, other]\n\n\
              [gui_scripts]\nwindow = pkg:show\n[flask.commands]\nx = broken\n; comment\n[ console_scripts ]\nlast=a:b\n",
        )
        .unwrap();
        let listed: Vec<_> = points
            .scripts()
            .map(|point| format!("{} {} {}", point.name, point.module, point.attribute))
            .collect();
        assert_eq!(listed, ["foo pkg.mod main", "foo-bar pkg Class.run", "last a b", "window pkg show"]);
    }

    #[test]
    fn a_script_imports_what_it_calls() {
        let points = EntryPoints::parse(b"[console_scripts]\nfoo=pkg.mod:Class.run\n").unwrap();
        assert_eq!(
            points.console[0].script("/venv/bin/python"),
            "#!/venv/bin/python\n# -*- coding: utf-8 -*-\nimport sys\n\nfrom pkg.mod import Class\n\n\
             if __name__ == \"__main__\":\n    sys.exit(Class.run())\n"
        );
    }

    #[test]
    fn hostile_scripts_are_refused() {
        for line in [
            "../foo = a:b",
            "a/b = a:b",
            "a\\b = a:b",
            ".. = a:b",
            " = a:b",
            "a\u{1b}b = a:b",
            "foo = a",
            "foo = a:",
            "foo = a:b; import os",
            "foo = a:b\u{b}c",
            "foo = a:1b",
            "foo = a..c:b",
            "foo",
        ] {
            let text = format!("[console_scripts]\n{line}\n");
            assert!(EntryPoints::parse(text.as_bytes()).is_err(), "{line}");
        }
    }
}
