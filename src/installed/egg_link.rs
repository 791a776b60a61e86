//! `NAME.egg-link`: what `setup.py develop` leaves in site-packages instead of an installation.
//!
//! ```text
//! /home/me/project/src        the directory that is on sys.path
//! ../                         from there to the directory of setup.py
//! ```

use std::path::{Path, PathBuf};

/// The directory of `setup.py`, of an egg-link's text; `None` where it names none.
pub fn source(text: &str) -> Option<PathBuf> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let directory = Path::new(lines.next()?);
    let up = lines.next().unwrap_or(".");
    directory.is_absolute().then(|| match up {
        "." => directory.to_owned(),
        up => directory.join(up),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_line_leads_to_the_sources() {
        let source = |text: &str| source(text).map(|path| path.display().to_string());
        assert_eq!(source("/home/me/project\n.").as_deref(), Some("/home/me/project"));
        assert_eq!(source("/home/me/project/src\n../").as_deref(), Some("/home/me/project/src/../"));
        assert_eq!(source("/p\n").as_deref(), Some("/p"));
        assert_eq!(source("\n"), None);
        assert_eq!(source("relative\n."), None);
    }
}
