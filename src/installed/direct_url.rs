//! `direct_url.json`: where a distribution came from that was not named by its version alone (PEP 610).

use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Failure, Result};
use crate::lock::url;

/// What the file says.
#[derive(Debug)]
pub struct DirectUrl {
    address: String,
    editable: bool,
    text: Vec<u8>,
}

impl DirectUrl {
    /// Reads the file; the error is the end of a sentence about it.
    pub fn parse(text: &[u8]) -> Result<DirectUrl, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
        let address = value["url"].as_str().ok_or("names no url")?.to_owned();
        let editable = value["dir_info"]["editable"].as_bool().unwrap_or(false);
        Ok(DirectUrl { address, editable, text: text.to_owned() })
    }

    /// The directory of an editable installation.
    pub fn editable(&self) -> Option<Result<PathBuf>> {
        self.editable.then(|| {
            url::local_path(&self.address).ok_or_else(|| {
                Failure::new(format!("an editable installation of {} has no local directory", self.address))
                    .hint("install it anew, without -e")
            })
        })
    }

    /// What can be said on every machine: nothing of local paths, an address without credentials.
    pub fn without_the_machine(self) -> Option<Vec<u8>> {
        if self.address.starts_with("file:") {
            return None;
        }
        let plain = url::without_credentials(&self.address);
        if plain == self.address {
            return Some(self.text);
        }
        let mut value: Value = serde_json::from_slice(&self.text).ok()?;
        value["url"] = Value::String(plain);
        serde_json::to_vec(&value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_without_credentials_and_paths_do_not_stay() {
        let kept = |text: &str| {
            let kept = DirectUrl::parse(text.as_bytes()).unwrap().without_the_machine();
            kept.map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let plain = r#"{ "url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "1"} }"#;
        assert_eq!(kept(plain).as_deref(), Some(plain));
        assert_eq!(
            kept(r#"{"url":"https://me:pw@host/x.git"}"#).as_deref(),
            Some(r#"{"url":"https://host/x.git"}"#)
        );
        assert_eq!(kept(r#"{"url":"file:///home/me/x.whl"}"#), None);
    }

    #[test]
    fn an_editable_installation_names_its_directory() {
        let editable = |text: &str| DirectUrl::parse(text.as_bytes()).unwrap().editable();
        let path =
            editable(r#"{"url":"file:///home/my%20self/x","dir_info":{"editable":true}}"#).unwrap().unwrap();
        assert_eq!(path, PathBuf::from("/home/my self/x"));
        assert!(editable(r#"{"url":"file:///x","dir_info":{}}"#).is_none());
        assert!(editable(r#"{"url":"https://x","dir_info":{"editable":true}}"#).unwrap().is_err());
        assert!(DirectUrl::parse(b"{}").is_err() && DirectUrl::parse(b"x").is_err());
    }
}
