//! Promise: what is meant for the machine's own Python does not reach the app: variables, user site,
//! files in the working directory, libraries on LD_LIBRARY_PATH. And the app's Python does not reach the
//! machine's programs.

mod kit;

use std::fs;
use std::path::Path;

use kit::{Start, probe, scratch, skip};
use tempfile::TempDir;

/// A directory full of traps: modules that end whoever imports them, and libraries that are none.
fn traps() -> TempDir {
    let place = scratch();
    let trap = |name: &str| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("import sys; sys.stderr.write('{name}'); sys.exit(99)\n")).unwrap();
    };
    for name in
        ["encodings", "site", "json", "sitecustomize", "usercustomize", "os", "io", "zipimport", "startup"]
    {
        trap(&format!("{name}.py"));
    }
    for version in 9..20 {
        for module in ["usercustomize", "json", "probe_user_site"] {
            trap(&format!("home/.local/lib/python3.{version}/site-packages/{module}.py"));
        }
    }
    let libraries = [
        "libc.so.6",
        "libz.so.1",
        "libssl.so.3",
        "libcrypto.so.3",
        "libsqlite3.so.0",
        "libm.so.6",
        "libpthread.so.0",
        "libdl.so.2",
        "libffi.so.8",
        "liblzma.so.5",
    ];
    fs::create_dir(place.path().join("libraries")).unwrap();
    for (number, name) in libraries.iter().enumerate() {
        // Half of them are no ELF files at all, the others end behind their first header.
        let bytes: &[u8] = if number % 2 == 0 { b"\x7fELF\x02\x01\x01" } else { b"no library\n" };
        fs::write(place.path().join("libraries").join(name), bytes).unwrap();
    }
    place
}

const IMPORTS: &str = "import ssl, sqlite3, ctypes, lzma, zlib, json, math, sys, os
import subprocess
assert not any('probe_user_site' in name for name in sys.modules)
if len(sys.argv) == 1:
    print(subprocess.check_output([sys.executable, __file__, 'child'], text=True, stderr=subprocess.STDOUT).strip())
print('fine', sys.flags.no_user_site)";

fn imports(start: Start) -> String {
    let code = IMPORTS.replace("__file__, 'child'", "'-I', '-c', 'import ssl, zlib, json; print(\"child\")'");
    start.env("COIL_RUN", "do").arg(code).run().printed()
}

#[test]
fn variables_for_the_machines_python_break_nothing() {
    let traps = traps();
    let path = traps.path();
    let startup = path.join("startup.py");
    let variables: [(&str, &Path); 9] = [
        ("PYTHONHOME", path),
        ("PYTHONPATH", path),
        ("PYTHONSTARTUP", &startup),
        ("PYTHONPLATLIBDIR", Path::new("nonsense")),
        ("PYTHONEXECUTABLE", Path::new("/bin/false")),
        ("__PYVENV_LAUNCHER__", Path::new("/bin/false")),
        ("PYTHONPYCACHEPREFIX", path),
        ("VIRTUAL_ENV", path),
        ("CONDA_PREFIX", path),
    ];
    for (name, value) in variables {
        assert_eq!(imports(probe().start().env(name, value)), "child\nfine 0", "{name}");
    }
    let all = variables.iter().fold(probe().start(), |start, (name, value)| start.env(name, value));
    assert_eq!(imports(all), "child\nfine 0");
    let seen =
        variables.iter().fold(probe().start(), |start, (name, value)| start.env(name, value)).run().json();
    for gone in ["PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE"] {
        assert_eq!(seen["environment"][gone], serde_json::Value::Null, "{gone}");
    }
    assert_eq!(seen["environment"]["VIRTUAL_ENV"], seen["prefix"]);
}

#[test]
fn an_interactive_interpreter_does_not_run_the_users_startup_file_by_itself() {
    let traps = traps();
    let start = probe().start().env("COIL", "python").env("PYTHONSTARTUP", traps.path().join("startup.py"));
    assert_eq!(start.arg("-").stdin("print('input')").run().printed(), "input");
}

