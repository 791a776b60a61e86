//! Promise: `--venv` ships what is installed. A virtualenv's layers are those of the wheels it was made of,
//! wherever it is and whoever filled it; what differs from what was installed is named.

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::{Bench, Packed, Ran, WheelBuilder, scratch, skip};

/// A tool that installs wheels.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Installer {
    Pip,
    Uv,
}

impl Installer {
    fn all() -> Vec<Installer> {
        let uv = Command::new("uv").arg("--version").output().is_ok_and(|output| output.status.success());
        if !uv {
            skip("uv is not installed; only pip is tried");
        }
        if uv { vec![Installer::Pip, Installer::Uv] } else { vec![Installer::Pip] }
    }

    /// A virtualenv at `place` with these distributions, from the bench's wheels alone.
    fn fill(self, bench: &Bench, place: &Path, requirements: &[&str]) {
        let python = place.join("bin/python");
        if !place.exists() {
            succeed(Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(place));
        }
        let mut command = match self {
            Installer::Pip => {
                let mut command = Command::new("python3");
                command.args(["-m", "pip", "--python"]).arg(&python);
                command.args(["install", "--quiet", "--disable-pip-version-check"]);
                command
            }
            Installer::Uv => {
                let mut command = Command::new("uv");
                command.args(["pip", "install", "--quiet", "--python"]).arg(&python);
                command.env("UV_CACHE_DIR", bench.path("uv-cache"));
                command
            }
        };
        command.args(["--no-index", "--find-links"]).arg(bench.wheels()).args(requirements);
        succeed(&mut command);
    }
}

#[track_caller]
fn succeed(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["PIP_", "UV_", "PYTHON", "VIRTUAL_ENV"].iter().any(|prefix| text.starts_with(prefix)) {
            if command.get_envs().any(|(own, _)| own == name) {
                continue;
            }
            command.env_remove(&name);
        }
    }
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A wheel with one of everything that an installation changes or moves.
fn tool() -> WheelBuilder {
    WheelBuilder::new("tool", "1.5")
        .file("tool/__init__.py", "def main():\n    import leaf\n    print('tool with', leaf.version)\n")
        .file("tool/data, with \u{e9}.txt", "x")
        .program("tool/run.sh", "#!/bin/sh\n")
        .file("tool.pth", "import sys; sys.tool_pth = 'ran'\n")
        .data("scripts", "tool-script", "#!python -E\nimport tool\ntool.main()\n")
        .data("scripts", "tool-shell", "#!/bin/sh\necho shell\n")
        .data("scripts", "tool-env", "#!/usr/bin/env python3\nprint(1)\n")
        .data("data", "share/tool/x.txt", "shared")
        .data("data", "etc/tool.cfg", "x = 1")
        .data("headers", "tool.h", "#define X\n")
        .data("purelib", "tool_pure.py", "x = 1\n")
        .entry_points(
            "[console_scripts]\ntool = tool:main\ntool2 = tool:main\n[gui_scripts]\ntoolw = tool:main\n",
        )
        .requires("leaf")
}

fn bench() -> Bench {
    Bench::new().wheel(&tool()).wheel(&WheelBuilder::new("leaf", "0.3").file("leaf.py", "version = '0.3'\n"))
}

/// The digests of a bundle's layers without the runtime, by what they are.
fn layers(bench: &Bench, packed: &Packed) -> BTreeMap<String, String> {
    let manifest =
        Ran::of(bench.coil(&["inspect".as_ref(), "--json".as_ref(), packed.path().as_os_str()]), b"");
    let manifest = manifest.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let layers = manifest["layers"].as_array().unwrap().iter().skip(1);
    layers
        .map(|layer| {
            let what =
                format!("{} {} {}", text(&layer["kind"]), text(&layer["name"]), text(&layer["version"]));
            (what, text(&layer["digest"]))
        })
        .collect()
}

