//! One server: systemd as the first process of namespaces of its own, over files of its own, with an address.
//!
//! What works there, and what does not, is in docs/HOSTS.md. It is off when the value goes, also when the test panics
//! or is killed: its first process dies with the thread that started it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::control_group::ControlGroup;
use super::lan::{self, Lan, TEST};
use super::load::Address;
use super::root::Flavour;
use crate::kit::{Ran, scratch};

/// No host takes longer to come up or to go down.
const PATIENCE: Duration = Duration::from_secs(90);

/// A host that is to be started.
pub struct Plan<'a> {
    lan: &'a Lan,
    name: String,
    address: Ipv4Addr,
    flavour: Flavour,
    var: Option<u64>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(lan: &'a Lan, name: &str, address: Ipv4Addr) -> Plan<'a> {
        Plan { lan, name: name.to_owned(), address, flavour: Flavour::Plain, var: None }
    }

    /// The programs it has.
    pub fn flavour(mut self, flavour: Flavour) -> Plan<'a> {
        self.flavour = flavour;
        self
    }

    /// Gives it a `/var` of so many bytes. It is empty again after a power-off.
    pub fn var_of(mut self, bytes: u64) -> Plan<'a> {
        self.var = Some(bytes);
        self
    }

    /// Starts it, and waits until everything is up that starts with it. From the test's own thread: with the thread
    /// that started it, a host ends.
    pub fn start(self) -> Host {
        let mut host = self.off();
        host.power_on();
        host
    }

    /// The host as it was delivered, not started yet.
    pub fn off(self) -> Host {
        let directory = scratch();
        for name in ["up/etc", "up/root/.ssh", "work", "root"] {
            fs::create_dir_all(directory.path().join(name)).expect("a scratch directory can be written");
        }
        let write = |name: &str, text: &str, mode: u32| {
            let path = directory.path().join("up").join(name);
            fs::write(&path, text).expect("a scratch directory can be written");
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
        };
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("Linux has numbers for machines");
        write("etc/machine-id", &(id.trim().replace('-', "") + "\n"), 0o444);
        write("etc/hostname", &format!("{}\n", self.name), 0o644);
        write("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {}\n", self.name), 0o644);
        write("root/.ssh/authorized_keys", self.lan.keys().public(), 0o600);
        for (name, mode) in [("", 0o755), ("etc", 0o755), ("root", 0o700), ("root/.ssh", 0o700)] {
            let path = directory.path().join("up").join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
        }
        let group = ControlGroup::new(&self.name);
        let cable = format!("to-{}", self.address.octets()[3]);
        let files = self.flavour.root();
        Host {
            running: None,
            name: self.name,
            address: self.address,
            files,
            var: self.var,
            cable,
            directory,
            group,
        }
    }
}

/// A server.
pub struct Host {
    running: Option<Running>,
    name: String,
    address: Ipv4Addr,
    files: PathBuf,
    var: Option<u64>,
    cable: String,
    directory: TempDir,
    group: ControlGroup,
}

struct Running {
    /// `unshare`, which dies with this thread, and its child with it.
    outer: Child,
    /// The host's first process, as this machine counts.
    init: u32,
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A port of it.
    pub fn port(&self, port: u16) -> Address {
        Address::Tcp((self.address, port).into())
    }

    /// A socket file of it, until it is turned off.
    pub fn socket(&self, path: &str) -> Address {
        Address::Unix(self.path(path))
    }

