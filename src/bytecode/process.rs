//! Interpreters that compile: how they are started, and what is said to them.
//!
//! An interpreter forks a child for every chunk but its last, so that starting one is paid for once and every chunk still
//! meets a process that has compiled nothing before. Requests and answers are described in
//! `runtime-templates/compile.py`. A thread of its own writes several requests, so that neither side ever waits
//! for the other to read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use coil_bootstrap::format::path::TreePath;

use super::program::Program;
use crate::error::{Context, Failure, Result};
use crate::sealed::Sealed;

/// What the number of a chunk's requests has in addition if it is the interpreter's last.
const LAST: u32 = 1 << 31;

/// The interpreters that are there, started as they are needed: as many as chunks are compiled at a time.
#[derive(Debug)]
pub struct Servers {
    executable: PathBuf,
    program: Program,
    idle: Mutex<Vec<Server>>,
    /// One that is being started, for whoever is the first to need one.
    begun: Mutex<Option<JoinHandle<Result<Server>>>>,
    /// Those that have compiled their last chunk.
    spent: Mutex<Vec<Server>>,
    used: AtomicBool,
}

/// What an interpreter does after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It waits for another.
    Waits,
    /// It ends: it has compiled by itself, and knows too much for another chunk. Without a child that is two
    /// milliseconds less.
    Ends,
}

/// A file to be compiled.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Its path, which becomes its name in tracebacks with `/` in front.
    pub path: TreePath,
    /// What is in it.
    pub source: Vec<u8>,
}

/// What became of a file.
#[derive(Debug)]
pub enum Answer {
    /// A whole `.pyc` file.
    ByteCode(Vec<u8>),
    /// There is none, and why.
    Nothing(String),
}

impl Servers {
    /// None yet, of the interpreter `executable` of this version, whose program is `kept`.
    pub fn new(executable: &Path, version: (u16, u16), kept: Sealed) -> Self {
        Servers {
            executable: executable.to_owned(),
            program: Program::new(version, kept),
            idle: Mutex::default(),
            begun: Mutex::default(),
            spent: Mutex::default(),
            used: AtomicBool::new(false),
        }
    }

    /// Starts one that will be needed, without waiting for it. Where it cannot be started, whoever needs it finds that out.
    pub fn begin(self: &Arc<Self>) {
        let servers = Arc::clone(self);
        *locked(&self.begun) = Some(thread::spawn(move || Server::start(&servers)));
    }

    /// Has those that wait end, without waiting for it: the kernel takes a millisecond to take one apart.
    pub fn end(&self) {
        let begun = self.begun();
        let mut idle = locked(&self.idle);
        idle.extend(begun);
        idle.iter_mut().for_each(|server| drop(server.child.kill()));
    }

    /// The one that was begun, if nobody has it and it could be started. To start another instead of waiting for it
    /// would take longer.
    fn begun(&self) -> Option<Server> {
        let begun = locked(&self.begun).take()?;
        begun.join().ok()?.ok()
    }

    /// Whether anything has been compiled.
    pub fn were_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Compiles `requests` in a process that has compiled nothing before; fails where the interpreter cannot
    /// be started or dies.
    pub fn compile(&self, requests: &[Request]) -> Result<Vec<Answer>> {
        self.compile_then(requests, Then::Waits)
    }

    /// The same for one file. With [`Then::Ends`] it is the interpreter itself that compiles it, and no child of it.
    pub fn compile_one(&self, request: Request, then: Then) -> Result<Answer> {
        let none = || Answer::Nothing("the interpreter said nothing".to_owned());
        Ok(self.compile_then(&[request], then)?.pop().unwrap_or_else(none))
    }

