//! A registry on this machine (OCI distribution specification), and every way it can fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::oci::sha256;

/// How a registry behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// As a registry should.
    Works,
    /// It lets nobody write.
    Refuses,
    /// It wants a token, which it gives to `me:secret`.
    Wants,
    /// It breaks off every upload once, in the middle.
    BreaksOff,
    /// It breaks off every upload, always.
    NeverTakesAll,
    /// It says that it has stored something else.
    Lies,
    /// It gives out another manifest than was put there.
    LiesOfManifests,
    /// It wants a token, which it gives for the refresh token `refresh`.
    WantsRefresh,
    /// It takes whatever it gets slowly, a piece at a time.
    Slow,
    /// It takes a blob, and never says so.
    Stalls,
    /// It answers nothing at all.
    Silent,
    /// It wants to be asked again in a second, once for every blob.
    Busy,
    /// It wants to be asked again in an hour.
    BusyForLong,
    /// It takes no large blobs.
    TakesNothingLarge,
    /// It breaks off every answer with a blob once, in the middle.
    BreaksOffPulls,
    /// It gives out other blobs than it is asked for.
    GivesOtherBlobs,
}

#[derive(Default)]
struct Kept {
    blobs: BTreeMap<(String, String), Vec<u8>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    broken: Vec<String>,
    asked: Vec<String>,
}

/// A registry that serves as long as the test program runs.
pub struct Registry {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
}

impl Registry {
    /// Starts one.
    pub fn new(manners: Manners) -> Registry {
        Registry::listening(manners, Some)
    }

    /// Starts one that speaks TLS: at an address that is this machine, and is not believed to be.
    pub fn with_tls(manners: Manners, tls: Arc<ServerConfig>) -> Registry {
        Registry::listening(manners, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&tls)).ok()?;
            Some(StreamOwned::new(connection, stream))
        })
    }

    /// `speaking` makes of a connection what is read from and written to.
    fn listening<S: Read + Write>(
        manners: Manners,
        speaking: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
    ) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (shared, speaking) = (Arc::clone(&kept), Arc::new(speaking));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, speaking) = (Arc::clone(&shared), Arc::clone(&speaking));
                thread::spawn(move || {
                    let Some(mut stream) = speaking(stream) else { return };
                    while serve(&mut stream, manners, port, &kept).is_some() {}
                });
            }
        });
        Registry { port, kept }
    }

    /// The address as one that is not known to be this machine: Linux connects to it where it listens itself.
    pub fn far(&self, image: &str) -> String {
        format!("0.0.0.0:{}/{image}", self.port)
    }

    /// The name of an image there.
    pub fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// A manifest by repository and tag.
    pub fn manifest(&self, repository: &str, tag: &str) -> Option<serde_json::Value> {
        let kept = self.kept.lock().unwrap();
        let (_, bytes) = kept.manifests.get(&(repository.to_owned(), tag.to_owned()))?;
        Some(serde_json::from_slice(bytes).unwrap())
    }

    /// A blob of a repository.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.kept.lock().unwrap().blobs.get(&(repository.to_owned(), digest.to_owned())).cloned()
    }

    /// Gives a repository a blob.
    pub fn put_blob(&self, repository: &str, blob: Vec<u8>) {
        self.kept.lock().unwrap().blobs.insert((repository.to_owned(), sha256(&blob)), blob);
    }

    /// Gives a repository a manifest of this media type, by its tag and by its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, kind: &str, manifest: Vec<u8>) {
        let mut kept = self.kept.lock().unwrap();
        for version in [tag.to_owned(), sha256(&manifest)] {
            kept.manifests.insert((repository.to_owned(), version), (kind.to_owned(), manifest.clone()));
        }
    }

    /// The requests so far, as `METHOD path?query`, and none of them from now on.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().unwrap().asked)
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), headers })
}

