//! What interpreters said of themselves, remembered: a pack after one changed line starts no Python for it.
//!
//! An answer is kept with its witnesses: the files and directories it follows from, as they were when it was
//! given. It counts as long as none of them has changed. A program that is a script stands for something that
//! only it knows, so its answer is not kept; pyenv's shims are the exception, because what they
//! look at is known, and because their answer shows whether that was all.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coil_bootstrap::format::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::interpreter::Interpreter;
use crate::sealed::{Directory, Sealed};

/// Their answers.
#[derive(Debug)]
pub struct Probes {
    kept: Option<Directory>,
    pyenv: Option<PathBuf>,
}

/// What is kept of one program.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What it said; nothing where it is a shim with nothing behind it.
    answer: Option<Interpreter>,
    witnesses: Vec<(PathBuf, Option<Identity>)>,
}

/// What tells whether a file has been changed or replaced: device, number, size, and the times of change of
/// its content and of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity(u64, u64, u64, (i64, i64), (i64, i64));

/// A program that may be an interpreter, and what decides which one it is.
struct Program {
    path: PathBuf,
    /// Where its answer is kept; `None` where it cannot be.
    file: Option<Sealed>,
    /// What a shim stands for, as far as one can tell.
    stands_for: Option<PathBuf>,
    is_shim: bool,
}

impl Probes {
    /// Those that are kept in `directory`.
    pub fn kept_in(directory: Directory) -> Self {
        Probes { kept: Some(directory), pyenv: None }
    }

    /// Everyone is asked.
    pub fn forgotten() -> Self {
        Probes { kept: None, pyenv: None }
    }

    /// The same, for a machine with pyenv in this directory.
    pub fn with_pyenv(self, root: Option<PathBuf>) -> Self {
        Probes { pyenv: root, ..self }
    }

    /// What the interpreter at `path` is: remembered, or asked now.
    pub fn ask(&self, path: &Path) -> Result<Interpreter> {
        let program = self.program(path);
        if let Some(Kept { answer: Some(answer), .. }) = program.recall() {
            return Ok(answer);
        }
        let answer = Interpreter::probe(path)?;
        if program.may_keep(&answer) {
            program.keep(Some(answer.clone()));
        }
        Ok(answer)
    }

    /// Whether this is a shim that had nothing behind it, and nothing has changed since.
    pub fn is_empty_shim(&self, path: &Path) -> bool {
        self.program(path).recall().is_some_and(|kept| kept.answer.is_none())
    }

    /// Remembers that `path` does not start, if it is a shim.
    pub fn remember_empty_shim(&self, path: &Path) {
        let program = self.program(path);
        if program.is_shim {
            program.keep(None);
        }
    }

    fn program(&self, path: &Path) -> Program {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let shims = self.pyenv.as_ref().map(|root| root.join("shims"));
        let shim = self.pyenv.as_ref().filter(|_| path.parent() == shims.as_deref());
        let choice = shim.map(|root| PyenvChoice::here(root));
        let is_kept = choice.is_some() || is_elf(&path);
        let file = self.kept.as_ref().filter(|_| is_kept).map(|directory| {
            let surroundings = (
                env!("COIL_CODE"),
                &path,
                fs::canonicalize(&path).ok(),
                choice.as_ref().map(|choice| (&choice.named, &choice.text)),
                ["LD_LIBRARY_PATH", "LD_PRELOAD"].map(std::env::var_os),
                ["osrelease", "version"].map(|name| fs::read(Path::new("/proc/sys/kernel").join(name)).ok()),
            );
            let key = Digest::of(format!("{surroundings:?}").as_bytes());
            directory.file(&format!("interpreter-{}", key.hex()))
        });
        let stands_for = choice.and_then(|choice| choice.program(shim?, path.file_name()?.to_str()?));
        Program { is_shim: shim.is_some(), file, stands_for, path }
    }
}

