//! Byte code: every Python file of a tree compiled ahead of time, the same bytes in every run.
//!
//! Unchecked-hash `.pyc` files (PEP 552): valid on a read-only tree, whatever the times of files are.
//! What marshal writes depends on which objects the process shares, hence on everything it compiled
//! before, and on the seed of its hashes. So files are sorted and cut into chunks whose bounds depend on
//! the files alone, and every chunk is compiled by an interpreter of its own that knows nothing of this
//! machine's environment. How many run at once changes nothing.

mod process;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use coil_bootstrap::format::path::TreePath;

use self::process::{Answer, Request, Workplace};
use crate::error::{Context, Failure, Result};
use crate::tree::{Content, Node, Tree};

#[cfg(test)]
mod tests;

/// The most files in a chunk. A further interpreter costs about as much as two or three files.
const FILES: usize = 96;

/// The length of the sources at which a chunk ends, in bytes.
const BYTES: u64 = 768 << 10;

/// Compiles with one interpreter.
pub struct Compiler {
    executable: PathBuf,
    cache_tag: String,
    jobs: usize,
}

impl Compiler {
    /// A compiler for the CPython `executable` of this version: `(3, 12)`. It has to be the interpreter
    /// that is packed, or one with the same byte code.
    pub fn new(executable: &Path, (major, minor): (u16, u16)) -> Self {
        Compiler {
            executable: executable.to_owned(),
            cache_tag: format!("cpython-{major}{minor}"),
            jobs: thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Adds byte code for every `.py` file of `tree` that is below one of `directories`.
    ///
    /// Returns a warning for every file that has none, saying why. Byte code that is there already is
    /// replaced. Fails only where the interpreter does. The bytes depend on the interpreter and on these
    /// files, all of them together: a tree that shall have the same bytes elsewhere is compiled alone.
    pub fn compile(&self, tree: &mut Tree, directories: &[&str]) -> Result<Vec<String>> {
        let sources = sources(tree, directories)?;
        let answers = self.answers(&chunks(&sources))?;
        let mut warnings = Vec::new();
        for (source, answer) in sources.iter().zip(answers) {
            let added = match answer {
                Answer::ByteCode(bytes) => self.add(tree, source, bytes),
                Answer::Nothing(reason) => Err(reason),
            };
            if let Err(reason) = added {
                warnings.push(format!("{} has no byte code: {reason}", source.path));
            }
        }
        Ok(warnings)
    }

    /// The answers for all files of `chunks`, in their order, several chunks being compiled at a time.
    fn answers(&self, chunks: &[&[Source]]) -> Result<Vec<Answer>> {
        let empty = tempfile::tempdir().map_err(|error| {
            Failure::new("a temporary directory cannot be made")
                .because(error)
                .hint("set TMPDIR to a directory that can be written and has room")
        })?;
        let workplace = Workplace { executable: &self.executable, directory: empty.path() };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(chunk) = chunks.get(index) else { return done };
                let answers = requests(chunk).and_then(|requests| workplace.compile(&requests));
                if answers.is_err() {
                    // Nobody begins another chunk. Those before this one have all been begun.
                    next.store(chunks.len(), Ordering::Relaxed);
                }
                done.push((index, answers));
            }
        };
        let workers = self.jobs.clamp(1, chunks.len().max(1));
        let mut done = thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let results = threads.into_iter().map(thread::ScopedJoinHandle::join);
            results.flat_map(|done| done.unwrap_or_else(|panic| resume_unwind(panic))).collect::<Vec<_>>()
        });
        done.sort_by_key(|(index, _)| *index);
        let answers: Vec<Vec<Answer>> =
            done.into_iter().map(|(_, answers)| answers).collect::<Result<_>>()?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Puts the byte code of `source` where Python looks for it (PEP 3147).
    fn add(&self, tree: &mut Tree, source: &Source, bytes: Vec<u8>) -> Result<(), String> {
        let name = source.path.file_name();
        let name = name.strip_suffix(".py").unwrap_or(name);
        let below = format!("__pycache__/{name}.{}.pyc", self.cache_tag);
        let path = match source.path.parent() {
            Some(parent) => parent.join(&below),
            None => TreePath::new(below),
        };
        let path = path.map_err(|error| error.to_string())?;
        tree.remove(&path);
        let origin = source.node.origin.clone();
        let node = Node { content: Content::bytes(bytes), executable: false, origin };
        tree.insert(path, node).map_err(|conflict| conflict.to_string())
    }
}

/// A file to be compiled.
struct Source {
    path: TreePath,
    node: Node,
    length: u64,
}

/// The Python files below `directories`, sorted by path. Links are left alone.
fn sources(tree: &Tree, directories: &[&str]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (path, node) in tree.iter() {
        let wanted = directories.iter().any(|directory| path.below(directory).is_some());
        if !wanted || !path.ends_with(".py") {
            continue;
        }
        let opened = node.content.open().context(|| unreadable(path, node))?;
        if let Some((length, _)) = opened {
            sources.push(Source { path: path.clone(), node: node.clone(), length });
        }
    }
    Ok(sources)
}

/// Cuts the files into chunks, looking at nothing but their number and their lengths.
fn chunks(mut sources: &[Source]) -> Vec<&[Source]> {
    let mut chunks = Vec::new();
    while !sources.is_empty() {
        let mut length = 0;
        let fits = sources.iter().take(FILES).take_while(|source| {
            let room = length < BYTES;
            length += source.length;
            room
        });
        let (chunk, rest) = sources.split_at(fits.count());
        chunks.push(chunk);
        sources = rest;
    }
    chunks
}

fn requests(chunk: &[Source]) -> Result<Vec<Request>> {
    let request = |source: &Source| {
        let content = source.node.content.read().context(|| unreadable(&source.path, &source.node))?;
        Ok::<_, Failure>(Request { path: source.path.clone(), source: content })
    };
    chunk.iter().map(request).collect()
}

fn unreadable(path: &TreePath, node: &Node) -> String {
    format!("{path} of {} cannot be read", node.origin)
}
