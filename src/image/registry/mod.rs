//! A registry, by the OCI distribution specification: as much of it as pushing an image and swapping a layer needs.
//!
//! Nothing that a registry says of bytes is believed: what is fetched is compared with its digest, and what was pushed
//! with the digest that comes back.

pub mod challenge;
mod credentials;
mod patience;
mod pull;
mod pushed;
mod token;
mod trust;
mod upload;

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::thread;

use coil_bootstrap::format::digest::Digest;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use self::challenge::Challenge;
use self::credentials::Credentials;
use self::patience::{Patience, TRIES, is_by_chance};
use super::oci;
use super::reference::Reference;
use crate::error::{Failure, Result};

pub use self::pushed::Pushed;
pub use self::upload::{Arrival, Upload};

/// The longest manifest or configuration that is read, in bytes; registries take no manifest over 4 MiB.
const MAX_JSON: u64 = 16 << 20;

/// One repository of a registry.
pub struct Registry {
    agent: Agent,
    base: String,
    host: String,
    repository: String,
    credentials: Credentials,
    patience: Patience,
    /// Whether it has ever answered.
    answered: Cell<bool>,
    /// What opened the door last time.
    authorization: RefCell<Option<String>>,
}

/// A request, so far as it differs from others. Made anew for each try.
struct Ask<'a> {
    method: &'a str,
    url: &'a str,
    headers: &'a [(&'a str, String)],
}

