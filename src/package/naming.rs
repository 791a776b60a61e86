//! Names that package managers take.

use crate::error::{Failure, Result};

/// The name of an app's package. Debian Policy 5.6.1: "Package names must consist only of lower case letters (a-z), digits
/// (0-9), plus (+) and minus (-) signs, and periods (.). They must be at least two characters long and must start with an
/// alphanumeric character." rpm takes every such name.
pub fn package(app: &str) -> Result<String> {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') => c,
        _ => '-',
    };
    let name: String = app.chars().map(plain).collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.len() < 2 {
        return Err(Failure::new(format!(
            "{app:?} cannot be the name of a package: it needs two letters or digits"
        ))
        .hint("pack it with another name: coil pack --name NAME"));
    }
    Ok(name.to_owned())
}

/// Who answers for a package, as Debian Policy 5.6.2 has it: a name, and an address in angle brackets.
pub fn maintainer(text: &str) -> Result<String> {
    let text = text.trim();
    let parts = text.strip_suffix('>').and_then(|text| text.split_once('<'));
    let right = parts.is_some_and(|(name, address)| {
        !name.trim().is_empty() && address.contains('@') && !address.contains(['<', '>', ' '])
    });
    if right && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(Failure::new(format!("{text:?} is no maintainer"))
        .hint("write a name and an address: --maintainer \"Jo Doe <jo@example.com>\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages_are_in_lower_case_and_at_least_two_long() {
        for (app, name) in
            [("site", "site"), ("My_Site.web", "my-site.web"), ("2to3", "2to3"), ("_x1-", "x1")]
        {
            assert_eq!(package(app).unwrap(), name);
        }
        assert!(package("x").is_err() && package("_").is_err());
    }

    #[test]
    fn a_maintainer_has_a_name_and_an_address() {
        assert_eq!(maintainer(" Jo Doe <jo@example.com> ").unwrap(), "Jo Doe <jo@example.com>");
        for wrong in ["", "Jo", "jo@example.com", "<jo@example.com>", "Jo <jo>", "Jo <a@b>\nX: y <a@b>"] {
            assert!(maintainer(wrong).is_err(), "{wrong}");
        }
    }
}
