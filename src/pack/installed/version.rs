//! Whether the version that is installed is one that a requirement allows.

use crate::lock::specifier::{Specifiers, Version};
use crate::project::requirement::leading_name;

/// Whether an installed version is one that these specifiers (`>=1.2,<2`, possibly in brackets) allow; `None`
/// where one of the two cannot be read.
pub fn fits(specifiers: &str, version: &str) -> Option<bool> {
    let specifiers = specifiers.trim();
    let inner = specifiers.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    Some(Specifiers::parse(inner.unwrap_or(specifiers))?.allow(&Version::parse(version)?))
}

/// The part of a requirement that is about versions.
pub fn versions(requirement: &str) -> &str {
    let rest = requirement[leading_name(requirement).len()..].trim_start();
    let rest =
        rest.strip_prefix('[').and_then(|extras| extras.split_once(']')).map_or(rest, |(_, rest)| rest);
    let rest = rest.split(';').next().unwrap_or_default().trim();
    if rest.starts_with('@') { "" } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_a_requirement_are_found() {
        for (requirement, expected) in [
            ("httpie", ""),
            ("httpie[socks, x] >=3,<4 ; python_version > '3'", ">=3,<4"),
            ("httpie (>=3)", "(>=3)"),
            ("httpie @ https://host/x", ""),
        ] {
            assert_eq!(versions(requirement), expected, "{requirement}");
        }
    }
}