#[track_caller]
fn refuse<S: AsRef<std::ffi::OsStr>>(bench: &Bench, words: &[S], parts: &[&str]) {
    let words: Vec<&std::ffi::OsStr> = words.iter().map(AsRef::as_ref).collect();
    let ran = bench.try_pack(&[words.as_slice(), &["-o".as_ref(), "out".as_ref()]].concat());
    assert_eq!(ran.code(), Some(1), "{ran}");
    for part in parts {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    assert!(ran.stderr.contains("\nhint: ") && !bench.path("out").exists(), "{ran}");
}

fn site_packages(venv: &Path) -> PathBuf {
    let library = fs::read_dir(venv.join("lib")).unwrap().map(|entry| entry.unwrap().path());
    library.map(|python| python.join("site-packages")).find(|path| path.is_dir()).unwrap()
}

#[test]
fn what_is_installed_becomes_the_layers_of_its_wheels() {
    let bench = bench();
    let wheels = bench.pack_to("wheels-app", &["tool"]);
    assert_eq!(wheels.start().run().printed(), "tool with 0.3");
    let expected = layers(&bench, &wheels);
    assert_eq!(expected.keys().collect::<Vec<_>>(), ["wheel leaf 0.3", "wheel tool 1.5"]);
    let long = format!("{}/a long way with spaces/.venv", "x".repeat(150));
    for installer in Installer::all() {
        for place in ["short", &long] {
            let venv = bench.path(&format!("{installer:?}")).join(place);
            fs::create_dir_all(venv.parent().unwrap()).unwrap();
            installer.fill(&bench, &venv, &["tool"]);
            let words = ["tool".as_ref(), "--venv".as_ref(), venv.as_os_str()];
            let app = bench.pack_to("app", &words);
            assert_eq!(layers(&bench, &app), expected, "{installer:?} {place}");
            assert_eq!(app.start().run().printed(), "tool with 0.3");
            assert_eq!(app.start().env("COIL_RUN", "tool-script").run().printed(), "tool with 0.3");
            // The same virtualenv at another place: what installers wrote about the old one is still known.
            let moved = venv.with_file_name("moved");
            fs::rename(&venv, &moved).unwrap();
            let words = ["tool".as_ref(), "--venv".as_ref(), moved.as_os_str()];
            assert_eq!(
                layers(&bench, &bench.pack_to("app", &words)),
                expected,
                "{installer:?} {place}, moved"
            );
        }
    }
}

#[test]
fn a_bundle_of_a_virtualenv_knows_its_distributions_and_has_no_lock() {
    let bench = bench();
    Installer::Pip.fill(&bench, &bench.path(".venv"), &["tool"]);
    let app = bench.pack(&["--venv", ".venv", "-e", "tool:main"]);
    let list =
        "import importlib.metadata as m; print(*sorted(f'{d.name}={d.version}' for d in m.distributions()))";
    assert_eq!(app.python(list).run().printed(), "leaf=0.3 tool=1.5");
    let record = "import importlib.metadata as m, os
for file in m.files('tool'):
    assert os.path.exists(file.locate()), file
    if file.hash and not str(file).endswith(('tool', 'tool2', 'toolw', 'tool-script')):
        import hashlib, base64
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_binary()).digest()).rstrip(b'=').decode()
        assert digest == file.hash.value, file
print(m.distribution('tool').read_text('INSTALLER').strip(), m.distribution('tool').read_text('REQUESTED'))";
    assert_eq!(app.python(record).run().printed(), "coil None");
    let inspected = Ran::of(bench.coil(&["inspect", "app"]), b"").succeeded();
    assert!(inspected.stdout.contains("tool 1.5") && inspected.stdout.contains("leaf 0.3"), "{inspected}");
    let lock = Ran::of(bench.coil(&["inspect", "--lock", "app"]), b"");
    assert!(lock.code() == Some(1) && lock.stderr.contains("without a lock"), "{lock}");
}

