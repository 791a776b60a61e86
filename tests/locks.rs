//! Promise: what a lock says is what is packed, byte for byte, and nothing is resolved, fetched or asked
//! again; a lock that does not fit its project, its interpreter or its files is one clear error.

mod kit;

use std::fs;
use std::path::Path;
use std::process::Command;

use coil_bootstrap::format::digest::Digest;
use kit::{Behaviour, Bench, Index, Ran, WheelBuilder, cache_with_runtime, resolvers, skip};

fn wheel(name: &str, version: &str) -> WheelBuilder {
    WheelBuilder::new(name, version).file(&format!("{name}.py"), format!("version = '{version}'\n"))
}

fn sha256(path: &Path) -> String {
    Digest::of(&fs::read(path).unwrap()).hex()
}

/// A package of a lock: the wheel in `kept/`, which nobody looks through.
fn package(bench: &Bench, name: &str, version: &str, more: &str) -> String {
    let file = format!("{name}-{version}-py3-none-any.whl");
    let digest = sha256(&bench.path("kept").join(&file));
    format!(
        "[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n{more}\
         wheels = [{{ path = \"kept/{file}\", hashes = {{ sha256 = \"{digest}\" }} }}]\n"
    )
}

const HEAD: &str = "lock-version = \"1.0\"\ncreated-by = \"a test\"\n";

/// Prints the versions of the modules that are there.
const MAIN: &str =
    "import importlib.metadata as m\nprint(*sorted(f'{d.name}={d.version}' for d in m.distributions()))\n";

/// A bench whose lock names old versions, with newer ones where a resolver would look.
fn bench() -> Bench {
    let bench = Bench::new().file("main.py", MAIN);
    ["one", "two", "three"]
        .iter()
        .fold(bench, |bench, name| bench.wheel_in("kept", &wheel(name, "1.0")).wheel(&wheel(name, "2.0")))
}

fn with_lock(bench: Bench, packages: &[(&str, &str)], head: &str) -> Bench {
    let packages: String = packages.iter().map(|(name, more)| package(&bench, name, "1.0", more)).collect();
    bench.file("pylock.toml", format!("{HEAD}{head}{packages}"))
}

const WORDS: [&str; 4] = ["-r", "pylock.toml", "-e", "main.py"];

#[track_caller]
fn packed(bench: &Bench, words: &[&str]) -> String {
    bench.pack(&[words, &["--app", "src"]].concat()).start().run().printed()
}

#[track_caller]
fn refused(ran: &Ran, parts: &[&str]) {
    assert_eq!(ran.code(), Some(1), "{ran}");
    for part in parts {
        assert!(ran.stderr.contains(part), "{part:?}: {ran}");
    }
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{ran}");
}

/// The same bench with `main.py` in a source tree of its own.
fn apart(bench: Bench) -> Bench {
    bench.file("src/main.py", MAIN)
}

fn coil_without_network(bench: &Bench, words: &[&str]) -> Ran {
    let mut command = bench.coil(words);
    bench.limit(&mut command);
    Ran::of(command, b"")
}

#[test]
fn what_a_lock_says_is_packed_and_not_what_is_newest() {
    let bench = apart(with_lock(bench(), &[("one", ""), ("two", "")], ""));
    assert_eq!(packed(&bench, &WORDS), "one=1.0 two=1.0");
    assert_eq!(packed(&bench, &[&WORDS[..], &["--locked"]].concat()), "one=1.0 two=1.0");
}

#[test]
fn markers_extras_and_groups_decide_what_is_taken_of_a_lock() {
    let packages = [
        ("one", "marker = \"'x' in extras or sys_platform == 'win32'\"\n"),
        ("two", "marker = \"'dev' in dependency_groups\"\n"),
        ("three", "marker = \"python_version >= '3' and 'main' in dependency_groups\"\n"),
    ];
    let head = "extras = [\"x\"]\ndependency-groups = [\"dev\", \"main\"]\ndefault-groups = [\"main\"]\n";
    let bench = apart(with_lock(bench(), &packages, head));
    assert_eq!(packed(&bench, &WORDS), "three=1.0");
    assert_eq!(
        packed(&bench, &[&WORDS[..], &["--extra", "X", "--dev"]].concat()),
        "one=1.0 three=1.0 two=1.0"
    );
    assert_eq!(packed(&bench, &[&WORDS[..], &["--no-dev"]].concat()), "three=1.0");
    let ran = bench.try_pack(&[&WORDS[..], &["--extra", "y"]].concat());
    refused(&ran, &["pylock.toml has no extra called \"y\"", "did you mean x?"]);
    let ran = bench.try_pack(&[&WORDS[..], &["--group", "mian"]].concat());
    refused(&ran, &["no dependency group called \"mian\"", "did you mean main?"]);
}