    /// A file of it, as the test sees it while it runs. A link in it leads to this machine's files.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init())).join(path.trim_start_matches('/'))
    }

    /// Turns it on, with the files that it had when it was turned off, and waits until everything is up.
    pub fn power_on(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.name);
        let mut outer = self.namespaces();
        let mut said = String::new();
        let mut lines = BufReader::new(outer.stdout.take().expect("a pipe"));
        lines.read_line(&mut said).expect("a pipe can be read");
        assert!(said == "ready\n", "{} has no namespaces: {}", self.name, self.console());
        lan::ip(&format!("link add {} type veth peer name eth0 netns {}", self.cable, outer.id()));
        lan::ip(&format!("link set {} master lan up", self.cable));
        outer.stdin.take().expect("a pipe").write_all(b"go\n").expect("a pipe can be written");
        let init = self.first_process(&mut outer);
        self.running = Some(Running { outer, init });
        self.wait_until_up();
    }

    /// The network of the host, and its first process waiting for a cable to it.
    fn namespaces(&self) -> Child {
        let console = fs::File::create(self.directory.path().join("console")).expect("a file can be made");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-ec", ENTER, "enter"]);
        command.arg(self.group.members()).args(["sh", "-c", include_str!("boot.sh"), "boot"]);
        command.args([self.files.as_path(), self.directory.path()]);
        command.args([format!("{}/24", self.address), TEST.to_string()]);
        command.arg(self.var.map(|bytes| bytes.to_string()).unwrap_or_default());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(console);
        command.spawn().expect("setpriv is on PATH")
    }

    fn first_process(&self, outer: &mut Child) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let start = Instant::now();
        while start.elapsed() < PATIENCE && outer.try_wait().is_ok_and(|ended| ended.is_none()) {
            let found = fs::read_to_string(&children).unwrap_or_default();
            if let Some(init) = found.split_whitespace().next().and_then(|word| word.parse().ok()) {
                return init;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{} does not start: {}", self.name, self.console());
    }

    fn wait_until_up(&self) {
        let start = Instant::now();
        loop {
            let state = self.run("systemctl is-system-running --wait");
            match state.stdout.trim() {
                "running" => return,
                // A host that was killed has units that failed, as real ones do.
                "degraded" => return eprintln!("{}: {}", self.name, self.run("systemctl --failed").stdout),
                _ => {
                    assert!(start.elapsed() < PATIENCE, "{} is not up: {state}{}", self.name, self.console())
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a shell's script in it, as root, and waits for its end.
    pub fn run(&self, script: &str) -> Ran {
        Ran::of(self.command(&["sh", "-c", script]), b"")
    }

    /// A program in it, as root, with nothing in its environment but PATH.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init().to_string());
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"]);
        command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Copies a file of this machine into it, with its mode.
    pub fn copy_in(&self, file: &Path, to: &str) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().expect("a path of a file")).expect("a directory of the host");
        // By another process: what one of ours has open for writing, even for a moment in a fork of another thread,
        // cannot be executed.
        let copied = Command::new("cp").arg("-p").args([file, &to]).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", file.display());
    }

    /// Copies what is below a directory of this machine to the same places below its root.
    pub fn copy_all_in(&self, directory: &Path) {
        let copied = Command::new("cp").arg("-rp").arg(directory.join(".")).arg(self.path("/")).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", directory.display());
    }

    /// Writes a file in it.
    pub fn write(&self, path: &str, text: &str) {
        // Over there, where a link leads to what it names.
        let words = ["sh", "-ec", "mkdir -p \"${0%/*}\"; cat > \"$0\"", path];
        Ran::of(self.command(&words), text.as_bytes()).succeeded();
    }

    /// The bytes of a file in it.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let output = self.command(&["cat", path]).output().expect("nsenter is on PATH");
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Takes what is left of the file system that `directory` is on, but for so many bytes.
    pub fn fill(&self, directory: &str, left: u64) {
        let script = format!(
            "free=$(($(stat -f -c '%a * %S' {directory}))); fallocate -l $((free - {left})) {directory}/ballast"
        );
        self.run(&script).succeeded();
    }

    /// Gives that back.
    pub fn unfill(&self, directory: &str) {
        self.run(&format!("rm {directory}/ballast")).succeeded();
    }

    /// Lets no more than so many bits in a second through, in each direction.
    pub fn slow(&self, bits: u64) {
        let rate = format!("root tbf rate {bits} burst 16kb latency 5s");
        lan::tool("tc", &format!("qdisc replace dev {} {rate}", self.cable));
        self.run(&format!("tc qdisc replace dev eth0 {rate}")).succeeded();
    }

    /// Pulls its cable; whoever connects hears nothing.
    pub fn unplug(&self) {
        lan::ip(&format!("link set {} down", self.cable));
    }

    /// Shuts it down as an administrator does: everything stops in order.
    pub fn power_off(&mut self) {
        // The connection may be gone before the answer.
        let _ = self.run("systemctl poweroff");
        let mut running = self.running.take().expect("a host that runs");
        let start = Instant::now();
        while running.outer.try_wait().expect("a child can be waited for").is_none() {
            if start.elapsed() > PATIENCE {
                running.end();
                panic!("{} does not go down", self.name);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Takes its power away.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.end();
        }
    }

    /// What its journal has of these units, for a failed test.
    pub fn journal(&self, units: &str) -> String {
        self.run(&format!("journalctl --no-pager -o short-monotonic -n 100 -u '{units}'")).stdout
    }

    fn init(&self) -> u32 {
        self.running.as_ref().unwrap_or_else(|| panic!("{} is off", self.name)).init
    }

    fn console(&self) -> String {
        fs::read_to_string(self.directory.path().join("console")).unwrap_or_default()
    }
}

/// In a network of its own: goes into the control group, waits for the cable, and makes the rest.
const ENTER: &str = r#"
echo $$ >"$1"
shift
echo ready
read -r _
exec unshare --uts --ipc --cgroup --pid --fork --kill-child --mount --propagation private -- "$@" </dev/null >&2
"#;

impl Running {
    fn end(&mut self) {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        // Its first process dies a moment later, and what it had mounted with that.
        let place = PathBuf::from(format!("/proc/{}", self.init));
        let start = Instant::now();
        while place.exists() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}