    fn compile_then(&self, requests: &[Request], then: Then) -> Result<Vec<Answer>> {
        self.used.store(true, Ordering::Relaxed);
        let idle = locked(&self.idle).pop();
        let mut server = match idle.or_else(|| self.begun()) {
            Some(server) => server,
            None => Server::start(self)?,
        };
        let mut answers = Vec::with_capacity(requests.len());
        match server.talk(requests, then, &mut answers) {
            Ok(()) => {
                let list = if then == Then::Ends { &self.spent } else { &self.idle };
                locked(list).push(server);
                Ok(answers)
            }
            Err(cause) => {
                let path = requests.get(answers.len()).map_or("nothing", |request| request.path.as_str());
                let executable = self.executable.display();
                Err(server.death(cause, &self.executable, path).hint(format!(
                    "`{executable} -m py_compile` on that file shows which of the two is at fault"
                )))
            }
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answer {
    /// The byte code, or why there is none.
    pub fn bytes(self) -> Result<Vec<u8>, String> {
        match self {
            Answer::ByteCode(bytes) => Ok(bytes),
            Answer::Nothing(reason) => Err(reason),
        }
    }
}

/// One interpreter that waits for chunks.
#[derive(Debug)]
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    complaints: File,
}

impl Server {
    /// Starts one that runs its program.
    fn start(of: &Servers) -> Result<Server> {
        let words = of.program.words(|words, text| {
            let path = TreePath::new("compile.py").map_err(|error| Failure::new(error.to_string()))?;
            let request = Request { path, source: text.into() };
            let (mut server, mut answers) = (Server::told(&of.executable, &words)?, Vec::new());
            let talked = server.talk(&[request], Then::Ends, &mut answers).and_then(|()| {
                let answer = answers.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
                answer.bytes().map_err(io::Error::other)
            });
            talked.map_err(|cause| {
                let other = format!(
                    "`{} -c ''` shows whether it runs at all; --python names another",
                    of.executable.display()
                );
                server.death(cause, &of.executable, "coil's own program").hint(other)
            })
        })?;
        Server::told(&of.executable, &words)
    }

    /// Starts `executable` with these words.
    fn told(executable: &Path, words: &[OsString]) -> Result<Server> {
        Server::spawn(executable, words)
            .context(|| format!("the interpreter {} cannot be started to compile", executable.display()))
    }

    /// Nothing of the environment gets in: `-I` and `-E` would keep PYTHONHASHSEED out, so it is emptied instead.
    /// Only the way to a shared libpython is left. Nor does anything of the working directory or of the program's, which it
    /// takes off its path first.
    fn spawn(executable: &Path, words: &[OsString]) -> io::Result<Server> {
        let complaints = tempfile::tempfile()?;
        let mut command = Command::new(executable);
        // All calls into libraries resolved at once: it starts a twentieth sooner.
        command.env_clear().env("PYTHONHASHSEED", "0").env("LD_BIND_NOW", "1");
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut child = command
            .args(words)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(complaints.try_clone()?))
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Server { child, input, output: BufReader::new(output), complaints })
    }

    fn talk(&mut self, requests: &[Request], then: Then, answers: &mut Vec<Answer>) -> io::Result<()> {
        let Server { child, input, output, .. } = self;
        let mut hear = || -> io::Result<()> {
            for _ in requests {
                answers.push(listen(output)?);
            }
            Ok(())
        };
        let mut killing = |heard: io::Result<()>| {
            // The writer may wait for it. Whether killing works is of no interest: `wait` tells.
            heard.inspect_err(|_| drop(child.kill()))
        };
        if requests.len() == 1 {
            // It is read whole before anything is said.
            return killing(ask(requests, then, input).and_then(|()| hear()));
        }
        thread::scope(|scope| {
            scope.spawn(move || ask(requests, then, input));
            killing(hear())
        })
    }

    fn death(mut self, cause: io::Error, executable: &Path, path: &str) -> Failure {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let mut text = String::new();
        let complaints = &mut self.complaints;
        let _ = complaints
            .seek(SeekFrom::Start(0))
            .and_then(|_| complaints.take(1 << 16).read_to_string(&mut text));
        let last = text.trim().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        let executable = executable.display();
        Failure::new(format!(
            "the interpreter {executable} broke off while it compiled {path} ({status}){last}"
        ))
        .because(cause)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has no work and nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes all requests, after their number. An interpreter that is gone is noticed by the reader.
fn ask(requests: &[Request], then: Then, input: impl Write) -> io::Result<()> {
    let mut input = BufWriter::new(input);
    let count = u32::try_from(requests.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let count = if then == Then::Ends { count | LAST } else { count };
    input.write_all(&count.to_le_bytes())?;
    let mut block = |bytes: &[u8]| -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        input.write_all(&length.to_le_bytes())?;
        input.write_all(bytes)
    };
    for Request { path, source } in requests {
        block(format!("/{path}").as_bytes())?;
        block(source)?;
    }
    input.flush()
}

fn listen(output: &mut impl Read) -> io::Result<Answer> {
    let kind = number(output)?;
    let length = number(output)?;
    let mut bytes = Vec::new();
    output.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match kind {
        0 => Ok(Answer::ByteCode(bytes)),
        1 => Ok(Answer::Nothing(String::from_utf8_lossy(&bytes).into_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its answer makes no sense")),
    }
}

fn number(output: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    output.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytecode::tests::{interpreter, program};

    #[test]
    fn an_interpreter_that_was_begun_is_waited_for_and_no_other_is_started() {
        let (executable, version) = interpreter();
        let (_directory, program) = program();
        let servers = Arc::new(Servers::new(&executable, version, program));
        servers.begin();
        let request = Request { path: TreePath::new("app/a.py").unwrap(), source: Vec::new() };
        servers.compile_one(request, Then::Waits).unwrap().bytes().unwrap();
        assert!(locked(&servers.begun).is_none(), "it has been taken");
        assert_eq!(locked(&servers.idle).len(), 1);
    }

    #[test]
    fn one_that_was_begun_and_is_not_needed_ends_and_one_that_cannot_be_begun_is_no_error() {
        let (executable, version) = interpreter();
        for (executable, left) in [(executable.as_path(), 1), (Path::new("/gone/python3"), 0)] {
            let (_directory, program) = program();
            let servers = Arc::new(Servers::new(executable, version, program));
            servers.begin();
            servers.end();
            let mut idle = locked(&servers.idle);
            assert_eq!(idle.len(), left);
            assert!(idle.iter_mut().all(|server| !server.child.wait().unwrap().success()));
        }
    }
}
