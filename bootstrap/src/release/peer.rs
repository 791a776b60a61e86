//! Who has the other end of a connection on this machine: the inode of that socket, which its process has open.
//!
//! Two releases that share a listening socket cannot be told apart by its address. The kernel knows which of them has
//! taken a connection (sock_diag(7), proc_net(5)).

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink};

/// From linux/netlink.h, linux/sock_diag.h and linux/unix_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;
const HEADER: usize = 16;
const MESSAGE: usize = 16;

/// The inode of the socket that this one is connected to; 0 as long as nobody has accepted the connection.
pub fn of_unix(stream: &UnixStream) -> io::Result<u64> {
    let own = rustix::fs::fstat(stream.as_fd())?.st_ino;
    let kind = SocketType::RAW;
    let asking = rustix::net::socket(AddressFamily::NETLINK, kind, Some(netlink::SOCK_DIAG))?;
    let request = request(own as u32);
    rustix::net::send(&asking, &request, SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (length, _) = rustix::net::recv(&asking, &mut answer[..], RecvFlags::empty())?;
    peer(&answer[..length.min(answer.len())]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The same of a connection over TCP to this machine.
pub fn of_tcp(stream: &TcpStream) -> io::Result<u64> {
    let (here, there) = (stream.local_addr()?, stream.peer_addr()?);
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        if let Some(inode) = in_table(&text, there, here) {
            return Ok(inode);
        }
    }
    Ok(0)
}

/// Asks for one socket by its inode, and for its peer.
fn request(inode: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 24);
    // struct nlmsghdr
    bytes.extend(((HEADER + 24) as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    // struct unix_diag_req: family, protocol, padding, states, inode, what to show, no cookie
    bytes.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(UDIAG_SHOW_PEER.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

/// The peer in an answer; 0 where it has none that anybody has accepted.
fn peer(answer: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if number(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut at = HEADER + MESSAGE;
    while at + 4 <= answer.len() {
        let (length, kind) = (usize::from(number(at)?), number(at + 2)?);
        if kind == UNIX_DIAG_PEER {
            let bytes = answer.get(at + 4..at + 8)?;
            return Some(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)));
        }
        // Attributes are padded to four bytes, and one has at least its head.
        at += length.max(4).next_multiple_of(4);
    }
    Some(0)
}

/// The inode of the connection from `remote` to `local` in `/proc/net/tcp` or `tcp6`.
fn in_table(text: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let is = |word: &str, address: SocketAddr| {
        let Some((digits, port)) = word.split_once(':') else { return false };
        let port = u16::from_str_radix(port, 16).is_ok_and(|port| port == address.port());
        port && spellings(address.ip()).iter().any(|spelling| spelling == digits)
    };
    let inode = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let found = is(words.next()?, local) && is(words.next()?, remote);
        found.then(|| words.nth(6)?.parse().ok())?
    };
    text.lines().find_map(inode)
}

/// An address as those tables have it: words of 32 bits in the machine's order. One of IPv4 stands as such and mapped.
fn spellings(address: IpAddr) -> Vec<String> {
    let words = |bytes: &[u8]| {
        let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        bytes.chunks_exact(4).map(|bytes| format!("{:08X}", word(bytes))).collect::<String>()
    };
    match address {
        IpAddr::V4(address) => vec![words(&address.octets()), words(&address.to_ipv6_mapped().octets())],
        IpAddr::V6(address) => vec![words(&address.octets())],
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_other_end_of_a_connection_is_known_when_somebody_has_accepted_it() {
        let path = std::env::temp_dir().join(format!("coil-peer-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(of_unix(&stream).unwrap(), 0);
        let accepted = listener.accept().unwrap().0;
        assert_eq!(of_unix(&stream).unwrap(), rustix::fs::fstat(&accepted).unwrap().st_ino);
    }

    #[test]
    fn so_it_is_over_tcp_in_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let host = if address.starts_with("[::1]") { "::1" } else { "127.0.0.1" };
            let stream = TcpStream::connect((host, port)).unwrap();
            assert_eq!(of_tcp(&stream).unwrap(), 0);
            let accepted = listener.accept().unwrap().0;
            assert_eq!(of_tcp(&stream).unwrap(), rustix::fs::fstat(&accepted).unwrap().st_ino);
        }
    }

    #[test]
    fn answers_of_any_length_are_read_without_going_beyond_them() {
        assert_eq!(peer(&[]), None);
        let mut answer = [request(7), vec![0; 64]].concat();
        for length in 0..answer.len() {
            peer(&answer[..length]);
        }
        answer[HEADER + MESSAGE..].fill(0);
        assert_eq!(peer(&answer), Some(0));
    }
}
