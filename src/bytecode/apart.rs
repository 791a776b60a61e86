//! Byte code of an app, each file compiled by itself.
//!
//! A process for every file that has compiled nothing before, so that what comes of it depends on this file alone and can be
//! kept: after one changed line only that file is compiled. The first time it takes about twice as long as in chunks. What wheels and
//! runtimes have is kept with their layers, which never change file by file.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::path::TreePath;

use super::earlier::{Earlier, Key};
use super::process::{Answer, Request, Then};
use super::{Compiler, broken, python_files, unreadable, warning};
use crate::checksums::Checksums;
use crate::error::{Context, Result};
use crate::pool::Line;
use crate::tree::{Content, Node, Tree};

/// Compiles the files of one app. What came of it is written down in the background when this goes: by then the processors have
/// nothing more urgent to do.
pub struct Apart {
    compiler: Arc<Compiler>,
    earlier: Arc<Earlier>,
    ahead: Mutex<Ahead>,
    /// What is to be written down.
    used: Mutex<Vec<(Key, Content)>>,
}

/// What is compiled before anybody has asked for it.
#[derive(Debug, Default)]
struct Ahead {
    /// Whoever asks for it has come, and does himself what was not begun.
    is_over: bool,
    begun: HashMap<Key, Receiver<Result<Answer>>>,
}

/// The files that have byte code by now, by their paths: its key, and where it is.
type Compiled = BTreeMap<TreePath, (Key, TreePath)>;

impl Apart {
    /// Compiles with `compiler` what is not among what it compiled `earlier`.
    pub fn new(compiler: Arc<Compiler>, earlier: Earlier) -> Self {
        Apart { compiler, earlier: Arc::new(earlier), ahead: Mutex::default(), used: Mutex::default() }
    }

    /// Compiles ahead of time what will be asked for soon: of the Python files of `tree` below `directories` those that
    /// were not compiled earlier, one after the other. It is a guess: for other files it is not used, and what fails
    /// here is found out by whoever compiles. Where there is nothing to compile, no interpreter is started.
    pub fn foresee(&self, tree: &Tree, directories: &[&str]) {
        let request = |(path, node): (&TreePath, &Node)| {
            let source = node.content.read().ok()?;
            let key = self.earlier.key(path, &Checksum::of(&source));
            (!self.earlier.has(&key)).then(|| (key, Request { path: path.clone(), source }))
        };
        let mut missing = python_files(tree, directories).filter_map(request).peekable();
        while let Some((key, request)) = missing.next() {
            // After the last one there is most likely nothing else.
            let then = if missing.peek().is_some() { Then::Waits } else { Then::Ends };
            let (sender, answer) = channel();
            let mut ahead = self.ahead();
            if ahead.is_over {
                return;
            }
            ahead.begun.insert(key, answer);
            drop(ahead);
            let _ = sender.send(self.compiler.servers.compile_one(request, then));
        }
    }

    /// Adds byte code for every `.py` file of `tree` that is below one of `directories`, and has it written down later, if any
    /// had to be compiled. `checksums` are those of the tree.
    ///
    /// Returns a warning for every file that has none, saying why. Byte code that is there already is replaced.
    /// Fails only where the interpreter does. The bytes for a file depend on the interpreter, on its path and on its
    /// content, and on nothing else.
    pub fn compile(
        &self,
        tree: &mut Tree,
        directories: &[&str],
        checksums: &Checksums,
    ) -> Result<Vec<String>> {
        let begun = {
            let mut ahead = self.ahead();
            ahead.is_over = true;
            mem::take(&mut ahead.begun)
        };
        let files = python_files(tree, directories).map(|(path, node)| (path.clone(), node.clone()));
        let files: Vec<_> = files.collect();
        let (mut compiled, mut missing) = (Compiled::new(), Vec::new());
        for (path, node) in files {
            let key = checksums.file(&path).map(|content| self.earlier.key(&path, content));
            let found = key.and_then(|key| Some((key, self.earlier.get(&key)?)));
            match found.map(|(key, bytes)| (key, self.compiler.add(tree, &path, &node, bytes))) {
                Some((key, Ok(place))) => drop(compiled.insert(path, (key, place))),
                _ => missing.push((path, node)),
            }
        }
        let before = compiled.len();
        let answers = self.compile_missing(&missing, begun)?;
        let mut warnings = Vec::new();
        for ((path, node), (key, answer)) in missing.iter().zip(answers) {
            match answer.bytes().and_then(|bytes| self.compiler.add(tree, path, node, bytes)) {
                Ok(place) => drop(compiled.insert(path.clone(), (key, place))),
                Err(reason) => warnings.push(warning(path, &reason)),
            }
        }
        if compiled.len() > before {
            self.keep(tree, &compiled);
        }
        Ok(warnings)
    }

    /// The answers for these files in their order, several being compiled at a time, but for those that are `begun`.
    fn compile_missing(
        &self,
        files: &[(TreePath, Node)],
        mut begun: HashMap<Key, Receiver<Result<Answer>>>,
    ) -> Result<Vec<(Key, Answer)>> {
        let mut line = Line::new(&self.compiler.pool);
        let mut answers = HashMap::with_capacity(files.len());
        let compile = |key: Key, request: Request| {
            let servers = Arc::clone(&self.compiler.servers);
            move || servers.compile_one(request, Then::Waits).map(|answer| (key, answer))
        };
        let (mut keys, mut expected) = (Vec::with_capacity(files.len()), Vec::new());
        for (path, node) in files {
            let source = node.content.read().context(|| unreadable(path, node))?;
            // Its content may have changed since somebody looked.
            let key = self.earlier.key(path, &Checksum::of(&source));
            let request = Request { path: path.clone(), source };
            keys.push(key);
            match begun.remove(&key) {
                Some(answer) => expected.push((key, request, answer)),
                None => {
                    for done in line.push(compile(key, request)).context(broken)? {
                        answers.extend([done?]);
                    }
                }
            }
        }
        for (key, request, answer) in expected {
            match answer.recv() {
                Ok(Ok(answer)) => drop(answers.insert(key, answer)),
                // What has failed there is found out here.
                _ => answers.extend([compile(key, request)()?]),
            }
        }
        for done in line {
            answers.extend([done.context(broken)??]);
        }
        // None is missing: what fails has ended this.
        Ok(keys.into_iter().filter_map(|key| answers.remove_entry(&key)).collect())
    }

    /// Remembers what the tree's byte code is.
    fn keep(&self, tree: &Tree, compiled: &Compiled) {
        let content = |place: &TreePath| tree.get(place).map(|node| node.content.clone());
        let used = compiled.values().filter_map(|(key, place)| Some((*key, content(place)?)));
        *locked(&self.used) = used.collect();
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        locked(&self.ahead)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let used = mem::take(&mut *locked(&self.used));
        if used.is_empty() {
            return;
        }
        let earlier = Arc::clone(&self.earlier);
        // Nobody waits for it before the pool ends, and nothing but time is lost where it fails.
        let _ = Line::new(&self.compiler.pool).push(move || drop(earlier.keep(&used)));
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
