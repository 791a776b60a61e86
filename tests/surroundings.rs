//! Promise: an app starts in surroundings that are seldom seen on the machine it was written on: with as many arguments as
//! the kernel takes, as a service that owns nothing but one directory; and pip works inside of it.

mod kit;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use kit::empty_root::is_root;
use kit::mounts::{cannot_mount, mounting};
use kit::{Bench, Packed, Ran, WheelBuilder, probe, scratch, skip};

#[test]
fn two_megabytes_of_arguments_arrive() {
    // The kernel takes a quarter of what the stack may be, and no single argument above 128 kB.
    let room = libc::rlimit { rlim_cur: 64 << 20, rlim_max: libc::RLIM_INFINITY };
    let arguments: Vec<String> = (0..21).map(|number| format!("{number:02}").repeat(50_000)).collect();
    let code = "import hashlib, sys; print(len(sys.argv), sum(map(len, sys.argv[1:])), \
                hashlib.sha256('\\0'.join(sys.argv[1:]).encode()).hexdigest())";
    let whole = kit::oci::sha256(arguments.join("\0").as_bytes());
    let expected = format!("22 2100000 {}", whole.trim_start_matches("sha256:"));
    let cache = scratch();
    for start in ["cold", "warm"] {
        let mut command =
            probe().start().cache(cache.path()).env("COIL_RUN", "do").arg(code).args(&arguments).command();
        let prepare = move || {
            // SAFETY: the kernel only reads the structure.
            let set = unsafe { libc::setrlimit(libc::RLIMIT_STACK, &room) };
            if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: between fork and exec one system call is made, no memory is allocated and no lock taken.
        unsafe { command.pre_exec(prepare) };
        assert_eq!(Ran::of(command, b"").printed(), expected, "{start}");
    }
}

/// The user of a service, whom nobody knows by name.
const SERVICE: u32 = 61_234;

/// Starts `packed` as a service of systemd with `DynamicUser=` and `StateDirectory=`: nobody's uid, no HOME, every file
/// system read-only, and one directory of its own. `prepare` comes before it.
fn as_service(packed: &Packed, state: &Path, prepare: &str) -> Ran {
    let script = format!(
        "set -e; mount --bind \"$1\" \"$1\"; mount --bind / /mnt; cd /mnt
        mount -o remount,bind,ro /mnt
        for place in tmp var/tmp dev/shm; do mount -t tmpfs tmpfs $place; done
        # What is started may lie in one of these.
        mkdir -p \".$1\" \"$(dirname \".$0\")\"; [ -e \".$0\" ] || touch \".$0\"
        mount --bind \"$0\" \".$0\"; mount --bind \"$1\" \".$1\"
        for place in tmp var/tmp dev/shm; do mount -o remount,ro $place; done
        mount -t proc proc proc; {prepare}
        exec chroot . setpriv --reuid={SERVICE} --regid={SERVICE} --clear-groups --no-new-privs \
            env -i PATH=/usr/bin:/bin $variables \"$0\" one 'two three'"
    );
    mounting(&script, &[packed.path().as_os_str(), state.as_os_str()])
}

#[test]
fn a_service_without_a_home_uses_the_directory_that_is_its_own() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    if !is_root() {
        return skip("only root can be somebody else");
    }
    let state = scratch();
    chown(state.path(), Some(SERVICE), Some(SERVICE)).unwrap();
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let (named, cache) = ("variables=COIL_CACHE=$1/cache", state.path().join("cache"));
    for start in ["cold", "warm"] {
        let seen = as_service(probe(), state.path(), named).json();
        assert_eq!(seen["arguments"], serde_json::json!(["one", "two three"]), "{start}");
        assert!(Path::new(seen["prefix"].as_str().unwrap()).starts_with(&cache), "{start}: {seen}");
    }
    // The directory by the name that systemd gives it is no cache by itself: the user is told what to set.
    let refused = as_service(probe(), state.path(), "variables=STATE_DIRECTORY=$1");
    assert_eq!(refused.code(), Some(125), "{refused}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused}");
    assert!(refused.stderr.contains("set COIL_CACHE") && refused.stderr.contains("/var/tmp"), "{refused}");
    // With PrivateTmp= there is one more place.
    let private = "variables= ; mount -o remount,rw,mode=1777 var/tmp";
    let seen = as_service(probe(), state.path(), private).json();
    let prefix = seen["prefix"].as_str().unwrap();
    assert!(prefix.starts_with(&format!("/var/tmp/coil-{SERVICE}/")), "{prefix}");
}

/// pip's own wheel, as CPython brings it along.
fn pip_of_this_machine() -> Option<std::path::PathBuf> {
    let code = "import ensurepip, glob, os\n\
        places = [os.path.join(os.path.dirname(ensurepip.__file__), '_bundled'), '/usr/share/python-wheels']\n\
        print(*[name for place in places for name in glob.glob(place + '/pip-*.whl')][:1])";
    let told = Command::new("python3").args(["-c", code]).output().ok()?;
    let path = String::from_utf8(told.stdout).ok()?.trim().to_owned();
    (told.status.success() && !path.is_empty()).then(|| path.into())
}

#[test]
fn pip_works_inside_of_a_bundle() {
    let Some(wheel) = pip_of_this_machine() else { return skip("this Python comes without pip") };
    let bench = Bench::new()
        .wheel(&WheelBuilder::new("leaf", "0.3").file("leaf.py", "answer = 42\n"))
        .file("src/main.py", "");
    fs::copy(&wheel, bench.wheels().join(wheel.file_name().unwrap())).unwrap();
    let app = bench.pack(&["pip", "--app", "src", "-e", "main.py", "--name", "tools"]);
    let code = "import subprocess, sys
def pip(*words):
    run = subprocess.run([sys.executable, '-m', 'pip', *words], capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr, run
    return run.stdout
print(pip('list', '--disable-pip-version-check', '--format=freeze').split('==')[0])
target, wheels = sys.argv[1:]
pip('install', '--no-index', '--no-cache-dir', '--find-links', wheels, '--target', target, 'leaf')
sys.path.insert(0, target)
import leaf
print(leaf.answer, pip('check').strip())";
    let target = scratch();
    let start = app.python(code).arg(target.path().join("more")).arg(bench.wheels());
    let home = scratch();
    assert_eq!(start.env("HOME", home.path()).run().printed(), "pip\n42 No broken requirements found.");
    // And as the user's own command.
    let told = app.start().env("COIL_RUN", "pip").arg("--version").run().printed();
    assert!(told.starts_with("pip "), "{told}");
}
