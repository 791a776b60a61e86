//! Which certificates a registry is believed by: what the system trusts (or `SSL_CERT_FILE` and `SSL_CERT_DIR` name
//! instead), and what users put down for one registry where Docker and podman look for it.
//!
//! ```text
//! DIRECTORY/HOST[:PORT]/*.crt           authorities, beside those of the system
//! DIRECTORY/HOST[:PORT]/NAME.cert .key  what is shown to the registry
//! ```

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::error::{Context, Failure, Result};

/// Where the certificates for one registry are, first come first served (containers-certs.d(5), "Directory Structure").
const DIRECTORIES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// How a connection to `host` is secured. Where `anybody` may answer, whatever certificate there is will do.
pub fn tls(host: &str, anybody: bool) -> Result<TlsConfig> {
    let own = match directory(host) {
        Some(directory) => Own::read(&directory)?,
        None => Own::default(),
    };
    let roots = match own.authorities.is_empty() {
        true => RootCerts::PlatformVerifier,
        false => {
            let system = rustls_native_certs::load_native_certs().certs;
            let system = system.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
            RootCerts::from(system.chain(own.authorities))
        }
    };
    let shown = own.shown.map(|(chain, key)| ClientCert::new_with_certs(&chain, key));
    Ok(TlsConfig::builder().root_certs(roots).client_cert(shown).disable_verification(anybody).build())
}

/// Where a user puts a registry's authority down.
pub fn place(host: &str) -> PathBuf {
    homes().into_iter().next().unwrap_or_else(|| DIRECTORIES[0].into()).join(host).join("ca.crt")
}

/// The directory for a registry.
fn directory(host: &str) -> Option<PathBuf> {
    let system = DIRECTORIES.iter().map(PathBuf::from);
    let all = homes().into_iter().chain(system).map(|directory| directory.join(host));
    // Whoever the host is, it names no directory elsewhere.
    all.into_iter()
        .find(|directory| directory.is_dir())
        .filter(|_| !host.contains(['/', '\0']) && host != "..")
}

/// The user's own directories, those of podman and of Docker without root.
fn homes() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let below = |home: PathBuf| {
        ["containers", "docker"].map(|name| home.join(".config").join(name).join("certs.d")).to_vec()
    };
    home.map(below).unwrap_or_default()
}

/// What is put down for one registry.
#[derive(Default)]
struct Own {
    authorities: Vec<Certificate<'static>>,
    shown: Option<(Vec<Certificate<'static>>, PrivateKey<'static>)>,
}

impl Own {
    fn read(directory: &Path) -> Result<Own> {
        let cannot = || format!("the certificates in {} cannot be read", directory.display());
        let entries = fs::read_dir(directory).context(cannot)?;
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().context(cannot)?;
        files.sort();
        let mut own = Own::default();
        for file in files {
            match file.extension().and_then(OsStr::to_str) {
                Some("crt") => own.authorities.extend(certificates(&file)?),
                Some("cert") if own.shown.is_none() => {
                    own.shown = Some((certificates(&file)?, key(&file.with_extension("key"))?));
                }
                _ => {}
            }
        }
        Ok(own)
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).context(|| format!("{} cannot be read", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let cannot = || format!("the certificate {} cannot be read", file.display());
    let mut found = Vec::new();
    for item in parse_pem(&read(file)?) {
        if let PemItem::Certificate(certificate) = item.context(cannot)? {
            found.push(certificate);
        }
    }
    match found.is_empty() {
        true => Err(Failure::new(format!("{}: there is none in it", cannot())).hint("it must be a PEM file")),
        false => Ok(found),
    }
}

fn key(file: &Path) -> Result<PrivateKey<'static>> {
    PrivateKey::from_pem(&read(file)?).context(|| format!("the key {} cannot be read", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let reads = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).unwrap();
            let told = Own::read(directory.path()).map(|own| own.authorities.len());
            fs::remove_file(directory.path().join(name)).unwrap();
            told.map_err(|failure| failure.to_string())
        };
        assert_eq!(reads("readme.txt", "x"), Ok(0));
        assert!(reads("ca.crt", "x").unwrap_err().ends_with("ca.crt cannot be read: there is none in it"));
        let broken = "-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n";
        assert!(reads("ca.crt", broken).unwrap_err().ends_with("ca.crt cannot be read"));
        let some = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(reads("ca.crt", &some.repeat(2)), Ok(2));
        assert!(reads("client.cert", some).unwrap_err().ends_with("client.key cannot be read"));
    }
}
