//! Keys, and the configuration of somebody who uses them: `ssh -F CONFIG web1` as at any desk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::apps;
use super::host::Host;
use super::lan::Lan;
use crate::kit::Ran;

/// A pair of keys that opens all hosts of a test.
pub struct Keys {
    private: PathBuf,
    public: String,
}

impl Keys {
    /// A new pair in `directory`.
    pub fn new(directory: &Path) -> Keys {
        let private = directory.join("key");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&private);
        Ran::of(command, b"").succeeded();
        let public = fs::read_to_string(private.with_extension("pub")).expect("ssh-keygen wrote it");
        Keys { private, public }
    }

    /// The public one, as a line of `authorized_keys`.
    pub fn public(&self) -> &str {
        &self.public
    }
}

/// How the hosts are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each by its address.
    Direct,
    /// The first by its address, all others through it.
    Jump,
    /// Each by its address, and every connection but the first through the first one's.
    Shared,
}

/// The configuration of a user's ssh, `ssh -F FILE`, for some hosts by their names. It knows their keys, so that
/// nothing is asked; no other configuration and no agent is looked for.
pub struct Config {
    file: PathBuf,
    names: Vec<String>,
    /// Where shared connections are met.
    sockets: Option<TempDir>,
}

impl Config {
    /// For these hosts, which are on, in this way.
    pub fn new(lan: &Lan, hosts: &[&Host], way: Way) -> Config {
        let (mut text, mut known) = (String::new(), String::new());
        for (number, host) in hosts.iter().enumerate() {
            let (name, address) = (host.name(), host.address());
            text += &format!("Host {name}\n    HostName {address}\n    User root\n");
            if way == Way::Jump && number > 0 {
                text += &format!("    ProxyJump {}\n", hosts[0].name());
            }
            let key = host.read("/etc/ssh/ssh_host_ed25519_key.pub");
            known += &format!("{address} {}", String::from_utf8_lossy(&key));
        }
        let known_hosts = lan.directory().join("known_hosts");
        fs::write(&known_hosts, known).expect("a scratch directory can be written");
        let key = lan.keys().private.display();
        text += &format!("Host *\n    IdentityFile {key}\n    IdentitiesOnly yes\n    BatchMode yes\n");
        text += &format!("    UserKnownHostsFile {}\n    GlobalKnownHostsFile none\n", known_hosts.display());
        text += "    ConnectTimeout 5\n    LogLevel ERROR\n";
        // The path of a socket has no more than 107 bytes.
        let sockets = (way == Way::Shared).then(|| TempDir::new_in("/tmp").expect("/tmp can be written"));
        if let Some(sockets) = &sockets {
            let place = sockets.path().display();
            text += &format!("    ControlMaster auto\n    ControlPersist 60\n    ControlPath {place}/%C\n");
        }
        let file = lan.directory().join("ssh_config");
        fs::write(&file, text).expect("a scratch directory can be written");
        Config { file, names: hosts.iter().map(|host| host.name().to_owned()).collect(), sockets }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// What this command comes to over there.
    pub fn ssh(&self, host: &str, script: &str) -> Ran {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.file).args([host, script]);
        Ran::of(command, b"")
    }

    /// `coil` with these words, which reaches hosts so.
    pub fn coil(&self, words: &[&str]) -> Ran {
        let mut command = apps::bench().coil(words);
        command.env("COIL_SSH", format!("ssh -F {}", self.file.display()));
        Ran::of(command, b"")
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        for name in self.names.iter().filter(|_| self.sockets.is_some()) {
            let _ = Command::new("ssh").arg("-F").arg(&self.file).args(["-O", "exit", name]).output();
        }
    }
}
