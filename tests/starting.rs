//! Promise: a start changes nothing that the app could notice. Arguments, environment, descriptors,
//! signals and exit codes pass through as bytes, the process stays the same, and it does not matter how
//! the file was reached.

mod kit;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};
use std::{fs, thread, time};

use kit::{Packed, Ran, Start, probe, scratch};
use serde_json::Value;

/// Byte strings as the probe tells them: one character for each byte.
fn told(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn tell(start: Start) -> Value {
    start.run().json()
}

fn run_code(code: &str) -> Start {
    probe().start().env("COIL_RUN", "do").arg(code)
}

/// A shell that runs `script`; its `$0` and `$@` are to follow.
fn shell(script: &str) -> Start {
    Packed::at("/bin/sh".into()).start().args(&["-c", script])
}

/// A shell that does something and then becomes the probe.
fn through_shell(script: &str) -> Start {
    shell(script).arg(probe().path())
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let arguments: [&[u8]; 8] =
        [b"", b"\xff\xfe/\x80", b"a b\n\tc", b"--help", b"-c", b"", b"'\"$x`", b"\xc3\xa9"];
    let arguments: Vec<OsString> = arguments.iter().map(|bytes| OsString::from_vec(bytes.to_vec())).collect();
    let seen = tell(probe().start().args(&arguments));
    let expected: Vec<String> = arguments.iter().map(|argument| told(argument.as_bytes())).collect();
    assert_eq!(seen["arguments"], serde_json::json!(expected));
}

#[test]
fn a_megabyte_of_arguments_arrives() {
    let long = "x".repeat(100_000);
    let arguments = [long.as_str(); 11];
    let code = "import sys; print(len(sys.argv) - 1, sum(map(len, sys.argv[1:])))";
    assert_eq!(run_code(code).args(&arguments).run().printed(), "11 1100000");
}

#[test]
fn the_environment_arrives_byte_for_byte() {
    let strange = OsStr::from_bytes(b"\xff=\n\xfe");
    let seen = tell(
        probe().start().env(OsStr::from_bytes(b"NAME\xff"), strange).env("EMPTY", "").env("HOME", "/nowhere"),
    );
    let environment = &seen["environment"];
    assert_eq!(environment[told(b"NAME\xff")], told(strange.as_bytes()));
    assert_eq!(environment["EMPTY"], "");
    assert_eq!(environment["HOME"], "/nowhere");
    for gone in ["COIL", "COIL_RUN"] {
        assert_eq!(environment[gone], Value::Null, "{gone} is for the launcher alone");
    }
    let first = environment["PATH"].as_str().unwrap().split(':').next().unwrap().to_owned();
    assert_eq!(first, format!("{}/bin", seen["prefix"].as_str().unwrap()), "the environment leads on PATH");
    assert!(environment["PATH"].as_str().unwrap().ends_with(":/usr/bin:/bin"));
    assert_eq!(environment["VIRTUAL_ENV"], seen["prefix"]);
}

#[test]
fn exit_codes_are_the_apps() {
    for code in [0, 1, 3, 42, 125, 255] {
        let ran = run_code("import sys; sys.exit(int(sys.argv[1]))").arg(code.to_string()).run();
        assert_eq!(ran.code(), Some(code), "{ran}");
    }
}

#[test]
fn a_death_by_signal_is_one() {
    for signal in [9, 15, 6, 11] {
        let ran =
            run_code("import os, sys; os.kill(os.getpid(), int(sys.argv[1]))").arg(signal.to_string()).run();
        assert_eq!(ran.signal(), Some(signal), "{ran}");
    }
}

#[test]
fn the_process_that_was_started_is_the_app() {
    let cache = scratch();
    for start in ["cold", "warm"] {
        let ran = probe().start().cache(cache.path()).run().succeeded();
        let pid = ran.pid;
        assert_eq!(ran.json()["pid"], pid, "{start}");
    }
}

#[test]
fn the_process_is_called_like_the_command() {
    assert_eq!(tell(probe().start())["name"], "tell");
    let name = "import re; print(re.search(r'Name:\\s*(.*)', open('/proc/self/status').read())[1])";
    assert_eq!(run_code(name).run().printed(), "do");
}

#[test]
fn standard_input_and_output_are_passed_through() {
    let text = "0123456789abcde\n".repeat(1 << 16);
    let code = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)";
    assert!(run_code(code).stdin(text.clone()).run().printed() == text.trim_end());
}

