//! Promise: every way to start an app that a bundle knows can be reached: by default, by COIL_RUN, by the
//! name of a link, by the first argument; and the launcher's own commands by COIL.

mod kit;

use std::fs;
use std::os::unix::fs::symlink;

use kit::{Bench, Packed, Ran, WheelBuilder, probe, scratch};

fn run(name: &str, arguments: &[&str]) -> Ran {
    probe().start().env("COIL_RUN", name).args(arguments).run()
}

/// A wheel with two console scripts, one of which is called like it.
fn greeter() -> WheelBuilder {
    let code = "import sys\ndef main():\n    print('hello', *sys.argv[1:])\nclass Other:\n    def main():\n        print('other')\n        return 'that is wrong'\n";
    WheelBuilder::new("greeter", "1.2")
        .file("greeter.py", code)
        .entry_points("[console_scripts]\ngreeter = greeter:main\nother = greeter:Other.main\n")
}

fn answers(packed: &Packed, arguments: &[&str]) -> String {
    packed.start().args(arguments).run().printed()
}

#[test]
fn a_function_is_called_and_its_result_is_the_exit_code() {
    let ran = run("called", &["a", "--b"]);
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(7), "called with ['a', '--b']\n"), "{ran}");
}

#[test]
fn a_module_is_started_as_with_m() {
    assert_eq!(run("whoami", &["a"]).printed(), "__main__ ['a']");
}

#[test]
fn a_file_is_started_as_main() {
    let seen = run("tell", &["x"]).json();
    assert!(seen["script"].as_str().unwrap().ends_with("/app/tell.py"), "{seen}");
    assert!(seen["path"][0].as_str().unwrap().ends_with("/app"), "{seen}");
}

#[test]
fn a_program_that_is_no_python_is_executed() {
    assert!(run("native", &[]).printed().contains("Name:"));
}

#[test]
fn a_console_script_is_the_default_of_its_distribution() {
    let bench = Bench::new().wheel(&greeter());
    let app = bench.pack(&["greeter"]);
    assert_eq!(answers(&app, &["you"]), "hello you");
    let other = app.start().env("COIL_RUN", "other").run();
    assert_eq!((other.code(), other.stderr.as_str()), (Some(1), "that is wrong\n"), "{other}");
    let named = bench.pack_to("named", &["greeter", "-e", "greeter first"]);
    assert_eq!(answers(&named, &["second"]), "hello first second");
}

#[test]
fn the_name_of_the_file_chooses_the_default_among_what_was_asked_for() {
    let asked = WheelBuilder::new("asked", "1")
        .file("asked.py", "def main(): print('asked')\ndef first(): print('first')\n")
        .entry_points("[console_scripts]\nasked = asked:main\nfirst = asked:first\n")
        .requires("greeter");
    let bench = Bench::new().wheel(&asked).wheel(&greeter());
    let packed = |output: &str, words: &[&str]| bench.pack_to(output, words);
    assert_eq!(answers(&packed("bundle", &["asked"]), &[]), "asked");
    let first = packed("first", &["asked"]);
    assert_eq!(answers(&first, &[]), "first");
    assert_eq!(answers(&first.linked_into(bench.root(), "asked"), &[]), "first", "it is chosen once");
    assert_eq!(answers(&packed("bundle", &["asked", "--name", "first"]), &[]), "first");
    assert_eq!(answers(&packed("first", &["asked", "-e", "asked"]), &[]), "asked", "what is stated counts");
    assert_eq!(answers(&packed("other", &["asked"]), &[]), "asked", "nobody asked for greeter");
    let first = packed("first", &["asked"]);
    fs::rename(first.path(), bench.path("moved")).unwrap();
    let find = bench.wheels().display().to_string();
    let words = ["verify", "moved", "--rebuild", "--no-index", "--find-links", find.as_str()];
    let ran = Ran::of(bench.coil(&words), b"").succeeded();
    assert!(ran.stderr.ends_with("bit for bit\n"), "{ran}");
}