fn answer(stream: &mut impl Write, status: &str, headers: &[(&str, String)], body: &[u8]) -> Option<()> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    stream.write_all((text + "\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    stream.flush().ok()
}

/// Answers one request; `None` where the connection is to end.
fn serve<S: Read + Write>(stream: &mut S, manners: Manners, port: u16, kept: &Mutex<Kept>) -> Option<()> {
    let mut reader = BufReader::new(&mut *stream);
    let request = read(&mut reader)?;
    let length: usize = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    kept.lock().unwrap().asked.push(format!("{} {}?{}", request.method, request.path, request.query));
    if manners == Manners::Silent {
        thread::sleep(Duration::from_secs(600));
    }
    if request.path == "/v2/" {
        return answer(stream, "200 OK", &[], b"{}");
    }
    if request.path == "/token" && request.method == "POST" {
        let mut form = vec![0; length];
        reader.read_exact(&mut form).ok()?;
        let form = String::from_utf8(form).ok()?;
        let has = |field: &str| form.split('&').any(|there| there == field);
        let known = has("grant_type=refresh_token") && has("refresh_token=refresh") && has("service=test");
        return match known {
            true => answer(stream, "200 OK", &[], br#"{"access_token":"open"}"#),
            false => {
                let why = br#"{"error":"invalid_grant","error_description":"the token has expired"}"#;
                answer(stream, "400 Bad Request", &[], why)
            }
        };
    }
    if request.path == "/token" {
        let known = request.headers.get("authorization").is_some_and(|text| text == "Basic bWU6c2VjcmV0");
        let body: &[u8] = if known { br#"{"token":"open"}"# } else { b"{}" };
        return answer(stream, if known { "200 OK" } else { "401 Unauthorized" }, &[], body);
    }
    let mut body = Vec::new();
    let (repository, rest) = split(&request.path)?;
    let upload = rest.strip_prefix("blobs/uploads/").filter(|id| !id.is_empty()).map(str::to_owned);
    let breaks = request.method == "PATCH"
        && length > 1000
        && (manners == Manners::NeverTakesAll
            || manners == Manners::BreaksOff && !kept.lock().unwrap().broken.contains(upload.as_ref()?));
    let wanted = if breaks { length / 2 } else { length };
    while body.len() < wanted {
        let piece = (wanted - body.len()).min(1 << 20) as u64;
        if (&mut reader).take(piece).read_to_end(&mut body).ok()? == 0 {
            return None;
        }
        if manners == Manners::Slow {
            thread::sleep(Duration::from_millis(200));
        }
    }
    if breaks {
        let mut kept = kept.lock().unwrap();
        kept.uploads.entry(upload.clone()?).or_default().extend(&body);
        kept.broken.push(upload?);
        return None;
    }
    let authorized = request.headers.get("authorization").is_some_and(|text| text == "Bearer open");
    if matches!(manners, Manners::Wants | Manners::WantsRefresh) && !authorized {
        let scope = format!("repository:{repository}:pull,push");
        let challenge =
            format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"test\",scope=\"{scope}\"");
        let body = if request.method == "HEAD" { &b""[..] } else { b"{}" };
        return answer(stream, "401 Unauthorized", &[("WWW-Authenticate", challenge)], body);
    }
    if manners == Manners::Refuses && !["GET", "HEAD"].contains(&request.method.as_str()) {
        let body =
            br#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        return answer(stream, "403 Forbidden", &[], body);
    }
    if manners == Manners::Stalls && request.method == "PATCH" {
        thread::sleep(Duration::from_secs(600));
    }
    if manners == Manners::TakesNothingLarge && request.method == "PATCH" {
        return answer(stream, "413 Request Entity Too Large", &[], b"<html>");
    }
    let busy = "429 Too Many Requests";
    let tired = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your limit"}]}"#;
    if manners == Manners::BusyForLong {
        let tired = if request.method == "HEAD" { &b""[..] } else { tired };
        return answer(stream, busy, &[("Retry-After", "3600".into())], tired);
    }
    let mut kept = kept.lock().unwrap();
    let asked = kept.asked.iter().filter(|asked| **asked == format!("PATCH {}?", request.path)).count();
    if manners == Manners::Busy && request.method == "PATCH" && asked <= 1 {
        return answer(stream, busy, &[("Retry-After", "1".into())], tired);
    }
    match (request.method.as_str(), rest.split('/').collect::<Vec<_>>().as_slice()) {
        ("HEAD" | "GET", ["blobs", "uploads", id]) => {
            let end = kept.uploads.get(*id).map_or(0, Vec::len).saturating_sub(1);
            let range = ("Range", format!("0-{end}"));
            answer(stream, "204 No Content", &[range, ("Location", request.path.clone())], b"")
        }
        ("HEAD" | "GET", ["blobs", digest]) => match kept.blobs.get(&(repository, digest.to_string())) {
            Some(blob) if request.method == "HEAD" => {
                answer(stream, "200 OK", &[("Content-Length", blob.len().to_string())], b"")
            }
            Some(blob) if manners == Manners::GivesOtherBlobs => {
                let other: Vec<u8> = blob.iter().map(|byte| byte ^ 1).collect();
                answer(stream, "200 OK", &[], &other)
            }
            Some(blob) => {
                let range = request.headers.get("range").and_then(|text| text.strip_prefix("bytes="));
                let from = range.and_then(|text| text.strip_suffix('-')?.parse::<usize>().ok());
                let rest = blob.get(from.unwrap_or(0)..).unwrap_or_default().to_vec();
                let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
                let length = [("Content-Length", rest.len().to_string())];
                if manners == Manners::BreaksOffPulls
                    && !kept.broken.contains(&rest_of(digest))
                    && rest.len() > 50
                {
                    kept.broken.push(rest_of(digest));
                    answer(stream, status, &length, &rest[..rest.len() / 2]);
                    return None;
                }
                answer(stream, status, &length, &rest)
            }
            None => answer(stream, "404 Not Found", &[], b""),
        },
        ("POST", ["blobs", "uploads", ""]) => {
            let field = |name: &str| {
                let mut fields = request.query.split('&').filter_map(|field| field.split_once('='));
                fields.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
            };
            if let (Some(mount), Some(from)) = (field("mount"), field("from"))
                && let Some(blob) = kept.blobs.get(&(from, mount.clone())).cloned()
            {
                kept.blobs.insert((repository, mount), blob);
                return answer(stream, "201 Created", &[("Location", "/".into())], b"");
            }
            let id = format!("upload-{}", kept.uploads.len());
            kept.uploads.insert(id.clone(), Vec::new());
            answer(
                stream,
                "202 Accepted",
                &[("Location", format!("/v2/{repository}/blobs/uploads/{id}"))],
                b"",
            )
        }
        ("PATCH", ["blobs", "uploads", id]) => {
            let there = kept.uploads.get(*id).map_or(0, Vec::len).to_string();
            let range = request.headers.get("content-range").and_then(|range| range.split('-').next());
            if range.is_some_and(|start| start != there) {
                let range = ("Range", format!("0-{there}"));
                return answer(stream, "416 Requested Range Not Satisfiable", &[range], b"");
            }
            kept.uploads.entry(id.to_string()).or_default().extend(body);
            answer(stream, "202 Accepted", &[("Location", request.path.clone())], b"")
        }
        ("PUT", ["blobs", "uploads", id]) => {
            let blob = kept.uploads.remove(*id).unwrap_or_default();
            let digest = sha256(&blob);
            if request.query != format!("digest={digest}") {
                return answer(stream, "400 Bad Request", &[], br#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
            }
            kept.blobs.insert((repository, digest.clone()), blob);
            let claimed = if manners == Manners::Lies { sha256(b"other") } else { digest };
            answer(stream, "201 Created", &[("Docker-Content-Digest", claimed)], b"")
        }
        ("PUT", ["manifests", version]) => {
            let kind = request.headers.get("content-type").cloned().unwrap_or_default();
            let digest = sha256(&body);
            kept.manifests.insert((repository.clone(), digest.clone()), (kind.clone(), body.clone()));
            kept.manifests.insert((repository, version.to_string()), (kind, body));
            answer(stream, "201 Created", &[("Docker-Content-Digest", digest)], b"")
        }
        ("GET", ["manifests", version]) => match kept.manifests.get(&(repository, version.to_string())) {
            Some((kind, bytes)) => {
                let mut headers = vec![("Content-Type", kind.clone())];
                headers.push(("Docker-Content-Digest", sha256(bytes)));
                let other = [&b" "[..], bytes].concat();
                let bytes = if manners == Manners::LiesOfManifests { &other } else { bytes };
                answer(stream, "200 OK", &headers, bytes)
            }
            None => answer(stream, "404 Not Found", &[], br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        },
        _ => answer(stream, "405 Method Not Allowed", &[], b""),
    }
}

/// What is remembered of a blob whose answer was broken off.
fn rest_of(digest: &str) -> String {
    format!("pull {digest}")
}

/// The repository of a path, and what comes after it.
fn split(path: &str) -> Option<(String, String)> {
    let path = path.strip_prefix("/v2/")?;
    let at = path.find("/blobs/").or_else(|| path.find("/manifests/"))?;
    Some((path[..at].to_owned(), path[at + 1..].to_owned()))
}
