//! Whether an `__init__.py` is there only to make its directory part of a namespace package.
//!
//! Distributions that share one each bring such a file, and write it a little differently: another comment,
//! another kind of quote, `pkgutil` or `pkg_resources`. Installed into one directory, any of them does for all.
//! Nothing is executed, and what is not recognised is an ordinary module.
//!
//! "Packaging namespace packages" (PyPA) has the forms that exist: `pkgutil`-style and `pkg_resources`-style.

use std::collections::BTreeMap;
use std::io;

use coil_bootstrap::format::path::TreePath;
use serde::{Deserialize, Serialize};

use super::ENVIRONMENT;
use crate::tree::Tree;

/// The longest file that is looked at, in bytes: licences stand in comments.
const LONGEST: u64 = 16 << 10;

/// What a module comes to that has no code of its own. Of two, the lesser one is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initial {
    /// It declares its package to be a namespace.
    Namespace,
    /// There is nothing in it but comments and a docstring.
    Blank,
}

/// The files of the tree that are nothing but this, all called `__init__.py`. Empty ones are not listed: they
/// are many, and known by their digest.
pub fn initials(tree: &Tree) -> io::Result<BTreeMap<TreePath, Initial>> {
    let mut found = BTreeMap::new();
    for (path, node) in tree.iter() {
        if path.file_name() != "__init__.py" || path.below(ENVIRONMENT).is_none() {
            continue;
        }
        let Some((length, mut reader)) = node.content.open()? else { continue };
        if !(1..=LONGEST).contains(&length) {
            continue;
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        if let Some(initial) = std::str::from_utf8(&bytes).ok().and_then(read) {
            found.insert(path.clone(), initial);
        }
    }
    Ok(found)
}

/// What this source comes to; `None` where it is an ordinary module.
pub fn read(source: &str) -> Option<Initial> {
    let mut initial = Initial::Blank;
    for (index, statement) in statements(source)?.iter().enumerate() {
        if is_declaration(statement) {
            initial = Initial::Namespace;
        } else if !(is_beside(statement) || index == 0 && is_docstring(statement)) {
            return None;
        }
    }
    Some(initial)
}

/// Whether the statement, written without needless space, declares a namespace.
fn is_declaration(statement: &str) -> bool {
    const EXTEND: [&str; 3] = ["extend_path", "pkgutil.extend_path", "__import__('pkgutil').extend_path"];
    const DECLARE: [&str; 3] = [
        "declare_namespace",
        "pkg_resources.declare_namespace",
        "__import__('pkg_resources').declare_namespace",
    ];
    let extends =
        statement.strip_prefix("__path__=").and_then(|call| call.strip_suffix("(__path__,__name__)"));
    let declares = statement.strip_suffix("(__name__)");
    extends.is_some_and(|function| EXTEND.contains(&function))
        || declares.is_some_and(|function| DECLARE.contains(&function))
}

/// Whether the statement is one of those that stand beside a declaration.
fn is_beside(statement: &str) -> bool {
    const BESIDE: [&str; 8] = [
        "import pkgutil",
        "import pkg_resources",
        "from pkgutil import extend_path",
        "from pkg_resources import declare_namespace",
        "from __future__ import absolute_import",
        "try:",
        "else:",
        "pass",
    ];
    const CAUGHT: [&str; 5] = ["", "ImportError", "ModuleNotFoundError", "AttributeError", "Exception"];
    let caught = statement.strip_prefix("except").and_then(|rest| rest.strip_suffix(':'));
    let caught = caught.map(|names| names.trim_start().trim_start_matches('(').trim_end_matches(')'));
    BESIDE.contains(&statement)
        || caught.is_some_and(|names| names.split(',').all(|name| CAUGHT.contains(&name)))
}

fn is_docstring(statement: &str) -> bool {
    statement.starts_with('\'') && statement.len() > 1 && !statement[1..statement.len() - 1].contains('\'')
}

/// The statements of a source, each written without comments and needless space, with `'` around strings, whose
/// quotes are taken out; the lines that begin a block are statements of their own. `None` for what cannot be
/// read so.
fn statements(source: &str) -> Option<Vec<String>> {
    let mut reading = Reading::default();
    let mut rest = source.strip_prefix('\u{feff}').unwrap_or(source);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '\\' => {
                1 + rest[1..].starts_with("\r\n").then_some(2).or(rest[1..].starts_with('\n').then_some(1))?
            }
            '\'' | '"' => reading.string(rest)?,
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                reading.word(&rest[..end]);
                end
            }
            _ => {
                reading.sign(first)?;
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    reading.end();
    Some(reading.statements)
}

/// A source on its way to being statements.
#[derive(Default)]
struct Reading {
    statements: Vec<String>,
    current: String,
    /// How many brackets are open.
    depth: usize,
}

impl Reading {
    fn word(&mut self, word: &str) {
        if self.current.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            self.current.push(' ');
        }
        self.current.push_str(word);
    }

    /// Takes the string at the start of `rest` and returns its length.
    fn string(&mut self, rest: &str) -> Option<usize> {
        let quote = &rest[..1];
        let triple = quote.repeat(3);
        let mark = if rest.starts_with(&triple) { triple.as_str() } else { quote };
        let inner = &rest[mark.len()..];
        let mut end = inner.find(mark)?;
        // What is escaped does not end the string.
        while inner[..end].ends_with('\\') {
            end += 1 + inner[end + 1..].find(mark)?;
        }
        if mark.len() == 1 && inner[..end].contains('\n') {
            return None;
        }
        let plain: String = inner[..end].chars().filter(|c| !matches!(c, '\'' | '"')).collect();
        // A prefix such as `r` or `u` changes nothing here; `f` would.
        let prefix = self.current.rfind(|c: char| !c.is_alphanumeric()).map_or(0, |at| at + 1);
        if matches!(&self.current[prefix..], "r" | "R" | "u" | "U") {
            self.current.truncate(prefix);
        }
        self.current.push_str(&format!("'{plain}'"));
        Some(mark.len() * 2 + end)
    }

    fn sign(&mut self, sign: char) -> Option<()> {
        match sign {
            '(' => self.depth += 1,
            ')' => self.depth = self.depth.checked_sub(1)?,
            '\n' | ';' if self.depth == 0 => {
                self.end();
                return Some(());
            }
            _ => {}
        }
        if !sign.is_whitespace() {
            self.current.push(sign);
        }
        if sign == ':' && self.depth == 0 {
            self.end();
        }
        Some(())
    }

    fn end(&mut self) {
        if !self.current.is_empty() {
            self.statements.push(std::mem::take(&mut self.current));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_of_both_styles_are_recognised_however_they_are_written() {
        for source in [
            "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            "__path__ = __import__(\"pkgutil\").extend_path(__path__, __name__)  # type: ignore",
            "# N.B.\n# combines package\u{2019}s parts\n\nfrom pkgutil import extend_path\n\n__path__ = extend_path(__path__, __name__)\n",
            "\"\"\"A 'namespace'.\n\nNothing here.\"\"\"\r\nimport pkgutil\r\n__path__ = pkgutil.extend_path(\r\n    __path__, __name__\r\n)\r\n",
            "__import__('pkg_resources').declare_namespace(__name__)",
            "import pkg_resources; pkg_resources.declare_namespace(__name__)",
            "try:\n    import pkg_resources\n    pkg_resources.declare_namespace(__name__)\nexcept ImportError:\n    import pkgutil\n    __path__ = pkgutil.extend_path(__path__, __name__)\n",
            "try: __import__('pkg_resources').declare_namespace(__name__)\nexcept (ImportError, AttributeError):  # pragma: no cover\n    from pkgutil import extend_path\n    __path__ = \\\n        extend_path(__path__, __name__)\n",
            "\u{feff}try:\n  from pkg_resources import declare_namespace\n  declare_namespace(__name__)\nexcept Exception:\n  pass\n",
        ] {
            assert_eq!(read(source), Some(Initial::Namespace), "{source}");
        }
    }

    #[test]
    fn comments_and_a_docstring_alone_say_nothing() {
        for source in
            ["", "\n\n", "# Copyright\n# License", "'x'", "r'''a \\''' b'''\n", "u\"y\" # z\n", "pass\n"]
        {
            assert_eq!(read(source), Some(Initial::Blank), "{source}");
        }
    }

    #[test]
    fn anything_else_is_an_ordinary_module() {
        for source in [
            "__version__ = '1'\n",
            "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\nfrom .core import run\n",
            "__path__ = extend_path(__path__, 'other')\n",
            "__path__ = sneaky(__path__, __name__)\n",
            "__path__ = __import__('evil').extend_path(__path__, __name__)\n",
            "__path__ = __import__('pkg' 'util').extend_path(__path__, __name__)\n",
            "import pkgutil, os\n",
            "import os\n",
            "'a' + f()\n",
            "'a'\n'b'\n",
            "f'{run()}'\n",
            "'a', run(), 'b'\n",
            "try:\n    pass\nexcept OSError:\n    pass\n",
            "except_(1)\n",
            "'open\n",
            "'''open\n",
            "pass)\n",
            "\\x\n",
            "importpkgutil\n",
        ] {
            assert_eq!(read(source), None, "{source}");
        }
    }
}
