//! Promise: whatever a Python project looks like, `coil pack` makes one executable of it: a script, a
//! directory, wheels, requirements, a source tree, and no network where none is needed.

mod kit;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use kit::{Bench, Packed, QUICK, Ran, WheelBuilder, probe, runtime_file, scratch, skip};
use serde_json::Value;

fn wheel(name: &str, version: &str) -> WheelBuilder {
    WheelBuilder::new(name, version).file(&format!("{name}.py"), format!("version = '{version}'\n"))
}

fn said(packed: &Packed) -> String {
    packed.start().run().printed()
}

fn inspect(bench: &Bench, words: &[&str]) -> Ran {
    Ran::of(bench.coil(&[&["inspect", "app"], words].concat()), b"").succeeded()
}

/// The layers of `app` as `kind name version`.
fn layers(bench: &Bench) -> Vec<String> {
    let manifest = inspect(bench, &["--json"]).json();
    let text = |layer: &Value, key: &str| layer[key].as_str().unwrap_or("-").to_owned();
    let layers = manifest["layers"].as_array().unwrap().iter().skip(1);
    layers.map(|layer| ["kind", "name", "version"].map(|key| text(layer, key)).join(" ")).collect()
}

/// A build backend that needs nothing: it packs `src/` and the console script `tool`.
const BACKEND: &str = r#"
import base64, hashlib, os, zipfile

def build_wheel(directory, config=None, metadata=None):
    import BASE
    name, info = "tool-1.5-py3-none-any.whl", "tool-1.5.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        record = ""
        def add(path, data):
            nonlocal record
            wheel.writestr(path, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(data)}\n"
        for file in sorted(os.listdir("src")):
            with open("src/" + file, "rb") as source:
                add(file, source.read())
        add(info + "METADATA", b"Metadata-Version: 2.1\nName: tool\nVersion: 1.5\nRequires-Dist: leaf\n")
        add(info + "WHEEL", b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        add(info + "entry_points.txt", b"[console_scripts]\ntool = tool:main\n")
        wheel.writestr(info + "RECORD", record + info + "RECORD,,\n")
    return name
"#;

fn built_project(build_system: &str) -> Bench {
    Bench::new()
        .wheel(&wheel("leaf", "0.3"))
        .file("project/pyproject.toml", format!("[build-system]\n{build_system}\n[project]\nname = \"tool\"\ndynamic = [\"version\"]\nscripts = {{ tool = \"tool:main\" }}\n"))
        .file("project/src/tool.py", "import leaf\ndef main():\n    print('built, with leaf', leaf.version)\n")
}

#[test]
fn requirements_and_a_source_tree() {
    let bench = Bench::new()
        .wheel(&wheel("one", "1.0").requires("two"))
        .wheel(&wheel("one", "2.0"))
        .wheel(&wheel("two", "3.0"))
        .file("requirements.txt", "# a comment\none==1.0 ; python_version > '3'\n-r more.txt\n")
        .file("more.txt", "two\n")
        .file("src/my/__init__.py", "")
        .file("src/my/cli.py", "import one, two\ndef main():\n    print(one.version, two.version)\n");
    let app = bench.pack(&["-r", "requirements.txt", "-e", "my.cli:main", "--app", "src"]);
    assert_eq!(said(&app), "1.0 3.0");
    assert_eq!(layers(&bench), ["wheel one 1.0", "wheel two 3.0", "app src -"]);
}

#[test]
fn a_script_that_says_what_it_needs() {
    let script = "#!/usr/bin/env python3\n# /// script\n# requires-python = '>=3.9'\n# dependencies = ['one<2']\n# ///\nimport one, sys\nprint(one.version, sys.argv[1:], __name__)\n";
    let bench =
        Bench::new().wheel(&wheel("one", "1.0")).wheel(&wheel("one", "2.0")).file("report.py", script);
    let app = bench.pack(&["report.py"]);
    assert_eq!(app.start().arg("x").run().printed(), "1.0 ['x'] __main__");
    assert_eq!(layers(&bench), ["wheel one 1.0", "app report -"]);
}

#[test]
fn a_project_with_a_build_backend_in_its_tree() {
    let bench = built_project("requires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]")
        .file("project/backend.py", BACKEND.replace("BASE", "os"));
    let app = bench.pack(&["project"]);
    assert_eq!(said(&app), "built, with leaf 0.3");
    assert_eq!(layers(&bench), ["wheel tool 1.5", "wheel leaf 0.3"]);
    let mut left: Vec<_> =
        fs::read_dir(bench.path("project")).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["backend.py", "pyproject.toml", "src"], "building leaves nothing in the source tree");
}

