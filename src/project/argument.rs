//! What one `PROJECT` on the command line is: a directory, a script, a wheel or a requirement.

use std::path::{Path, PathBuf};

use super::requirement::Requirement;
use crate::error::{Failure, Result};

/// One `PROJECT` of the command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Argument {
    /// A directory, and the extras that are wanted of it (`./project[postgres]`).
    Directory(PathBuf, Vec<String>),
    /// A Python file.
    Script(PathBuf),
    /// A wheel file, and the extras that are wanted of it.
    Wheel(PathBuf, Vec<String>),
    /// Something for the resolver to find.
    Requirement(Requirement),
}

impl Argument {
    /// Looks at the file system first; what looks like a path and does not exist is no requirement.
    pub fn classify(text: &str) -> Result<Argument> {
        if let Some(argument) = existing(text, &[])? {
            return Ok(argument);
        }
        if let Some((path, extras)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('['))
            && looks_like_a_path(path)
        {
            let extras: Vec<String> = extras.split(',').map(|extra| extra.trim().to_owned()).collect();
            if let Some(argument) = existing(path, &extras)? {
                return Ok(argument);
            }
        }
        if looks_like_a_path(text) {
            return Err(Failure::new(format!("{text}: no such file or directory"))
                .hint("give a directory, a .py file, a .whl file, or a requirement such as httpie"));
        }
        if text.contains("://") && !text.contains('@') || text.starts_with("git+") {
            return Err(Failure::new(format!("{text} does not say what is at this address"))
                .hint(format!("put the distribution's name in front: \"NAME @ {text}\"")));
        }
        Requirement::parse(text, "the command line").map(Argument::Requirement)
    }
}

fn existing(text: &str, extras: &[String]) -> Result<Option<Argument>> {
    let path = Path::new(text);
    if path.is_dir() {
        return Ok(Some(Argument::Directory(path.to_owned(), extras.to_vec())));
    }
    if !path.is_file() {
        return Ok(None);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let hint = match name {
        _ if name.ends_with(".py") && extras.is_empty() => {
            return Ok(Some(Argument::Script(path.to_owned())));
        }
        _ if name.ends_with(".whl") => return Ok(Some(Argument::Wheel(path.to_owned(), extras.to_vec()))),
        // A file that happens to be called like a requirement does not stand in its way.
        _ if !looks_like_a_path(text) => return Ok(None),
        _ if super::lock_file::is_pylock_name(name) => format!("give it as -r {text}"),
        "pyproject.toml" | "setup.py" | "setup.cfg" => "give the directory it is in".to_owned(),
        _ if name.ends_with(".txt") || name.ends_with(".in") => format!("give it as -r {text}"),
        _ if name.ends_with(".tar.gz") => "unpack it and give the directory".to_owned(),
        _ => "give a directory, a .py file or a .whl file".to_owned(),
    };
    Err(Failure::new(format!("{text} is not something that can be packed")).hint(hint))
}

fn looks_like_a_path(text: &str) -> bool {
    if text.contains("://") || text.contains(" @") {
        return false;
    }
    let endings = [".py", ".whl", ".toml", ".txt", ".in", ".cfg", ".tar.gz"];
    text.contains('/')
        || text.starts_with('.')
        || text.starts_with('~')
        || endings.iter().any(|end| text.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exists_is_told_apart_by_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        for name in ["x.py", "x-1-py3-none-any.whl", "pyproject.toml", "requirements.txt", "tool"] {
            std::fs::write(at(name), "").unwrap();
        }
        let root = directory.path().to_str().unwrap();
        assert!(matches!(Argument::classify(root), Ok(Argument::Directory(_, extras)) if extras.is_empty()));
        let with_extras = Argument::classify(&format!("{root}[a, b]"));
        assert!(matches!(with_extras, Ok(Argument::Directory(_, extras)) if extras == ["a", "b"]));
        assert!(matches!(Argument::classify(&at("x.py")), Ok(Argument::Script(_))));
        assert!(matches!(Argument::classify(&at("x-1-py3-none-any.whl")), Ok(Argument::Wheel(..))));
        let hint = |name: &str| Argument::classify(&at(name)).unwrap_err().advice().unwrap().to_owned();
        assert_eq!(hint("pyproject.toml"), "give the directory it is in");
        assert!(hint("requirements.txt").starts_with("give it as -r /"));
        assert!(hint("tool").starts_with("give a directory"));
    }

    #[test]
    fn a_path_that_does_not_exist_is_no_requirement() {
        for text in ["./nowhere", "nowhere.py", "nowhere/x", "nowhere.whl", "nowhere.toml", "/nowhere[x]"] {
            let error = Argument::classify(text).unwrap_err().to_string();
            assert!(error.ends_with("no such file or directory"), "{error}");
        }
    }

    #[test]
    fn names_and_addresses_are_requirements() {
        for text in ["httpie", "httpie[socks]>=3", "x @ https://host/a/x.zip", "x@git+ssh://git@host/x.git"] {
            assert!(matches!(Argument::classify(text), Ok(Argument::Requirement(_))), "{text}");
        }
        let error = Argument::classify("https://host/x.whl").unwrap_err();
        assert_eq!(
            error.advice(),
            Some("put the distribution's name in front: \"NAME @ https://host/x.whl\"")
        );
    }
}