impl Program {
    fn recall(&self) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(&self.file.as_ref()?.read()?).ok()?;
        let same = |(path, then): &(PathBuf, Option<Identity>)| identity(path) == *then;
        kept.witnesses.iter().all(same).then_some(kept)
    }

    /// A shim's answer is kept where it is that of the program we think it stands for.
    fn may_keep(&self, answer: &Interpreter) -> bool {
        let same = |path: &PathBuf| {
            let (one, other) = (fs::canonicalize(path).ok(), fs::canonicalize(&answer.executable).ok());
            one.is_some() && one == other && path.parent() == answer.executable.parent()
        };
        !self.is_shim || self.stands_for.as_ref().is_some_and(same)
    }

    fn keep(&self, answer: Option<Interpreter>) {
        let Some(file) = &self.file else { return };
        let mut paths = vec![self.path.clone()];
        if let (true, Some(versions)) = (self.is_shim, self.path.parent().and_then(Path::parent)) {
            paths.push(versions.join("versions"));
        }
        paths.extend(self.stands_for.clone());
        paths.extend(answer.iter().flat_map(follows_from));
        let witnesses = paths.into_iter().map(|path| (path.clone(), identity(&path))).collect();
        let Ok(text) = serde_json::to_vec(&Kept { answer, witnesses }) else { return };
        // Nothing but time is lost without it.
        let _ = file.write(&[&text]);
    }
}

/// The files that decide what an interpreter says, beside the program that was asked: the interpreter behind
/// a virtualenv, the standard library, what makes a virtualenv, and where pip would be.
fn follows_from(answer: &Interpreter) -> Vec<PathBuf> {
    let mut paths = vec![
        answer.executable.clone(),
        answer.base_executable.clone(),
        answer.stdlib.clone(),
        answer.stdlib.join("os.py"),
        PathBuf::from("/etc/ld.so.cache"),
    ];
    let directory = answer.executable.parent().unwrap_or(Path::new("/"));
    let prefix = directory.parent().unwrap_or(Path::new("/"));
    paths.extend([directory, prefix].map(|place| place.join("pyvenv.cfg")));
    let version = answer.minor_version();
    for root in [prefix, &answer.base_prefix] {
        paths.push(root.join(format!("lib/python{version}/site-packages")));
        paths.push(root.join(format!("local/lib/python{version}/dist-packages")));
        paths.push(root.join("lib/python3/dist-packages"));
    }
    paths
}

fn identity(path: &Path) -> Option<Identity> {
    let file = fs::metadata(path).ok()?;
    let (changed, altered) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    Some(Identity(file.dev(), file.ino(), file.size(), changed, altered))
}

fn is_elf(path: &Path) -> bool {
    let mut start = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"\x7fELF"
}

/// Which of its versions pyenv takes here: `PYENV_VERSION`, else the nearest `.python-version`, else `version` in
/// its own directory.
struct PyenvChoice {
    named: Option<PathBuf>,
    text: String,
}

impl PyenvChoice {
    fn here(root: &Path) -> PyenvChoice {
        if let Some(text) = std::env::var_os("PYENV_VERSION").filter(|text| !text.is_empty()) {
            return PyenvChoice { named: None, text: text.to_string_lossy().into_owned() };
        }
        let from = std::env::var_os("PYENV_DIR").map(PathBuf::from).or_else(|| std::env::current_dir().ok());
        let above = from.iter().flat_map(|directory| directory.ancestors());
        let mut files =
            above.map(|directory| directory.join(".python-version")).chain([root.join("version")]);
        let found = files.find_map(|file| Some((fs::read_to_string(&file).ok()?, file)));
        let (text, named) = found.map_or((String::new(), None), |(text, file)| (text, Some(file)));
        PyenvChoice { named, text }
    }

