//! A Docker daemon that touches nothing of the machine's network.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Ran, standing};

/// The daemon; it ends with the value.
pub struct Docker {
    daemon: Child,
    directory: PathBuf,
    address: String,
    /// Where its sockets are: a path that has no more than 107 bytes with what is below.
    _sockets: TempDir,
}

impl Docker {
    /// One that only the test reaches.
    pub fn start() -> Docker {
        let directory = standing("docker");
        let address = format!("unix://{}", directory.join("socket").display());
        Docker::run_by(directory, address)
    }

    /// One that listens at an address, such as `tcp://10.77.0.1:2375`.
    pub fn at(name: &str, address: &str) -> Docker {
        Docker::run_by(standing(name), address.to_owned())
    }

    fn run_by(directory: PathBuf, address: String) -> Docker {
        let path = |name: &str| directory.join(name).display().to_string();
        let sockets = tempfile::tempdir().unwrap();
        let exec = sockets.path().display().to_string();
        let log = File::create(directory.join("log")).unwrap();
        let daemon = Command::new("dockerd")
            .args(["--iptables=false", "--bridge=none", "--host", &address])
            .args(["--data-root", &path("data"), "--exec-root", &exec, "--pidfile", &path("pid")])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("dockerd is on PATH");
        let docker = Docker { daemon, directory, address, _sockets: sockets };
        let start = Instant::now();
        while docker.run(&["version"]).code() != Some(0) {
            let log = fs::read_to_string(docker.directory.join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(60), "dockerd does not start: {log}");
            thread::sleep(Duration::from_millis(200));
        }
        docker
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `docker` with these words.
    pub fn run(&self, words: &[&str]) -> Ran {
        self.load(words, b"")
    }

    /// The same with something to read.
    pub fn load(&self, words: &[&str], input: &[u8]) -> Ran {
        let mut command = Command::new("docker");
        command.args(["--host", &self.address]).args(words);
        // The builder that is in the daemon itself, in all versions that have one.
        command.env("DOCKER_BUILDKIT", "0");
        Ran::of(command, input)
    }

    /// Runs a container as strictly as people do.
    pub fn strictly(&self, words: &[&str]) -> Ran {
        self.run(&[&["run", "--rm", "--network=none", "--read-only", "--tmpfs", "/tmp"], words].concat())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It sees to its own children where it is asked to end.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}
