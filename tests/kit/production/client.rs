//! One client of a server: HTTP/1.1 by hand, so that every way in which a request can fail has its own name.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Nobody waits longer for an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Address {
    /// Over the network.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `200`, as the first line says it.
    pub status: u16,
    /// What came with it.
    pub body: String,
    /// Whether the server is going to close the connection.
    pub last: bool,
}

/// Why there was none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failed {
    /// The connection was refused, or there is no such socket.
    Refused,
    /// It was closed or reset without one byte of an answer.
    ClosedBefore,
    /// It was closed or reset in the middle of an answer.
    ClosedWithin,
    /// Nothing came for [`PATIENCE`].
    Silence,
    /// Anything else.
    Other(String),
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection.
pub struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    /// A new one.
    pub fn to(address: &Address) -> Result<Connection, Failed> {
        let opened = || -> io::Result<Box<dyn Stream>> {
            Ok(match address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                Address::Unix(path) => {
                    let stream = UnixStream::connect(path)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    Box::new(stream)
                }
            })
        };
        let failed = |error: io::Error| match error.kind() {
            // A full queue of a socket file is told at once.
            ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::WouldBlock => Failed::Refused,
            ErrorKind::TimedOut => Failed::Silence,
            _ => Failed::Other(error.to_string()),
        };
        opened().map(|stream| Connection(BufReader::new(stream))).map_err(failed)
    }

    /// Asks for `path` and reads the whole answer.
    pub fn get(&mut self, path: &str, keep: bool) -> Result<Answer, Failed> {
        let connection = if keep { "keep-alive" } else { "close" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).map_err(|error| failed(&error, false))?;
        let first = self.line(false)?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| Failed::Other(format!("no status in {first:?}")))?;
        let (mut length, mut last) = (None, !keep);
        loop {
            let line = self.line(true)?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            length =
                line.strip_prefix("content-length:").and_then(|rest| rest.trim().parse().ok()).or(length);
            last |= line.strip_prefix("connection:").is_some_and(|rest| rest.trim() == "close");
        }
        let mut body = vec![0; length.ok_or_else(|| Failed::Other("an answer of unknown length".into()))?];
        self.0.read_exact(&mut body).map_err(|error| failed(&error, true))?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), last })
    }

    /// A line without its end.
    fn line(&mut self, begun: bool) -> Result<String, Failed> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\r\n") => {
                line.truncate(line.len() - 2);
                Ok(String::from_utf8_lossy(&line).into_owned())
            }
            Ok(_) if line.is_empty() && !begun => Err(Failed::ClosedBefore),
            Ok(_) => Err(Failed::ClosedWithin),
            Err(error) => Err(failed(&error, begun || !line.is_empty())),
        }
    }
}

fn failed(error: &io::Error, begun: bool) -> Failed {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failed::Silence,
        _ if begun => Failed::ClosedWithin,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Failed::ClosedBefore,
        _ => Failed::Other(error.to_string()),
    }
}

/// One request on a connection of its own.
pub fn get(address: &Address, path: &str) -> Result<Answer, Failed> {
    Connection::to(address)?.get(path, false)
}
