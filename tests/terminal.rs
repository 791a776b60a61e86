//! Promise: at a terminal an app is what any program is there: it is in the foreground, hears of Ctrl-C and of a changed
//! size, is stopped with Ctrl-Z or for reading in the background, and goes on.

mod kit;

use std::path::Path;
use std::process::Command;

use kit::{Ran, probe, scratch};

/// Plays the user, in the machine's Python.
const USER: &str = include_str!("terminal.py");

/// What is said to the user, line by line.
const CODE: &str = "import os, signal, sys
signal.signal(signal.SIGWINCH, lambda *_: print('size', *os.get_terminal_size(), flush=True))
try:
    foreground = os.tcgetpgrp(0) == os.getpgrp()
    print('ready', os.isatty(0), foreground, *os.get_terminal_size(), flush=True)
    for line in sys.stdin:
        print('read', line.strip(), flush=True)
    print('the end', flush=True)
except KeyboardInterrupt:
    print('interrupted', flush=True)
    sys.exit(3)
";

fn play(cache: &Path) -> Ran {
    let mut user = Command::new("python3");
    user.args(["-c", USER]).arg(probe().path()).arg(CODE).env("COIL_CACHE", cache);
    for name in ["COIL", "COIL_RUN", "PYTHONHOME", "PYTHONPATH"] {
        user.env_remove(name);
    }
    Ran::of(user, b"")
}

#[test]
fn an_app_is_in_the_foreground_is_stopped_goes_on_and_is_interrupted() {
    let cache = scratch();
    for start in ["cold", "warm"] {
        assert_eq!(play(cache.path()).printed(), "all heard", "{start}");
    }
}
