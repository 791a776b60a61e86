//! What is run on a host: lines for any shell that follows POSIX, made of nothing but checked names.
//!
//! The login shell may be another one (fish, csh), so that it gets one word in single quotes to pass on. No line has a
//! single quote, an exclamation mark or a line end in it.

use coil_bootstrap::receive::STATE;
use coil_bootstrap::receive::wire::HELLO;

/// What the host says when it wants the launcher first.
pub const SEND_LAUNCHER: &str = "coil-launcher";

/// What the host says before a command: the release that is current.
pub const BEFORE: &str = "coil-before";

/// The same after the command.
pub const CURRENT: &str = "coil-current";

/// Its exit status where the login is not root and may not become root.
pub const NOT_ROOT: i32 = 77;

/// Its exit status where installing made no release: systemd is not in charge there.
pub const NO_RELEASE: i32 = 78;

/// Runs `line` as root: as it is where the login is root, with `sudo` where that is wanted.
pub fn as_root(line: &str, sudo: bool) -> String {
    let other = if sudo { "exec sudo -n sh -c \"$1\"".to_owned() } else { format!("exit {NOT_ROOT}") };
    let outer = format!("if [ \"$(id -u)\" = 0 ]; then exec sh -c \"$1\"; fi; {other}");
    format!("exec sh -c '{outer}' coil '{line}'")
}

/// Runs `line` as the user who logs in, or as root where that is wanted.
pub fn as_login(line: &str, sudo: bool) -> String {
    if sudo { as_root(line, true) } else { format!("exec sh -c '{line}'") }
}

/// Receives a bundle of `app` whose transfer is called `sum`: with the launcher of a release that is there and speaks
/// as we do, else with one of `length` bytes that is sent first.
pub fn receive(app: &str, release: &str, length: usize, sum: &str) -> String {
    let found = format!(
        "for f in \"$d/current/$a\" \"$d\"/releases/*/\"$a\"; do \
         [ -x \"$f\" ] && [ \"$(COIL=receive \"$f\" 2>/dev/null </dev/null)\" = \"{HELLO}\" ] && break; f=; done"
    );
    let sent = format!(
        "mkdir -p {STATE}/coil && mkdir -p -m 700 \"$i\" && f=\"$i/launcher-$$\" && trap \"rm -f \\\"$f\\\"\" 0 && \
         trap \"exit 1\" 1 2 15 && echo {SEND_LAUNCHER} && head -c {length} >\"$f\" && \
         [ \"$(wc -c <\"$f\")\" -eq {length} ] && chmod 700 \"$f\" || exit 73"
    );
    format!(
        "umask 022; a={app}; d={STATE}/$a; i={STATE}/coil/incoming; {found}; [ -n \"$f\" ] || {{ {sent}; }}; \
         COIL=receive \"$f\" \"$a\"; s=$?; [ $s = 0 ] || exit $s; rm -rf \"$i/{sum}\"; \
         [ -e \"$d/releases/{release}/$a\" ] || exit {NO_RELEASE}"
    )
}

/// Runs one of the launcher's own commands, which may have arguments, with the release `release` of `app`, or with the current one.
pub fn command(app: &str, release: Option<&str>, command: &str) -> String {
    let (command, arguments) = command.split_once(' ').unwrap_or((command, ""));
    let place = release.map_or_else(|| "current".to_owned(), |release| format!("releases/{release}"));
    format!(
        "a={app}; d={STATE}/$a; echo \"{BEFORE} $(readlink \"$d/current\")\"; if [ -x \"$d/{place}/$a\" ]; then COIL={command} \"$d/{place}/$a\" {arguments}; s=$?; \
         else echo \"there is no release of $a in $d\" >&2; s=66; fi; \
         echo \"{CURRENT} $(readlink \"$d/current\")\"; exit $s"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_login_shell_gets_is_one_word_for_sh_in_single_quotes() {
        for line in [
            receive("site", "0123456789ab", 1000, "0123"),
            command("site", Some("0123456789ab"), "status --json"),
        ] {
            assert!(!line.contains(['\'', '!', '\n']), "{line}");
            let parsed = Command::new("sh").args(["-n", "-c", &line]).output().unwrap();
            assert!(parsed.status.success(), "{line}\n{}", String::from_utf8_lossy(&parsed.stderr));
            for sudo in [true, false] {
                let words = shlex::split(&as_root(&line, sudo)).unwrap();
                assert_eq!((words.len(), words[5].as_str()), (6, line.as_str()));
            }
        }
    }
}
