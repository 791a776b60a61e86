//! Asking a release for a page before the one before it goes.
//!
//! Both wait at the same socket, so that a request may reach either. A request is therefore held back by its last two
//! bytes until somebody has taken the connection: where that is the new release, its answer is the verdict; where it is
//! the old one, it gets the rest of its request as well, and another connection is tried.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::listening::is_held;
use super::peer;

/// How long a connection may wait for somebody to take it, and a question for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether somebody has.
const PAUSE: Duration = Duration::from_millis(2);

/// What became of one question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The new release answered with this status.
    Status(u16),
    /// Somebody else took the question.
    Elsewhere,
    /// The new release took it and gave no answer; why.
    None(String),
}

/// A connection to the app.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Asks for `path` at `address`; only an answer of a process in `pids` counts.
pub fn ask(address: &str, path: &str, pids: &[u32]) -> io::Result<Answer> {
    let mut stream = Stream::to(address)?;
    let request = request(path);
    let (first, last) = request.split_at(request.len() - 2);
    stream.write_all(first.as_bytes())?;
    let until = Instant::now() + PATIENCE;
    let socket = loop {
        match stream.peer()? {
            0 if Instant::now() > until => return Ok(Answer::Elsewhere),
            0 => sleep(PAUSE),
            socket => break socket,
        }
    };
    let is_ours = is_held(socket, pids);
    let answer = stream.write_all(last.as_bytes()).and_then(|()| status(&mut stream));
    Ok(match answer {
        _ if !is_ours => Answer::Elsewhere,
        Ok(status) => Answer::Status(status),
        Err(error) => Answer::None(crate::error::reason(&error)),
    })
}

/// `/health`, or `//example.com/health` for an app that answers to its own name alone (RFC 3986, 4.2).
fn request(path: &str) -> String {
    let named = path.strip_prefix("//").map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let (host, path) = named.unwrap_or(("localhost", path));
    let path = if path.is_empty() { "/" } else { path };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: coil\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

/// The status of an answer (RFC 9112, 4).
fn status(stream: &mut impl Read) -> io::Result<u16> {
    let mut line = Vec::new();
    // `HTTP/1.1 200`
    while line.len() < 12 {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Err(io::Error::other("it closed the connection"));
        }
        line.push(byte[0]);
    }
    let text = std::str::from_utf8(&line).ok().and_then(|text| text.strip_prefix("HTTP/1."));
    let status = text.and_then(|text| text.get(2..)).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("what it answered is not HTTP"))?;
    // Whoever answers is not to meet a closed connection.
    let _ = io::copy(&mut stream.take(1 << 20), &mut io::sink());
    Ok(status)
}

impl Stream {
    fn to(address: &str) -> io::Result<Stream> {
        if address.starts_with('/') {
            let stream = UnixStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            return Ok(Stream::Unix(stream));
        }
        let stream = TcpStream::connect_timeout(&reachable(address)?, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Stream::Tcp(stream))
    }

    fn peer(&self) -> io::Result<u64> {
        match self {
            Stream::Unix(stream) => peer::of_unix(stream),
            Stream::Tcp(stream) => peer::of_tcp(stream),
        }
    }
}

/// The address that this machine reaches a listening address at.
fn reachable(address: &str) -> io::Result<SocketAddr> {
    if let Ok(port) = address.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let mut address: SocketAddr =
        address.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_question_names_a_host_where_one_is_given() {
        assert!(request("/a?b").starts_with("GET /a?b HTTP/1.1\r\nHost: localhost\r\n"));
        assert!(request("//example.com/a").starts_with("GET /a HTTP/1.1\r\nHost: example.com\r\n"));
        assert!(request("//example.com").starts_with("GET / HTTP/1.1\r\nHost: example.com\r\n"));
    }

    #[test]
    fn the_status_is_read_of_whatever_comes() {
        let read = |text: &str| status(&mut text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n"), Ok(204));
        assert_eq!(read("HTTP/1.0 500\r\n"), Ok(500));
        assert_eq!(read("SSH-2.0-OpenSSH\r\n"), Err("what it answered is not HTTP".into()));
        assert_eq!(read("HTTP"), Err("it closed the connection".into()));
    }

    #[test]
    fn only_the_answer_of_the_processes_that_are_asked_counts() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("needs root: left out");
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = thread::spawn(move || {
            for _ in 0..2 {
                let mut stream = listener.accept().unwrap().0;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                stream.write_all(b"HTTP/1.1 302 Found\r\n\r\n").unwrap();
            }
        });
        assert_eq!(ask(&address, "/", &[std::process::id()]).unwrap(), Answer::Status(302));
        assert_eq!(ask(&address, "/", &[1]).unwrap(), Answer::Elsewhere);
        serving.join().unwrap();
    }
}
