//! Asking a release for a page.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the app.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Asks for `path` at `address` (a path, a port, or an address with a port), and returns the status of the answer.
pub fn ask(address: &str, path: &str) -> io::Result<u16> {
    let mut stream = Stream::to(address)?;
    stream.write_all(request(path).as_bytes())?;
    status(&mut stream)
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
    fn an_answer_is_asked_for_wherever_it_is_listened() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
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
        assert_eq!(ask(&address.to_string(), "/").unwrap(), 302);
        assert_eq!(ask(&address.port().to_string(), "/").unwrap(), 302);
        serving.join().unwrap();
        assert!(ask("/no/such.sock", "/").is_err());
    }
}