#[test]
fn the_users_site_does_not_reach_the_app() {
    let traps = traps();
    let home = traps.path().join("home");
    assert_eq!(imports(probe().start().env("HOME", &home)), "child\nfine 0");
    assert_eq!(imports(probe().start().env("PYTHONUSERBASE", home.join(".local"))), "child\nfine 0");
    let seen = probe().start().env("HOME", &home).run().json();
    let path = seen["path"].as_array().unwrap();
    assert!(!path.iter().any(|entry| entry.as_str().unwrap().contains(".local")), "{path:?}");
}

#[test]
fn files_in_the_working_directory_do_not_reach_the_app() {
    let traps = traps();
    assert_eq!(imports(probe().start().within(traps.path())), "child\nfine 0");
    let cold = scratch();
    assert_eq!(imports(probe().start().within(traps.path()).cache(cold.path())), "child\nfine 0");
    let python =
        probe().start().env("COIL", "python").within(traps.path()).args(&["-I", "-c", "import json"]);
    python.run().printed();
}

#[test]
fn libraries_on_ld_library_path_do_not_reach_the_app() {
    let traps = traps();
    let libraries = traps.path().join("libraries");
    let cold = scratch();
    assert_eq!(
        imports(probe().start().env("LD_LIBRARY_PATH", &libraries).cache(cold.path())),
        "child\nfine 0"
    );
    assert_eq!(imports(probe().start().env("LD_LIBRARY_PATH", &libraries)), "child\nfine 0");
    let seen = probe().start().env("LD_LIBRARY_PATH", &libraries).run().json();
    assert_eq!(
        seen["environment"]["LD_LIBRARY_PATH"],
        libraries.to_str().unwrap(),
        "it is the user's and stays"
    );
}

#[test]
fn the_user_can_let_pythonpath_in() {
    let place = scratch();
    fs::write(place.path().join("mine_indeed.py"), "print('imported')").unwrap();
    let start = |inherit: &str| {
        let start = probe().start().env("COIL_RUN", "do").env("PYTHONPATH", place.path());
        start.env("COIL_INHERIT", inherit).arg("import mine_indeed").run()
    };
    assert_eq!(start("1").printed(), "imported");
    for no in ["0", ""] {
        let ran = start(no);
        assert!(ran.code() == Some(1) && ran.stderr.contains("ModuleNotFoundError"), "{no:?}: {ran}");
    }
}

#[test]
fn variables_that_only_tune_python_reach_the_app() {
    let code = "import sys; print(sys.flags.utf8_mode, sys.warnoptions, sys.flags.hash_randomization, sys.stdout.line_buffering,
        sys.stdout.write_through, sys.flags.dev_mode)";
    let start = probe().start().env("COIL_RUN", "do").arg(code);
    let tuned = start.env("PYTHONUTF8", "1").env("PYTHONWARNINGS", "ignore").env("PYTHONHASHSEED", "0");
    assert_eq!(tuned.env("PYTHONUNBUFFERED", "1").run().printed(), "1 ['ignore'] 0 False True False");
}

#[test]
fn unrelated_programs_started_by_the_app_are_unaffected() {
    let python = Path::new("/usr/bin/python3");
    if !python.exists() {
        return skip("there is no /usr/bin/python3 here");
    }
    let code = "import subprocess, sys
inner = 'import sys, json, ssl, zlib; print(sys.prefix, sys.version_info[:2] > (3, 0))'
print(subprocess.check_output(['/usr/bin/python3', '-c', inner], text=True).strip())
print(subprocess.check_output(['/bin/sh', '-c', 'echo $LD_LIBRARY_PATH; ls / >/dev/null && echo $0'], text=True).strip())";
    let ran = probe().start().env("COIL_RUN", "do").arg(code).run();
    assert_eq!(ran.printed(), "/usr True\n/bin/sh");
}