#[test]
fn a_lock_beside_the_project_is_found_and_the_others_are_named() {
    let bench = with_lock(bench(), &[("one", "")], "").file("requirements.txt", "two\n");
    let bench = bench.file("pyproject.toml", "[project]\nname = \"app\"\ndependencies = [\"one\"]\n");
    let bench = bench.file("poetry.lock", "").file("uv.lock", "");
    let ran = bench.try_pack(&[".", "-e", "main.py", "-o", "app"]).succeeded();
    let note = "pylock.toml is used, and uv.lock and poetry.lock and requirements.txt beside it is not";
    assert!(ran.stderr.contains(note), "{ran}");
    assert_eq!(kit::Packed::at(bench.path("app")).start().run().printed(), "one=1.0");
}

#[test]
fn a_lock_that_is_not_its_projects_is_refused_and_wheels_that_disagree_are_a_warning() {
    let bench = bench().wheel_in("kept", &wheel("four", "1.0").requires("one>=2").requires("gone"));
    let bench = with_lock(bench, &[("one", ""), ("four", "")], "");
    let project = |needs: &str| format!("[project]\nname = \"app\"\ndependencies = [{needs}]\n");
    let bench =
        bench.file("pyproject.toml", project("\"four\", \"two; python_version > '3'\", \"one>=1.5\""));
    let ran = bench.try_pack(&[".", "-e", "main.py", "-o", "app"]);
    refused(&ran, &["needs one>=1.5, and one 1.0 is there", "needs two, which is missing", "lock it anew"]);
    assert!(!bench.path("app").exists());
    let bench = bench.file("pyproject.toml", project("\"four\""));
    for _ in 0..2 {
        let ran = bench.try_pack(&[".", "-e", "main.py", "-o", "app"]).succeeded();
        assert!(ran.stderr.contains("warning: four 1.0 needs one>=2, and one 1.0 is there"), "{ran}");
        assert!(ran.stderr.contains("warning: four 1.0 needs gone, which is missing"), "{ran}");
    }
}

#[test]
fn locks_that_cannot_be_used_are_one_error_each() {
    let with = |head: &str, more: &str| {
        let bench = apart(with_lock(bench(), &[("one", more)], head));
        bench.try_pack(&[&WORDS[..], &["--app", "src", "-o", "app"]].concat())
    };
    refused(&with("requires-python = \"<3\"\n", ""), &["pylock.toml is for Python <3", "--python"]);
    refused(
        &with("environments = [\"os_name == 'nt'\"]\n", ""),
        &["is for other environments", "os_name == 'nt'"],
    );
    refused(
        &with("", "marker = \"os_name ?= 'nt'\"\n"),
        &["the marker \"os_name ?= 'nt'\" in pylock.toml of one"],
    );
    refused(&with("", "requires-python = \">=99\"\n"), &["one in pylock.toml is for Python >=99"]);
    refused(&with("[x\n", ""), &["pylock.toml cannot be read", "TOML parse error"]);
    let bench = apart(bench());
    let text = |text: &str| {
        fs::write(bench.path("pylock.toml"), text).unwrap();
        bench.try_pack(&[&WORDS[..], &["--app", "src", "-o", "app"]].concat())
    };
    refused(&text("lock-version = \"2.0\"\npackages = []\n"), &["the lock has version 2.0"]);
    let other = "wheels = [{ path = \"one-1-cp27-cp27m-win32.whl\", hashes = { sha256 = \"";
    let other = format!("{HEAD}[[packages]]\nname = \"one\"\n{other}{}\" }} }}]\n", "0".repeat(64));
    refused(&text(&other), &["has no file of one that fits CPython"]);
    let md5 = "[[packages]]\nname = \"one\"\nwheels = [{ path = \"kept/one-1.0-py3-none-any.whl\", hashes = { md5 = \"0\" } }]\n";
    refused(&text(&format!("{HEAD}{md5}")), &["has no SHA-256 of one"]);
    // What is in the store already is not looked for: another digest.
    let digest = sha256(&bench.path("kept/one-1.0-py3-none-any.whl"));
    let gone =
        package(&bench, "one", "1.0", "").replace("kept/one", "gone/one").replace(&digest, &"0".repeat(64));
    let gone = format!("{HEAD}{gone}");
    refused(&text(&gone), &["gone/one-1.0-py3-none-any.whl cannot be read"]);
}

