//! What became of a program.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No program of the tests takes this long; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// What became of a program.
pub struct Ran {
    /// Its process.
    pub pid: u32,
    /// How it ended. 126 and 127 also mean that it could not be started, as in a shell.
    pub status: ExitStatus,
    /// What it wrote to standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote to standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Ran {
    /// Starts `command`, gives it `input` to read, and waits for its end.
    pub fn of(mut command: Command, input: &[u8]) -> Ran {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Ran::to_its_end(child, input)
    }

    /// Waits for a child whose three streams are pipes.
    pub fn to_its_end(mut child: Child, input: &[u8]) -> Ran {
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        thread::spawn(move || match stdin.write_all(&input) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("standard input: {error}"),
            _ => {}
        });
        let stdout = read_all(child.stdout.take().expect("a pipe"));
        let stderr = read_all(child.stderr.take().expect("a pipe"));
        let pid = child.id();
        let status = wait(&mut child);
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().expect("a reader of a pipe")).into_owned()
        };
        Ran { pid, status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// The exit code; `None` after a death by signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal it died of.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Insists that it ended well.
    #[track_caller]
    pub fn succeeded(self) -> Ran {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Insists that it ended well and said nothing on standard error, and returns what it printed,
    /// without the last line's end.
    #[track_caller]
    pub fn printed(self) -> String {
        assert!(self.status.success() && self.stderr.is_empty(), "{self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// Insists that it ended well, and reads what it printed as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let ran = self.succeeded();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n--- stdout\n{}--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("a program was still running after {} s", PATIENCE.as_secs());
        }
        // Many are over at once.
        thread::sleep((start.elapsed() / 4).clamp(Duration::from_micros(50), Duration::from_millis(2)));
    }
}