#[test]
fn files_that_are_not_as_installed_are_named_and_strict_refuses_them() {
    let bench = bench();
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["tool"]);
    let site = site_packages(&venv);
    // What virtualenv lists of pip's byte code has never been there.
    let mut record = fs::File::options().append(true).open(site.join("leaf-0.3.dist-info/RECORD")).unwrap();
    record.write_all(b"leaf.cpython-312.pyc,,\n__pycache__/leaf.cpython-313.pyc,,\n").unwrap();
    let clean = bench.try_pack(&["tool", "--venv", ".venv", "--strict", "-o", "clean"]).succeeded();
    assert!(!clean.stderr.contains("warning"), "{clean}");

    fs::write(site.join("leaf.py"), "version = 'changed'\n").unwrap();
    fs::remove_file(site.join("tool/data, with \u{e9}.txt")).unwrap();
    fs::write(site.join("stray.py"), "x = 'stray'\n").unwrap();
    fs::create_dir_all(site.join("__pycache__")).unwrap();
    fs::write(site.join("__pycache__/stray.cpython-312.pyc"), "").unwrap();
    for round in 0..2 {
        let ran = bench.try_pack(&["tool", "--venv", ".venv", "-o", "app"]).succeeded();
        let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings.len(), 3, "round {round}: {ran}");
        assert!(
            warnings[0].contains("leaf 0.3 has been changed") && warnings[0].ends_with("leaf.py"),
            "{ran}"
        );
        assert!(
            warnings[1].contains("tool 1.5 is missing") && warnings[1].contains("with \u{e9}.txt"),
            "{ran}"
        );
        assert!(
            warnings[2].contains("belong to no distribution") && warnings[2].ends_with("/stray.py"),
            "{ran}"
        );
    }
    let app = Packed::at(bench.path("app"));
    assert_eq!(app.start().run().printed(), "tool with changed");
    assert_eq!(
        app.python("import stray; print(stray.x, stray.__cached__ is not None)").run().printed(),
        "stray True"
    );
    refuse(
        &bench,
        &["tool", "--venv", ".venv", "--strict"],
        &["leaf 0.3 has been changed", "--strict refuses", "(and 2 more)"],
    );

    // Back to what was installed: the first bundle again.
    fs::write(site.join("leaf.py"), "version = '0.3'\n").unwrap();
    fs::write(site.join("tool/data, with \u{e9}.txt"), "x").unwrap();
    fs::remove_file(site.join("stray.py")).unwrap();
    let again = bench.pack_to("again", &["tool", "--venv", ".venv", "--strict"]);
    assert!(fs::read(again.path()).unwrap() == fs::read(bench.path("clean")).unwrap());
}

#[test]
fn a_change_that_leaves_size_and_time_is_noticed() {
    let bench = bench();
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["tool"]);
    let leaf = site_packages(&venv).join("leaf.py");
    let time = fs::metadata(&leaf).unwrap().modified().unwrap();
    for round in 0..6 {
        fs::write(&leaf, format!("version = '{round}.3'\n")).unwrap();
        fs::File::options().write(true).open(&leaf).unwrap().set_modified(time).unwrap();
        let app = bench.pack(&["tool", "--venv", ".venv"]);
        assert_eq!(app.start().run().printed(), format!("tool with {round}.3"));
        if round == 2 {
            std::thread::sleep(std::time::Duration::from_secs(3));
            bench.pack(&["tool", "--venv", ".venv"]);
        }
    }
}

#[test]
fn a_source_tree_or_an_entry_with_a_virtualenv() {
    let bench = bench()
        .file("site/manage.py", "import tool; tool.main()\n")
        .file("site/requirements.txt", "nowhere\n");
    Installer::Pip.fill(&bench, &bench.path("site/.venv"), &["tool"]);
    let site = bench.pack_to("site-app", &["./site", "--venv", "site/.venv"]);
    assert_eq!(site.start().run().printed(), "tool with 0.3");
    let entry = bench.pack_to("entry", &["--venv", "site/.venv", "-e", "tool2"]);
    assert_eq!(entry.start().run().printed(), "tool with 0.3");
    let bare = bench.pack_to("bare", &["--venv", "site/.venv"]);
    assert_eq!(bare.start().args(&["tool"]).run().printed(), "tool with 0.3");
    let manifest = Ran::of(bench.coil(&["inspect", "--json", "bare"]), b"").json();
    assert_eq!(manifest["name"], "site", "called after the directory that it is in");
}

#[test]
fn a_requirement_names_what_is_installed_and_has_to_fit() {
    let bench = bench();
    Installer::Pip.fill(&bench, &bench.path(".venv"), &["tool"]);
    let bench = bench.wheel_in("dist", &tool());
    bench.pack(&["Tool[x]>=1,<2", "--venv", ".venv"]);
    let venv = |word: &'static str| [word, "--venv", ".venv"];
    refuse(&bench, &venv("httpie"), &["httpie, which is not installed in .venv", "pip install \"httpie\""]);
    refuse(&bench, &venv("tool>=2"), &["asks for tool>=2, and .venv has 1.5 installed"]);
    refuse(&bench, &venv("dist/tool-1.5-py3-none-any.whl"), &["is not installed in .venv"]);
    let ran = bench.try_pack(&["tool", "--venv", ".venv", "-r", "x.txt", "-o", "out"]);
    assert!(ran.code() == Some(2) && ran.stderr.contains("--requirement"), "{ran}");
    refuse(&bench, &["tool", "--venv", ".venv", "--python", "/bin/true"], &["/bin/true"]);
}

