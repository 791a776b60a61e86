//! Taking a socket away from processes that wait for connections at it, without their doing anything.
//!
//! A server that is told to end may close connections that it has accepted and not read yet (uvicorn does). So it gets
//! none any more before it is told: the listening socket is taken out of its epoll sets from outside, through copies of
//! its descriptors (pidfd_getfd(2)). It never hears of another connection, ends what it has, and the other release at
//! the same socket gets all that come. Where that cannot be done (Linux before 5.6, servers that block in accept or
//! select) nothing changes: those accept and read in one go, or lose what they always lose.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::thread;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::listening::{self, Watch};

/// Has these processes hear nothing any more of connections to these sockets. Says for which of them there was something to do.
pub fn hush(sockets: &BTreeSet<u64>, pids: &[u32]) -> Vec<u32> {
    let watches: Vec<Watch> = pids.iter().flat_map(|pid| listening::watches(*pid, sockets)).collect();
    if watches.is_empty() {
        return Vec::new();
    }
    let removed = thread::spawn(move || {
        with_own_descriptors()?;
        let removed = watches.iter().filter(|watch| remove(watch).is_ok());
        Ok::<_, io::Error>(removed.map(|watch| watch.pid).collect())
    });
    removed.join().ok().and_then(Result::ok).unwrap_or_default()
}

/// Gives the calling thread a table of descriptors of its own, a copy of the process's.
fn with_own_descriptors() -> io::Result<()> {
    // SAFETY: no memory is touched; from here on this thread, which ends soon, opens and closes descriptors for itself.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes the socket out of the set. An entry of a set is known by the open file and by the number it had when it was
/// entered, so that the copy has to have that number.
fn remove(watch: &Watch) -> io::Result<()> {
    let pid = Pid::from_raw(watch.pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let copy = |number: RawFd| pidfd_getfd(&process, number, PidfdGetfdFlags::empty());
    let set = elsewhere(copy(watch.set)?, watch.socket)?;
    let socket = elsewhere(copy(watch.socket)?, watch.socket)?;
    let _process = elsewhere(process, watch.socket)?;
    // SAFETY: both calls take numbers and touch no memory (EPOLL_CTL_DEL takes no event). What had the number before is a
    // copy in this thread's own table that nothing here uses: the three descriptors that are used lie elsewhere.
    let removed = unsafe {
        libc::dup2(socket.as_raw_fd(), watch.socket) >= 0
            && libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_DEL, watch.socket, std::ptr::null_mut()) == 0
    };
    if removed { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same open file under another number than this.
fn elsewhere(descriptor: OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() == number { descriptor.try_clone() } else { Ok(descriptor) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_process_that_is_hushed_hears_of_no_new_connection_and_keeps_the_old_ones() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("left out: needs root");
            return;
        }
        let program = "import selectors, socket, sys\n\
            s = socket.socket(fileno=0); s.setblocking(False)\n\
            e = selectors.EpollSelector(); e.register(s, 1)\n\
            print('ready', flush=True)\n\
            while True:\n\
            \x20   for key, _ in e.select():\n\
            \x20       if key.fileobj is s:\n\
            \x20           c = s.accept()[0]; e.register(c, 1)\n\
            \x20       else:\n\
            \x20           key.fileobj.send(key.fileobj.recv(100))\n";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Command::new("python3");
        server
            .args(["-c", program])
            .stdin(OwnedFd::from(listener.try_clone().unwrap()))
            .stdout(Stdio::piped());
        let Ok(mut server) = server.spawn() else {
            eprintln!("left out: needs python3");
            return;
        };
        server.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        let ask = |stream: &mut TcpStream| {
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).is_ok()
        };
        let mut before = TcpStream::connect(address).unwrap();
        assert!(ask(&mut before));
        let sockets = listening::sockets(&address.to_string());
        assert_eq!(hush(&sockets, &[server.id()]), [server.id()]);
        assert!(hush(&sockets, &[server.id()]).is_empty(), "once is enough");
        assert!(!ask(&mut TcpStream::connect(address).unwrap()));
        assert!(ask(&mut before));
        server.kill().unwrap();
        server.wait().unwrap();
        drop(listener);
    }
}
