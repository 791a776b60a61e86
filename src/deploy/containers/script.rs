//! What is run on a host with containers: lines for any shell that follows POSIX, made of nothing but checked names.
//!
//! As in [`super::super::script`], no line has a single quote, an exclamation mark or a line end in it: the scripts beside this file
//! are joined to one, without their comments. What the user wants to be run comes over standard input, so that it can
//! be anything.

use super::engine::Kind;
use crate::deploy::script::CURRENT;

/// Its exit status where there is no engine.
pub const NO_ENGINE: i32 = 79;

/// Its exit status where the engine does not answer.
pub const NO_ANSWER: i32 = 80;

/// Its exit status where the engine does not load an archive.
pub const REFUSED: i32 = 81;

/// Its exit status where another change of the same app is under way.
pub const BUSY: i32 = 82;

/// What the host says of what it has loaded: the image's id.
pub const LOADED: &str = "coil-loaded ";

/// What the host says where the user's command failed: its status. What it wrote is on standard error.
pub const FAILED: &str = "coil-failed ";

/// What the host says of the same command for the image before: its status.
pub const AGAIN: &str = "coil-again ";

/// A line for each container of an image: its name and its state.
pub const CONTAINER: &str = "coil-container ";

/// What finds the engine, and what all others speak with.
const FOUND: &str = include_str!("found.sh");

/// The images of an app, and the engine that has them.
#[derive(Debug, Clone)]
pub struct Place {
    /// The engine, where the user has named one.
    pub engine: Option<Kind>,
    /// What the images are called, without a tag: letters, digits and hyphens.
    pub repository: String,
}

impl Place {
    /// Asks for all that [`super::engine::Engine`] wants to know.
    pub fn ask(&self) -> String {
        self.line("", include_str!("ask.sh"))
    }

    /// Loads the archive that it reads, which calls its image by this release.
    pub fn load(&self, release: &str) -> String {
        let script =
            format!("$e load -q >&2 || exit {REFUSED}; echo \"{LOADED}$(id_of $n)\"; note loaded $n");
        self.line(&format!("n={release};"), &script)
    }

    /// Calls the image with this id by this release.
    pub fn tag(&self, id: &str, release: &str) -> String {
        let script = format!("$e tag $i $r:$n >&2 || exit 1; echo \"{LOADED}$(id_of $n)\"; note loaded $n");
        self.line(&format!("i={id}; n={release};"), &script)
    }

    /// Takes this release's name away.
    pub fn untag(&self, release: &str) -> String {
        self.line(&format!("n={release};"), "$e rmi $r:$n >/dev/null")
    }

    /// Makes the image with the tag `target`, a release or `previous`, the current one, and runs the command that it reads, where
    /// there is one. If that fails, the tags are put back and it is run again for the image that was current. Where all is
    /// well, the releases in `superseded` go, but for what is in use. All of it goes on where the connection breaks.
    pub fn change(&self, target: &str, superseded: &[String]) -> String {
        let verb = if target == "previous" { "rolled-back-to" } else { "activated" };
        let words = format!("target={target}; verb={verb}; superseded=\"{}\";", superseded.join(" "));
        self.line(&words, include_str!("change.sh"))
    }

    /// Tells how the containers of a release's image do.
    pub fn containers(&self, release: &str) -> String {
        let script = format!(
            "echo \"{CURRENT} $(release_of current)\"; i=$(id_of current); \
             [ \"$i\" = \"$(id_of $n)\" ] && echo \"{LOADED}$i\"; \
             $e ps -a --filter ancestor=$r:$n --format \"{CONTAINER}{{{{.Names}}}} {{{{.Status}}}}\""
        );
        self.line(&format!("n={release};"), &script)
    }

    /// One line of these words, what finds the engine, and the script.
    fn line(&self, words: &str, script: &str) -> String {
        let engines = self.engine.map_or("docker podman", Kind::word);
        let begin = format!("a={}; engines=\"{engines}\"; {words}", self.repository);
        let lines = begin.lines().chain(FOUND.lines()).chain(script.lines()).map(str::trim);
        lines.filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::engine::{END, ENGINE, IMAGE, NOTED};
    use super::*;
    use crate::deploy::script::BEFORE;

    #[test]
    fn scripts_say_what_is_listened_for() {
        let place = Place { engine: None, repository: "site".into() };
        let (ask, change) = (place.ask(), place.change("previous", &[]));
        let exits = [NO_ENGINE, NO_ANSWER].map(|status| format!("exit {status};"));
        for words in [ENGINE, IMAGE, NOTED, END, &exits[0], &exits[1]] {
            assert!(ask.contains(words), "{words}: {ask}");
        }
        for words in [BEFORE, CURRENT, FAILED, AGAIN] {
            assert!(change.contains(words), "{words}: {change}");
        }
    }

    #[test]
    fn what_a_login_shell_gets_is_one_word_for_sh_in_single_quotes() {
        for engine in [None, Some(Kind::Podman)] {
            let place = Place { engine, repository: "my-site".into() };
            for line in [
                place.ask(),
                place.load("0123456789ab"),
                place.tag("01", "0123456789ab"),
                place.untag("0123456789ab"),
                place.change("previous", &[]),
                place.change("0123456789ab", &["ba9876543210".into(), "ba9876543211".into()]),
                place.containers("0123456789ab"),
            ] {
                assert!(!line.contains(['\'', '!', '\n']), "{line}");
                let parsed = Command::new("sh").args(["-n", "-c", &line]).output().unwrap();
                assert!(parsed.status.success(), "{line}\n{}", String::from_utf8_lossy(&parsed.stderr));
            }
        }
    }
}
