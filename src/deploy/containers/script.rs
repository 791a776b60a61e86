//! What is run on a host with containers: lines for any shell that follows POSIX, made of nothing but checked names.
//!
//! As in [`super::super::script`], no line has a single quote, an exclamation mark or a line end in it. What the user wants to be
//! run comes over standard input, so that it can be anything.

use super::engine::{END, ENGINE, IMAGE, Kind, NOTED};
use crate::deploy::script::{BEFORE, CURRENT};

/// Its exit status where there is no engine.
pub const NO_ENGINE: i32 = 79;

/// Its exit status where the engine does not answer.
pub const NO_ANSWER: i32 = 80;

/// Its exit status where the engine does not load an archive.
pub const REFUSED: i32 = 81;

/// What the host says of what it has loaded: the image's id.
pub const LOADED: &str = "coil-loaded ";

/// What the host says where the user's command failed: its status. What it wrote is on standard error.
pub const FAILED: &str = "coil-failed ";

/// What the host says of the same command for the image before: its status.
pub const AGAIN: &str = "coil-again ";

/// A line for each container of an image: its name and its state.
pub const CONTAINER: &str = "coil-container ";

/// The images of an app, and the engine that has them.
#[derive(Debug, Clone)]
pub struct Place {
    /// The engine, where the user has named one.
    pub engine: Option<Kind>,
    /// What the images are called, without a tag: letters, digits and hyphens.
    pub repository: String,
}

impl Place {
    /// Finds the engine, and begins to speak of the app: `$e` is the engine, `$r` the repository there, `x TAG` the id of an image,
    /// `t TAG` the release that it is, `l WORDS` notes something. Podman's own names are full ones.
    fn found(&self) -> String {
        let engines = self.engine.map_or("docker podman", Kind::word);
        let a = &self.repository;
        format!(
            "umask 022; a={a}; e=; for c in {engines}; do if command -v $c >/dev/null 2>&1; then e=$c; break; fi; done; \
             [ -n \"$e\" ] || exit {NO_ENGINE}; \
             if [ $e = docker ]; then case \"$(docker --version 2>/dev/null)\" in podman*) e=podman;; esac; fi; \
             r=$a; [ $e = docker ] || r=localhost/$a; \
             d=/var/lib/coil/images; [ \"$(id -u)\" = 0 ] || d=${{XDG_STATE_HOME:-$HOME/.local/state}}/coil/images; \
             x() {{ $e image inspect --format \"{{{{.Id}}}}\" \"$r:$1\" 2>/dev/null | sed \"s/^sha256://\"; }}; \
             t() {{ $e image inspect --format \"{{{{range .RepoTags}}}}{{{{println .}}}}{{{{end}}}}\" \"$r:$1\" 2>/dev/null \
             | sed -n \"s#^$r:\\([0-9a-f]\\{{12\\}}\\)\\$#\\1#p\" | head -n 1; }}; \
             l() {{ {{ mkdir -p \"$d\" && echo \"$(date -u +%Y-%m-%dT%H:%M:%SZ) $e $*\" >>\"$d/$a.log\"; }} 2>/dev/null; }}; "
        )
    }

    /// Asks for all that [`super::engine::Engine`] wants to know.
    pub fn ask(&self) -> String {
        let found = self.found();
        format!(
            "{found} k=own; if [ $e = docker ]; then \
             v=$(docker version --format \"{{{{.Server.Version}}}} {{{{.Server.Os}}}}/{{{{.Server.Arch}}}}\") || exit {NO_ANSWER}; \
             case \"$(docker info --format \"{{{{json .DriverStatus}}}}\" 2>/dev/null)\" in *io.containerd.snapshotter*) k=containerd;; esac; \
             else v=$(podman version --format \"{{{{.Client.Version}}}} {{{{.Client.OsArch}}}}\") || exit {NO_ANSWER}; fi; \
             f=$($e image ls -q --no-trunc) || exit {NO_ANSWER}; f=$(echo \"$f\" | sort -u); echo \"{ENGINE}$e $v $k $r\"; \
             [ -z \"$f\" ] || $e image inspect --format \"{IMAGE}{{{{.Id}}}} {{{{json .RepoTags}}}} {{{{json .RootFS.Layers}}}}\" $f 2>/dev/null; \
             if [ -r \"$d/$a.log\" ]; then tail -n 200 \"$d/$a.log\" | sed \"s/^/{NOTED}/\"; fi; echo {END}"
        )
    }

