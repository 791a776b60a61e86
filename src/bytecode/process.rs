//! One interpreter that compiles one chunk: how it is started, and what is said to it.
//!
//! Requests and answers are described in `runtime-templates/compile.py`. A thread of its own writes the
//! requests, so that neither side ever waits for the other to read.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use coil_bootstrap::format::path::TreePath;

use crate::error::{Context, Failure, Result};

/// The program that the interpreter runs.
const PROGRAM: &str = include_str!("../../runtime-templates/compile.py");

/// Where compiling happens.
pub struct Workplace<'a> {
    /// The interpreter.
    pub executable: &'a Path,
    /// An empty directory: nothing is imported from there by mistake.
    pub directory: &'a Path,
}

/// A file to be compiled.
pub struct Request {
    /// Its path, which becomes its name in tracebacks with `/` in front.
    pub path: TreePath,
    /// What is in it.
    pub source: Vec<u8>,
}

/// What became of a file.
pub enum Answer {
    /// A whole `.pyc` file.
    ByteCode(Vec<u8>),
    /// There is none, and why.
    Nothing(String),
}

impl Workplace<'_> {
    /// Compiles `requests` in a fresh interpreter; fails where it cannot be started or dies.
    pub fn compile(&self, requests: &[Request]) -> Result<Vec<Answer>> {
        let started =
            || format!("the interpreter {} cannot be started to compile", self.executable.display());
        let mut complaints = tempfile::tempfile().context(started)?;
        let errors = complaints.try_clone().context(started)?;
        let mut child = self.start(errors).context(started)?;
        let mut answers = Vec::with_capacity(requests.len());
        let talked = thread::scope(|scope| {
            let input = child.stdin.take();
            scope.spawn(move || input.map(|input| ask(requests, input)));
            let heard = child.stdout.take().map_or(Err(io::ErrorKind::BrokenPipe.into()), |output| {
                let mut output = BufReader::new(output);
                for _ in requests {
                    answers.push(listen(&mut output)?);
                }
                Ok(())
            });
            if heard.is_err() {
                // The writer may wait for it. Whether killing works is of no interest: `wait` tells.
                let _ = child.kill();
            }
            heard
        });
        match talked {
            Ok(()) => {
                child.wait().context(started)?;
                Ok(answers)
            }
            Err(cause) => {
                let path = requests.get(answers.len()).map_or("nothing", |request| request.path.as_str());
                Err(self.death(child, cause, &mut complaints, path))
            }
        }
    }

    /// Nothing of the environment gets in: `-I` and `-E` would keep PYTHONHASHSEED out, so it is
    /// emptied instead. Only the way to a shared libpython is left.
    fn start(&self, errors: File) -> io::Result<Child> {
        let mut command = Command::new(self.executable);
        command.env_clear().env("PYTHONHASHSEED", "0");
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
            .args(["-s", "-S", "-B", "-X", "utf8", "-W", "ignore", "-c", PROGRAM])
            .current_dir(self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(errors))
            .spawn()
    }

    fn death(&self, mut child: Child, cause: io::Error, complaints: &mut File, path: &str) -> Failure {
        let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let mut text = String::new();
        let _ = complaints
            .seek(SeekFrom::Start(0))
            .and_then(|_| complaints.take(1 << 16).read_to_string(&mut text));
        let last = text.trim().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        let executable = self.executable.display();
        Failure::new(format!(
            "the interpreter {executable} broke off while it compiled {path} ({status}){last}"
        ))
        .because(cause)
        .hint(format!("`{executable} -m py_compile` on that file shows which of the two is at fault"))
    }
}

/// Writes all requests and closes the input. An interpreter that is gone is noticed by the reader.
fn ask(requests: &[Request], input: impl Write) -> io::Result<()> {
    let mut input = BufWriter::new(input);
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