#[test]
fn a_pack_says_what_it_starts_where_there_is_a_choice() {
    let two = "[console_scripts]\none = pair:main\ntwo = pair:main\n";
    let pair = WheelBuilder::new("pair", "1").file("pair.py", "def main(): pass\n").entry_points(two);
    let bench = Bench::new().wheel(&pair).wheel(&greeter());
    let said = |words: &[&str]| bench.try_pack(words).succeeded().stderr;
    let greeter = said(&["greeter"]);
    assert!(
        greeter.contains("note: the default command is greeter; ") && greeter.contains(" another: other\n"),
        "{greeter}"
    );
    let pair = said(&["pair"]);
    assert!(
        pair.contains("note: there is no default command ") && pair.contains(" names one of one, two\n"),
        "{pair}"
    );
    assert!(!said(&["pair", "-e", "one"]).contains("default command"));
}

#[test]
fn a_link_starts_the_command_it_is_called_like() {
    let place = scratch();
    let link = |name: &str| {
        symlink(probe().path(), place.path().join(name)).unwrap();
        probe().start_as(place.path().join(name))
    };
    let called = link("called").run();
    assert_eq!((called.code(), called.stdout.as_str()), (Some(7), "called with []\n"), "{called}");
    assert_eq!(link("whoami").arg("a").run().printed(), "__main__ ['a']");
    assert_eq!(link("anything").arg("a").run().json()["arguments"][0], "a", "another name means the default");
    let asked = link("do").env("COIL_RUN", "whoami").run();
    assert_eq!(asked.printed(), "__main__ []", "COIL_RUN goes before the name");
}

#[test]
fn the_files_own_name_means_nothing() {
    let place = scratch();
    let renamed = probe().linked_into(place.path(), "called");
    assert_eq!(renamed.start().run().json()["name"], "tell");
}

#[test]
fn without_a_default_the_first_argument_names_the_command() {
    let bench = Bench::new()
        .file("src/one.py", "import sys; print('one', sys.argv[1:])")
        .file("src/two.py", "import sys; print('two', sys.argv[1:])");
    let app = bench.pack(&["--app", "src", "--command", "a=one.py", "--command", "b=two.py --fixed"]);
    assert_eq!(answers(&app, &["a", "b"]), "one ['b']");
    assert_eq!(answers(&app, &["b", "x"]), "two ['--fixed', 'x']");
    let none = app.start().run();
    assert_eq!((none.code(), none.stdout.as_str()), (Some(127), ""), "{none}");
    assert_eq!(none.stderr, "app: which command? name one as the first argument: a, b\n");
    let unknown = app.start().args(&["c", "a"]).run();
    assert_eq!((unknown.code(), unknown.stdout.as_str()), (Some(127), ""), "{unknown}");
    assert_eq!(unknown.stderr, "app: there is no command \"c\" in this bundle; it has a, b\n");
}

#[test]
fn an_unknown_command_is_answered_with_those_that_exist() {
    let ran = run("nope", &[]);
    assert_eq!((ran.code(), ran.stderr.lines().count()), (Some(127), 1), "{ran}");
    for name in ["nope", "called", "do", "native", "tell", "whoami"] {
        assert!(ran.stderr.contains(name), "{name}: {ran}");
    }
    assert!(!ran.stderr.contains("COIL=python"), "{ran}");
}

#[test]
fn who_asks_for_python_as_a_command_is_told_how_the_interpreter_is_started() {
    let ran = run("python3", &["-c", "print(6 * 7)"]);
    assert_eq!((ran.code(), ran.stderr.lines().count()), (Some(127), 1), "{ran}");
    assert!(ran.stderr.ends_with("whoami; COIL=python starts its interpreter\n"), "{ran}");
    assert_eq!(probe().start().env("COIL", "python").args(&["-c", "print(6 * 7)"]).run().printed(), "42");
}

#[test]
fn a_project_states_its_commands_and_its_default() {
    let settings = "[project]\nname = \"site\"\nversion = \"3\"\n[project.scripts]\nadmin = \"site_admin.cli:main\"\n\
        [tool.coil]\ndefault = \"web\"\n[tool.coil.commands]\nweb = \"greeter --port 80\"\nworker = \"-m site_admin.work\"\n\
        [tool.coil.environment]\nGREETING = \"hi\"\n";
    let bench = Bench::new()
        .wheel(&greeter())
        .file(
            "site/pyproject.toml",
            settings.replace("version = \"3\"", "version = \"3\"\ndependencies = [\"greeter\"]"),
        )
        .file("site/site_admin/__init__.py", "")
        .file(
            "site/site_admin/cli.py",
            "import os\ndef main():\n    print('admin', os.environ['GREETING'])\n",
        )
        .file("site/site_admin/work.py", "print('working')\n");
    let app = bench.pack(&["site"]);
    assert_eq!(answers(&app, &["x"]), "hello --port 80 x");
    for (name, said) in [("admin", "admin hi"), ("worker", "working"), ("greeter", "hello")] {
        assert_eq!(app.start().env("COIL_RUN", name).run().printed(), said, "{name}");
    }
    let mine = app.start().env("COIL_RUN", "admin").env("GREETING", "mine").run();
    assert_eq!(mine.printed(), "admin mine", "what the user has set stays");
}