    /// Loads the archive that it reads, which calls its image by this release.
    pub fn load(&self, release: &str) -> String {
        let found = self.found();
        format!(
            "{found} $e load -q >&2 || exit {REFUSED}; echo \"{LOADED}$(x {release})\"; l loaded {release}"
        )
    }

    /// Calls the image with this id by this release.
    pub fn tag(&self, id: &str, release: &str) -> String {
        let found = self.found();
        format!(
            "{found} $e tag {id} $r:{release} >&2 || exit 1; echo \"{LOADED}$(x {release})\"; l loaded {release}"
        )
    }

    /// Takes this release's name away.
    pub fn untag(&self, release: &str) -> String {
        format!("{} $e rmi $r:{release} >/dev/null", self.found())
    }

    /// Makes the image with the tag `target`, a release or `previous`, the current one, and runs the command that it reads, where
    /// there is one. If that fails, the tags are put back and it is run again for the image that was current. Where all is
    /// well, the releases in `superseded` go, but for what is in use. All of it goes on where the connection breaks.
    pub fn change(&self, target: &str, superseded: &[String]) -> String {
        let (found, old) = (self.found(), superseded.join(" "));
        let (verb, named) =
            if target == "previous" { ("rolled-back-to", "$ot") } else { ("activated", "$n") };
        format!(
            "{found} trap \"\" 1 13; n={target}; w=$(cat); b=$(x current); o=$(x previous); bt=$(t current); ot=$(t previous); i=$(x $n); \
             echo \"{BEFORE} $bt\"; if [ -z \"$i\" ]; then echo \"there is no image $r:$n\" >&2; exit 66; fi; \
             g() {{ if [ -n \"$2\" ]; then echo \"$r:$2\"; else echo \"$1\"; fi; }}; \
             u() {{ [ -z \"$w\" ] || ( trap - 1 13; export COIL_IMAGE=\"$1\" COIL_PREVIOUS=\"$2\"; exec sh -c \"$w\" </dev/null 2>&1 ); }}; \
             nt={named}; p=$(g \"$b\" \"$bt\"); s=0; \
             if [ \"$b\" = \"$i\" ]; then p=$(g \"$o\" \"$ot\"); else \
             {{ [ -z \"$b\" ] || $e tag $b $r:previous; }} && $e tag $i $r:current || exit 1; fi; \
             v=$(u \"$(g \"$i\" \"$nt\")\" \"$p\") || s=$?; [ -z \"$v\" ] || echo \"$v\" >&2; [ $s = 0 ] || {{ echo \"{FAILED}$s\"; \
             if [ -z \"$b\" ]; then $e rmi $r:current >/dev/null; elif [ \"$b\" = \"$i\" ]; then :; else $e tag $b $r:current; \
             if [ -n \"$o\" ]; then $e tag $o $r:previous; else $e rmi $r:previous >/dev/null; fi; \
             u \"$p\" \"$(g \"$o\" \"$ot\")\" >/dev/null; echo \"{AGAIN}$?\"; fi; l refused $nt after ${{bt:--}}: status $s; }}; \
             echo \"{CURRENT} $(t current)\"; [ $s = 0 ] || exit 1; l {verb} $nt after ${{bt:--}}; \
             for q in {old}; do z=$(x $q); case \"$z\" in \"$(x current)\"|\"$(x previous)\") ;; \
             *) $e rmi $r:$q >/dev/null 2>&1 && l removed $q;; esac; done; exit 0"
        )
    }

    /// Tells how the containers of a release's image do.
    pub fn containers(&self, release: &str) -> String {
        let found = self.found();
        format!(
            "{found} echo \"{CURRENT} $(t current)\"; [ \"$(x current)\" = \"$(x {release})\" ] && echo \"{LOADED}$(x current)\"; \
             $e ps -a --filter ancestor=$r:{release} --format \"{CONTAINER}{{{{.Names}}}} {{{{.Status}}}}\""
        )
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

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