    /// The program `name` of the version, where exactly one is named.
    fn program(&self, root: &Path, name: &str) -> Option<PathBuf> {
        let mut words = self.text.split([' ', '\t', '\n', '\r', ':']).filter(|word| !word.is_empty());
        let (version, none) = (words.next()?, words.next());
        let usable = none.is_none() && !version.contains('/') && !version.starts_with(['.', '#']);
        let program = root.join("versions").join(version).join("bin").join(name);
        (usable && program.is_file()).then_some(program)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// The interpreter behind whatever `python3` is here.
    fn interpreter() -> PathBuf {
        Interpreter::probe(Path::new("python3")).unwrap().executable
    }

    fn kept_in(directory: &Path) -> Probes {
        Probes::kept_in(Directory { path: directory.to_owned(), scratch: directory.to_owned() })
    }

    fn kept(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    fn program(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn an_answer_counts_until_the_environment_it_came_from_changes() {
        let place = tempfile::tempdir().unwrap();
        let (memory, environment) = (place.path().join("memory"), place.path().join("venv"));
        fs::create_dir(&memory).unwrap();
        let python = interpreter();
        let made = Command::new(&python).args(["-m", "venv", "--without-pip"]).arg(&environment).status();
        assert!(made.unwrap().success());
        let probes = kept_in(&memory);
        let inside = environment.join("bin/python3");
        let first = probes.ask(&inside).unwrap();
        assert!(!first.has_pip);
        assert_eq!(kept(&memory), 1);
        // From now on it would not start: only what is remembered can answer.
        let remembered = probes.program(&inside).recall().expect("nothing has changed");
        assert_eq!(remembered.answer.unwrap().base_executable, first.base_executable);

        let site = environment.join(format!("lib/python{}/site-packages/pip", first.minor_version()));
        fs::create_dir_all(&site).unwrap();
        fs::write(site.join("__init__.py"), "").unwrap();
        assert!(probes.program(&inside).recall().is_none());
        assert!(probes.ask(&inside).unwrap().has_pip);

        fs::write(environment.join("pyvenv.cfg"), "home = /nowhere\n").unwrap();
        assert!(probes.program(&inside).recall().is_none());
    }

    #[test]
    fn a_wrapper_is_asked_every_time() {
        let place = tempfile::tempdir().unwrap();
        let memory = place.path().join("memory");
        fs::create_dir(&memory).unwrap();
        let wrapper = place.path().join("python3");
        program(&wrapper, &format!("#!/bin/sh\nexec {} \"$@\"\n", interpreter().display()));
        kept_in(&memory).ask(&wrapper).unwrap();
        assert_eq!(kept(&memory), 0);
    }

    #[test]
    fn a_shim_of_pyenv_is_asked_again_when_another_version_is_chosen() {
        let place = tempfile::tempdir().unwrap();
        let (memory, root) = (place.path().join("memory"), place.path().join("pyenv"));
        fs::create_dir(&memory).unwrap();
        let shim = root.join("shims/python3");
        let behind = root.join("versions/3.99.0/bin/python3");
        fs::create_dir_all(behind.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(interpreter(), &behind).unwrap();
        fs::write(root.join("version"), "3.99.0\n").unwrap();
        let probes = kept_in(&memory).with_pyenv(Some(root.clone()));
        // What is behind this shim is not what we think: nothing may be kept.
        program(&shim, &format!("#!/bin/sh\nexec {} \"$@\"\n", interpreter().display()));
        probes.ask(&shim).unwrap();
        assert_eq!(kept(&memory), 0);
        assert!(probes.program(&shim).recall().is_none());

        program(&shim, "#!/bin/sh\nexit 127\n");
        assert!(probes.ask(&shim).is_err() && !probes.is_empty_shim(&shim));
        probes.remember_empty_shim(&shim);
        assert!(probes.is_empty_shim(&shim));
        fs::write(root.join("version"), "3.98.0\n").unwrap();
        assert!(!probes.is_empty_shim(&shim), "another version may have it");
    }
}
