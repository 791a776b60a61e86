//! A static busybox in an image (`--debug`), so that somebody can look around in its containers.
//!
//! It lies in `/busybox`, where nothing else is, with a link for each of its programs, and comes last on PATH: nothing of the
//! app meets it. It is never run here; what programs it has is read from it.

use std::fs;
use std::path::Path;

use super::root::Root;
use crate::elf::machine::MACHINES;
use crate::elf::{Machine, View};
use crate::error::{Context, Failure, Result};

/// Its directory.
pub const DIRECTORY: &str = "busybox";

/// Where distributions put a busybox.
const USUAL: [&str; 4] =
    ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static", "/usr/bin/busybox.static"];

/// The longest file that is read, in bytes: a busybox has one or two million.
const MAX_SIZE: u64 = 1 << 30;

/// What can be done where nothing here fits.
const HINT: &str = "install one, such as with `apt install busybox-static`, or name it: --debug=PATH";

/// The names that every list of programs begins with (`applet_names` in busybox's `include/applet_tables.h`).
const FIRST: &[u8] = b"\0[\0[[\0";

/// What a busybox without such a list has at least.
const PLAIN: [&str; 12] = ["ash", "cat", "cp", "df", "echo", "env", "grep", "ls", "ps", "rm", "sh", "vi"];

/// A static busybox.
pub struct Shell {
    named: String,
    content: Vec<u8>,
    machine: &'static Machine,
}

impl Shell {
    /// The busybox at `path`, or where distributions have it.
    ///
    /// Fails where there is none, or where it would not run without the libraries of this machine.
    pub fn find(path: Option<&Path>) -> Result<Shell> {
        if let Some(path) = path {
            return Shell::open(path);
        }
        let there: Vec<&Path> = USUAL.iter().map(Path::new).filter(|path| path.exists()).collect();
        let mut failure = Failure::new("there is no busybox here for --debug").hint(HINT);
        for path in there {
            match Shell::open(path) {
                Ok(shell) => return Ok(shell),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    fn open(path: &Path) -> Result<Shell> {
        let named = path.display().to_string();
        let cannot = || format!("{named} cannot be the shell of an image");
        let refuse = |why: &str| Failure::new(format!("{}: {why}", cannot())).hint(HINT);
        let status = fs::metadata(path).map_err(|error| Failure::new(cannot()).because(error).hint(HINT))?;
        if !status.is_file() || status.len() > MAX_SIZE {
            return Err(refuse("it is no program"));
        }
        let content = fs::read(path).context(cannot)?;
        let view = View::read(&content).map_err(|_| refuse("it is no program"))?;
        if view.interpreter.is_some() || !view.needed.is_empty() {
            return Err(refuse("it is linked to libraries of this machine"));
        }
        if memchr::memmem::find(&content, b"BusyBox v").is_none() {
            return Err(refuse("it is no busybox"));
        }
        let machine = view.machine.ok_or_else(|| refuse("it is for a machine that no bundle is for"))?;
        Ok(Shell { named, content, machine })
    }

    /// Fails where it is for another architecture than the image.
    pub fn check(&self, architecture: &str) -> Result<()> {
        if self.machine.oci == architecture {
            return Ok(());
        }
        let its = self.machine.oci;
        let known = MACHINES.iter().any(|machine| machine.oci == architecture);
        let hint = if known { "name one for it, with --debug=PATH" } else { "leave out --debug" };
        Err(Failure::new(format!(
            "the busybox {} is for {its}, and the image for {architecture}",
            self.named
        ))
        .hint(hint))
    }

    /// Its files in an image.
    pub fn root(&self) -> Result<Root> {
        let mut root = Root::default();
        let own = format!("{DIRECTORY}/busybox");
        root.file(&own, self.content.clone(), true)?;
        for name in programs(&self.content) {
            let path = format!("{DIRECTORY}/{name}");
            if !root.has(&path) {
                root.link(&path, "busybox")?;
            }
        }
        Ok(root)
    }
}

/// Puts its directory at the end of PATH.
pub fn add_to_path(variables: &mut [String]) {
    for variable in variables.iter_mut().filter(|variable| variable.starts_with("PATH=")) {
        variable.push_str(":/");
        variable.push_str(DIRECTORY);
    }
}

/// The names of a busybox's programs, as `busybox --list` prints them.
fn programs(content: &[u8]) -> Vec<String> {
    let Some(at) = memchr::memmem::find(content, FIRST) else {
        return PLAIN.map(str::to_owned).into();
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"[-_.+".contains(byte);
    let names = content[at + 1..].split(|byte| *byte == 0);
    let names = names.take_while(|name| !name.is_empty() && name.len() < 64 && name.iter().all(plain));
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_all_programs_are_read_from_the_file() {
        let content = b"\x7fELF...\0text\0[\0[[\0ash\0run-parts\0sh\0\0/bin/sh\0";
        assert_eq!(programs(content), ["[", "[[", "ash", "run-parts", "sh"]);
        assert!(programs(b"without a list").contains(&"sh".to_owned()));
        assert_eq!(programs(b"\0[\0[[\0../x\0sh\0"), ["[", "[["], "no name leads elsewhere");
    }

    #[test]
    fn what_is_no_static_busybox_is_refused_with_what_to_do() {
        let own = std::env::current_exe().unwrap();
        let failure = Shell::find(Some(&own)).err().unwrap();
        assert!(failure.to_string().ends_with("it is linked to libraries of this machine"), "{failure}");
        assert!(failure.advice().unwrap().contains("busybox-static"));
        let failure = Shell::find(Some(Path::new("/none"))).err().unwrap();
        assert!(failure.to_string().contains("/none") && failure.advice().is_some());
    }

    #[test]
    fn it_comes_last_on_path() {
        let mut variables = ["HOME=/", "PATH=/venv/bin:/bin"].map(str::to_owned);
        add_to_path(&mut variables);
        assert_eq!(variables, ["HOME=/", "PATH=/venv/bin:/bin:/busybox"]);
    }
}