#[test]
fn a_project_whose_build_backend_is_installed_from_a_wheel() {
    let backend =
        WheelBuilder::new("backend", "1.0").file("backend.py", BACKEND.replace("BASE", "base_of_backend"));
    let backend = backend.requires("base_of_backend");
    let bench = built_project("requires = [\"backend>=1\"]\nbuild-backend = \"backend\"")
        .wheel(&backend)
        .wheel(&wheel("base_of_backend", "1.0"));
    let app = bench.pack(&["project"]);
    assert_eq!(said(&app), "built, with leaf 0.3");
    assert_eq!(layers(&bench), ["wheel tool 1.5", "wheel leaf 0.3"], "what builds is not packed");
    // A change of the source is in the next pack.
    let bench = bench.file("project/src/tool.py", "def main():\n    print('changed')\n");
    assert_eq!(said(&bench.pack(&["project"])), "changed");
}

#[test]
fn a_project_without_a_build_backend_is_packed_as_it_is() {
    let bench = Bench::new()
        .wheel(&wheel("one", "1.0"))
        .file(
            "project/pyproject.toml",
            "[project]\nname = \"Plain\"\nversion = \"0.1\"\ndependencies = [\"one\"]\n",
        )
        .file("project/main.py", "import one, beside; print(one.version, beside.x)\n")
        .file("project/beside.py", "x = 7\n")
        .file("project/.git/config", "secret")
        .file("project/__pycache__/main.cpython-311.pyc", "stale");
    let app = bench.pack_to("project/app", &["project"]);
    assert_eq!(said(&app), "1.0 7");
    let again = bench.pack_to("project/app", &["project"]);
    let files = "import os, sys; print(*sorted(os.listdir(sys.prefix + '/app')))";
    assert_eq!(again.python(files).run().printed(), "__pycache__ beside.py main.py pyproject.toml");
}

#[test]
fn several_requirements_and_a_local_wheel() {
    let local = WheelBuilder::new("local", "4.0")
        .file("local.py", "import one, two\ndef main():\n    print(one.version, two.version)\n")
        .entry_points("[console_scripts]\nlocal = local:main\n")
        .requires("one");
    let bench = Bench::new()
        .wheel(&wheel("one", "1.0"))
        .wheel(&wheel("two", "2.0").requires("three>=1"))
        .wheel(&wheel("three", "1.1"))
        .wheel_in("dist", &local);
    let app = bench.pack(&["./dist/local-4.0-py3-none-any.whl", "one", "two>=1"]);
    assert_eq!(said(&app), "1.0 2.0");
    assert_eq!(layers(&bench), ["wheel local 4.0", "wheel one 1.0", "wheel three 1.1", "wheel two 2.0"]);
}

#[test]
fn without_an_output_the_file_is_called_like_the_project() {
    let bench = Bench::new().file("my-site/main.py", "print('here')");
    let ran = bench.try_pack(&["my-site", "--name", "site"]).succeeded();
    assert!(ran.stderr.contains("packed site: "), "{ran}");
    assert_eq!(said(&Packed::at(bench.path("site"))), "here");
    let quiet = bench.try_pack(&["my-site", "--quiet", "-o", "quiet"]);
    assert_eq!(quiet.printed(), "");
}

const LONG_NAMES: &str = "
import importlib, os
here = os.path.dirname(os.path.abspath(__file__))
long = importlib.import_module('m' * 252)
print(long.x, open(os.path.dirname(long.__file__) + '/' + 'd/' * 120 + 'deep.txt').read())
for name in ('größe ☃.txt', 'file', 'directory/file.txt'):
    print(open(f'{here}/{name}').read())
