//! A bundle that tells what it sees. Most tests about starting need no more.

use std::sync::OnceLock;

use super::{Bench, Packed, WheelBuilder};

/// Prints, as JSON, what a process can know of itself. Byte strings are told byte by byte, as Latin-1.
const TELL: &str = r#"
import json, os, sys

def told(text):
    return os.fsencode(text).decode("latin-1")

def status(field):
    try:
        with open("/proc/self/status") as lines:
            return next(line.split()[1] for line in lines if line.startswith(field + ":"))
    except OSError:
        return None

print(json.dumps({
    "arguments": [told(argument) for argument in sys.argv[1:]],
    "script": told(sys.argv[0]),
    "environment": {told(name): told(value) for name, value in os.environ.items()},
    "pid": os.getpid(),
    "name": status("Name"),
    "executable": sys.executable,
    "prefix": sys.prefix,
    "path": sys.path,
    "directory": told(os.getcwd()),
}))
"#;

/// Runs its first argument as Python, in a file's own `__main__`.
const DO: &str = r#"
import sys
code = sys.argv.pop(1)
exec(compile(code, "<the test>", "exec"))
"#;

/// The bundle. Its commands: `tell` (the default) and `do CODE`, both files, `called`, a function, `whoami`,
/// a module, and `native`, a shell script from a wheel that prints `/proc/self/status`.
pub fn probe() -> &'static Packed {
    static PROBE: OnceLock<Packed> = OnceLock::new();
    PROBE.get_or_init(|| pack(Bench::standing("probe")))
}

/// The same with the lean CPython, for tests that unpack it over and over.
pub fn lean_probe() -> &'static Packed {
    static PROBE: OnceLock<Packed> = OnceLock::new();
    PROBE.get_or_init(|| pack(Bench::standing("lean-probe").lean()))
}

fn pack(bench: Bench) -> Packed {
    let scripts =
        WheelBuilder::new("native", "1.0").data("scripts", "native", "#!/bin/sh\ncat /proc/self/status\n");
    let bench = bench
        .wheel(&scripts)
        .file("src/tell.py", TELL)
        .file("src/do.py", DO)
        .file("src/pkg/__init__.py", "")
        .file(
            "src/pkg/mod.py",
            "import sys\ndef func():\n    print('called with', sys.argv[1:])\n    return 7\n",
        )
        .file("src/pkg/whoami.py", "import sys\nprint(__name__, sys.argv[1:])\n");
    bench.pack_to(
        "probe",
        &[
            "native",
            "--app",
            "src",
            "--name",
            "probe",
            "-e",
            "tell",
            "--command",
            "tell=tell.py",
            "--command",
            "do=do.py",
            "--command",
            "called=pkg.mod:func",
            "--command",
            "whoami=-m pkg.whoami",
        ],
    )
}