#[test]
fn descriptors_are_inherited_as_for_socket_activation_and_none_is_added() {
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 COIL_RUN=do; export LISTEN_PID LISTEN_FDS COIL_RUN
                  exec 3<&0 </dev/null; exec \"$0\" \"$@\"";
    // Listing takes a descriptor of its own, the same one for all who list.
    let open = shell(script).args(&["/bin/ls", "/proc/self/fd"]).stdin("three").run().printed();
    let code = "import os; print(*os.listdir('/proc/self/fd'), sep='\\n')
print(os.read(3, 99), os.environ['LISTEN_FDS'], os.environ['LISTEN_PID'] == str(os.getpid()))";
    let cache = scratch();
    for start in ["cold", "warm"] {
        let start_probe = shell(script).arg(probe().path()).arg(code).cache(cache.path());
        let said = start_probe.stdin("three").run().printed();
        let (seen, told) = said.rsplit_once('\n').unwrap();
        assert_eq!(numbers(seen), numbers(&open), "{start}");
        assert_eq!(told, "b'three' 1 True", "{start}");
    }
}

fn numbers(lines: &str) -> BTreeSet<u32> {
    lines.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn closed_standard_streams_do_not_matter() {
    let cache = scratch();
    for start in ["cold", "warm"] {
        let ran = through_shell("exec \"$0\" \"$@\" <&-").cache(cache.path()).run();
        assert_eq!(ran.json()["arguments"], serde_json::json!([]), "{start}, without standard input");
    }
    let note = cache.path().join("note");
    let code = format!("open({note:?}, 'w').write('written')");
    let script = "COIL_RUN=do exec \"$0\" \"$@\" <&- >&- 2>&-";
    let fresh = scratch();
    let ran = through_shell(script).arg(&code).cache(fresh.path()).run();
    assert!(ran.status.success(), "{ran}");
    assert_eq!(fs::read_to_string(note).unwrap(), "written");
}

#[test]
fn signals_reach_the_app() {
    let code = "import signal, sys, time
def caught(number, frame):
    print('caught', signal.Signals(number).name)
    sys.exit(5)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, caught)
print('ready', flush=True)
time.sleep(60)";
    for name in ["TERM", "HUP", "USR1", "INT"] {
        let mut child = run_code(code).spawn();
        let ready = wait_for_line(&mut child);
        assert_eq!(ready, "ready");
        kill(name, child.id());
        let ran = Ran::to_its_end(child, b"");
        assert_eq!((ran.code(), ran.stdout), (Some(5), format!("caught SIG{name}\n")));
    }
}

/// The next line of standard output; the child keeps its pipe.
fn wait_for_line(child: &mut Child) -> String {
    let mut line = String::new();
    let mut pipe = child.stdout.take().expect("a pipe");
    // One byte at a time, so that nothing after the line is lost.
    BufReader::with_capacity(1, &mut pipe).read_line(&mut line).expect("a pipe can be read");
    child.stdout = Some(pipe);
    line.trim_end().to_owned()
}

fn kill(signal: &str, pid: u32) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

#[test]
fn what_is_blocked_or_ignored_stays_so_and_nothing_else_is() {
    let ignored = |ran: &Ran| {
        let line = ran.stdout.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let line = line.unwrap_or_else(|| panic!("{ran}"));
        // Without 32 and 33, which belong to the C library and are its own in every process with threads.
        u64::from_str_radix(line.trim(), 16).unwrap() & !(0b11 << 31)
    };
    // A program that is no Python tells, because Python itself ignores SIGPIPE.
    let cat = ["/bin/cat", "/proc/self/status"];
    let direct = Packed::at(cat[0].into()).start().arg(cat[1]).run();
    let plain = probe().start().env("COIL_RUN", "native").run();
    assert_eq!(ignored(&plain), ignored(&direct));
    // Python, which ignores SIGPIPE and SIGXFSZ, and here blocks SIGUSR2, becomes the bundle.
    let code = "import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.environ.update(COIL_RUN=sys.argv[1], COIL_CACHE=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])";
    let cache = scratch();
    let bundle = probe().path().to_str().unwrap();
    let become_it = |command: &str, words: &[&str]| {
        probe().python(code).args(&[command, cache.path().to_str().unwrap()]).args(words).run()
    };
    let expected = ignored(&become_it("", &cat));
    assert_eq!(expected, ignored(&direct) | 1 << (13 - 1) | 1 << (25 - 1));
    let blocked = "import signal; print(signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, []))";
    for start in ["cold", "warm"] {
        assert_eq!(ignored(&become_it("native", &[bundle])), expected, "{start}");
        assert_eq!(become_it("do", &[bundle, blocked]).printed(), "True", "{start}");
        fs::remove_dir_all(cache.path().join("envs")).unwrap_or_default();
    }
}

#[test]
fn umask_and_working_directory_are_the_users() {
    let cache = scratch();
    let place = scratch();
    for start in ["cold", "warm"] {
        let code = "import os; print(oct(os.umask(0)), os.getcwd())";
        let ran = through_shell("umask 027; COIL_RUN=do exec \"$0\" \"$@\"").arg(code);
        let expected = format!("0o27 {}", place.path().canonicalize().unwrap().display());
        assert_eq!(ran.cache(cache.path()).within(place.path()).run().printed(), expected, "{start}");
    }
}