#[test]
fn the_working_directory_is_no_place_to_import_from() {
    let place = scratch();
    for name in ["pkg", "json", "encodings", "runpy", "site"] {
        fs::write(place.path().join(format!("{name}.py")), "raise SystemExit('from the working directory')")
            .unwrap();
    }
    for (command, said) in [("whoami", "__main__ []"), ("called", "called with []")] {
        let ran = probe().start().env("COIL_RUN", command).within(place.path()).run();
        assert_eq!(ran.stdout.trim_end(), said, "{ran}");
    }
    let seen = probe().start().within(place.path()).run().json();
    let path = seen["path"].as_array().unwrap();
    assert!(
        !path.iter().any(|entry| entry == "" || entry == seen["directory"].as_str().unwrap()),
        "{path:?}"
    );
}

#[test]
fn help_lists_what_can_be_asked() {
    let said = probe().start().env("COIL", "help").run().printed();
    for word in ["help", "inspect", "python", "verify", "where", "COIL_RUN", "COIL_CACHE", "called", "whoami"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn inspect_lists_commands_python_and_layers() {
    let said = probe().start().env("COIL", "inspect").run().printed();
    assert!(said.starts_with("probe\npython 3."), "{said}");
    for part in [
        "command tell (default): app/tell.py",
        "command called: libexec/called",
        "runtime cpython",
        "wheel   native",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(said.matches("sha256:").count(), 3, "{said}");
}

#[test]
fn verify_finds_a_sound_bundle_intact_and_says_what_is_not() {
    let said = probe().start().env("COIL", "verify").run().printed();
    // What is unpacked of it may be the work of several tests, for this libc and for that.
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("3 layers are intact"), "{said}");
    assert!(lines.all(|line| line.ends_with(" is as it was unpacked")), "{said}");
    let bench = Bench::new().file("damage.py", "import sys\nwith open(sys.argv[1], 'r+b') as file:\n    file.seek(-200_000, 2)\n    file.write(b'damage')\n");
    let broken = bench.path("broken");
    for arguments in [
        vec!["cp".into(), probe().path().display().to_string(), broken.display().to_string()],
        vec!["python3".into(), "damage.py".into(), broken.display().to_string()],
    ] {
        let mut command = std::process::Command::new(&arguments[0]);
        command.args(&arguments[1..]).current_dir(bench.root());
        Ran::of(command, b"").succeeded();
    }
    let ran = Packed::at(broken).start().env("COIL", "verify").run();
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(125), ""), "{ran}");
    assert!(ran.stderr.contains("is damaged") && ran.stderr.lines().count() == 1, "{ran}");
}

#[test]
fn python_is_the_interpreter_inside() {
    let code = "import pkg.mod, sys; print(sys.argv, sys.prefix != sys.base_prefix)";
    assert_eq!(probe().python(code).arg("x").run().printed(), "['-c', 'x'] True");
    let module = probe().start().env("COIL", "python").args(&["-m", "pkg.whoami", "y"]).run();
    assert_eq!(module.printed(), "__main__ ['y']");
    let from_input = probe().start().env("COIL", "python").arg("-").stdin("print(6 * 7)").run();
    assert_eq!(from_input.printed(), "42");
}

#[test]
fn where_prints_the_environment_that_is_used() {
    let place = scratch();
    let said = probe().start().env("COIL", "where").cache(place.path()).run().printed();
    assert!(said.starts_with(&format!("{}/envs/", place.path().display())), "{said}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "asking creates nothing");
    let seen = probe().start().cache(place.path()).run().json();
    assert_eq!(seen["prefix"], said);
}

#[test]
fn a_mistyped_builtin_is_answered_with_where_to_look() {
    let ran = probe().start().env("COIL", "halp").run();
    assert_eq!(ran.code(), Some(127), "{ran}");
    assert_eq!(ran.stderr, "probe: COIL=\"halp\" means nothing here; COIL=help lists what does\n");
}