impl Registry {
    /// The repository of `reference`. Hosts of this machine are believed whoever they are, and need no TLS, as Docker does it,
    /// and so are others where `insecure` is given.
    pub fn open(reference: &Reference, insecure: bool) -> Result<Registry> {
        let host = match reference.host() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let is_here = is_this_machine(host);
        let patience = Patience::find()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(trust::tls(reference.host(), insecure || is_here)?)
            .user_agent(concat!("coil/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(patience.while_it_connects()))
            .timeout_recv_response(Some(patience.while_it_talks()))
            .timeout_per_read(Some(patience.while_it_talks()))
            .timeout_per_write(Some(patience.while_it_talks()));
        // No proxy leads to this machine.
        let config = if is_here { config.proxy(None) } else { config };
        let agent = config.build().new_agent();
        let scheme = if insecure || is_here { spoken(&agent, host)? } else { "https" };
        Ok(Registry {
            agent,
            base: format!("{scheme}://{host}"),
            host: reference.host().to_owned(),
            repository: reference.repository().to_owned(),
            credentials: Credentials::find(reference.host(), reference.repository())?,
            patience,
            answered: Cell::new(false),
            authorization: RefCell::new(None),
        })
    }

    /// The host, as the user writes it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Fetches a manifest by tag or digest, with its media type.
    pub fn manifest(&self, version: &str) -> Result<(Vec<u8>, String)> {
        let url = self.url(&format!("manifests/{version}"));
        let types = [oci::MANIFEST, oci::INDEX, oci::DOCKER_MANIFEST, oci::DOCKER_INDEX];
        let accept = [("accept", types.join(", "))];
        let what = || format!("cannot fetch {}/{}:{version}", self.host, self.repository);
        let response = self.send(&Ask { method: "GET", url: &url, headers: &accept }, &what)?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, &what()));
        }
        let media_type = header(response.headers(), "content-type").unwrap_or_default();
        let claimed = header(response.headers(), "docker-content-digest");
        let bytes = self.body(response, &what())?;
        let digest = Digest::of(&bytes).to_string();
        let wanted = if version.starts_with("sha256:") { Some(version.to_owned()) } else { claimed };
        match wanted.filter(|wanted| *wanted != digest) {
            Some(wanted) => Err(self.lies(&what(), &wanted, &digest)),
            None => Ok((bytes, media_type)),
        }
    }

    /// Fetches a small blob.
    pub fn small_blob(&self, descriptor: &oci::Descriptor) -> Result<Vec<u8>> {
        let url = self.url(&format!("blobs/{}", descriptor.digest));
        let what = || format!("cannot fetch {} of {}/{}", descriptor.digest, self.host, self.repository);
        let response = self.send(&Ask { method: "GET", url: &url, headers: &[] }, &what)?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, &what()));
        }
        let bytes = self.body(response, &what())?;
        match Digest::of(&bytes) {
            digest if digest == descriptor.digest => Ok(bytes),
            digest => Err(self.lies(&what(), &descriptor.digest.to_string(), &digest.to_string())),
        }
    }

    /// Whether the repository has this blob.
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        let url = self.url(&format!("blobs/{digest}"));
        let what = || format!("cannot ask {} for {digest}", self.host);
        let response = self.send(&Ask { method: "HEAD", url: &url, headers: &[] }, &what)?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused(response, &what())),
        }
    }

    /// Puts a manifest there, by tag or digest.
    pub fn put_manifest(&self, version: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let url = self.url(&format!("manifests/{version}"));
        let what = || format!("cannot push {}/{}:{version}", self.host, self.repository);
        let headers = [("content-type", media_type.to_owned())];
        let ask = Ask { method: "PUT", url: &url, headers: &headers };
        let response = self.send_with(&ask, &what, &mut || Ok(Box::new(bytes)), bytes.len() as u64)?;
        if !response.status().is_success() {
            return Err(self.refused(response, &what()));
        }
        let digest = Digest::of(bytes).to_string();
        match header(response.headers(), "docker-content-digest").filter(|stored| *stored != digest) {
            Some(stored) => Err(self.lies(&what(), &digest, &stored)),
            None => Ok(()),
        }
    }

    /// Whether an address is the registry's own.
    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.base).is_some_and(|path| path.starts_with('/'))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.base, self.repository)
    }

    /// Sends a request without a body.
    fn send(&self, ask: &Ask, what: &dyn Fn() -> String) -> Result<Response<Body>> {
        self.send_with(ask, what, &mut || Ok(Box::new(std::io::empty())), 0)
    }

    /// Sends a request with a body of `length` bytes; `body` begins it anew for every try. What fails by chance (a broken
    /// connection, a server in trouble) is tried again.
    fn send_with<'b>(
        &self,
        ask: &Ask,
        what: &dyn Fn() -> String,
        body: &mut dyn FnMut() -> Result<Box<dyn Read + 'b>>,
        length: u64,
    ) -> Result<Response<Body>> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.once_let_in(ask, what, body, length)? {
                Ok(response) => match patience::before_next(response.status(), response.headers(), tried) {
                    Some(wait) => thread::sleep(wait),
                    None => return Ok(response),
                },
                Err(error) if is_by_chance(&error, self.answered.get()) && tried < TRIES => {
                    thread::sleep(patience::pause(tried));
                }
                Err(error) => return Err(unreachable(error, &what(), &self.host)),
            }
        }
    }

    /// One try, and a second one with credentials where the first is asked for them.
    fn once_let_in<'b>(
        &self,
        ask: &Ask,
        what: &dyn Fn() -> String,
        body: &mut dyn FnMut() -> Result<Box<dyn Read + 'b>>,
        length: u64,
    ) -> Result<Result<Response<Body>, ureq::Error>> {
        let outcome = self.once(ask, &mut *body()?, length);
        self.answered.set(self.answered.get() || outcome.is_ok());
        let response = match outcome {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => response,
            outcome => return Ok(outcome),
        };
        let asked = header(response.headers(), "www-authenticate").and_then(|text| Challenge::parse(&text));
        let Some(challenge) = asked else { return Ok(Ok(response)) };
        let Some(authorization) = self.authorize(&challenge, what)? else { return Ok(Ok(response)) };
        self.authorization.replace(Some(authorization));
        Ok(self.once(ask, &mut *body()?, length))
    }

    fn once(&self, ask: &Ask, body: &mut dyn Read, length: u64) -> Result<Response<Body>, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(ask.method).uri(ask.url);
        for (name, value) in ask.headers {
            request = request.header(*name, value);
        }
        // Only the registry itself is told who we are: not whoever an upload's address names.
        if let Some(authorization) = self.authorization.borrow().as_ref().filter(|_| self.is_own(ask.url)) {
            request = request.header("authorization", authorization);
        }
        if matches!(ask.method, "GET" | "HEAD") {
            return self.agent.run(request.body(())?);
        }
        request = request.header("content-length", length.to_string());
        let mut body = body.take(length);
        let request = request.body(SendBody::from_reader(&mut body))?;
        let patience = self.patience.before_it_answers(ask.method);
        let request = self.agent.configure_request(request).timeout_recv_response(Some(patience)).build();
        self.agent.run(request)
    }

    fn body(&self, mut response: Response<Body>, what: &str) -> Result<Vec<u8>> {
        let body = response.body_mut().with_config().limit(MAX_JSON).read_to_vec();
        body.map_err(|error| Failure::new(what.to_owned()).because(error).hint("try again"))
    }

    /// What a registry says where it does not do what it is asked to ("Error Codes").
    fn refused(&self, mut response: Response<Body>, what: &str) -> Failure {
        let status = response.status();
        let retry_after = patience::retry_after(response.headers());
        let said = token::said(&mut response);
        Failure::new(format!("{what}: {} answered {status}{said}", self.host)).hint(token::way_out(
            status,
            &self.host,
            retry_after,
        ))
    }

    fn lies(&self, what: &str, wanted: &str, got: &str) -> Failure {
        Failure::new(format!("{what}: {} gave {got} for {wanted}", self.host))
            .hint("something between here and the registry changes what passes; nothing was used of it")
    }
}