#[test]
fn directories_that_are_no_virtualenv_that_can_be_packed() {
    let bench = bench().file("plain/x", "").file("conda/conda-meta/history", "").file("main.py", "");
    refuse(&bench, &["--venv", "missing"], &["--venv missing: no such directory"]);
    refuse(&bench, &["--venv", "plain"], &["this is not a virtualenv, there is no pyvenv.cfg in it"]);
    refuse(&bench, &["--venv", "conda"], &["conda environment"]);
    refuse(&bench, &["--venv", "main.py"], &["no directory"]);
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["leaf"]);
    refuse(&bench, &["--venv", ".venv/bin"], &["not a virtualenv", "--venv ", ".venv"]);

    let settings = fs::read_to_string(venv.join("pyvenv.cfg")).unwrap();
    fs::write(venv.join("pyvenv.cfg"), settings.replace("= false", "= true")).unwrap();
    refuse(&bench, &["--venv", ".venv"], &["lets in what is installed outside of it"]);
    fs::write(venv.join("pyvenv.cfg"), &settings).unwrap();

    let library = site_packages(&venv).parent().unwrap().to_owned();
    fs::rename(&library, venv.join("lib/python3.1")).unwrap();
    refuse(&bench, &["--venv", ".venv"], &[".venv is broken: its interpreter is Python 3.", "python3.1"]);
    fs::rename(venv.join("lib/python3.1"), &library).unwrap();

    fs::remove_file(venv.join("bin/python")).unwrap();
    symlink("/nowhere/bin/python3", venv.join("bin/python")).unwrap();
    refuse(
        &bench,
        &["--venv", ".venv"],
        &[".venv is broken: what its bin/python leads to (/nowhere/bin/python3)"],
    );
    fs::remove_dir_all(venv.join("bin")).unwrap();
    refuse(&bench, &["--venv", ".venv"], &["there is no bin/python in it"]);
}

const BACKEND: &str = "
import zipfile
def build_wheel(directory, config=None, metadata=None):
    name = 'linked-2.0-py3-none-any.whl'
    info = 'linked-2.0.dist-info/'
    with zipfile.ZipFile(directory + '/' + name, 'w') as wheel:
        files = {'linked.py': open('src/linked.py').read(), info + 'METADATA': 'Metadata-Version: 2.1\\nName: linked\\nVersion: 2.0\\n',
                 info + 'WHEEL': 'Wheel-Version: 1.0\\nTag: py3-none-any\\n',
                 info + 'entry_points.txt': '[console_scripts]\\nlinked = linked:main\\n'}
        import base64, hashlib
        record = ''
        for path, text in files.items():
            wheel.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()
            record += f'{path},sha256={digest},{len(text)}\\n'
        wheel.writestr(info + 'RECORD', record + info + 'RECORD,,\\n')
    return name
";

/// A project that can be built without an index.
fn linked(bench: Bench) -> Bench {
    bench
        .file(
            "linked/pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
        )
        .file("linked/backend.py", BACKEND)
        .file("linked/src/linked.py", "def main():\n    import leaf; print('linked to', leaf.version)\n")
}

