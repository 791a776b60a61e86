//! The files in which a standard library records where it was built and installed.

use std::path::{Path, PathBuf};

/// Where a runtime is in an image; on other machines the launcher decides.
const PREFIX: &[u8] = b"/python";

/// Whether this file of the standard library records the build's paths, for `sysconfig`.
pub fn records_paths(name: &str) -> bool {
    let records = |start: &str, end: &str| name.starts_with(start) && name.ends_with(end);
    records("_sysconfigdata_", ".py") || records("_sysconfig_vars_", ".json") || name == "build-details.json"
}

/// The text with the installation's prefix replaced: where it is, and where it was when it was installed,
/// if it was moved since. A prefix of the distribution (`/usr`) stays: it is in the names of tools as well,
/// and tells nothing of anybody.
pub fn relocated(text: Vec<u8>, prefix: &Path) -> Vec<u8> {
    let recorded = recorded_prefix(&text).unwrap_or_else(|| prefix.to_owned());
    replaced(replaced(text, prefix), &recorded)
}

/// What the file itself calls the prefix: `'prefix': '/opt/py'`, or the same as JSON.
fn recorded_prefix(text: &[u8]) -> Option<PathBuf> {
    let text = std::str::from_utf8(text).ok()?;
    let keys = ["'prefix': '", "\"prefix\": \"", "\"base_prefix\": \""];
    let rest = keys.iter().find_map(|key| text.split_once(key))?.1;
    let path = rest.split(['\'', '"']).next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn replaced(text: Vec<u8>, prefix: &Path) -> Vec<u8> {
    let shared = ["/", "/usr", "/usr/local"].iter().any(|shared| prefix == Path::new(shared));
    let prefix = prefix.as_os_str().as_encoded_bytes();
    if shared || prefix.is_empty() {
        return text;
    }
    let mut relocated = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(at) = rest.windows(prefix.len()).position(|window| window == prefix) {
        let after = &rest[at + prefix.len()..];
        let whole = after.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"._-".contains(byte));
        relocated.extend_from_slice(&rest[..at]);
        relocated.extend_from_slice(if whole { PREFIX } else { prefix });
        rest = after;
    }
    relocated.extend_from_slice(rest);
    relocated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_prefixes_of_an_installation_are_replaced() {
        let text = b"-L/opt/py/lib:/opt/py /opt/py2/lib '/opt/py'".to_vec();
        let expected = b"-L/python/lib:/python /opt/py2/lib '/python'";
        assert_eq!(relocated(text, Path::new("/opt/py")), expected);
        let text = b"{'prefix': '/old/py', 'A': '/opt/py', 'B': '/old/py/lib'}".to_vec();
        let moved = b"{'prefix': '/python', 'A': '/python', 'B': '/python/lib'}";
        assert_eq!(relocated(text, Path::new("/opt/py")), moved);
        let text = b"/usr/bin/install".to_vec();
        assert_eq!(relocated(text.clone(), Path::new("/usr")), text);
    }
}
