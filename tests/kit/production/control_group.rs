//! A control group for one host: what its systemd sees as the root of the hierarchy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{io, process, thread};

/// What the groups of test programs are called, before the program's process and the host.
const PREFIX: &str = "coil-test-";

static MADE: AtomicU32 = AtomicU32::new(0);

/// The group; it is gone with the value, once the host's processes are.
#[derive(Debug)]
pub struct ControlGroup {
    path: PathBuf,
}

impl ControlGroup {
    /// One with this name in the machine's unified hierarchy.
    pub fn new(name: &str) -> ControlGroup {
        let hierarchy = hierarchy().expect("this machine has a unified hierarchy of control groups");
        sweep(&hierarchy);
        // Several tests of a program have hosts of one name.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = hierarchy.join(format!("{PREFIX}{}-{number}-{name}", process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        ControlGroup { path }
    }

    /// The file that takes the processes which are to be in it.
    pub fn members(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Processes that were killed leave their group a moment later.
        for _ in 0..200 {
            if remove(&self.path).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} is still in use", self.path.display());
    }
}

/// Where control groups of version 2 are, alone or beside those of version 1; `None` where there are none.
pub fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .and_then(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
}

/// Removes what programs left that were killed themselves.
fn sweep(hierarchy: &Path) {
    for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a group and those below it; the kernel refuses where there are processes.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