#[test]
fn the_bundle_tells_its_absolute_path_however_it_was_reached() {
    let place = scratch();
    let root = place.path().canonicalize().unwrap();
    let strange = root.join("a b\n\"c\"");
    fs::create_dir(&strange).unwrap();
    let bundle = probe().linked_into(&strange, "the app.x");
    let link = root.join("some link");
    symlink(bundle.path(), &link).unwrap();
    let cache = root.join("cache");
    let by_descriptor = |start: &mut dyn FnMut(&Path) -> Start| start(bundle.path());
    let starts = [
        ("a relative path", bundle.start_as("./a b\n\"c\"/the app.x")),
        ("an absolute path", bundle.start()),
        ("a symbolic link", bundle.start_as(&link)),
        (
            "PATH",
            bundle
                .start_as("/bin/sh")
                .args(&["-c", "exec 'the app.x'"])
                .env("PATH", format!("{}:/usr/bin:/bin", strange.display())),
        ),
        (
            "a descriptor",
            by_descriptor(&mut |path| {
                let script = "exec 5<\"$0\"; exec /proc/self/fd/5";
                bundle.start_as("/bin/sh").args(&["-c", script]).arg(path)
            }),
        ),
    ];
    for (way, start) in starts {
        let seen = tell(start.within(&root).cache(&cache));
        assert_eq!(seen["environment"]["COIL_BUNDLE"], told(bundle.path().as_os_str().as_bytes()), "{way}");
        assert_eq!(seen["directory"], told(root.as_os_str().as_bytes()), "{way}");
    }
}

#[test]
fn first_starts_work_however_the_bundle_was_reached() {
    let place = scratch();
    let root = place.path();
    fs::create_dir(root.join("a b\nc")).unwrap();
    let bundle = probe().linked_into(&root.join("a b\nc"), "app");
    let relative = bundle.start_as("a b\nc/app").within(root).cache(&root.join("one"));
    tell(relative);
    let script = "exec 5<\"$0\"; rm \"$0\"; exec /proc/self/fd/5";
    let removed =
        bundle.start_as("/bin/sh").args(&["-c", script]).arg(bundle.path()).cache(&root.join("two"));
    tell(removed);
}

#[test]
fn a_renamed_file_is_the_same_app() {
    let place = scratch();
    let bundle = probe().linked_into(place.path(), "one");
    let seen = tell(bundle.start());
    let other = place.path().join("tell-me.bin");
    fs::rename(bundle.path(), &other).unwrap();
    assert_eq!(tell(Packed::at(other).start())["prefix"], seen["prefix"], "one environment for both");
}

#[test]
fn the_file_may_be_replaced_while_the_app_runs() {
    let place = scratch();
    let bundle = probe().linked_into(place.path(), "app");
    let code = "import subprocess, sys
print('ready', flush=True)
sys.stdin.read()
import wave, xml.dom.minidom
print(subprocess.check_output([sys.executable, '-c', 'import decimal; print(decimal.Decimal(1))'], text=True).strip())";
    let mut child = bundle.start().env("COIL_RUN", "do").arg(code).spawn();
    assert_eq!(wait_for_line(&mut child), "ready");
    fs::write(place.path().join("new"), "another version").unwrap();
    fs::rename(place.path().join("new"), bundle.path()).unwrap();
    assert_eq!(Ran::to_its_end(child, b"").printed(), "1");
}

#[test]
fn it_can_be_process_1() {
    let unshare = |program: &Path| {
        let mut command = Command::new("unshare");
        if !kit::empty_root::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--pid", "--fork", "--mount-proc", "--"]).arg(program);
        command.env("COIL_CACHE", kit::machine_cache());
        Ran::of(command, b"")
    };
    let tried = unshare(Path::new("/bin/true"));
    if !tried.status.success() {
        return kit::skip(&format!("no process can be number 1 here: {}", tried.stderr.trim()));
    }
    assert_eq!(unshare(probe().path()).json()["pid"], 1);
}

#[test]
fn a_stopped_app_can_be_continued() {
    let mut child =
        run_code("print('ready', flush=True); import sys; sys.stdin.read(); print('done')").spawn();
    assert_eq!(wait_for_line(&mut child), "ready");
    kill("STOP", child.id());
    let state = format!("/proc/{}/status", child.id());
    let start = time::Instant::now();
    while !fs::read_to_string(&state).unwrap().contains("State:\tT") {
        assert!(start.elapsed() < time::Duration::from_secs(10), "it does not stop");
        thread::sleep(time::Duration::from_millis(2));
    }
    kill("CONT", child.id());
    assert_eq!(Ran::to_its_end(child, b"").printed(), "done");
}
