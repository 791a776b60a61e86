//! Where projects lie and are packed by the real `coil`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Packed, Ran, WheelBuilder, ground, lean_path, packer_cache, scratch};

/// A directory with sources and wheels made by the test, and the environment `coil` is started in.
///
/// ```ignore
/// let bench = Bench::new().file("src/main.py", "print('hello')").wheel(&WheelBuilder::new("six", "1.0"));
/// let app = bench.pack(&["six", "--app", "src", "-e", "main.py"]);
/// assert_eq!(app.start().run().printed(), "hello");
/// ```
pub struct Bench {
    place: Place,
    network: bool,
    variables: BTreeMap<OsString, OsString>,
}

enum Place {
    Fresh(TempDir),
    Standing(PathBuf),
}

impl Bench {
    /// An empty one.
    pub fn new() -> Bench {
        Bench::at(Place::Fresh(scratch()))
    }

    /// One that stands as long as the test program: see [`super::standing`].
    pub fn standing(name: &str) -> Bench {
        Bench::at(Place::Standing(super::standing(name)))
    }

    fn at(place: Place) -> Bench {
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        // What is configured for the one who runs the tests is no part of them.
        let foreign = ["COIL", "PYTHON", "VIRTUAL_ENV", "CONDA", "SOURCE_DATE_EPOCH"];
        variables.retain(|name, _| !foreign.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)));
        variables.insert("COIL_CACHE".into(), packer_cache().into());
        // A bench lies in this repository's own build directory and is no part of it.
        variables.insert("GIT_CEILING_DIRECTORIES".into(), ground().into());
        let bench = Bench { place, network: false, variables };
        fs::create_dir_all(bench.wheels()).expect("a scratch directory can be written");
        bench
    }

    /// Lets the resolver use the network, as it is configured on this machine.
    pub fn with_network(mut self) -> Bench {
        self.network = true;
        self
    }

    /// A file of the project.
    pub fn file(self, path: &str, text: impl AsRef<[u8]>) -> Bench {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a path below the bench")).expect("a directory");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// A file that may be executed.
    pub fn program(self, path: &str, text: &str) -> Bench {
        let bench = self.file(path, text);
        fs::set_permissions(bench.path(path), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        bench
    }

    /// A wheel that can be resolved.
    pub fn wheel(self, wheel: &WheelBuilder) -> Bench {
        wheel.build(&self.wheels());
        self
    }

    /// A wheel file in a directory of its own, where nothing is looked for.
    pub fn wheel_in(self, directory: &str, wheel: &WheelBuilder) -> Bench {
        fs::create_dir_all(self.path(directory)).expect("a directory");
        wheel.build(&self.path(directory));
        self
    }

    /// A variable for `coil`.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Bench {
        self.variables.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// Packs with the lean CPython, where there is one: see [`lean_path`].
    pub fn lean(self) -> Bench {
        match lean_path() {
            Some(path) => self.env("PATH", path),
            None => self,
        }
    }

    /// A variable that `coil` does not get.
    pub fn without(mut self, name: &str) -> Bench {
        self.variables.remove(OsStr::new(name));
        self
    }

    /// The directory, which `coil` is started in.
    pub fn root(&self) -> &Path {
        match &self.place {
            Place::Fresh(directory) => directory.path(),
            Place::Standing(path) => path,
        }
    }

    /// Something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Where wheels are looked for.
    pub fn wheels(&self) -> PathBuf {
        self.path("wheels")
    }

    /// `coil` with these words, ready to be started.
    pub fn coil<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coil"));
        command.args(words).current_dir(self.root()).env_clear().envs(&self.variables);
        if !self.network {
            for (name, _) in std::env::vars_os() {
                let text = name.to_string_lossy();
                if text.starts_with("PIP_") || text.starts_with("UV_") {
                    command.env_remove(&name);
                }
            }
            command.env("UV_CACHE_DIR", ground().join("uv"));
        }
        command
    }

    /// What `coil pack` with these words comes to; wheels come from this bench alone.
    pub fn try_pack<S: AsRef<OsStr>>(&self, words: &[S]) -> Ran {
        let mut command = self.coil(&["pack"]);
        command.args(words);
        self.limit(&mut command);
        Ran::of(command, b"")
    }

    /// Lets a command that packs find wheels on this bench alone, unless it may use the network.
    pub fn limit(&self, command: &mut Command) {
        if !self.network {
            command.args(["--no-index", "--find-links"]).arg(self.wheels());
        }
    }

    /// Packs to the file `app`.
    #[track_caller]
    pub fn pack<S: AsRef<OsStr>>(&self, words: &[S]) -> Packed {
        self.pack_to("app", words)
    }

    /// Packs to the file `output` on this bench.
    #[track_caller]
    pub fn pack_to<S: AsRef<OsStr>>(&self, output: &str, words: &[S]) -> Packed {
        let path = self.path(output);
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        let ran = self.try_pack(&[words.as_slice(), &[OsStr::new("-o"), path.as_os_str()]].concat());
        assert!(ran.status.success(), "{ran}");
        Packed::at(path)
    }
}
