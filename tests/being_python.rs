//! Promise: inside a bundle Python is what it is in a virtualenv. Children, pools, metadata, resources,
//! namespace packages, `.pth` files, scripts and data of wheels, and tracebacks behave as there.

mod kit;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

use kit::{Bench, Packed, Ran, WheelBuilder, scratch};

const JOBS: &str = r#"
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

def square(number):
    import greeter, shared.two
    return number * number, sys.prefix

def main():
    expected = [(number * number, sys.prefix) for number in range(4)]
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(square, range(4)) == expected, method
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            assert list(executor.map(square, range(4))) == expected, method
    print("all agree")

if __name__ == "__main__":
    main()
"#;

fn wheels() -> Vec<WheelBuilder> {
    let platform = format!("cp39-abi3-linux_{}", env::consts::ARCH);
    vec![
        WheelBuilder::new("greeter", "2.5")
            .file("greeter/__init__.py", "import sys\ndef main():\n    print('hello', *sys.argv[1:])\n")
            .file("greeter/jobs.py", JOBS)
            .file("greeter/broken.py", "def fail():\n    value = 1\n    raise ValueError('on line three')\n")
            .file("greeter/data/words.txt", "grüezi\n")
            .program("greeter/data/tool", "#!/bin/sh\necho tool $1\n")
            .data("scripts", "pyscript", "#!python\nimport greeter, sys\nprint('pyscript', sys.argv[1:], sys.prefix)\n")
            .data("scripts", "shscript", "#!/bin/sh\necho shscript \"$@\"\n")
            .data("data", "share/greeter/shared.txt", "from share\n")
            .data("purelib", "greeter_pure.py", "")
            .data("platlib", "greeter_plat.py", "")
            .entry_points("[console_scripts]\ngreet = greeter:main\njobs = greeter.jobs:main\n[greeter.plugins]\nquiet = greeter:main\n")
            .requires("plug-in>=1"),
        WheelBuilder::new("plug_in", "1.0")
            .file("plug_in.py", "def loud():\n    return 'LOUD'\n")
            .entry_points("[greeter.plugins]\nloud = plug_in:loud\n"),
        WheelBuilder::new("ns_one", "1").file("shared/one.py", "").file("shared/deep/a.py", ""),
        WheelBuilder::new("ns_two", "1").file("shared/two.py", "").file("shared/deep/b.py", ""),
        WheelBuilder::new("hook", "1").file("hook.pth", "import sys; sys.hooked = True\nhooked\n").file("hooked/by_path.py", ""),
        WheelBuilder::new("old", "1").tag("py2.py3-none-any").file("old.py", ""),
        WheelBuilder::new("stable", "1").tag(&platform).file("stable.py", ""),
    ]
}

/// A bundle with a bit of everything. Its default runs its first argument as Python.
fn furnished() -> &'static Packed {
    static FURNISHED: OnceLock<Packed> = OnceLock::new();
    FURNISHED.get_or_init(|| {
        let bench = wheels().iter().fold(Bench::standing("furnished"), Bench::wheel);
        let bench = bench
            .file("src/do.py", "import sys\nexec(compile(sys.argv.pop(1), '<the test>', 'exec'))\n")
            .file("src/jobs_file.py", JOBS)
            .file("src/shared/three.py", "")
            .file("src/mine/__init__.py", "")
            .file("src/mine/settings.toml", "a = 1\n")
            .file("src/mine/failing.py", "import greeter.broken\n\ngreeter.broken.fail()\n")
            .program("src/mine/run.sh", "#!/bin/sh\necho ran\n");
        bench.pack(&[
            "greeter",
            "ns-one",
            "ns-two",
            "hook",
            "old",
            "stable",
            "--app",
            "src",
            "--name",
            "furnished",
            "-e",
            "do.py",
            "--command",
            "jobs-file=jobs_file.py",
            "--command",
            "jobs-module=-m greeter.jobs",
            "--command",
            "jobs-function=greeter.jobs:main",
            "--command",
            "failing=-m mine.failing",
        ])
    })
}

fn run_code(code: &str) -> Ran {
    furnished().start().arg(code).run()
}

