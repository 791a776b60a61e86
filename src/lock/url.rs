//! The few things coil needs to know about addresses: who logs in, which host, which file.
//!
//! Nothing is fetched here; addresses come from the resolver and go back to it.

use std::path::{Path, PathBuf};

/// The address without user name and password.
pub fn without_credentials(address: &str) -> String {
    match split(address) {
        Some((scheme, _, host, rest)) => format!("{scheme}://{host}{rest}"),
        None => address.to_owned(),
    }
}

/// The user name and password in an address, as they are written there.
pub fn credentials(address: &str) -> Option<&str> {
    split(address)?.1
}

/// The host and port of an address: what credentials are for.
pub fn host(address: &str) -> Option<&str> {
    Some(split(address)?.2)
}

/// The address with these credentials, unless it has some already.
pub fn with_credentials(address: &str, login: &str) -> String {
    match split(address) {
        Some((scheme, None, host, rest)) => format!("{scheme}://{login}@{host}{rest}"),
        _ => address.to_owned(),
    }
}

/// The path that a `file:` address names on this machine.
pub fn local_path(address: &str) -> Option<PathBuf> {
    let rest = address.strip_prefix("file://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    path.starts_with('/').then(|| PathBuf::from(decoded(before_fragment(path))))
}

/// The `file:` address of an absolute path.
pub fn of_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    format!("file://{}", escaped(path.as_os_str().as_bytes(), b"/-_.~"))
}

/// The text as it is written in the credentials of an address.
pub fn encoded(text: &str) -> String {
    escaped(text.as_bytes(), b"-_.~")
}

fn escaped(bytes: &[u8], plain: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            _ if plain.contains(&byte) || byte.is_ascii_alphanumeric() => text.push(byte as char),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The last component of an address, decoded: the name of the file.
pub fn file_name(address: &str) -> String {
    let path = before_fragment(address).split('?').next().unwrap_or_default();
    decoded(path.rsplit('/').next().unwrap_or_default())
}

fn before_fragment(address: &str) -> &str {
    address.split('#').next().unwrap_or(address)
}

/// Scheme, credentials, host with port, and the rest from its `/` on.
fn split(address: &str) -> Option<(&str, Option<&str>, &str, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((login, host)) => Some((scheme, Some(login), host, rest)),
        None => Some((scheme, None, authority, rest)),
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, escaped) {
            (b'%', Some(value)) => {
                plain.push(value);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_off_and_go_back_on() {
        let address = "https://me:p%40ss@host:8443/simple/?x=1";
        assert_eq!(credentials(address), Some("me:p%40ss"));
        assert_eq!(host(address), Some("host:8443"));
        let bare = without_credentials(address);
        assert_eq!(bare, "https://host:8443/simple/?x=1");
        assert_eq!(with_credentials(&bare, "me:p%40ss"), address);
    }

    #[test]
    fn an_at_sign_in_the_path_is_no_credential() {
        assert_eq!(credentials("https://host/a@b"), None);
        assert_eq!(without_credentials("https://host/a@b"), "https://host/a@b");
        assert_eq!(without_credentials("git+ssh://git@host/x.git@main"), "git+ssh://host/x.git@main");
    }

    #[test]
    fn a_path_survives_being_an_address() {
        let path = Path::new("/tmp/a b/ü%41#x.whl");
        let address = of_path(path);
        assert_eq!(address, "file:///tmp/a%20b/%C3%BC%2541%23x.whl");
        assert_eq!(local_path(&address).as_deref(), Some(path));
        assert_eq!(file_name(&address), "ü%41#x.whl");
        assert_eq!(local_path("https://host/x"), None);
    }
}
