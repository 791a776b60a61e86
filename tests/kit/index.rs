//! A package index on this machine, and every way it can fail.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

/// How an index behaves.
#[derive(Clone, PartialEq)]
pub enum Behaviour {
    /// As an index should.
    Works,
    /// It answers everything with this status.
    Fails(u16),
    /// It takes requests and never answers.
    Hangs,
    /// It lists files, and has none of them.
    LosesFiles,
    /// Its files are not those it lists.
    SwapsFiles,
    /// It wants this `user:password`, in base64.
    Wants(String),
}

/// An index that serves the wheels of a directory, as long as the value lives and a little longer.
pub struct Index {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Index {
    /// Serves the wheels in `directory`; those whose names are in `yanked` are marked so.
    pub fn new(directory: &Path, behaviour: Behaviour, yanked: &[&str]) -> Index {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = asked.clone();
        let served = Served {
            directory: directory.to_owned(),
            behaviour,
            yanked: yanked.iter().map(|name| (*name).to_owned()).collect(),
        };
        // The thread ends with the test program.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, shared) = (served.clone(), shared.clone());
                thread::spawn(move || served.answer(stream, &shared));
            }
        });
        Index { port, asked }
    }

    /// Its address, to be given with `--index-url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/simple/", self.port)
    }

    /// Its address with credentials.
    pub fn url_with(&self, login: &str) -> String {
        format!("http://{login}@127.0.0.1:{}/simple/", self.port)
    }

    /// The address of a file.
    pub fn file(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/files/{name}", self.port)
    }

    /// The paths that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

#[derive(Clone)]
struct Served {
    directory: PathBuf,
    behaviour: Behaviour,
    yanked: Vec<String>,
}

impl Served {
    fn answer(&self, mut stream: TcpStream, asked: &Mutex<Vec<String>>) {
        let mut reader = BufReader::new(stream.try_clone().expect("a stream can be shared"));
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                match reader.read_line(&mut line) {
                    Ok(count) if count > 0 => {}
                    _ => return,
                }
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line);
            }
            let path = lines[0].split(' ').nth(1).unwrap_or("/").to_owned();
            asked.lock().expect("nobody panics with it").push(path.clone());
            let (status, kind, body) = match &self.behaviour {
                Behaviour::Hangs => loop {
                    thread::park();
                },
                Behaviour::Fails(status) => (*status, "text/plain", b"broken".to_vec()),
                Behaviour::Wants(login) if !lines.iter().any(|line| line.contains(login.as_str())) => {
                    (401, "text/plain", b"who are you?".to_vec())
                }
                _ => self.page(&path),
            };
            let login = if status == 401 { "WWW-Authenticate: Basic realm=\"x\"\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\n{login}Content-Length: {}\r\n\r\n",
                body.len()
            );
            let body = if lines[0].starts_with("HEAD") { &[][..] } else { &body[..] };
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_err() {
                return;
            }
        }
    }

    fn page(&self, path: &str) -> (u16, &'static str, Vec<u8>) {
        let missing = (404, "text/plain", Vec::new());
        if let Some(name) = path.strip_prefix("/files/") {
            return match std::fs::read(self.directory.join(name)) {
                Ok(_) if self.behaviour == Behaviour::LosesFiles => missing,
                Ok(_) if self.behaviour == Behaviour::SwapsFiles => {
                    (200, "application/zip", b"other".to_vec())
                }
                Ok(bytes) => (200, "application/zip", bytes),
                Err(_) => missing,
            };
        }
        let project = path.strip_prefix("/simple/").unwrap_or_default().trim_matches('/');
        let mut links = String::new();
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.split('-').next().is_some_and(|first| first.replace('_', "-") == project) {
                let digest = Sha256::digest(std::fs::read(entry.path()).expect("a file of the test"));
                let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                let yanked = if self.yanked.contains(&name) { " data-yanked=\"broken\"" } else { "" };
                links += &format!("<a href=\"/files/{name}#sha256={hex}\"{yanked}>{name}</a>\n");
            }
        }
        match links.is_empty() {
            true => missing,
            false => {
                (200, "text/html", format!("<!DOCTYPE html><html><body>{links}</body></html>").into_bytes())
            }
        }
    }
}