#[test]
fn pools_and_executors_work_in_every_way_and_from_every_kind_of_command() {
    for command in ["jobs-file", "jobs-module", "jobs-function", "jobs"] {
        let ran = furnished().start().env("COIL_RUN", command).run();
        assert_eq!(ran.stdout, "all agree\n", "{command}: {ran}");
        assert!(ran.status.success(), "{command}: {ran}");
    }
}

#[test]
fn sys_executable_is_an_interpreter_that_sees_the_same() {
    let code = "import subprocess, sys
def ask(*words):
    return subprocess.check_output([sys.executable, *words], text=True).strip()
inner = 'import greeter, shared.one, shared.three, mine, sys; print(sys.prefix, sys.base_prefix, sys.executable)'
assert ask('-c', inner) == f'{sys.prefix} {sys.base_prefix} {sys.executable}'
assert ask('-I', '-c', inner) == ask('-c', inner)
print(ask('-m', 'json.tool', '--help').splitlines()[0].split()[0])
print(ask('-c', 'import os; print(os.environ[\"VIRTUAL_ENV\"])') == sys.prefix, sys.prefix != sys.base_prefix)";
    assert_eq!(run_code(code).printed(), "usage:\nTrue True");
}

#[test]
fn a_virtualenv_can_be_made_of_it() {
    let place = scratch();
    let code = "import subprocess, sys
subprocess.check_call([sys.executable, '-m', 'venv', '--without-pip', sys.argv[1]])
inner = 'import sys, ssl; print(sys.prefix)'
print(subprocess.check_output([sys.argv[1] + '/bin/python', '-c', inner], text=True).strip())";
    let target = place.path().canonicalize().unwrap().join("made");
    let ran = furnished().start().arg(code).arg(&target).run();
    assert_eq!(ran.printed(), target.display().to_string());
}

#[test]
fn console_scripts_and_scripts_of_wheels_are_on_path() {
    let code = "import subprocess, sys
def ask(*words):
    print(subprocess.check_output(words, text=True).strip().replace(sys.prefix, 'PREFIX'))
ask('greet', 'you')
ask('pyscript', 'a b', '')
ask('shscript', 'c')
ask('python', '-c', 'import sys; print(sys.prefix)')
ask('python3', '-c', 'import greeter; print(greeter.__name__)')";
    let expected = "hello you\npyscript ['a b', ''] PREFIX\nshscript c\nPREFIX\ngreeter";
    assert_eq!(run_code(code).printed(), expected);
    for (name, said) in [("greet", "hello x"), ("shscript", "shscript x")] {
        assert_eq!(furnished().start().env("COIL_RUN", name).arg("x").run().printed(), said);
    }
    let python = furnished().start().env("COIL_RUN", "pyscript").arg("x").run().printed();
    assert!(python.starts_with("pyscript ['x'] /"), "{python}");
}