#[test]
fn a_wheel_that_is_not_the_one_that_was_locked_is_refused() {
    let own = bench().wheel_in("kept", &wheel("nine", "1.0").file("locked.py", "never packed"));
    let bench = apart(with_lock(own, &[("nine", "")], ""));
    let bench = bench.wheel_in("kept", &wheel("nine", "1.0").file("other.py", ""));
    let ran = bench.try_pack(&[&WORDS[..], &["--app", "src", "-o", "app"]].concat());
    refused(&ran, &["kept/nine-1.0-py3-none-any.whl has the digest", "is expected"]);
}

#[test]
fn a_pack_with_an_unchanged_lock_starts_no_resolver_and_fetches_nothing() {
    let bench = apart(bench());
    let index = Index::new(&bench.path("kept"), Behaviour::Works, &[]);
    let file = "one-1.0-py3-none-any.whl";
    let digest = sha256(&bench.path("kept").join(file));
    let address = index.file(file);
    let lock = format!(
        "{HEAD}[[packages]]\nname = \"one\"\nversion = \"1.0\"\nwheels = [{{ url = \"{address}\", hashes = {{ sha256 = \"{digest}\" }} }}]\n"
    );
    let cache = cache_with_runtime();
    let bench = bench.file("pylock.toml", lock).env("COIL_CACHE", cache.path());
    let words = [&["pack"], &WORDS[..], &["--app", "src", "-o", "app"]].concat();
    Ran::of(bench.coil(&words), b"").succeeded();
    let asked = index.asked().len();
    assert!(asked > 0);
    // A pip that is started fails at this timeout, and a uv leaves a trace.
    let trace = bench.path("trace");
    let bench = bench.program("bin/uv", &format!("#!/bin/sh\necho >> {}\nexit 1\n", trace.display()));
    let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
    let bench = bench.env("PATH", path);
    let mut again = bench.coil(&words);
    again.env("PIP_TIMEOUT", "none");
    Ran::of(again, b"").succeeded();
    assert!(!trace.exists());
    // Another choice asks the lock anew, and the wheel is at hand all the same.
    Ran::of(bench.coil(&[&words[..], &["--refresh"]].concat()), b"").succeeded();
    assert_eq!(index.asked().len(), asked, "{:?}", index.asked());
}

#[test]
fn locked_refuses_to_resolve_and_a_lock_keeps_the_bytes() {
    let bench =
        apart(bench()).file("pyproject.toml", "[project]\nname = \"app\"\ndependencies = [\"one\"]\n");
    let words = [".", "-e", "main.py"];
    let ran = bench.try_pack(&[&words[..], &["--locked", "-o", "app"]].concat());
    refused(&ran, &["--locked refuses to resolve", "hint: make one: coil lock ."]);
    let ran = bench.try_pack(&[&words[..], &["-o", "before"]].concat()).succeeded();
    assert!(ran.stderr.contains("note: `coil lock .` keeps these versions"), "{ran}");
    let ran = coil_without_network(&bench, &["lock", "."]).succeeded();
    assert!(ran.stderr.contains("locked 1 distributions for CPython 3."), "{ran}");
    let lock = fs::read_to_string(bench.path("pylock.toml")).unwrap();
    assert!(
        lock.contains("path = \"wheels/one-2.0-py3-none-any.whl\"") && lock.contains("environments = ["),
        "{lock}"
    );
    let bench = bench.wheel(&wheel("one", "3.0"));
    // The lock itself lies in the source tree now: it is no part of the app in either.
    bench.try_pack(&[&words[..], &["--locked", "-o", "after"]].concat()).succeeded();
    let lock_of = |name: &str| Ran::of(bench.coil(&["inspect", "--lock", name]), b"").succeeded().stdout;
    assert_eq!(lock_of("before"), lock_of("after"));
}

