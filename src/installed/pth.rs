//! `.pth` files that belong to no distribution: they put directories on `sys.path`.
//!
//! `site` documentation: a line that begins with `import` is run, `#` begins a comment, and any other line is a
//! directory, relative to that of the file.

use std::path::{Path, PathBuf};

/// Where the lines of a `.pth` file lead.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leads {
    /// Directories outside of the virtualenv that exist: what is in them would be missing in a bundle.
    pub outside: Vec<PathBuf>,
    /// Directories that do not exist.
    pub nowhere: Vec<PathBuf>,
    /// How many lines are of use in a bundle: those that are run, and directories inside.
    pub inside: usize,
}

/// Reads the lines of a `.pth` file in `site_packages`, of a virtualenv with these `names`.
pub fn leads(text: &str, site_packages: &Path, names: &[PathBuf]) -> Leads {
    let mut leads = Leads::default();
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("import ") || line.starts_with("import\t") {
            leads.inside += 1;
            continue;
        }
        let path = site_packages.join(line);
        match path.canonicalize() {
            Err(_) => leads.nowhere.push(path),
            Ok(real) if names.iter().any(|name| real.starts_with(name)) => leads.inside += 1,
            Ok(real) => leads.outside.push(real),
        }
    }
    leads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_leads_inside_outside_or_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let site = root.join("venv/site-packages");
        std::fs::create_dir_all(site.join("inner")).unwrap();
        std::fs::create_dir_all(root.join("source")).unwrap();
        let text = format!(
            "# x\n\nimport os; print(1)\ninner\n../../source\n{}/source\n/nowhere/x\n",
            root.display()
        );
        let leads = leads(&text, &site, &[root.join("venv")]);
        assert_eq!(leads.inside, 2);
        assert_eq!(leads.outside, vec![root.join("source"); 2]);
        assert_eq!(leads.nowhere, [PathBuf::from("/nowhere/x")]);
    }
}
