//! Byte code: every Python file of a tree compiled ahead of time, the same bytes in every run.
//!
//! Unchecked-hash `.pyc` files (PEP 552): valid on a read-only tree, whatever the times of files are.
//! What marshal writes depends on which objects the process shares, hence on everything it compiled
//! before, and on the seed of its hashes. So files are sorted and cut into chunks whose bounds depend on
//! the files alone, and every chunk is compiled by a process of its own, forked from an interpreter that has
//! compiled nothing and knows nothing of this machine's environment. How many run at once, and which chunk
//! comes first, changes nothing. The files of an app are a chunk each (`apart.rs`).

mod apart;
mod earlier;
mod process;
mod program;
mod sourceless;

use std::path::Path;
use std::sync::Arc;

use coil_bootstrap::format::path::TreePath;

pub use self::apart::Apart;
pub use self::earlier::Earlier;

use self::process::{Answer, Request, Servers};
use crate::error::{Context, Failure, Result};
use crate::pool::{Line, Pool};
use crate::sealed::Sealed;
use crate::tree::{Content, Node, Tree};

#[cfg(test)]
mod apart_tests;
#[cfg(test)]
mod tests;

/// The most files in a chunk. A further process costs about as much as one file.
const FILES: usize = 96;

/// The length of the sources at which a chunk ends, in bytes.
const BYTES: u64 = 768 << 10;

/// Compiles with one interpreter.
#[derive(Debug)]
pub struct Compiler {
    servers: Arc<Servers>,
    cache_tag: String,
    pool: Arc<Pool>,
}

impl Compiler {
    /// A compiler for the CPython `executable` of this version: `(3, 12)`. It has to be the interpreter
    /// that is packed, or one with the same byte code. The program that it runs is kept in `program`.
    pub fn new(executable: &Path, (major, minor): (u16, u16), program: Sealed, pool: Arc<Pool>) -> Self {
        let servers = Arc::new(Servers::new(executable, (major, minor), program));
        Compiler { servers, cache_tag: format!("cpython-{major}{minor}"), pool }
    }

    /// Has the interpreter started, which takes longer than it takes to compile a file, without waiting for it.
    pub fn begin(&self) {
        self.servers.begin();
    }

    /// Has the interpreter end, because nothing is compiled any more.
    pub fn end(&self) {
        self.servers.end();
    }

    /// Whether it has compiled anything.
    pub fn was_used(&self) -> bool {
        self.servers.were_used()
    }

    /// Adds byte code for every `.py` file of `tree` that is below one of `directories`.
    ///
    /// Returns a warning for every file that has none, saying why. Byte code that is there already is
    /// replaced. Fails only where the interpreter does. The bytes depend on the interpreter and on these
    /// files, all of them together: a tree that shall have the same bytes elsewhere is compiled alone.
    pub fn compile(&self, tree: &mut Tree, directories: &[&str]) -> Result<Vec<String>> {
        self.compile_told(tree, directories, &|_, _| ())
    }

    /// The same; `told` hears how many files have been compiled, of how many.
    pub fn compile_told(
        &self,
        tree: &mut Tree,
        directories: &[&str],
        told: &dyn Fn(usize, usize),
    ) -> Result<Vec<String>> {
        let sources = sources(tree, directories)?;
        let answers = self.answers(&chunks(&sources), &|done| told(done, sources.len()))?;
        let mut warnings = Vec::new();
        for (source, answer) in sources.iter().zip(answers) {
            let added = answer.bytes().and_then(|bytes| self.add(tree, &source.path, &source.node, bytes));
            if let Err(reason) = added {
                warnings.push(warning(&source.path, &reason));
            }
        }
        Ok(warnings)
    }

    /// The answers for all files of `chunks`, in their order, several chunks being compiled at a time.
    fn answers(&self, chunks: &[&[Source]], told: &dyn Fn(usize)) -> Result<Vec<Answer>> {
        let mut line = Line::new(&self.pool);
        let mut answers = Vec::new();
        for chunk in chunks {
            let (servers, requests) = (Arc::clone(&self.servers), requests(chunk)?);
            for done in line.push(move || servers.compile(&requests)).context(broken)? {
                answers.extend(done?);
            }
            told(answers.len());
        }
        for done in line {
            answers.extend(done.context(broken)??);
            told(answers.len());
        }
        Ok(answers)
    }

    /// Puts the byte code of the file `node` at `path` where Python looks for it (PEP 3147), and says where that is.
    fn add(&self, tree: &mut Tree, path: &TreePath, node: &Node, bytes: Vec<u8>) -> Result<TreePath, String> {
        let place = self.place(path)?;
        tree.remove(&place);
        let node = Node { content: Content::bytes(bytes), executable: false, origin: node.origin.clone() };
        tree.insert(place.clone(), node).map_err(|conflict| conflict.to_string())?;
        Ok(place)
    }

    /// Where the byte code of the file at `path` is.
    fn place(&self, path: &TreePath) -> Result<TreePath, String> {
        let name = path.file_name();
        let name = name.strip_suffix(".py").unwrap_or(name);
        let below = format!("__pycache__/{name}.{}.pyc", self.cache_tag);
        let place = match path.parent() {
            Some(parent) => parent.join(&below),
            None => TreePath::new(below),
        };
        place.map_err(|error| error.to_string())
    }
}

/// A file to be compiled.
struct Source {
    path: TreePath,
    node: Node,
    length: u64,
}

/// The Python files below `directories`, sorted by path. Links are left alone.
fn python_files<'a>(
    tree: &'a Tree,
    directories: &'a [&'a str],
) -> impl Iterator<Item = (&'a TreePath, &'a Node)> {
    tree.iter().filter(move |(path, node)| {
        path.ends_with(".py")
            && !matches!(node.content, Content::Symlink(_))
            && directories.iter().any(|directory| path.below(directory).is_some())
    })
}

/// The same with their lengths.
fn sources(tree: &Tree, directories: &[&str]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (path, node) in python_files(tree, directories) {
        let opened = node.content.open().context(|| unreadable(path, node))?;
        let length = opened.map_or(0, |(length, _)| length);
        sources.push(Source { path: path.clone(), node: node.clone(), length });
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

fn warning(path: &TreePath, reason: &str) -> String {
    format!("{path} has no byte code: {reason}")
}

fn broken() -> String {
    "byte code cannot be compiled".to_owned()
}
