//! The user's ssh, and what became of a command that it ran on a host.

use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::script::{self, NO_RELEASE, NOT_ROOT};
use crate::error::{Context, Failure, Result};

/// How much of what a host says is kept, in bytes.
const KEPT: u64 = 1 << 20;

/// How long the last words are waited for when ssh is gone: what it left running for later connections (ControlPersist) may
/// keep standard error open for ever.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The exit status of ssh when it failed itself.
const SSH_FAILED: i32 = 255;

/// A host in whatever words ssh understands: `web1`, `me@web1`, `ssh://me@web1:2222`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // ssh would take it for an option.
        if text.is_empty()
            || text.starts_with('-')
            || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err("a host is a name that ssh knows, user@name or ssh://user@name:port".into());
        }
        Ok(Host(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How hosts are reached.
#[derive(Debug, Clone)]
pub struct Ssh {
    words: Vec<String>,
    sudo: bool,
    any_user: bool,
}

impl Ssh {
    /// The command `named`, which may have arguments, or `ssh`; with `sudo` a login that is not root becomes root.
    pub fn new(named: Option<&str>, sudo: bool) -> Result<Self> {
        let named = named.unwrap_or("ssh");
        let words = shlex::split(named).filter(|words| !words.is_empty());
        let words =
            words.ok_or_else(|| Failure::new(format!("{named:?} is no command to reach hosts with")))?;
        Ok(Ssh { words, sudo, any_user: false })
    }

    /// The same for what a login that is not root may do as well.
    pub fn for_any_user(self) -> Self {
        Ssh { any_user: true, ..self }
    }

    /// Starts `line` on `host`, as root.
    pub fn start(&self, host: &Host, line: &str) -> Result<Remote> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).arg("-T");
        // A connection that is dead ends in a minute, not in hours.
        for option in ["ConnectTimeout=20", "ServerAliveInterval=15"] {
            command.args(["-o", option]);
        }
        if !io::stdin().is_terminal() {
            // Nobody could answer.
            command.args(["-o", "BatchMode=yes"]);
        }
        let line =
            if self.any_user { script::as_login(line, self.sudo) } else { script::as_root(line, self.sudo) };
        command.arg(&host.0).arg(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().context(|| format!("cannot start {} for {host}", self.words[0]))?;
        Remote::of(host.clone(), child)
    }

    /// Runs `line` on `host`, as root, to its end.
    pub fn run(&self, host: &Host, line: &str) -> Result<Ended> {
        self.start(host, line)?.end()
    }
}

/// A command that runs on a host. It is ended with the value.
pub struct Remote {
    host: Host,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    errors: Receiver<Vec<u8>>,
    sent: u64,
}

/// What became of a command.
pub struct Ended {
    host: Host,
    /// Its exit status, or that of ssh.
    pub code: Option<i32>,
    /// What it wrote to standard output, from where it had been read to.
    pub output: String,
    /// What it and ssh wrote to standard error.
    pub errors: String,
}

impl Remote {
    fn of(host: Host, mut child: Child) -> Result<Self> {
        let missing = || Failure::new("a pipe to ssh is missing");
        let (input, output) = (child.stdin.take(), child.stdout.take().ok_or_else(missing)?);
        let mut stream = child.stderr.take().ok_or_else(missing)?;
        let (sender, errors) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Remote { host, child, input, output: BufReader::new(output), errors, sent: 0 })
    }

    /// The next line that it writes; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = (&mut self.output).take(KEPT).read_until(b'\n', &mut line);
        let line = read.ok().filter(|count| *count > 0).map(|_| String::from_utf8_lossy(&line).into_owned());
        line.map(|line| line.trim_end().to_owned())
    }

    /// What it writes, and what it reads.
    pub fn streams(&mut self) -> (impl Read, Counted<'_>) {
        (&mut self.output, Counted { input: self.input.as_mut(), sent: &mut self.sent })
    }

    /// How many bytes it was sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends nothing more.
    pub fn say_no_more(&mut self) {
        drop(self.input.take());
    }

    /// Sends nothing more and waits for its end.
    pub fn end(mut self) -> Result<Ended> {
        self.say_no_more();
        let mut output = Vec::new();
        // What cannot be read was not said; the status tells.
        let _ = (&mut self.output).take(KEPT).read_to_end(&mut output);
        let status = self.child.wait().context(|| format!("ssh to {} was lost", self.host))?;
        let mut errors = Vec::new();
        while let Ok(bytes) = self.errors.recv_timeout(LAST_WORDS) {
            errors.extend(bytes);
            errors.drain(..errors.len().saturating_sub(KEPT as usize));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (output, errors) = (text(&output), text(&errors));
        Ok(Ended { host: self.host.clone(), code: status.code(), output, errors })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The other side reads the end of its input and ends as well. Where it is over, nothing happens.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The input of a command, counted.
pub struct Counted<'a> {
    input: Option<&'a mut ChildStdin>,
    sent: &'a mut u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(bytes)?;
        *self.sent += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ended {
    /// Whether the connection broke, or never came about.
    pub fn is_broken(&self) -> bool {
        matches!(self.code, Some(SSH_FAILED) | None)
    }

    /// Why a command for `app` failed, without the host's name, and what to type next.
    pub fn failure(&self, app: &str) -> Failure {
        let said = self.said(app);
        match self.code {
            Some(NOT_ROOT) => Failure::new("the login is not root, and a release is installed by root")
                .hint(format!("log in as root@{}, or let coil become root with --sudo", self.plain_name())),
            Some(NO_RELEASE) => Failure::new("systemd is not in charge of it, so it can run no services"),
            Some(SSH_FAILED) if said.is_empty() => Failure::new("ssh failed and did not say why"),
            Some(SSH_FAILED) => Failure::new(format!("ssh cannot reach it: {said}")),
            Some(code) if said.is_empty() => {
                Failure::new(format!("the command there ended with status {code}"))
            }
            Some(_) if said.contains("sudo: ") => {
                Failure::new(format!("the login may not become root: {said}"))
                    .hint("allow it `sudo` without a password, or log in as root")
            }
            Some(_) => Failure::new(said),
            None => Failure::new("ssh was killed"),
        }
    }

    /// The last line on standard error, without the name of who says it; of a launcher, all that it says.
    fn said(&self, app: &str) -> String {
        let lines: Vec<&str> =
            self.errors.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let is_speaker = |name: &str| name == app || name == "ssh" || name.starts_with("launcher-");
        let speaks = |line: &&str| line.split_once(": ").is_some_and(|(name, _)| is_speaker(name));
        let last = lines.len().saturating_sub(1);
        let first = if self.is_broken() { last } else { lines.iter().rposition(speaks).unwrap_or(last) };
        let said = lines.get(first..).unwrap_or_default().join("\n");
        let named = said.split_once(": ").filter(|(name, _)| is_speaker(name));
        named.map_or(said.as_str(), |(_, rest)| rest).trim_end_matches('.').to_owned()
    }

    fn plain_name(&self) -> &str {
        let name = self.host.0.rsplit('@').next().unwrap_or_default();
        name.trim_start_matches("ssh://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, errors: &str) -> String {
        let host = Host("me@web1".into());
        let failure =
            Ended { host, code: Some(code), output: String::new(), errors: errors.into() }.failure("site");
        format!("{failure} | {}", failure.advice().unwrap_or_default())
    }

    #[test]
    fn what_ssh_says_becomes_one_sentence() {
        assert_eq!(
            ended(255, "@@@ WARNING @@@\r\nHost key verification failed.\r\n"),
            "ssh cannot reach it: Host key verification failed | "
        );
        let refused = ended(255, "ssh: connect to host web1 port 22: Connection refused\r\n");
        assert_eq!(refused, "ssh cannot reach it: connect to host web1 port 22: Connection refused | ");
        assert_eq!(ended(125, "launcher-12: cannot write /x: full\n\n"), "cannot write /x: full | ");
        let refused = ended(
            125,
            "motd: hi\nsite: site-web did not come up; its last words:\n  x: no\n1 serves as before\n",
        );
        assert_eq!(refused, "site-web did not come up; its last words:\n  x: no\n1 serves as before | ");
        assert!(ended(NOT_ROOT, "").ends_with("log in as root@web1, or let coil become root with --sudo"));
        assert!(
            ended(1, "sudo: a password is required\n").starts_with("the login may not become root: sudo: a ")
        );
        assert_eq!(ended(3, ""), "the command there ended with status 3 | ");
    }

    #[test]
    fn an_option_is_no_host() {
        for good in ["web1", "me@web1", "ssh://me@[::1]:2222"] {
            assert_eq!(good.parse(), Ok(Host(good.into())));
        }
        for bad in ["", "-oProxyCommand=x", "a b", "a\nb"] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
    }
}