#[test]
fn an_editable_installation_is_packed_as_the_sources_it_points_to() {
    let bench = linked(bench());
    let venv = bench.path("linked/.venv");
    Installer::Pip.fill(&bench, &venv, &["leaf"]);
    let site = site_packages(&venv);
    let source = bench.path("linked").canonicalize().unwrap();
    let info = site.join("linked-2.0.dist-info");
    fs::create_dir(&info).unwrap();
    let url = format!("{{\"url\": \"file://{}\", \"dir_info\": {{\"editable\": true}}}}", source.display());
    for (name, text) in [
        ("linked-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: linked\nVersion: 2.0\n"),
        (
            "linked-2.0.dist-info/RECORD",
            "linked-2.0.dist-info/METADATA,,\n__editable__.linked.pth,,\n../../../bin/linked,,\n",
        ),
        ("linked-2.0.dist-info/direct_url.json", &url),
        ("__editable__.linked.pth", &format!("{}/src\n", source.display())),
    ] {
        fs::write(site.join(name), text).unwrap();
    }
    let ran = bench.try_pack(&["--venv", "linked/.venv", "-o", "app"]).succeeded();
    assert!(!ran.stderr.contains("warning"), "{ran}");
    let app = Packed::at(bench.path("app"));
    assert_eq!(app.start().run().printed(), "linked to 0.3", "the project is what is started");
    assert_eq!(layers(&bench, &app).into_keys().collect::<Vec<_>>(), ["wheel leaf 0.3", "wheel linked 2.0"]);
    let bench = bench.file("linked/src/linked.py", "def main():\n    print('changed')\n");
    assert_eq!(bench.pack(&["./linked", "--venv", "linked/.venv"]).start().run().printed(), "changed");

    // The sources need more by now than was installed with them.
    for (need, is_there) in [("leaf>=0.3", true), ("leaf>=9", false), ("other; python_version > '3'", false)]
    {
        let backend = BACKEND.replace("Version: 2.0\\n", &format!("Version: 2.0\\nRequires-Dist: {need}\\n"));
        fs::write(
            bench.path("linked/backend.py"),
            backend.replace("python_version > '3'", "python_version > \\'3\\'"),
        )
        .unwrap();
        if is_there {
            bench.pack(&["--venv", "linked/.venv"]);
            continue;
        }
        let said = "linked/.venv has not all that is needed: linked 2.0 needs";
        refuse(&bench, &["--venv", "linked/.venv"], &[said, &need[..4]]);
    }
    fs::write(bench.path("linked/backend.py"), BACKEND).unwrap();

    fs::rename(bench.path("linked/pyproject.toml"), bench.path("linked/away")).unwrap();
    refuse(
        &bench,
        &["--venv", "linked/.venv"],
        &["linked is installed in linked/.venv as a link to", "no pyproject.toml"],
    );

    // What `setup.py develop` leaves.
    fs::rename(bench.path("linked/away"), bench.path("linked/pyproject.toml")).unwrap();
    fs::remove_dir_all(&info).unwrap();
    fs::remove_file(site.join("__editable__.linked.pth")).unwrap();
    fs::write(site.join("linked.egg-link"), format!("{}/src\n../", source.display())).unwrap();
    fs::write(site.join("easy-install.pth"), format!("{}/src\n", source.display())).unwrap();
    assert_eq!(bench.pack(&["--venv", "linked/.venv"]).start().run().printed(), "changed");
    fs::write(site.join("linked.egg-link"), "/nowhere\n.").unwrap();
    refuse(&bench, &["--venv", "linked/.venv"], &["linked.egg-link", "is not there"]);
}

#[test]
fn old_installations_are_packed_where_their_files_are_known() {
    let bench = bench();
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["leaf"]);
    let site = site_packages(&venv);
    let info = site.join("old-1.0-py3.12.egg-info");
    fs::create_dir(&info).unwrap();
    fs::write(site.join("old.py"), "def main(): print('old')\n").unwrap();
    fs::write(info.join("PKG-INFO"), "Metadata-Version: 1.0\nName: old\nVersion: 1.0\n").unwrap();
    fs::write(info.join("entry_points.txt"), "[console_scripts]\nold = old:main\n").unwrap();
    let python = venv.join("bin/python").display().to_string();
    fs::write(venv.join("bin/old"), format!("#!{python}\n# EASY-INSTALL-ENTRY-SCRIPT\n")).unwrap();
    refuse(&bench, &["old", "--venv", ".venv"], &["old-1.0-py3.12.egg-info in .venv", "installed-files.txt"]);
    let list = "../old.py\n../__pycache__/old.pyc\n../../../../bin/old\nPKG-INFO\nentry_points.txt\n";
    fs::write(info.join("installed-files.txt"), list).unwrap();
    let app = bench.pack(&["old", "--venv", ".venv", "--strict"]);
    assert_eq!(app.start().run().printed(), "old");
    let version = "import importlib.metadata as m; print(m.version('old'))";
    assert_eq!(app.python(version).run().printed(), "1.0");
    for name in ["other-1.0.egg-info", "other-1.0-py3.12.egg"] {
        fs::write(site.join(name), "").unwrap();
        refuse(&bench, &["old", "--venv", ".venv"], &[&format!("{name} in .venv cannot be packed")]);
        fs::remove_file(site.join(name)).unwrap();
    }
}