#[test]
fn the_same_bytes_come_before_and_after_locking() {
    let bench = bench().file("src/main.py", MAIN).wheel(&wheel("five", "1.0").requires("one"));
    let words = ["five", "--app", "src", "-e", "main.py", "--name", "app"];
    let before = bench.pack_to("before", &words);
    coil_without_network(&bench, &["lock", "five"]).succeeded();
    let bench = bench.wheel(&wheel("one", "3.0"));
    let words = [&words[..], &["-r", "pylock.five.toml", "--locked"]].concat();
    let after = bench.pack_to("after", &words);
    assert_eq!(sha256(before.path()), sha256(after.path()));
    let ran = bench.try_pack(&[&words[..], &["two"]].concat());
    refused(
        &ran,
        &["pylock.five.toml has not all that is needed: the command line needs two, which is missing"],
    );
    let ran = coil_without_network(&bench, &["lock", "five", "-o", "five.lock"]);
    refused(&ran, &["cannot be the name of a lock", "pylock.NAME.toml"]);
}

#[test]
fn requirements_with_hashes_are_a_lock() {
    let bench = apart(bench()).wheel(&wheel("one", "1.0")).wheel(&wheel("six", "1.0").requires("one"));
    let line = |name: &str, version: &str| {
        let file = bench.wheels().join(format!("{name}-{version}-py3-none-any.whl"));
        format!("{name}=={version} \\\n    --hash=sha256:{} # why\n", sha256(&file))
    };
    let lines = [line("one", "1.0"), line("six", "1.0")];
    let words = ["-r", "r.txt", "-e", "main.py", "--locked"];
    for resolver in resolvers() {
        let words = [&words[..], &["--resolver", resolver]].concat();
        fs::write(bench.path("r.txt"), lines.concat()).unwrap();
        assert_eq!(packed(&bench, &words), "one=1.0 six=1.0", "{resolver}");
        fs::write(bench.path("r.txt"), &lines[1]).unwrap();
        let ran = bench.try_pack(&[&words[..], &["--app", "src"]].concat());
        refused(&ran, &["r.txt has not all that is needed: six 1.0 needs one, which is missing"]);
        fs::write(bench.path("r.txt"), format!("{}two\n", lines[0])).unwrap();
        refused(&bench.try_pack(&[&words[..], &["--app", "src"]].concat()), &["--locked refuses"]);
    }
}

#[test]
fn groups_and_extras_of_a_project_without_a_lock() {
    let text = "[project]\nname = \"app\"\ndependencies = []\noptional-dependencies = { x = [\"one\"] }\n\
                [dependency-groups]\ndev = [\"two\", { include-group = \"More\" }]\nmore = [\"three\"]\n\
                a = [{ include-group = \"b\" }]\nb = [{ include-group = \"a\" }]\n";
    let bench = bench().file("pyproject.toml", text);
    let pack = |words: &[&str]| bench.try_pack(&[&[".", "-e", "main.py", "-o", "app"], words].concat());
    let run = || kit::Packed::at(bench.path("app")).start().run().printed();
    pack(&["--extra", "x", "--dev"]).succeeded();
    assert_eq!(run(), "one=2.0 three=2.0 two=2.0");
    pack(&["--all-extras"]).succeeded();
    assert_eq!(run(), "one=2.0");
    refused(&pack(&["--group", "a"]), &["include each other: a -> b -> a"]);
    refused(&pack(&["--group", "moer"]), &["no dependency group called \"moer\"", "did you mean more?"]);
    refused(&pack(&["--extra", "y"]), &["no extra called \"y\""]);
    fs::write(
        bench.path("pyproject.toml"),
        format!("{text}[tool.coil]\nextras = [\"x\"]\ngroups = [\"more\"]\n"),
    )
    .unwrap();
    pack(&[]).succeeded();
    assert_eq!(run(), "one=2.0 three=2.0");
    fs::write(bench.path("pyproject.toml"), format!("{text}[tool.coil]\ngroups = [\"nope\"]\n")).unwrap();
    refused(&pack(&[]), &["no dependency group called \"nope\""]);
}

