//! The indexes that projects name for uv, with the credentials that belong to them.
//!
//! uv reads them by itself. pip does not, and without them would look for private distributions in public; also
//! where uv resolves, pip fetches, from addresses that a lock states without credentials.

use std::path::PathBuf;

use crate::lock::url;
use crate::project::declared::{Declared, UvIndex};
use crate::project::lock_file::workspace_of;

/// The indexes of these projects and of the workspaces they are in, their addresses with credentials.
///
/// uv, "Indexes": "credentials ... `UV_INDEX_<name>_USERNAME` and `UV_INDEX_<name>_PASSWORD`, where `<name>` is the
/// name of the index" in upper case, other characters as `_`.
pub fn indexes(places: &[PathBuf], variable: &dyn Fn(&str) -> Option<String>) -> Vec<UvIndex> {
    let mut all: Vec<UvIndex> = Vec::new();
    for place in places {
        let workspace = workspace_of(place);
        for directory in [Some(place), workspace.as_ref()].into_iter().flatten() {
            // What cannot be read is told about where it is read for its own sake.
            let indexes = Declared::read(directory).map(|declared| declared.uv_indexes).unwrap_or_default();
            for mut index in indexes {
                index.url = with_login(&index.name, index.url, variable);
                if !all.contains(&index) {
                    all.push(index);
                }
            }
        }
    }
    all
}

fn with_login(name: &str, address: String, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(upper).collect();
    let user = variable(&format!("UV_INDEX_{name}_USERNAME"));
    let password = variable(&format!("UV_INDEX_{name}_PASSWORD"));
    let encoded = |text: Option<String>| url::encoded(&text.unwrap_or_default());
    match (user, password) {
        (None, None) => address,
        (user, password) => {
            url::with_credentials(&address, &format!("{}:{}", encoded(user), encoded(password)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_named_index_come_from_variables() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[[tool.uv.index]]\nname = \"my-own\"\nurl = \"https://host/simple\"\n[[tool.uv.index]]\nurl = \"https://a:b@c/\"\n";
        std::fs::write(directory.path().join("pyproject.toml"), text).unwrap();
        let variable = |name: &str| match name {
            "UV_INDEX_MY_OWN_USERNAME" => Some("me".to_owned()),
            "UV_INDEX_MY_OWN_PASSWORD" => Some("p@ss".to_owned()),
            _ => None,
        };
        let found = indexes(&[directory.path().to_owned()], &variable);
        let found: Vec<_> = found.into_iter().map(|index| index.url).collect();
        assert_eq!(found, ["https://me:p%40ss@host/simple", "https://a:b@c/"]);
    }
}