print(os.readlink(here + '/file'), [len(name) for name in os.listdir(here + '/texts')])
";

#[test]
fn links_and_long_names_and_names_in_every_script() {
    // 255 bytes are all that a file system takes; byte code of the first cannot be stored under its usual name.
    let (module, text) = (format!("{}.py", "m".repeat(252)), format!("{}.txt", "t".repeat(251)));
    let deep = "d/".repeat(120);
    let bench = Bench::new()
        .wheel(
            &WheelBuilder::new("long", "1.0").file(&module, "x = 1\n").file(&format!("{deep}deep.txt"), "2"),
        )
        .file(&format!("src/texts/{text}"), "text")
        .file("src/größe ☃.txt", "snow")
        .file("src/real/file.txt", "linked")
        .file("src/main.py", LONG_NAMES);
    symlink("real/file.txt", bench.path("src/file")).unwrap();
    symlink("real", bench.path("src/directory")).unwrap();
    let app = bench.pack(&["long", "--app", "src", "-e", "main.py"]);
    assert_eq!(said(&app), "1 2\nsnow\nlinked\nlinked\nreal/file.txt [255]");
}

#[test]
fn run_packs_and_becomes_the_app() {
    let bench = Bench::new().file("main.py", "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(3)");
    let ran = Ran::of(bench.coil(&["run", "main.py", "--", "--x", "", "y"]), b"");
    assert_eq!(ran.code(), Some(3), "{ran}");
    assert_eq!(ran.stdout, format!("{} ['--x', '', 'y']\n", ran.pid), "{ran}");
    assert_eq!(ran.stderr, "", "{ran}");
    assert!(!bench.path("main").exists(), "nothing is written beside the project");
}

#[test]
fn inspect_describes_a_bundle() {
    let bench = Bench::new().wheel(&wheel("one", "1.0")).file("src/main.py", "import one");
    bench.pack(&[
        "one",
        "--app",
        "src",
        "-e",
        "main.py --flag",
        "--name",
        "thing",
        "--command",
        "other=-m one",
    ]);
    let text = inspect(&bench, &[]).stdout;
    for part in [
        "thing\n",
        "with CPython 3.",
        "* thing ",
        "app/main.py --flag\n",
        "    other ",
        "wheel   one 1.0",
        "together",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    let manifest = inspect(&bench, &["--json"]).json();
    assert_eq!(manifest["default"], "thing");
    assert_eq!(manifest["commands"]["thing"]["args"], serde_json::json!(["--flag"]));
    let lock = inspect(&bench, &["--lock"]).stdout;
    let lock: toml::Table = lock.parse().unwrap();
    assert_eq!(lock["lock-version"].as_str(), Some("1.0"));
    let package = &lock["packages"][0];
    assert_eq!((package["name"].as_str(), package["version"].as_str()), (Some("one"), Some("1.0")));
    let none = Ran::of(bench.coil(&["inspect", "src/main.py"]), b"");
    assert_eq!((none.code(), none.stdout.as_str()), (Some(1), ""), "{none}");
    assert!(none.stderr.starts_with("error: ") && none.stderr.contains("\nhint: "), "{none}");
}

#[test]
fn what_inspect_prints_stays_in_columns_with_names_of_any_length() {
    let long = "a_distribution_with_a_name_that_is_longer_than_most";
    let bench = Bench::new().wheel(&wheel("one", "1.0")).wheel(&wheel(long, "1.0"));
    let command = format!("{long}=-m one");
    bench.pack(&["one", long, "-e", "-m one", "--command", &command, "--name", "thing"]);
    let text = inspect(&bench, &[]).stdout;
    let (commands, layers) = text.split_once("\nlayers ").expect(&text);
    let layers: Vec<&str> = layers.lines().skip(1).collect();
    assert!(layers.iter().any(|line| line.contains(&format!("wheel   {long} 1.0 "))), "{text}");
    assert!(layers.iter().all(|line| line.len() == layers[0].len()), "{text}");
    let starts: Vec<_> = commands.lines().filter_map(|line| line.find("libexec/")).collect();
    assert!(starts.len() == 2 && starts[0] == starts[1], "{text}");
}

#[test]
fn nothing_but_an_interpreter_has_to_be_on_path() {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let interpreter = PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim());
    let place = scratch();
    symlink(interpreter, place.path().join("python3")).unwrap();
    let bench =
        Bench::new().env("PATH", place.path()).without("HOME").file("main.py", "import ssl; print('packed')");
    assert_eq!(said(&bench.pack(&["main.py"])), "packed");
    let bench = bench.wheel(&wheel("one", "1.0")).file("main.py", "import one; print(one.version)");
    let ran = bench.try_pack(&["main.py", "one", "-o", "app"]);
    if !ran.status.success() && ran.stderr.contains("uv is not installed") {
        return skip("the interpreter has no pip");
    }
    ran.succeeded();
    assert_eq!(said(&Packed::at(bench.path("app"))), "1.0");
}

