//! Whether a process waits for connections at a socket, as the kernel tells from outside.
//!
//! Readiness by the program's own word comes too early with servers that say it before their workers have imported the
//! app, and not at all with those that say nothing. What every server does when it can answer, and no earlier, is wait
//! for connections: it has the socket in an epoll set (proc_pid_fdinfo(5)), or a thread of it blocks in accept, poll or
//! select on it (proc_pid_syscall(5)). Needs root, and nothing of the program.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use libc::c_long;

/// How many descriptors a set may have that is looked into.
const MOST: u64 = 1 << 16;

/// Ready for reading (poll(2), epoll_ctl(2)).
const IN: u32 = 1;

/// The inodes of the sockets that listen at `address`: a path, a port, or an address with a port.
pub fn sockets(address: &str) -> BTreeSet<u64> {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/net").join(name)).unwrap_or_default();
    if address.starts_with('/') {
        return unix_sockets(&read("unix"), address);
    }
    let Some(port) = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()) else {
        return BTreeSet::new();
    };
    let mut found = tcp_sockets(&read("tcp"), port);
    found.extend(tcp_sockets(&read("tcp6"), port));
    found
}

/// The processes of a unit.
pub fn processes(unit: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| is_of(*pid, unit)).collect()
}

/// Whether the process has one of these sockets.
pub fn has(pid: u32, sockets: &BTreeSet<u64>) -> bool {
    !descriptors(&Path::new("/proc").join(pid.to_string()), sockets).0.is_empty()
}

/// Whether a process of `pids` waits for connections at one of these sockets.
pub fn is_waited_at(sockets: &BTreeSet<u64>, pids: &[u32]) -> bool {
    pids.iter().any(|pid| waits(Path::new("/proc").join(pid.to_string()).as_path(), sockets))
}

/// An epoll set of a process that has a socket in it, by the numbers of both there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The process.
    pub pid: u32,
    /// The set.
    pub set: RawFd,
    /// The socket.
    pub socket: RawFd,
}

/// All by which this process hears of connections to one of these sockets.
pub fn watches(pid: u32, sockets: &BTreeSet<u64>) -> Vec<Watch> {
    let process = Path::new("/proc").join(pid.to_string());
    let (own, sets) = descriptors(&process, sockets);
    let of = |set: RawFd| {
        let watched = watched(&epoll_set(&process, set), &own);
        watched.into_iter().map(move |socket| Watch { pid, set, socket })
    };
    if own.is_empty() { Vec::new() } else { sets.into_iter().flat_map(of).collect() }
}

fn is_of(pid: u32, unit: &str) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().any(|line| line.split('/').any(|part| part == unit))
}

/// Of the process: its descriptors of these sockets, and those of its epoll sets.
fn descriptors(process: &Path, sockets: &BTreeSet<u64>) -> (BTreeSet<RawFd>, Vec<RawFd>) {
    let (mut own, mut sets) = (BTreeSet::new(), Vec::new());
    for entry in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        if target == "anon_inode:[eventpoll]" {
            sets.push(number);
        }
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        if inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode: u64| sockets.contains(&inode)) {
            own.insert(number);
        }
    }
    (own, sets)
}

fn waits(process: &Path, sockets: &BTreeSet<u64>) -> bool {
    let (own, sets) = descriptors(process, sockets);
    if own.is_empty() {
        return false;
    }
    sets.iter().any(|set| !watched(&epoll_set(process, *set), &own).is_empty()) || {
        let memory = File::open(process.join("mem"));
        let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        threads.into_iter().any(|thread| {
            let text = fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
            let read = |at: u64, buffer: &mut [u8]| {
                memory.as_ref().is_ok_and(|memory| memory.read_exact_at(buffer, at).is_ok())
            };
            Call::parse(&text).is_some_and(|call| call.waits_for(&own, read))
        })
    }
}

/// What the kernel tells of an epoll set.
fn epoll_set(process: &Path, set: RawFd) -> String {
    fs::read_to_string(process.join("fdinfo").join(set.to_string())).unwrap_or_default()
}

/// Those of these descriptors that an epoll set with this `fdinfo` watches for something to read.
fn watched(text: &str, own: &BTreeSet<RawFd>) -> Vec<RawFd> {
    let number = |line: &str| {
        let mut words = line.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let events = u32::from_str_radix(words.nth(1)?, 16).ok()?;
        (events & IN != 0 && own.contains(&number)).then_some(number)
    };
    text.lines().filter_map(|line| number(line.strip_prefix("tfd:")?)).collect()
}

/// The system call that a thread is blocked in.
struct Call {
    number: c_long,
    args: [u64; 2],
}

impl Call {
    /// `232 0x4 0x7ffd...`; one that runs says so instead.
    fn parse(text: &str) -> Option<Call> {
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut arg = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        Some(Call { number, args: [arg()?, arg()?] })
    }

    fn waits_for(&self, own: &BTreeSet<RawFd>, read: impl Fn(u64, &mut [u8]) -> bool) -> bool {
        let [first, second] = self.args;
        if [libc::SYS_accept, libc::SYS_accept4].contains(&self.number) {
            return own.contains(&(first as RawFd));
        }
        if is_poll(self.number) && second <= MOST {
            // struct pollfd: int fd, short events, short revents.
            let mut bytes = vec![0; second as usize * 8];
            return read(first, &mut bytes)
                && bytes.chunks_exact(8).any(|entry| {
                    let number = RawFd::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
                    own.contains(&number) && u32::from(entry[4]) & IN != 0
                });
        }
        if is_select(self.number) && first <= MOST && second != 0 {
            // fd_set: one bit for each, in words; where bytes go from low to high, in bytes as well.
            let mut bytes = vec![0; (first as usize).div_ceil(64) * 8];
            return read(second, &mut bytes)
                && own.iter().any(|&number| {
                    (number as u64) < first
                        && bytes.get(number as usize / 8).is_some_and(|byte| byte >> (number % 8) & 1 == 1)
                });
        }
        false
    }
}