#[test]
fn pth_files_of_nobody_are_packed_left_out_or_refused_by_where_they_lead() {
    let bench = bench().file("beside/x.py", "");
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["tool"]);
    let site = site_packages(&venv);
    fs::write(site.join("mine.pth"), "import sys; sys.mine = 1\n").unwrap();
    fs::write(site.join("dead.pth"), "/nowhere/at/all\n").unwrap();
    let ran = bench.try_pack(&["tool", "--venv", ".venv", "-o", "app"]).succeeded();
    assert!(ran.stderr.contains("mine.pth") && ran.stderr.contains("leads to /nowhere/at/all"), "{ran}");
    let app = Packed::at(bench.path("app"));
    assert_eq!(app.python("import sys; print(sys.mine, sys.tool_pth)").run().printed(), "1 ran");
    fs::write(site.join("mine.pth"), bench.path("beside").to_str().unwrap()).unwrap();
    refuse(
        &bench,
        &["tool", "--venv", ".venv"],
        &["mine.pth puts", "beside on sys.path", "hint: pack that directory with --app"],
    );
}

#[test]
fn damaged_installations_are_refused_by_name() {
    let bench = bench();
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["tool"]);
    let site = site_packages(&venv);
    let info = site.join("leaf-0.3.dist-info");
    let pack = |parts: &[&str]| refuse(&bench, &["tool", "--venv", ".venv"], parts);
    for file in ["RECORD", "METADATA"] {
        fs::rename(info.join(file), site.join("kept")).unwrap();
        pack(&["leaf-0.3.dist-info in .venv cannot be packed", &format!("it has no {file}")]);
        fs::rename(site.join("kept"), info.join(file)).unwrap();
    }
    let record = fs::read_to_string(info.join("RECORD")).unwrap();
    fs::write(info.join("RECORD"), "\"x").unwrap();
    pack(&["its RECORD ends inside a quoted field"]);
    fs::write(info.join("RECORD"), &record).unwrap();
    let copy = site.join("leaf-0.2.dist-info");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("METADATA"), "Metadata-Version: 2.1\nName: leaf\nVersion: 0.2\n").unwrap();
    fs::write(copy.join("RECORD"), "").unwrap();
    pack(&["two versions of one distribution: leaf-0.2.dist-info and leaf-0.3.dist-info"]);
    fs::remove_dir_all(copy).unwrap();
    fs::create_dir(site.join("~eaf-0.1.dist-info")).unwrap();
    let outside = scratch();
    let outside = outside.path().join("x");
    fs::write(info.join("RECORD"), format!("{record}{},,\n", outside.display())).unwrap();
    let ran = bench.try_pack(&["tool", "--venv", ".venv", "-o", "app"]).succeeded();
    assert!(ran.stderr.contains("lies outside of the virtualenv: left out"), "{ran}");
    assert!(ran.stderr.contains("~eaf-0.1.dist-info is what an installation that broke off"), "{ran}");
}

#[test]
fn files_that_two_distributions_own_name_both() {
    let bench = Bench::new()
        .wheel(&WheelBuilder::new("one", "1.0").file("same.py", "owner = 'one'\n").file("one.py", ""))
        .wheel(&WheelBuilder::new("two", "1.0").file("same.py", "owner = 'two'\n").file("two.py", ""));
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["one"]);
    Installer::Pip.fill(&bench, &venv, &["two"]);
    let ran = bench.try_pack(&["--venv", ".venv", "-e", "-m same", "-o", "app"]).succeeded();
    assert!(
        ran.stderr.contains("one 1.0 is not what was installed")
            && ran.stderr.contains("same.py (also of two 1.0)"),
        "{ran}"
    );
    let app = Packed::at(bench.path("app"));
    assert_eq!(app.python("import same; print(same.owner)").run().printed(), "two", "as it is installed");
}

#[test]
fn links_into_an_installers_cache_are_followed() {
    let bench = bench();
    let venv = bench.path(".venv");
    Installer::Pip.fill(&bench, &venv, &["tool"]);
    let expected = layers(&bench, &bench.pack(&["tool", "--venv", ".venv"]));
    let site = site_packages(&venv);
    fs::rename(site.join("leaf.py"), bench.path("cached-leaf.py")).unwrap();
    symlink(bench.path("cached-leaf.py"), site.join("leaf.py")).unwrap();
    fs::rename(site.join("tool"), bench.path("cached-tool")).unwrap();
    symlink(bench.path("cached-tool"), site.join("tool")).unwrap();
    let app = bench.pack_to("linked", &["tool", "--venv", ".venv", "--strict"]);
    assert_eq!(layers(&bench, &app), expected);
}