#[test]
fn a_packed_runtime_has_no_pip_and_that_of_another_interpreter_finds_its_wheels() {
    let backend = WheelBuilder::new("backend", "1.0").file("backend.py", BACKEND.replace("BASE", "os"));
    let bench = built_project("requires = [\"backend>=1\"]\nbuild-backend = \"backend\"").wheel(&backend);
    let bench = bench.env("COIL_RESOLVER", "pip");
    let app = bench.pack(&["project", QUICK, "--runtime", runtime_file().to_str().unwrap()]);
    assert_eq!(said(&app), "built, with leaf 0.3");
}

#[test]
fn the_interpreter_can_be_named_by_path_directory_or_version() {
    let asked = "import sys; print(sys.executable, sys.prefix, '%d.%d' % sys.version_info[:2])";
    let asked = Command::new("python3").args(["-c", asked]).output().unwrap();
    let asked = String::from_utf8(asked.stdout).unwrap();
    let bench = Bench::new().file("main.py", "import sys; print('%d.%d' % sys.version_info[:2])");
    for name in asked.split_whitespace() {
        if name == "/usr" {
            continue; // of which bin/python3 may be a link to another program's choice
        }
        let app = bench.pack(&["main.py", "--python", name]);
        assert_eq!(said(&app), asked.split_whitespace().last().unwrap(), "{name}");
    }
}

#[test]
fn an_active_virtualenv_is_the_interpreter_and_not_what_is_in_it() {
    let bench = Bench::new().file("main.py", "import sys; print(sys.version_info[0])\ntry:\n    import installed\nexcept ImportError:\n    print('clean')");
    let made = Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(bench.path("venv"))
        .output()
        .unwrap();
    if !made.status.success() {
        return skip("no virtualenv can be made here");
    }
    let version = "import sys, sysconfig; open(sysconfig.get_path('purelib') + '/installed.py', 'w')";
    assert!(Command::new(bench.path("venv/bin/python")).args(["-c", version]).status().unwrap().success());
    let venv = bench.path("venv");
    let bench = bench.env("VIRTUAL_ENV", venv);
    assert_eq!(said(&bench.pack(&["main.py"])), "3\nclean");
}

#[test]
fn a_reader_written_from_the_format_page_alone_understands_a_bundle() {
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_bundle.py");
    let read = |bundle: &std::path::Path| {
        let mut command = Command::new("python3");
        command.arg(reader).arg(bundle);
        Ran::of(command, b"")
    };
    let ran = read(probe().path()).succeeded();
    assert!(ran.stdout.contains("probe") && ran.stdout.contains("native"), "{ran}");
    let plain = read(&PathBuf::from("/bin/sh"));
    assert!(!plain.status.success(), "{plain}");
}

#[test]
fn a_bundle_survives_strip() {
    let bench = Bench::new();
    let app = bench.path("stripped");
    let stripped = Command::new("strip").arg("-o").arg(&app).arg(probe().path()).output();
    match stripped {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => return skip("there is no strip here (binutils)"),
    }
    let cache = scratch();
    assert_eq!(Packed::at(app).start().cache(cache.path()).run().json()["name"], "tell");
}