/// Whether a host is this machine, with or without a port.
fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    name == "localhost"
        || name == "[::1]"
        || name.starts_with("127.") && name.bytes().all(|b| b == b'.' || b.is_ascii_digit())
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// How a registry wants to be talked to that may do as it likes: with TLS or without.
///
/// Where the port is said it is one or the other, and who wants TLS answers at once to who comes without.
fn spoken(agent: &Agent, host: &str) -> Result<&'static str> {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let order = if has_port { ["http", "https"] } else { ["https", "http"] };
    for scheme in order {
        match agent.get(format!("{scheme}://{host}/v2/")).call() {
            Ok(response) if response.status() != StatusCode::BAD_REQUEST => return Ok(scheme),
            Err(error @ ureq::Error::Timeout(_)) => {
                return Err(unreachable(error, &format!("cannot ask {host}"), host));
            }
            _ => {}
        }
    }
    // Neither: what is asked next says why.
    Ok("http")
}

/// Why there is no answer.
fn unreachable(error: ureq::Error, what: &str, host: &str) -> Failure {
    let told = error.to_string();
    let hint = match &error {
        ureq::Error::Timeout(_) => {
            let variable = patience::VARIABLE;
            format!("the registry was silent for too long: try again, or set {variable} to more seconds")
        }
        _ if told.contains("CaUsedAsEndEntity") => {
            "it shows an authority's certificate as its own: sign one for it, or let `openssl req -x509` say -addext basicConstraints=CA:FALSE"
                .into()
        }
        _ if told.contains("certificate") => format!(
            "if you trust who runs it, put the certificate of its authority into {}, or name it with SSL_CERT_FILE",
            trust::place(host).display()
        ),
        _ => "look at the name of the registry and at the network; --insecure is for one without TLS".into(),
    };
    Failure::new(what.to_owned()).because(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        assert!(
            ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:80"]
                .iter()
                .all(|host| is_this_machine(host))
        );
        assert!(
            ["r.example", "127.evil.example", "localhost.example:5000"]
                .iter()
                .all(|host| !is_this_machine(host))
        );
    }
}
