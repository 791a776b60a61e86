//! Promise: of a source tree in git exactly what is tracked is packed, or another commit of it, and nothing is
//! changed on the way; settings, a Procfile and build steps do what they say.

mod kit;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use kit::{Bench, Packed, Ran, WheelBuilder};

/// git in a directory of the bench, as a user who has configured nothing.
fn git(bench: &Bench, directory: &str, words: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "protocol.file.allow=always"]).args(words).current_dir(bench.path(directory));
    for name in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{name}_NAME"), "A").env(format!("GIT_{name}_EMAIL"), "a@example.org");
        command.env(format!("GIT_{name}_DATE"), "1700000000 +0000");
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    Ran::of(command, b"").succeeded().stdout.trim().to_owned()
}

/// Makes a repository of a directory, or one commit more in it, and returns the commit.
fn commit(bench: &Bench, directory: &str) -> String {
    git(bench, directory, &["init", "--quiet"]);
    git(bench, directory, &["add", "--all"]);
    git(bench, directory, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    git(bench, directory, &["rev-parse", "HEAD"])
}

fn manifest(bench: &Bench, packed: &Packed) -> serde_json::Value {
    let path = packed.path().to_str().unwrap();
    Ran::of(bench.coil(&["inspect", "--json", path]), b"").json()
}

/// What is in the app's directory, but for byte code.
fn files(packed: &Packed) -> Vec<String> {
    let code = "import os, sys; top = os.path.join(sys.prefix, 'app'); print(*sorted(\
                os.path.relpath(os.path.join(at, name), top) for at, _, names in os.walk(top, followlinks=True) \
                for name in names if not name.endswith('.pyc')), sep='\\n')";
    packed.python(code).run().printed().lines().map(str::to_owned).collect()
}

fn differ(one: &Packed, other: &Packed) -> bool {
    fs::read(one.path()).unwrap() != fs::read(other.path()).unwrap()
}

/// A repository whose project is called `site`.
fn site() -> Bench {
    Bench::new()
        .file("site/main.py", "import lib\nprint('main', lib.NAME)\n")
        .file("site/lib/__init__.py", "NAME = 'one'\n")
        .file("site/.gitignore", "*.log\nbuilt/\n")
        .file("site/coil.toml", "default = 'main'\n[commands]\nmain = 'main.py'\n")
}

#[test]
fn exactly_what_is_tracked_is_packed() {
    let bench = site().program("site/run.sh", "#!/bin/sh\n");
    symlink("lib/__init__.py", bench.path("site/link.py")).unwrap();
    let id = commit(&bench, "site");
    let bench = bench
        .file("site/notes.txt", "")
        .file("site/drafts/a", "")
        .file("site/x.log", "")
        .file("site/built/app.js", "");
    fs::set_permissions(bench.path("site/run.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    git(&bench, "site", &["config", "core.fileMode", "false"]);
    let ran = bench.try_pack(&["site", "-o", "app"]);
    assert!(
        ran.stderr.contains("note: site: 2 files (drafts/, notes.txt) left out, as git does not track them"),
        "{ran}"
    );
    let app = Packed::at(bench.path("app"));
    let tracked = [".gitignore", "coil.toml", "lib/__init__.py", "link.py", "main.py", "run.sh"];
    assert_eq!(files(&app), tracked);
    assert_eq!(app.start().run().printed(), "main one");
    let bits = "import os, sys; print(os.access(sys.prefix + '/app/run.sh', os.X_OK), os.readlink(sys.prefix + '/app/link.py'))";
    assert_eq!(app.python(bits).run().printed(), "True lib/__init__.py");
    assert_eq!(manifest(&bench, &app)["source"], serde_json::json!({"commit": id, "dirty": false}));
    let said = Ran::of(bench.coil(&["inspect", "app"]), b"").printed();
    assert!(said.contains(&format!("of commit {id}\n")), "{said}");
    // Ignored and untracked files are packed where they are named, and only there.
    let bench =
        bench.file("site/coil.toml", "artifacts = ['built', 'notes.txt']\n[commands]\nmain = 'main.py'\n");
    let more = bench.pack(&["site"]);
    assert_eq!(
        files(&more),
        [&tracked[..1], &["built/app.js"], &tracked[1..5], &["notes.txt"], &tracked[5..]].concat()
    );
    assert_eq!(manifest(&bench, &more)["source"]["dirty"], true);
}

#[test]
fn another_clone_in_another_directory_gives_the_same_bytes() {
    let bench = site();
    commit(&bench, "site");
    let first = bench.pack_to("first", &["site"]);
    fs::create_dir(bench.path("other")).unwrap();
    git(&bench, ".", &["clone", "--quiet", "site", "other/site"]);
    let bench = bench.file("other/site/left.over", "");
    let second = bench.pack_to("second", &["other/site"]);
    assert!(!differ(&first, &second));
    git(&bench, "site", &["worktree", "add", "--quiet", "--detach", "../third/site"]);
    let third = bench.pack_to("third.bin", &["third/site"]);
    assert!(!differ(&first, &third));
}

#[test]
fn dirty_is_what_differs_in_the_packed_directory() {
    let bench = site();
    fs::create_dir(bench.path("all")).unwrap();
    fs::rename(bench.path("site"), bench.path("all/site")).unwrap();
    let bench = bench.file("all/other/x.py", "");
    let id = commit(&bench, "all");
    let bench = bench.file("all/other/x.py", "changed").file("all/site/new.py", "");
    let app = bench.pack(&["all/site", "--require-clean"]);
    assert_eq!(manifest(&bench, &app)["source"]["dirty"], false, "neither elsewhere nor untracked");
    let bench = bench.file("all/site/main.py", "print('changed')\n");
    let app = bench.pack(&["all/site"]);
    assert_eq!(manifest(&bench, &app)["source"], serde_json::json!({"commit": id, "dirty": true}));
    assert_eq!(app.start().run().printed(), "changed", "what lies there is packed");
    let ran = bench.try_pack(&["all/site", "--require-clean", "-o", "refused"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    let said = format!("error: all/site differs from commit {}: 1 file (main.py)\n", &id[..12]);
    assert!(ran.stderr.starts_with(&said) && !bench.path("refused").exists(), "{ran}");
}

#[test]
fn another_commit_is_packed_and_nothing_is_touched() {
    let bench = site();
    let first = commit(&bench, "site");
    let old = bench.pack_to("old", &["site"]);
    let bench = bench.file("site/lib/__init__.py", "NAME = 'two'\n");
    commit(&bench, "site");
    let bench = bench.file("site/lib/__init__.py", "NAME = 'three'\n").file("site/new.py", "");
    git(&bench, "site", &["add", "new.py"]);
    let state = || {
        let index = fs::read(bench.path("site/.git/index")).unwrap();
        (index, git(&bench, "site", &["for-each-ref"]), git(&bench, "site", &["status", "--porcelain"]))
    };
    let before = state();
    let again = bench.pack_to("again", &["site", "--rev", &first[..10], "--require-clean"]);
    assert!(!differ(&old, &again));
    let head = bench.pack_to("head", &["site", "--rev", "HEAD"]);
    assert_eq!(head.start().run().printed(), "main two");
    assert!(state() == before);
    let ran = bench.try_pack(&["site", "--rev", "nope", "-o", "x"]);
    assert!(ran.stderr.starts_with("error: --rev nope: there is no such commit in "), "{ran}");
    let bench = bench.file("plain/x.py", "");
    let ran = bench.try_pack(&["plain", "--rev", "HEAD", "-o", "x"]);
    // Depending on whether the tests themselves lie in a work tree of git.
    let reasons =
        ["error: --rev: plain cannot be compared with a commit: ", "error: --rev HEAD: that commit has no "];
    assert!(reasons.iter().any(|reason| ran.stderr.starts_with(reason)), "{ran}");
}

/// A build backend that packs what the environment says, and a module.
const BACKEND: &str = r#"
import os, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "tool-1-py3-none-any.whl"
    files = {
        "tool.py": open("tool.py").read() + "\nDATE = " + repr(os.environ["SOURCE_DATE_EPOCH"]) + "\n",
        "tool-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tool\nVersion: 1\n",
        "tool-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tool-1.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n",
    }
    record = "".join(path + ",,\n" for path in [*files, "tool-1.dist-info/RECORD"])
    import base64, hashlib
    def line(path, text):
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        return "%s,sha256=%s,%d\n" % (path, digest, len(text.encode()))
    record = "".join(line(*item) for item in files.items()) + "tool-1.dist-info/RECORD,,\n"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path, text in {**files, "tool-1.dist-info/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path, (2000, 1, 1, 0, 0, 0)), text)
    return name
"#;

#[test]
fn wheels_are_built_of_the_commit_and_get_its_time() {
    let system = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n[project]\nname = 'tool'\nversion = '1'\n";
    let code = |text: &str| format!("def main():\n    print({text:?}, DATE)\n");
    let bench = Bench::new()
        .file("all/sub/pyproject.toml", system)
        .file("all/sub/backend.py", BACKEND)
        .file("all/sub/tool.py", code("one"));
    let outside = bench.pack_to("outside", &["all/sub"]);
    assert_eq!(outside.start().run().printed(), "one 315532800");
    commit(&bench, "all");
    let bench = bench.file("all/sub/tool.py", code("two")).file("all/sub/draft.py", "");
    let ran = bench.try_pack(&["all/sub", "-o", "now"]);
    assert!(
        ran.stderr.contains("1 file (draft.py) that git does not track; which of them are packed is up to"),
        "{ran}"
    );
    assert_eq!(Packed::at(bench.path("now")).start().run().printed(), "two 1700000000");
    let old = bench.pack_to("old", &["all/sub", "--rev", "HEAD"]);
    assert_eq!(old.start().run().printed(), "one 1700000000");
    let bench = bench.env("SOURCE_DATE_EPOCH", "1234567890");
    assert_eq!(bench.pack(&["all/sub"]).start().run().printed(), "two 1234567890");
    let bench = bench.file("all/sub/tool.py", code("one"));
    let ran = bench.try_pack(&["all/sub", "--require-clean", "-o", "x"]);
    assert!(
        ran.stderr.contains("(draft.py) that git does not track, and its build backend may pack them"),
        "{ran}"
    );
}

#[test]
fn scripts_and_requirements_come_from_the_commit_as_well() {
    let bench = Bench::new()
        .wheel(&WheelBuilder::new("one", "1.0").file("one.py", ""))
        .file("all/script.py", "print('one')\n")
        .file("all/requirements.txt", "one\n");
    let id = commit(&bench, "all");
    let bench = bench.file("all/script.py", "print('two')\n").file("all/requirements.txt", "absent\n");
    let app = bench.pack(&["all/script.py", "-r", "all/requirements.txt", "--rev", "HEAD"]);
    assert_eq!(app.start().run().printed(), "one");
    assert_eq!(manifest(&bench, &app)["source"]["commit"], id);
}

#[test]
fn git_lists_a_project_once_and_again_after_every_change_of_what_is_tracked() {
    let bench = site();
    commit(&bench, "site");
    let mut which = Command::new("sh");
    which.args(["-c", "command -v git"]);
    let real = Ran::of(which, b"").printed().trim().to_owned();
    let wrapper =
        format!("#!/bin/sh\necho \"$*\" >> '{}'\nexec '{real}' \"$@\"\n", bench.path("asked").display());
    let path = format!("{}:{}", bench.path("tools").display(), std::env::var("PATH").unwrap());
    let bench = bench.program("tools/git", &wrapper).env("PATH", path);
    let pack = |bench: &Bench| {
        let asked =
            || fs::read_to_string(bench.path("asked")).unwrap_or_default().matches("ls-files").count();
        let before = asked();
        let app = bench.pack(&["site"]);
        (asked() - before, files(&app))
    };
    let before = [".gitignore", "coil.toml", "lib/__init__.py", "main.py"].map(str::to_owned);
    assert_eq!(pack(&bench), (1, before.to_vec()));
    let bench = bench.file("site/main.py", "print('changed')\n").file("site/new.py", "");
    assert_eq!(pack(&bench), (0, before.to_vec()));
    git(&bench, "site", &["add", "new.py"]);
    let (asked, packed) = pack(&bench);
    assert!(asked == 1 && packed.contains(&"new.py".to_owned()), "{packed:?}");
    git(&bench, "site", &["rm", "--quiet", "--force", "--cached", "new.py"]);
    assert_eq!(pack(&bench), (1, before.to_vec()));
    // What is gone is not packed, whatever is remembered.
    fs::remove_file(bench.path("site/lib/__init__.py")).unwrap();
    let (asked, packed) = pack(&bench);
    assert!(asked == 0 && packed.len() == 3, "{packed:?}");
}

#[test]
fn without_git_everything_is_packed_and_that_is_said() {
    let bench = site();
    commit(&bench, "site");
    let bench = bench.file("site/new.py", "");
    let tools = bench.path("tools");
    fs::create_dir(&tools).unwrap();
    let mut which = Command::new("python3");
    which.args(["-c", "import sys; print(sys.executable)"]);
    let wrapper = format!("#!/bin/sh\nexec '{}' \"$@\"\n", Ran::of(which, b"").printed());
    let bench = bench.program("tools/python3", &wrapper).env("PATH", &tools);
    let ran = bench.try_pack(&["site", "-o", "app"]).succeeded();
    assert!(ran.stderr.contains("warning: site is in a work tree of git, and git is not installed"), "{ran}");
    let app = Packed::at(bench.path("app"));
    assert!(files(&app).contains(&"new.py".to_owned()));
    assert!(manifest(&bench, &app)["source"].is_null());
    for option in [&["--require-clean"][..], &["--rev", "HEAD"]] {
        let ran = bench.try_pack(&[&["site", "-o", "x"], option].concat());
        assert!(ran.stderr.contains("git is not installed\n") && ran.code() == Some(1), "{ran}");
    }
}

/// A wheel whose program tells how it was started.
fn gunicorn() -> WheelBuilder {
    let code = "import os, sys\ndef main():\n    print(sys.argv[1:], os.environ.get('MODE'))\n";
    WheelBuilder::new("gunicorn", "1.0")
        .file("gunicorn.py", code)
        .entry_points("[console_scripts]\ngunicorn = gunicorn:main\n")
}

#[test]
fn the_process_types_of_a_procfile_are_commands() {
    let bench = Bench::new()
        .wheel(&gunicorn())
        .file("site/requirements.txt", "gunicorn\n")
        .file("site/manage.py", "import sys\nprint('manage', sys.argv[1:])\n")
        .file("site/Procfile", "web: gunicorn site.wsgi --bind 0.0.0.0:$PORT $OPTIONS\nrelease: python manage.py migrate\nworker: MODE=\"work $PORT\" gunicorn '$PORT' \"${NAME:-a b}\"\n");
    let app = bench.pack(&["site"]);
    assert_eq!(app.start().run().printed(), "['site.wsgi', '--bind', '0.0.0.0:5000'] None");
    let set = app.start().env("PORT", "80").env("OPTIONS", "-w 2").arg("x").run();
    assert_eq!(set.printed(), "['site.wsgi', '--bind', '0.0.0.0:80', '-w', '2', 'x'] None");
    assert_eq!(app.start().env("COIL_RUN", "release").run().printed(), "manage ['migrate']");
    let worker = app.start().env("COIL_RUN", "worker").env("MODE", "mine").run();
    assert_eq!(worker.printed(), "['$PORT', 'a b'] work 5000");
    let bench = bench.file("site/Procfile", "web: gunicorn x\nrelease: a && b\n");
    let ran = bench.try_pack(&["site", "-o", "x"]);
    assert!(
        ran.stderr.contains(
            "/site/Procfile, line 2: the command of release cannot be understood: && needs a shell"
        ),
        "{ran}"
    );
    let bench = bench.file("site/coil.toml", "[commands]\nrelease = 'manage.py up'\n");
    let app = bench.pack(&["site"]);
    assert_eq!(app.start().env("COIL_RUN", "release").run().printed(), "manage ['up']");
    let bench = bench.program("site/start.sh", "#!/bin/sh\n").file("site/Procfile", "web: ./start.sh\n");
    let ran = bench.try_pack(&["site", "-o", "x"]);
    assert!(
        ran.stderr.starts_with("error: the command web cannot start start.sh: it is no Python file"),
        "{ran}"
    );
}

#[test]
fn what_init_writes_packs_without_editing() {
    let bench = Bench::new()
        .wheel(&gunicorn())
        .file("site/requirements.txt", "gunicorn\n")
        .file("site/manage.py", "import sys  # django\nprint('manage', sys.argv[1:])\n")
        .file("site/mysite/wsgi.py", "application = None\n");
    Ran::of(bench.coil(&["init", "site"]), b"").succeeded();
    let app = bench.pack(&["site"]);
    assert_eq!(app.start().run().printed(), "['mysite.wsgi:application', '--bind', '0.0.0.0:8000'] None");
    assert_eq!(app.start().env("COIL_RUN", "manage").arg("x").run().printed(), "manage ['x']");
    let ran = Ran::of(bench.coil(&["init", "site"]), b"");
    assert_eq!(
        (ran.code(), ran.stderr.as_str()),
        (Some(1), "error: site/coil.toml is there already\nhint: edit it, or remove it first\n")
    );

    let before = "# mine\n[project]\nname = \"tool\"\nversion = \"1\"\n[tool.black]\nline-length = 1 # short";
    let bench = bench
        .file("tool/pyproject.toml", before)
        .file("tool/main.py", "print('tool')\n")
        .file("tool/other.py", "");
    Ran::of(bench.coil(&["init", "tool"]), b"").succeeded();
    let after = fs::read_to_string(bench.path("tool/pyproject.toml")).unwrap();
    assert!(after.starts_with(&format!("{before}\n\n[tool.coil]\n")), "{after}");
    assert_eq!(bench.pack(&["tool"]).start().run().printed(), "tool");
    let ran = Ran::of(bench.coil(&["init", "tool"]), b"");
    assert!(ran.stderr.contains("has a table [tool.coil] already"), "{ran}");
    assert_eq!(fs::read_to_string(bench.path("tool/pyproject.toml")).unwrap(), after);

    let bench =
        bench.file("inline/pyproject.toml", "tool = { x = 1 }\n").file("inline/main.py", "print('inline')\n");
    Ran::of(bench.coil(&["init", "inline"]), b"").succeeded();
    assert_eq!(bench.pack(&["inline"]).start().run().printed(), "inline");
    let bench = bench.file("empty/README", "");
    let ran = Ran::of(bench.coil(&["init", "empty"]), b"");
    assert!(ran.stderr.starts_with("error: nothing in empty looks as if it could be started"), "{ran}");
    assert!(!bench.path("empty/coil.toml").exists());
}

#[test]
fn settings_in_two_places_and_mistyped_keys_are_refused() {
    let bench = site().file("site/pyproject.toml", "[tool.coil]\ndefault = 'main'\n");
    let ran = bench.try_pack(&["site", "-o", "x"]);
    assert!(ran.stderr.contains("has settings in two places: coil.toml and pyproject.toml\n"), "{ran}");
    fs::remove_file(bench.path("site/pyproject.toml")).unwrap();
    let bench = bench.file("site/coil.toml", "artefacts = []\n");
    let ran = bench.try_pack(&["site", "-o", "x"]);
    assert!(
        ran.stderr.ends_with("there is the unknown key \"artefacts\"\nhint: did you mean artifacts?\n"),
        "{ran}"
    );
}

/// A project whose steps do everything that steps can do.
fn stepping(log: &Path) -> Bench {
    let make = format!(
        "import os, sys, helper, lib\n\
         open({log:?}, 'a').write('ran ')\n\
         os.makedirs('static/deep')\n\
         open('static/deep/new.txt', 'w').write(helper.NAME + lib.NAME)\n\
         open('changed.txt', 'a').write(' and after')\n\
         os.remove('gone.txt')\n\
         os.makedirs('__pycache__'); open('__pycache__/x.pyc', 'w')\n\
         names = ['PYTHONPATH', 'COIL_CACHE', 'VIRTUAL_ENV', 'SOURCE_DATE_EPOCH', 'TZ', 'MODE']\n\
         seen = [os.environ.get(name) for name in names]\n\
         assert seen[:2] == [None, None] and seen[2] == sys.prefix, seen\n\
         open('seen.txt', 'w').write(repr(seen[3:]))\n\
         print('said by the step')\n"
    );
    Bench::new()
        .wheel(&WheelBuilder::new("helper", "1.0").file("helper.py", "NAME = 'helper '\n").data("scripts", "mark", "#!python\nimport sys\nimport lib\nopen('mark.txt', 'w').write(' '.join(sys.argv[1:]) + lib.__file__.rsplit('/', 2)[1])\n"))
        .file("site/requirements.txt", "helper\n")
        .file("site/main.py", "print(open(__file__.replace('main.py', 'static/deep/new.txt')).read())\n")
        .file("site/lib.py", "NAME = 'lib'\n")
        .file("site/make.py", make)
        .file("site/changed.txt", "before")
        .file("site/gone.txt", "")
        .file("site/coil.toml", "build = ['python make.py', \"mark $MODE 'a b'\"]\n[commands]\nmain = 'main.py'\n[environment]\nMODE = 'fast'\n")
}

#[test]
fn what_steps_make_in_the_tree_is_packed_and_kept() {
    let place = kit::scratch();
    let log = place.path().join("log");
    let bench = stepping(&log).env("PYTHONPATH", "/nowhere");
    let ran = bench.try_pack(&["site", "-o", "app"]).succeeded();
    assert!(ran.stderr.contains("ran 2 build steps: 4 files made or changed, 1 file removed\n"), "{ran}");
    assert!(!ran.stderr.contains("said by the step"), "{ran}");
    let app = Packed::at(bench.path("app"));
    assert_eq!(
        files(&app),
        [
            "changed.txt",
            "coil.toml",
            "lib.py",
            "main.py",
            "make.py",
            "mark.txt",
            "requirements.txt",
            "seen.txt",
            "static/deep/new.txt"
        ]
    );
    assert_eq!(app.start().run().printed(), "helper lib");
    let read = |name: &str| {
        app.python(&format!("import sys; print(open(sys.prefix + '/app/{name}').read())")).run().printed()
    };
    assert_eq!(read("changed.txt"), "before and after");
    assert_eq!(read("seen.txt"), "['315532800', 'UTC', 'fast']");
    assert_eq!(read("mark.txt"), "fast a bapp", "a program finds the modules of the copy");
    assert_eq!(fs::read_to_string(bench.path("site/changed.txt")).unwrap(), "before", "the sources stay");
    let again = bench.pack_to("again", &["site"]);
    assert!(!differ(&app, &again));
    assert_eq!(fs::read_to_string(&log).unwrap(), "ran ", "an unchanged project does not run them again");
    let elsewhere = kit::scratch();
    let bench = bench.env("COIL_CACHE", elsewhere.path()).env("TZ", "Asia/Tokyo").env("LC_ALL", "C");
    let anew = bench.pack_to("anew", &["site"]);
    assert!(!differ(&app, &anew));
    assert_eq!(fs::read_to_string(&log).unwrap(), "ran ran ");
    let bench = bench.file("site/lib.py", "NAME = 'other'\n");
    assert_eq!(bench.pack(&["site"]).start().run().printed(), "helper other");
    assert_eq!(fs::read_dir(elsewhere.path().join("pack/tmp")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_step_that_fails_fails_the_pack_with_its_output() {
    let bench = Bench::new()
        .file("site/main.py", "")
        .file("site/fail.py", "import sys\nprint('on one')\nprint('on two', file=sys.stderr)\nsys.exit(7)\n")
        .file("site/coil.toml", "build = ['python -c pass', 'python -u fail.py']\n");
    let ran = bench.try_pack(&["site", "-o", "app"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    let said = "error: the build step `python -u fail.py` failed with exit code 7\n  caused by: on one\n    on two\n";
    assert!(ran.stderr.ends_with(said), "{ran}");
    assert!(!bench.path("app").exists());
    let ran = bench.try_pack(&["site", "-o", "app", "-v"]);
    assert!(ran.stderr.contains("\non one\non two\nerror: the build step"), "{ran}");
    let bench = bench.file("site/coil.toml", "build = ['no-such-program --now']\n");
    let ran = bench.try_pack(&["site", "-o", "app"]);
    assert!(ran.stderr.starts_with("error: the build step `no-such-program --now` cannot be run: there is no program called no-such-program\n"), "{ran}");
}

/// A pointer of Git LFS to a file of three bytes.
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nsize 3\n";

#[test]
fn a_pointer_of_git_lfs_is_not_packed_for_its_file() {
    let bench = site()
        .file("site/data/model.bin", POINTER)
        .file("site/tests/pointer.txt", POINTER)
        .file("site/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    // As in a clone by somebody who has not installed LFS.
    for filter in ["smudge", "clean"] {
        git(&bench, "site", &["init", "--quiet"]);
        git(&bench, "site", &["config", &format!("filter.lfs.{filter}"), "cat"]);
    }
    commit(&bench, "site");
    for words in [&["site"][..], &["site", "--rev", "HEAD"], &["one", "--app", "site", "-e", "main.py"]] {
        let bench = &bench;
        WheelBuilder::new("one", "1.0").build(&bench.wheels());
        let ran = bench.try_pack(&[words, &["-o", "app"]].concat());
        assert_eq!(ran.code(), Some(1), "{words:?}: {ran}");
        let said =
            "error: site: Git LFS keeps 1 file (data/model.bin), and only a pointer to it is here\nhint: ";
        assert!(ran.stderr.contains(said) && ran.stderr.contains("git -C site lfs pull"), "{words:?}: {ran}");
    }
    // Left out it does no harm, and what only looks like a pointer is a file like others.
    let bench =
        bench.file("site/coil.toml", "default = 'main'\nexclude = ['data']\n[commands]\nmain = 'main.py'\n");
    assert!(files(&bench.pack(&["site"])).contains(&"tests/pointer.txt".to_owned()));
    // A backend may pack it or not.
    let page =
        "[build-system]\nrequires = []\nbuild-backend = 'none'\n[project]\nname = 'x'\nversion = '1'\n";
    let bench = bench.file("site/pyproject.toml", page);
    let ran = bench.try_pack(&["site", "-o", "app"]);
    assert!(ran.stderr.contains("up to its build backend") || ran.code() == Some(1), "{ran}");
}

#[test]
fn commits_that_a_clone_has_not_got_are_fetched_or_named() {
    let bench = site();
    commit(&bench, "site");
    git(&bench, "site", &["tag", "v1"]);
    let bench = bench.file("site/lib/__init__.py", "NAME = 'two'\n");
    commit(&bench, "site");
    git(&bench, "site", &["config", "uploadpack.allowFilter", "true"]);
    let origin = format!("file://{}", bench.path("site").display());
    // Without the files of older commits, and with another name for where they are; the address may be relative.
    git(&bench, ".", &["clone", "--quiet", "--filter=blob:none", "-o", "upstream", &origin, "partial"]);
    for address in [origin.as_str(), "../site"] {
        git(&bench, "partial", &["remote", "set-url", "upstream", address]);
        let missing = || git(&bench, "partial", &["rev-list", "--objects", "--missing=print", "--all"]);
        let before = missing();
        assert!(before.contains('?'), "{before}");
        assert_eq!(bench.pack(&["partial", "--rev", "v1"]).start().run().printed(), "main one", "{address}");
        assert_eq!(missing(), before, "the user's clone is left as it was");
    }
    git(&bench, ".", &["clone", "--quiet", "--depth", "1", &origin, "shallow"]);
    assert_eq!(bench.pack(&["shallow", "--rev", "HEAD"]).start().run().printed(), "main two");
    let ran = bench.try_pack(&["shallow", "--rev", "HEAD~1", "-o", "out"]);
    assert!(ran.code() == Some(1) && ran.stderr.contains("git fetch --unshallow"), "{ran}");
}
