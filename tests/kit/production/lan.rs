//! A network with nobody else on it: the test, and the hosts that it starts.
//!
//! The test's thread moves into a network namespace with a bridge; what it starts afterwards, threads and programs,
//! is there too: a client, `ssh`, `coil deploy`. The hosts have namespaces of their own, with one cable each to the
//! bridge. The namespace ends with the last process in it.

use std::cell::Cell;
use std::fs::{self, File};
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::control_group;
use super::host::Plan;
use super::root::Flavour;
use super::ssh::Keys;
use crate::kit::empty_root::is_root;
use crate::kit::{Ran, scratch, skip};

/// The network. What needs any other (packing with wheels from an index) comes before it.
pub struct Lan {
    outside: File,
    keys: Keys,
    directory: TempDir,
    hosts: Cell<u8>,
    /// It belongs to one thread.
    here: PhantomData<*const ()>,
}

/// The address that the test has.
pub const TEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

impl Lan {
    /// The network, or `None`, with a word about it, where tests with hosts are not wanted.
    pub fn wanted() -> Option<Lan> {
        if !wanted() {
            return None;
        }
        // Their files come over a network that is out of reach from this one.
        for flavour in Flavour::ALL {
            flavour.root();
        }
        Some(Lan::new())
    }

    fn new() -> Lan {
        let outside = File::open("/proc/thread-self/ns/net").expect("this kernel has namespaces");
        // SAFETY: unshare(2) changes which network this thread is in, and no memory.
        let left = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert!(left == 0, "no network can be made: {}", std::io::Error::last_os_error());
        ip("link set lo up");
        ip("link add lan type bridge");
        ip(&format!("addr add {TEST}/24 dev lan"));
        ip("link set lan up");
        let directory = scratch();
        let keys = Keys::new(directory.path());
        Lan { outside, keys, directory, hosts: Cell::new(0), here: PhantomData }
    }

    /// A host that is to be started.
    pub fn host(&self, name: &str) -> Plan<'_> {
        let number = self.hosts.get() + 1;
        self.hosts.set(number);
        Plan::new(self, name, Ipv4Addr::new(10, 77, 0, 10 + number))
    }

    /// The keys to all hosts.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A directory that is removed with the network.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // With `--test-threads=1`, the thread goes on with other tests.
        // SAFETY: setns(2) changes which network this thread is in, and no memory.
        let back = unsafe { libc::setns(self.outside.as_raw_fd(), libc::CLONE_NEWNET) };
        if back != 0 {
            eprintln!("this thread has lost its network: {}", std::io::Error::last_os_error());
        }
    }
}

/// Whether tests with hosts are wanted. Says so if not, and stops where they are wanted and cannot be.
pub fn wanted() -> bool {
    if std::env::var("COIL_TEST_HOSTS").as_deref() != Ok("1") {
        skip("this starts hosts with systemd, as root; set COIL_TEST_HOSTS=1");
        return false;
    }
    assert!(is_root(), "hosts can be started by root alone");
    assert!(
        control_group::hierarchy().is_some(),
        "hosts need control groups of version 2; mount them somewhere"
    );
    for program in ["debootstrap", "ip", "nsenter", "setpriv", "ssh", "tc", "unshare"] {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let found =
            std::env::split_paths(&path).any(|directory| fs::metadata(directory.join(program)).is_ok());
        assert!(found, "hosts need {program}, which is not installed");
    }
    true
}

/// `ip` with these words, in the network of this thread.
pub fn ip(words: &str) {
    tool("ip", words);
}

/// A program of the system's administrator with these words.
pub fn tool(name: &str, words: &str) {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(words.split_whitespace()).env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let ran = Ran::of(command, b"");
    assert!(ran.status.success(), "{name} {words}: {ran}");
}
