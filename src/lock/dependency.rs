//! A dependency specifier taken apart (PyPA, "Dependency specifiers"): what a distribution says it needs.

use super::marker::Marker;
use super::normal_name;
use super::specifier::Specifiers;
use crate::project::requirement::leading_name;

/// One thing that is needed.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The distribution's name in normal form.
    pub name: String,
    /// The extras of it that are needed, in normal form.
    pub extras: Vec<String>,
    /// The versions that will do; `None` where an address is named instead.
    pub versions: Option<Specifiers>,
    /// When it is needed; always without one.
    pub marker: Option<Marker>,
    /// Name, extras and versions, as they are written.
    pub text: String,
}

impl Dependency {
    /// Takes a specifier apart; the error is the reason why that cannot be done.
    pub fn parse(text: &str) -> Result<Dependency, String> {
        let text = text.trim();
        let name = leading_name(text);
        if name.is_empty() {
            return Err("it does not begin with a name".to_owned());
        }
        let mut rest = text[name.len()..].trim_start();
        let mut extras = Vec::new();
        if let Some(inside) = rest.strip_prefix('[') {
            let (list, after) = inside.split_once(']').ok_or("the bracket of its extras is not closed")?;
            extras =
                list.split(',').map(str::trim).filter(|extra| !extra.is_empty()).map(normal_name).collect();
            rest = after.trim_start();
        }
        // "The semicolon after an address needs white space before it": an address may hold one.
        let end = match rest.starts_with('@') {
            true => rest.find(" ;").or_else(|| rest.find("\n;")).map(|at| at + 1),
            false => rest.find(';'),
        };
        let (what, marker) = match end {
            Some(at) => (rest[..at].trim(), Some(Marker::parse(&rest[at + 1..])?)),
            None => (rest.trim(), None),
        };
        let versions = match what.starts_with('@') {
            true => None,
            false => {
                let inside = what.strip_prefix('(').and_then(|what| what.strip_suffix(')')).unwrap_or(what);
                Some(
                    Specifiers::parse(inside)
                        .ok_or_else(|| format!("{inside:?} is not a version specifier"))?,
                )
            }
        };
        let length = text.len() - rest.len() + end.unwrap_or(rest.len());
        Ok(Dependency {
            name: normal_name(name),
            extras,
            versions,
            marker,
            text: text[..length].trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_come_apart() {
        let one = Dependency::parse("Foo.Bar[A_b, c] (>=1,<2) ; python_version > '3'").unwrap();
        assert_eq!(
            (one.name.as_str(), one.extras.as_slice()),
            ("foo-bar", ["a-b".to_owned(), "c".to_owned()].as_slice())
        );
        assert_eq!(one.text, "Foo.Bar[A_b, c] (>=1,<2)");
        assert!(one.marker.is_some() && one.versions.is_some());
        let two = Dependency::parse("x @ https://host/a;b.zip ; extra == 'y'").unwrap();
        assert!(two.versions.is_none() && two.marker.is_some());
        assert_eq!(Dependency::parse("x@git+https://h/r;p").unwrap().text, "x@git+https://h/r;p");
        assert!(Dependency::parse("x\n; extra == 'y'").unwrap().marker.is_some());
        for wrong in ["", ">=1", "x[a", "x 1", "x; nope"] {
            assert!(Dependency::parse(wrong).is_err(), "{wrong}");
        }
    }
}
