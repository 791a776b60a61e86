//! What a project says of itself in `[project]`, as labels of its image ("Pre-Defined Annotation Keys" of the OCI image
//! specification): what it is, under which licence, and where it comes from.
//!
//! Nothing is asked of git: where a clone came from is another thing on every machine.

use std::collections::BTreeMap;

use toml::Value;

use super::pyproject::ProjectTable;
use crate::lock::url::without_credentials;

/// PyPA, "Well-known Project URLs in Metadata": the labels that mean the same, in normal form.
const ADDRESSES: [(&str, &[&str]); 3] = [
    ("source", &["source", "repository", "sourcecode", "github"]),
    ("url", &["homepage"]),
    ("documentation", &["documentation", "docs"]),
];

/// The labels for an image of the project.
pub fn labels(table: &ProjectTable) -> BTreeMap<String, String> {
    let text = |value: &Option<Value>| value.as_ref()?.as_str().map(str::to_owned);
    // A table there names a file, or has a text that is no SPDX expression.
    let mut found = vec![("description", text(&table.description)), ("licenses", text(&table.license))];
    let urls = table.urls.as_ref().and_then(Value::as_table);
    let urls: BTreeMap<String, &str> = urls
        .into_iter()
        .flatten()
        .filter_map(|(label, address)| Some((normal(label), address.as_str()?)))
        .collect();
    for (key, names) in ADDRESSES {
        let address = names.iter().find_map(|name| urls.get(*name));
        found.push((key, address.map(|address| without_credentials(address))));
    }
    let is_line = |text: &String| !text.is_empty() && !text.contains(char::is_control);
    let found = found.into_iter().filter_map(|(key, text)| Some((key, text.filter(is_line)?)));
    found.map(|(key, text)| (format!("org.opencontainers.image.{key}"), text)).collect()
}

/// "Label normalization": without punctuation and white space, in lower case.
fn normal(label: &str) -> String {
    let kept = label.chars().filter(|c| !c.is_ascii_punctuation() && !c.is_whitespace());
    kept.collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, String)> {
        let labels = labels(&toml::from_str(text).unwrap());
        let short = |(key, value): (String, String)| (key.rsplit('.').next().unwrap().to_owned(), value);
        labels.into_iter().map(short).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_a_project_says_of_itself_is_found_whatever_its_labels_look_like() {
        let text = "description = \"A tool\"\nlicense = \"MIT OR Apache-2.0\"\n[urls]\n\"Source-Code\" = \
                    \"https://me:secret@git.example/tool.git\"\nDocs = \"https://docs.example\"\n\"Home Page\" = \"https://x.example\"\n\
                    Issues = \"https://git.example/issues\"\n";
        let expected = [
            ("description", "A tool"),
            ("documentation", "https://docs.example"),
            ("licenses", "MIT OR Apache-2.0"),
            ("source", "https://git.example/tool.git"),
            ("url", "https://x.example"),
        ];
        assert_eq!(of(text), pairs(&expected));
    }

    #[test]
    fn what_is_no_expression_and_no_text_is_passed_over() {
        assert_eq!(
            of("license = { text = \"MIT\" }\ndescription = \"two\\nlines\"\n[urls]\nSource = 1\n"),
            []
        );
        assert_eq!(of("license = { file = \"LICENSE\" }\nurls = []\n"), []);
        let both = "[urls]\nGitHub = \"https://b.example\"\nRepository = \"https://a.example\"\n";
        assert_eq!(of(both), pairs(&[("source", "https://a.example")]));
    }
}