/// A build backend that needs nothing: it packs one module that says its version.
fn source(bench: Bench, directory: &str, name: &str, requires: &str) -> Bench {
    let backend = format!(
        "import os, zipfile, hashlib, base64\n\
         def build_wheel(directory, config=None, metadata=None):\n\
         \x20   name, info = '{name}-1.0-py3-none-any.whl', '{name}-1.0.dist-info/'\n\
         \x20   files = {{'{name}.py': open('code.py').read(), info + 'METADATA': 'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n{requires}',\n\
         \x20            info + 'WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}}\n\
         \x20   digest = lambda t: base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b'=').decode()\n\
         \x20   record = ''.join(f'{{p}},sha256={{digest(t)}},{{len(t)}}\\n' for p, t in files.items()) + info + 'RECORD,,\\n'\n\
         \x20   with zipfile.ZipFile(os.path.join(directory, name), 'w') as wheel:\n\
         \x20       for path, text in {{**files, info + 'RECORD': record}}.items():\n\
         \x20           wheel.writestr(zipfile.ZipInfo(path), text)\n\
         \x20   return name\n"
    );
    let page = format!(
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\
         [project]\nname = \"{name}\"\nversion = \"1.0\"\ndynamic = [\"dependencies\"]\n"
    );
    let at = |file: &str| format!("{directory}/{file}");
    bench
        .file(&at("backend.py"), backend)
        .file(&at("pyproject.toml"), page)
        .file(&at("code.py"), "said = 'first'\n")
}

#[test]
fn a_source_tree_in_a_lock_is_built_at_each_pack() {
    let bench = source(bench(), "lib/deep", "lib", "Requires-Dist: one\\n");
    let tree = "[[packages]]\nname = \"lib\"\ndirectory = { path = \"../lib\", subdirectory = \"deep\", editable = true }\n";
    let lock = format!("{HEAD}{tree}{}", package(&bench, "one", "1.0", "").replace("kept/", "../kept/"));
    let bench = bench.file("locks/pylock.dev.toml", lock).file("src/main.py", "import lib; print(lib.said)");
    let words = ["-r", "locks/pylock.dev.toml", "-e", "main.py"];
    assert_eq!(packed(&bench, &words), "first");
    fs::write(bench.path("lib/deep/code.py"), "said = 'second'\n").unwrap();
    assert_eq!(packed(&bench, &words), "second");
    let lock = Ran::of(bench.coil(&["inspect", "--lock", "app"]), b"").succeeded().stdout;
    assert!(lock.contains("directory = { path = \"deep\" }") && !lock.contains(".."), "{lock}");
}

#[test]
fn a_commit_is_packed_and_named_in_the_lock() {
    let bench = source(bench(), "repository", "lib", "");
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=x", "-c", "user.email=x@y", "-C"])
            .arg(bench.path("repository"))
            .args(words);
        command.output().ok().filter(|output| output.status.success())
    };
    if git(&["init", "--quiet"]).is_none() {
        return skip("git is not installed");
    }
    git(&["add", "."]).unwrap();
    git(&["commit", "--quiet", "-m", "x"]).unwrap();
    let commit = String::from_utf8(git(&["rev-parse", "HEAD"]).unwrap().stdout).unwrap().trim().to_owned();
    fs::write(bench.path("repository/code.py"), "said = 'not committed'\n").unwrap();
    let bench = bench.file("src/main.py", "import lib; print(lib.said)");
    let requirement = format!("lib @ git+file://{}", bench.path("repository").display());
    for resolver in resolvers() {
        let words = [&requirement, "-e", "main.py", "--resolver", resolver];
        let one = bench.pack(&[&words[..], &["--app", "src", "--build"]].concat());
        assert_eq!(one.start().run().printed(), "first", "{resolver}");
        let lock = Ran::of(bench.coil(&["inspect", "--lock", "app"]), b"").succeeded().stdout;
        assert!(lock.contains(&format!("commit-id = \"{commit}\"")), "{lock}");
        assert!(!lock.contains(bench.root().to_str().unwrap()), "{lock}");
    }
    coil_without_network(&bench, &["lock", &requirement, "--build", "-o", "pylock.toml"]).succeeded();
    assert!(fs::read_to_string(bench.path("pylock.toml")).unwrap().contains("path = \"repository\""));
    assert_eq!(packed(&bench, &WORDS), "first");
}

