//! A requirement as somebody wrote it, and the mistakes that can be told without an index.
//!
//! The text goes to the resolver as it is; only its shape is checked here (PyPA, "Dependency
//! specifiers"), so that a typing error is answered at once and in plain words.

use crate::error::{Failure, Result};
use crate::lock::normal_name;

/// One requirement: `httpie[socks]>=3; python_version > "3.8"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The text, as the resolver gets it.
    pub text: String,
    /// The name it begins with, in normal form.
    pub name: String,
    /// Where it was written: `the command line`, `script.py`.
    pub origin: String,
}

impl Requirement {
    /// Checks the shape of `text`, which was written in `origin`.
    pub fn parse(text: &str, origin: &str) -> Result<Requirement> {
        let text = text.trim();
        if text.contains(['\n', '\r', '\0']) {
            return Err(wrong(text, origin, "it has a line break or a NUL in it"));
        }
        let name = leading_name(text);
        if name.is_empty() {
            return Err(wrong(text, origin, "it does not begin with a name")
                .hint("write it as NAME, NAME>=1.2, NAME[EXTRA] or \"NAME @ https://...\""));
        }
        check_rest(&text[name.len()..], name, text, origin)?;
        Ok(Requirement { text: text.to_owned(), name: normal_name(name), origin: origin.to_owned() })
    }
}

/// The name at the beginning: "ASCII letters, digits, `-`, `_` and `.`; it must start and end with a
/// letter or digit".
pub fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(text.len());
    let name = text[..end].trim_end_matches(['-', '_', '.']);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) { name } else { "" }
}

fn check_rest(rest: &str, name: &str, text: &str, origin: &str) -> Result<()> {
    let mut rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('[') {
        let Some((extras, after)) = inside.split_once(']') else {
            return Err(wrong(text, origin, "the bracket of its extras is not closed"));
        };
        if let Some(extra) = extras.split(',').map(str::trim).find(|extra| leading_name(extra) != *extra) {
            return Err(wrong(text, origin, &format!("{extra:?} is not the name of an extra")));
        }
        rest = after.trim_start();
    }
    if let Some(address) = rest.strip_prefix('@') {
        if !address.trim_start().contains(':') {
            return Err(wrong(text, origin, "no address follows the @")
                .hint(format!("write \"{name} @ https://...\" or \"{name} @ file:///...\"")));
        }
        return Ok(());
    }
    let (versions, marker) = match rest.split_once(';') {
        Some((versions, marker)) => (versions.trim(), Some(marker.trim())),
        None => (rest.trim(), None),
    };
    if marker == Some("") {
        return Err(wrong(text, origin, "nothing follows the semicolon"));
    }
    let versions = versions.strip_prefix('(').and_then(|v| v.strip_suffix(')')).unwrap_or(versions);
    if versions.is_empty() {
        return Ok(());
    }
    versions.split(',').try_for_each(|one| check_version(one.trim(), name, text, origin))
}

/// One version specifier: an operator and a version.
fn check_version(one: &str, name: &str, text: &str, origin: &str) -> Result<()> {
    const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
    let Some(operator) = OPERATORS.iter().find(|operator| one.starts_with(**operator)) else {
        let version = one.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let failure = wrong(text, origin, &format!("{one:?} is not a version specifier"));
        return Err(match version.starts_with(|c: char| c.is_ascii_digit()) {
            true => failure.hint(format!("for this version write \"{name}=={version}\"")),
            false => failure.hint("write several requirements as several words"),
        });
    };
    let version = one[operator.len()..].trim();
    let sound = version.chars().all(|c| c.is_ascii_alphanumeric() || ".*+!-_".contains(c));
    if version.is_empty() || !sound {
        return Err(wrong(text, origin, &format!("{version:?} is not a version")));
    }
    Ok(())
}

fn wrong(text: &str, origin: &str, reason: &str) -> Failure {
    Failure::new(format!("the requirement {text:?} ({origin}) cannot be understood: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Requirement> {
        Requirement::parse(text, "the command line")
    }

    #[test]
    fn requirements_of_every_shape_are_taken_as_they_are() {
        for text in [
            "httpie",
            "httpie[socks]>=3",
            "Foo.Bar_baz [a, b] (>=1.0,!=1.3.*) ; python_version < '3.9'",
            "x===1!2.0+local-1",
            "x[]",
            "name @ https://host/name-1.zip#sha256=0 ; os_name=='posix'",
            "name@git+https://host/r.git@v1",
        ] {
            assert_eq!(parse(text).unwrap().text, text);
        }
        assert_eq!(parse("Foo.Bar_baz>1").unwrap().name, "foo-bar-baz");
    }

    #[test]
    fn typing_errors_are_told_with_what_to_write() {
        for text in ["", ">=1", "-x", "x[a", "x[a b]", "x=1", "x>=", "x 1.0", "x y", "x;", "x @ ", "x>=1,"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("x=1.2").unwrap_err().advice(), Some("for this version write \"x==1.2\""));
        assert_eq!(parse("x@1.2").unwrap_err().advice().unwrap().split(' ').next(), Some("write"));
    }
}