#[test]
fn distributions_and_plugins_are_found_through_their_metadata() {
    let code = "from importlib import metadata
names = ('greeter', 'plug-in', 'Plug_In', 'ns_one', 'hook', 'old', 'stable')
print(*[metadata.version(name) for name in names])
points = metadata.entry_points()
group = points.select(group='greeter.plugins') if hasattr(points, 'select') else set(points['greeter.plugins'])
print(sorted(point.name for point in group), {point.name: point.load() for point in group}['loud']())
print(len([d for d in metadata.distributions() if d.metadata['Name'] == 'greeter']), metadata.requires('greeter'))
files = [str(file) for file in metadata.files('greeter')]
print('greeter/__init__.py' in files, all(file.locate().exists() for file in metadata.files('greeter')))
print(metadata.distribution('greeter').read_text('INSTALLER'))";
    let expected = "2.5 1.0 1.0 1 1 1 1\n['loud', 'quiet'] LOUD\n1 ['plug-in>=1']\nTrue True\n";
    let said = run_code(code).printed();
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn resources_of_packages_are_files() {
    let code = "from importlib import resources
import greeter, mine, os, sys
print((resources.files(greeter) / 'data' / 'words.txt').read_text('utf-8').strip())
print((resources.files('mine') / 'settings.toml').read_text().strip())
with resources.as_file(resources.files('greeter') / 'data/tool') as path:
    print(os.access(path, os.X_OK), os.popen(f'{path} x').read().strip())
print(open(sys.prefix + '/share/greeter/shared.txt').read().strip())
print(os.popen(os.path.dirname(mine.__file__) + '/run.sh').read().strip())
print(os.access(os.path.join(os.path.dirname(greeter.__file__), 'data/words.txt'), os.X_OK))";
    assert_eq!(run_code(code).printed(), "grüezi\na = 1\nTrue tool x\nfrom share\nran\nFalse");
}

#[test]
fn a_namespace_package_has_parts_from_two_wheels_and_the_app() {
    let code = "import shared.one, shared.two, shared.three, shared.deep.a, shared.deep.b, pkgutil
print(sorted(module.name for module in pkgutil.iter_modules(shared.__path__)), shared.__file__)";
    assert_eq!(run_code(code).printed(), "['one', 'three', 'two'] None");
}

#[test]
fn pth_files_and_every_scheme_and_tag_are_installed() {
    let code = "import sys, by_path, greeter_pure, greeter_plat, old, stable; print(sys.hooked)";
    assert_eq!(run_code(code).printed(), "True");
}

#[test]
fn tracebacks_show_readable_paths_and_source_lines() {
    let ran = furnished().start().env("COIL_RUN", "failing").run();
    assert_eq!(ran.code(), Some(1), "{ran}");
    for part in [
        "/app/mine/failing.py\", line 3, in <module>\n    greeter.broken.fail()\n",
        "/site-packages/greeter/broken.py\", line 3, in fail\n    raise ValueError('on line three')\n",
        "\nValueError: on line three\n",
    ] {
        assert!(ran.stderr.contains(part), "{part}{ran}");
    }
    let standard = run_code("import json; json.loads('{')");
    assert!(standard.stderr.contains("self.raw_decode("), "{standard}");
    let environment = furnished().start().env("COIL", "where").run().printed();
    for path in ran.stderr.lines().filter_map(|line| line.trim().strip_prefix("File \"/")) {
        let path = format!("/{}", path.split('"').next().unwrap());
        assert!(fs::metadata(&path).is_ok(), "{path} (environment {environment})");
    }
}

#[test]
fn byte_code_is_used_and_valid() {
    let code = "import greeter.broken, mine, json.tool, email.mime.text, sys
for module in (greeter.broken, mine, json.tool, email.mime.text):
    assert module.__cached__.endswith('.pyc') and open(module.__cached__, 'rb').read(8)[4:] == bytes([1, 0, 0, 0]), module
    assert module.__spec__.loader.get_code(module.__name__).co_filename == module.__file__, module
print(sys.flags.dont_write_bytecode)";
    run_code(code).succeeded();
}

#[test]
fn nothing_is_written_into_the_cache_while_an_app_runs() {
    let place = scratch();
    let start = || furnished().start().cache(place.path());
    start().arg("pass").run().succeeded();
    let before = listing(place.path());
    assert!(before.len() > 1000);
    start().env("COIL_RUN", "jobs").run().succeeded();
    start().env("COIL_RUN", "failing").run();
    let everything = "import pkgutil, importlib, subprocess, sys, sysconfig
for finder, name, package in pkgutil.iter_modules([sysconfig.get_path('stdlib')]):
    if name not in ('antigravity', 'idlelib', 'turtledemo', 'tkinter', 'turtle', 'this', '__phello__', 'lib2to3'):
        try:
            importlib.import_module(name)
        except ImportError:
            pass
import greeter.jobs, greeter.broken, mine, shared.one, old, stable
subprocess.check_call([sys.executable, '-c', 'import greeter.jobs, sched'])
subprocess.check_call(['greet'])";
    start().arg(everything).run().succeeded();
    let after = listing(place.path());
    let changed: Vec<_> = after.iter().filter(|(path, state)| before.get(*path) != Some(state)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(before.len(), after.len());
}

/// Everything below `root`, with what changes when something is written there.
fn listing(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let state = fs::symlink_metadata(&path).unwrap();
        if state.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (state.ino(), state.mtime(), state.mtime_nsec(), state.size()));
    }
    found
}
