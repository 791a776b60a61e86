//! What the launcher can know of the process it is and the machine it is on.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::c_library::Order;
use crate::cache::{self, Candidate};
use crate::error::{Error, Result};
use crate::trace;

/// The process as it was started.
#[derive(Clone)]
pub struct Host {
    /// Its arguments, the first of which is what it was called.
    pub args: Vec<OsString>,
    /// The user it runs as.
    pub uid: u32,
    /// The absolute path of the bundle, for people and for the app.
    pub bundle: Option<PathBuf>,
    /// The directories that could be the cache, best first.
    pub candidates: Vec<Candidate>,
    /// What the user says of the C library; a word that is none is an error where it is used.
    pub libc: Option<OsString>,
    /// How many days what is not used stays in the cache, as the user says it.
    pub keep: Option<String>,
}

impl Host {
    /// Looks around. Works without `/proc`.
    pub fn observe() -> Self {
        trace::begin(env::var_os(trace::VARIABLE));
        let uid = rustix::process::geteuid().as_raw();
        let candidates = cache::candidates(|name| env::var_os(name).map(PathBuf::from), uid);
        let host = Host {
            args: env::args_os().collect(),
            uid,
            bundle: own_path(),
            candidates,
            libc: env::var_os("COIL_LIBC"),
            keep: env::var_os("COIL_KEEP").map(|days| days.to_string_lossy().into_owned()),
        };
        trace::say("host", || host.told());
        host
    }

    fn told(&self) -> String {
        let known =
            |path: &Option<PathBuf>| path.as_deref().map_or("a file without a name".into(), trace::shown);
        let called = self.args.first().map_or("nothing".into(), trace::shown);
        format!("user {} started {}, called {called}", self.uid, known(&self.bundle))
    }

    /// What the user says of the C library.
    pub fn order(&self) -> Result<Order> {
        Order::of(self.libc.as_deref())
    }

    /// The last component of what the process was called.
    pub fn called(&self) -> Option<&OsStr> {
        Path::new(self.args.first()?).file_name()
    }

    /// Something to open that is the running file, even where its name has changed since.
    pub fn own_file(&self) -> Result<PathBuf> {
        let magic = Path::new("/proc/self/exe");
        if fs::metadata(magic).is_ok() {
            return Ok(magic.to_owned());
        }
        self.bundle.clone().ok_or(Error::NoBundle)
    }
}

/// The path of the running executable: from `/proc`, else as the kernel was told (AT_EXECFN).
fn own_path() -> Option<PathBuf> {
    if let Ok(path) = fs::read_link("/proc/self/exe") {
        let bytes = path.into_os_string().into_vec();
        // The kernel's mark for a file whose name is gone.
        let named = bytes.strip_suffix(b" (deleted)").unwrap_or(&bytes);
        return Some(PathBuf::from(OsStr::from_bytes(named)));
    }
    // Relative to the working directory, and a link where it was started through one.
    let told = Path::new(OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()));
    fs::canonicalize(told).ok()
}

/// Says one line on standard error; one that cannot be written is lost.
pub fn complain(name: &OsStr, what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{}: {what}", name.to_string_lossy());
}
