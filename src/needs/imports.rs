//! Which modules the Python sources of a layer import whatever happens, and which only if it can be done.
//!
//! An import at the beginning of a line is made when its module is; one that is indented is in a function, an
//! `if` or a `try`, and may never be made, or not be missed. Sources are read as lines and not as Python: what
//! looks like an import in a text counts as well.

use std::collections::HashSet;

use coil_bootstrap::format::path::TreePath;

/// Imported modules, by their full names.
#[derive(Debug, Default)]
pub struct Imports {
    always: HashSet<String>,
    perhaps: HashSet<String>,
    /// Perhaps, by the package itself: it knows how to do without, whoever else imports it.
    spared: HashSet<String>,
}

/// Whether a module is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// By a module of the same layer, when that is imported.
    Always,
    /// By one of the same layer, in a function or where it may fail.
    Perhaps,
    /// By none that was read.
    Unseen,
}

impl Imports {
    /// Whether the file at `path` is a source that counts: tests and examples may import what nobody has.
    pub fn wants(path: &TreePath) -> bool {
        let test =
            |part: &str| matches!(part, "test" | "tests" | "testing" | "conftest.py" | "examples" | "docs");
        path.ends_with(".py") && !path.split('/').any(|part| test(part) || part.starts_with("test_"))
    }

    /// Adds what the source at `path` imports.
    pub fn add(&mut self, path: &TreePath, source: &[u8]) {
        let Some(module) = module_name(path) else { return };
        let package = match path.file_name() == "__init__.py" {
            true => module.as_str(),
            false => module.rsplit_once('.').map_or("", |(package, _)| package),
        };
        let text = String::from_utf8_lossy(source);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let statement = line.trim_start();
            if !statement.starts_with("import ") && !statement.starts_with("from ") {
                continue;
            }
            let names = match line.len() == statement.len() {
                true => &mut self.always,
                false if module == package => &mut self.spared,
                false => &mut self.perhaps,
            };
            add_statement(&whole(statement, &mut lines), package, names);
        }
    }

    /// Whether the extension module at `path` is imported.
    pub fn of(&self, path: &TreePath) -> Imported {
        match module_name(path) {
            Some(name) if self.spared.contains(&name) => Imported::Perhaps,
            Some(name) if self.always.contains(&name) => Imported::Always,
            Some(name) if self.perhaps.contains(&name) => Imported::Perhaps,
            _ => Imported::Unseen,
        }
    }
}

/// The statement with the lines that it goes on for.
fn whole(first: &str, lines: &mut std::str::Lines) -> String {
    let code = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let mut statement = code(first);
    while statement.ends_with('\\') || (statement.contains('(') && !statement.contains(')')) {
        let Some(line) = lines.next() else { break };
        statement = format!("{} {}", statement.trim_end_matches('\\'), code(line));
    }
    statement
}

fn add_statement(statement: &str, package: &str, names: &mut HashSet<String>) {
    let first = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    if let Some(list) = statement.strip_prefix("import ") {
        names.extend(list.split(',').map(first));
    } else if let Some((base, list)) =
        statement.strip_prefix("from ").and_then(|rest| rest.split_once(" import "))
        && let Some(base) = absolute(base.trim(), package)
    {
        let list = list.trim_matches(|c: char| matches!(c, '(' | ')' | ' '));
        names.extend(list.split(',').map(first).map(|name| joined(&base, &name)));
        names.insert(base);
    }
}

/// `..a` in the package `x.y.z` is `x.y.a`; `None` above the top.
fn absolute(base: &str, package: &str) -> Option<String> {
    let name = base.trim_start_matches('.');
    let dots = base.len() - name.len();
    let mut above = package;
    for _ in 1..dots {
        above = above.rsplit_once('.').map(|(above, _)| above)?;
    }
    Some(if dots == 0 { name.to_owned() } else { joined(above, name) })
}

fn joined(package: &str, name: &str) -> String {
    [package, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// The name that what is at `path` is imported by: `a/b.cpython-312.so` in site-packages is `a.b`.
fn module_name(path: &TreePath) -> Option<String> {
    let below = match path.split_once("/site-packages/") {
        Some((_, below)) => below,
        None => path.below("app")?,
    };
    let (directory, file) = below.rsplit_once('/').unwrap_or(("", below));
    let stem = file.split('.').next().filter(|stem| *stem != "__init__").unwrap_or_default();
    Some(joined(&directory.replace('/', "."), stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> TreePath {
        TreePath::new(format!("venv/lib/python3.12/site-packages/{name}")).unwrap()
    }

    #[test]
    fn imports_at_the_beginning_of_a_line_are_made_always_and_others_perhaps() {
        let mut imports = Imports::default();
        let source =
            b"from . import _a, _b as c\nfrom .sub.deep import (  # why\n    _d,\n    e)\nimport p._f, os\n\
            try:\n    from p import _g\nexcept ImportError:\n    pass\nfrom ..q \\\n  import _h\n";
        imports.add(&path("p/__init__.py"), source);
        imports.add(&path("p/r/s.py"), b"from ..t import _u\n");
        for (module, imported) in [
            ("p/_a.abi3.so", Imported::Always),
            ("p/_b.so", Imported::Always),
            ("p/sub/deep/_d.so", Imported::Always),
            ("p/_f.cpython-312-x86_64-linux-gnu.so", Imported::Always),
            ("p/_g.so", Imported::Perhaps),
            ("p/t/_u.so", Imported::Always),
            ("p/x.so", Imported::Unseen),
        ] {
            assert_eq!(imports.of(&path(module)), imported, "{module}");
        }
    }

    #[test]
    fn what_the_package_itself_can_do_without_is_not_always_there() {
        let mut imports = Imports::default();
        imports.add(&path("p/__init__.py"), b"try:\n    import p.scrap\nexcept ImportError: pass\n");
        imports.add(&path("p/clip.py"), b"import p.scrap\n");
        assert_eq!(imports.of(&path("p/scrap.so")), Imported::Perhaps);
    }

    #[test]
    fn tests_do_not_count_and_no_text_is_too_strange() {
        assert!(!Imports::wants(&path("p/tests/x.py")) && !Imports::wants(&path("p/test_x.py")));
        assert!(Imports::wants(&path("p/x.py")) && !Imports::wants(&path("p/x.txt")));
        let mut imports = Imports::default();
        for source in [&b"from ....... import x"[..], b"import", b"from x import (", b"\xff\nimport \xff,,"] {
            imports.add(&path("p/x.py"), source);
        }
        assert_eq!(imports.of(&path("p/y.so")), Imported::Unseen);
    }
}