fn is_poll(number: c_long) -> bool {
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_poll {
        return true;
    }
    number == libc::SYS_ppoll
}

fn is_select(number: c_long) -> bool {
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_select {
        return true;
    }
    number == libc::SYS_pselect6
}

/// Inodes in `/proc/net/unix` (proc_net(5)) of sockets at `path` that accept connections.
fn unix_sockets(text: &str, path: &str) -> BTreeSet<u64> {
    let inode = |line: &str| {
        let mut words = line.split_whitespace();
        let flags = words.nth(3).and_then(|word| u32::from_str_radix(word, 16).ok())?;
        let inode = words.nth(2)?.parse().ok()?;
        (flags & 0x1_0000 != 0 && words.next() == Some(path)).then_some(inode)
    };
    text.lines().filter_map(inode).collect()
}

/// Inodes in `/proc/net/tcp` of sockets that listen at `port`.
fn tcp_sockets(text: &str, port: u16) -> BTreeSet<u64> {
    let inode = |line: &str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?.rsplit(':').next()?;
        let state = words.nth(1)?;
        let inode = words.nth(5)?.parse().ok()?;
        (u16::from_str_radix(local, 16).ok()? == port && state == "0A").then_some(inode)
    };
    text.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixListener;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn inode(socket: &impl AsRawFd) -> u64 {
        fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn sockets_are_found_by_path_and_by_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(sockets(&address.to_string()).contains(&inode(&listener)));
        assert!(sockets(&address.port().to_string()).contains(&inode(&listener)));
        let path = std::env::temp_dir().join(format!("coil-listening-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(sockets(path.to_str().unwrap()), [inode(&listener)].into());
        fs::remove_file(&path).unwrap();
        assert!(sockets("nonsense").is_empty() && sockets("/no/such.sock").is_empty());
    }

    #[test]
    fn who_blocks_in_accept_waits_and_who_only_holds_the_socket_does_not() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("needs root: left out");
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (own, me) = ([inode(&listener)].into(), [std::process::id()]);
        assert!(!is_waited_at(&own, &me));
        let waiting = thread::spawn(move || listener.accept().map(drop));
        let until = Instant::now() + Duration::from_secs(20);
        while !is_waited_at(&own, &me) {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(5));
        }
        std::net::TcpStream::connect(address).unwrap();
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn blocked_calls_are_read_as_the_kernel_writes_them() {
        let own = BTreeSet::from([3, 65]);
        let in_memory = |bytes: Vec<u8>| {
            move |_: u64, buffer: &mut [u8]| {
                let fits = bytes.len() >= buffer.len();
                if fits {
                    buffer.copy_from_slice(&bytes[..buffer.len()]);
                }
                fits
            }
        };
        let call = |number: c_long, first: u64, second: u64| Call { number, args: [first, second] };
        assert!(
            Call::parse("running").is_none() && Call::parse("-1 0x0").is_none() && Call::parse("").is_none()
        );
        let parsed = Call::parse("288 0x3 0x0 0x0 0x80000 0x0 0x0 0x7ffe 0x7f1\n").unwrap();
        assert_eq!((parsed.number, parsed.args), (288, [3, 0]));
        assert!(call(libc::SYS_accept4, 3, 0).waits_for(&own, in_memory(vec![])));
        assert!(!call(libc::SYS_accept4, 4, 0).waits_for(&own, in_memory(vec![])));
        let entry = |number: u8, events: u8| vec![number, 0, 0, 0, events, 0, 0, 0];
        assert!(call(libc::SYS_ppoll, 64, 2).waits_for(&own, in_memory([entry(9, 1), entry(3, 1)].concat())));
        assert!(!call(libc::SYS_ppoll, 64, 1).waits_for(&own, in_memory(entry(3, 4))));
        assert!(!call(libc::SYS_ppoll, 64, u64::MAX).waits_for(&own, in_memory(entry(3, 1))));
        let mut bits = vec![0; 16];
        bits[8] = 2;
        assert!(call(libc::SYS_pselect6, 66, 64).waits_for(&own, in_memory(bits.clone())));
        assert!(!call(libc::SYS_pselect6, 65, 64).waits_for(&own, in_memory(bits.clone())));
        assert!(!call(libc::SYS_pselect6, 66, 0).waits_for(&own, in_memory(bits)));
        assert!(!call(libc::SYS_pselect6, 66, 64).waits_for(&own, in_memory(vec![])));
    }

    #[test]
    fn epoll_sets_are_read_as_the_kernel_writes_them() {
        let text = "pos:\t0\nflags:\t02\ntfd:        9 events: 1b data: 9  pos:0 ino:3 sdev:9\n\
                    tfd:        3 events:       19 data:                3  pos:0 ino:7 sdev:8\n";
        assert_eq!((watched(text, &[3].into()), watched(text, &[4].into())), (vec![3], vec![]));
        assert!(watched("tfd: 3 events: 4 data: 3\n", &[3].into()).is_empty());
        assert!(watched("tfd:\ntfd: x events: y\n", &[3].into()).is_empty());
    }
}