#[test]
fn sources_are_built_of_a_directory_of_wheels_only_if_asked() {
    let bench = apart(source(bench(), "tree", "lib", ""));
    let made = "import sys, zipfile, os\nwith zipfile.ZipFile('wheels/lib-1.0.zip', 'w') as z:\n\
                \x20   z.writestr('lib-1.0/PKG-INFO', 'Metadata-Version: 2.1\\nName: lib\\nVersion: 1.0\\n')\n\
                \x20   for name in os.listdir('tree'): z.write('tree/' + name, 'lib-1.0/' + name)\n";
    let status = Command::new("python3").args(["-c", made]).current_dir(bench.root()).status().unwrap();
    assert!(status.success());
    let words = ["lib", "--app", "src", "-e", "main.py", "-o", "app"];
    for resolver in resolvers() {
        let words = [&words[..], &["--resolver", resolver]].concat();
        let ran = bench.try_pack(&words);
        assert_eq!(ran.code(), Some(1), "{resolver}: {ran}");
        bench.try_pack(&[&words[..], &["--build"]].concat()).succeeded();
        assert_eq!(kit::Packed::at(bench.path("app")).start().run().printed(), "lib=1.0");
    }
}

#[test]
fn locks_of_poetry_and_pdm_are_read_through_their_exporters() {
    let bench = apart(bench()).file(
        "project/pyproject.toml",
        "[project]\nname = \"app\"\ndependencies = [\"one\"]\n[tool.poetry.group.docs]\n",
    );
    let lock = format!("{HEAD}{}", package(&bench, "one", "1.0", "")).replace("kept/", "../kept/");
    let exporter = "#!/bin/sh\nwhile [ $# -gt 1 ]; do [ \"$1\" = --output ] && out=$2; shift; done\n\
                    [ -z \"$out\" ] || sed \"s|\\.\\./kept|$PROJECT/kept|\" \"$PROJECT/exported\" > \"$out\"\n";
    let bench = bench.file("exported", lock).file("project/main.py", MAIN);
    let path = |bench: &Bench| format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
    let project = bench.root().to_owned();
    let bench = bench.env("PROJECT", project);
    for tool in ["poetry", "pdm"] {
        fs::write(bench.path(&format!("project/{tool}.lock")), "").unwrap();
        let words = ["project", "-e", "main.py", "-o", "app", "--group", "docs"];
        if Command::new(tool).arg("--version").output().is_err() {
            refused(
                &bench.try_pack(&words),
                &[&format!("read through {tool}, and {tool} is not installed"), "pipx install"],
            );
        }
        let mut command = bench.coil(&["pack"]);
        command.args(words).env("PATH", path(&bench));
        bench.limit(&mut command);
        let bin = bench.path("bin");
        fs::create_dir_all(&bin).unwrap();
        let program = bin.join(tool);
        fs::write(&program, exporter).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Ran::of(command, b"").succeeded();
        assert_eq!(kit::Packed::at(bench.path("app")).start().run().printed(), "one=1.0", "{tool}");
        fs::remove_file(bench.path(&format!("project/{tool}.lock"))).unwrap();
    }
}

#[test]
fn a_lock_of_uv_is_read_through_uv() {
    if resolvers().len() < 2 {
        return skip("uv is not installed");
    }
    let page = |needs: &str| {
        format!(
            "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [{needs}]\n\
             optional-dependencies = {{ x = [\"two\"] }}\n[dependency-groups]\ndev = [\"three\"]\n\
             [tool.uv]\nno-index = true\nfind-links = [\"wheels\"]\n"
        )
    };
    let bench = bench().file("pyproject.toml", page("\"one\""));
    let mut lock = Command::new("uv");
    lock.args(["lock", "--quiet"]).current_dir(bench.root()).env("UV_CACHE_DIR", kit::ground().join("uv"));
    assert!(lock.status().unwrap().success());
    let bench = bench.wheel(&wheel("one", "3.0")).wheel(&wheel("two", "3.0"));
    let pack =
        |words: &[&str]| bench.try_pack(&[&[".", "-e", "main.py", "-o", "app", "--locked"], words].concat());
    let run = || kit::Packed::at(bench.path("app")).start().run().printed();
    pack(&[]).succeeded();
    assert_eq!(run(), "one=2.0");
    pack(&["--extra", "x", "--dev"]).succeeded();
    assert_eq!(run(), "one=2.0 three=2.0 two=2.0");
    refused(
        &coil_without_network(&bench, &["lock", "."]),
        &["uv.lock locks this project already", "uv lock"],
    );
    fs::write(bench.path("pyproject.toml"), page("\"one>2\"")).unwrap();
    refused(&pack(&[]), &["uv.lock does not match its project any more", "hint: lock it anew: uv lock"]);
}
