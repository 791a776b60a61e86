//! A registry on this machine (OCI distribution specification), and every way it can fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&shared);
                thread::spawn(move || while serve(&stream, manners, port, &kept).is_some() {});
            }
        });
        Registry { port, kept }
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

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
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

fn answer(mut stream: &TcpStream, status: &str, headers: &[(&str, String)], body: &[u8]) -> Option<()> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    stream.write_all((text + "\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()
}

/// Answers one request; `None` where the connection is to end.
fn serve(stream: &TcpStream, manners: Manners, port: u16, kept: &Mutex<Kept>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let request = read(&mut reader)?;
    let length: usize = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    kept.lock().unwrap().asked.push(format!("{} {}?{}", request.method, request.path, request.query));
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
    (&mut reader).take(if breaks { length / 2 } else { length } as u64).read_to_end(&mut body).ok()?;
    if breaks {
        let mut kept = kept.lock().unwrap();
        kept.uploads.entry(upload.clone()?).or_default().extend(&body);
        kept.broken.push(upload?);
        return None;
    }
    let authorized = request.headers.get("authorization").is_some_and(|text| text == "Bearer open");
    if manners == Manners::Wants && !authorized {
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
    let mut kept = kept.lock().unwrap();
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
            Some((kind, bytes)) => answer(stream, "200 OK", &[("Content-Type", kind.clone())], bytes),
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
