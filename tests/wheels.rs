//! Promise: whatever shape a wheel has that pip installs, it is packed, and what it brings is found.

mod kit;

use std::fs;
use std::process::Command;

use kit::{Bench, EmptyRoot, WheelBuilder, empty_root::WRITABLE, scratch, skip};

const PKGUTIL: &str = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n";

const PKG_RESOURCES: &str = "try:
    __import__('pkg_resources').declare_namespace(__name__)
except ImportError:
    __path__ = __import__('pkgutil').extend_path(__path__, __name__)
";

#[test]
fn namespace_packages_of_every_kind_have_parts_from_several_wheels() {
    let part = |name: &str, module: &str| {
        WheelBuilder::new(name, "1")
            .file("old/__init__.py", PKGUTIL)
            .file(&format!("old/{module}.py"), "")
            .file("older/__init__.py", PKG_RESOURCES)
            .file(&format!("older/{module}/__init__.py"), "")
            .file(&format!("new/deep/{module}.py"), "")
    };
    let bench = Bench::new().wheel(&part("part_a", "a")).wheel(&part("part_b", "b"));
    let code = "import old.a, old.b, older.a, older.b, new.deep.a, new.deep.b; print('all')";
    let bench = bench.file("main.py", code);
    let app = bench.pack(&["part-a", "part-b", "--app", ".", "-e", "main.py"]);
    assert_eq!(app.start().run().printed(), "all");
}

#[test]
fn a_namespace_that_two_wheels_declare_in_other_words_is_one_package() {
    let part = |name: &str, declaration: &str, more: &str| {
        WheelBuilder::new(name, "1")
            .file("ns/__init__.py", declaration)
            .file("ns/empty/__init__.py", more)
            .file(&format!("ns/{name}.py"), "")
    };
    let commented = format!("# A namespace\n\n{PKGUTIL}");
    let bench = Bench::new()
        .wheel(&part("a", &commented, ""))
        .wheel(&part("b", PKG_RESOURCES, "# nothing\n"))
        .wheel(&part("c", &PKGUTIL.replace('\'', "\""), "\"\"\"Nothing.\"\"\"\n"))
        .wheel(&part("other", "version = 1\n", ""))
        .file("main.py", "import ns.a, ns.b, ns.c, ns.empty; print('all')");
    let words = |names: [&'static str; 3]| [&names[..], &["--app", ".", "-e", "main.py", "-v"]].concat();
    let ran = bench.try_pack(&words(["a", "b", "c"])).succeeded();
    let notes = ran.stderr.matches("both are there for the namespace package alone").count();
    assert_eq!(notes, 4, "{ran}");
    let app = bench.pack(&words(["a", "b", "c"]));
    assert_eq!(app.start().run().printed(), "all");
    let ran = bench.try_pack(&words(["a", "b", "other"]));
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(
        ran.stderr.contains("-1-py3-none-any.whl and other-1-py3-none-any.whl both install lib/"),
        "{ran}"
    );
    assert!(ran.stderr.contains("/ns/__init__.py, with different content"), "{ran}");
}

#[test]
fn odd_names_versions_tags_builds_and_signatures_are_taken() {
    let odd = WheelBuilder::new("Odd.Name_Of", "1!2.0.post3+local.7")
        .tag("py2.py3-none-any")
        .called("odd_name_of-1!2.0.post3+local.7-5build-py2.py3-none-any.whl")
        .file("odd_one.py", "")
        .file("odd_two/__init__.py", "")
        .file("odd_two/a \"quoted\", name.txt", "data beside code")
        .unrecorded("Odd.Name_Of-1!2.0.post3+local.7.dist-info/RECORD.p7s", "signature");
    let code = "import odd_one, odd_two, importlib.metadata as m, importlib.resources as r
print(m.version('odd-name.OF'), (r.files('odd_two') / 'a \"quoted\", name.txt').read_text())";
    let bench = Bench::new().wheel(&odd).file("main.py", code);
    let wheel = fs::read_dir(bench.wheels()).unwrap().next().unwrap().unwrap().path();
    let app =
        bench.pack(&[wheel.as_os_str(), "--app".as_ref(), ".".as_ref(), "-e".as_ref(), "main.py".as_ref()]);
    assert_eq!(app.start().run().printed(), "1!2.0.post3+local.7 data beside code");
}

#[test]
fn a_library_finds_those_that_a_repair_tool_put_beside_its_package() {
    let place = scratch();
    let compile = |arguments: &[&str]| {
        let ran =
            Command::new("cc").args(["-shared", "-fPIC"]).args(arguments).current_dir(place.path()).status();
        ran.is_ok_and(|status| status.success())
    };
    fs::write(place.path().join("inner.c"), "int inner(void) { return 42; }\n").unwrap();
    fs::write(place.path().join("outer.c"), "int inner(void); int outer(void) { return inner(); }\n")
        .unwrap();
    let soname = "-Wl,-soname,libinner-1a2b3c.so";
    if !compile(&["-o", "libinner-1a2b3c.so", soname, "inner.c"]) {
        return skip("there is no C compiler here");
    }
    assert!(compile(&[
        "-o",
        "outer.so",
        "outer.c",
        "libinner-1a2b3c.so",
        "-Wl,-rpath,$ORIGIN/../mended.libs"
    ]));
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    let wheel = WheelBuilder::new("mended", "1")
        .file("mended/__init__.py", "import ctypes, os\nfile = os.path.dirname(__file__) + '/outer.so'\nprint(ctypes.CDLL(file).outer())\n")
        .file("mended/outer.so", read("outer.so"))
        .file("mended.libs/libinner-1a2b3c.so", read("libinner-1a2b3c.so"));
    let bench = Bench::new().wheel(&wheel).file("main.py", "import mended");
    let app = bench.pack(&["mended", "--app", ".", "-e", "main.py"]);
    assert_eq!(app.start().run().printed(), "42");
    if EmptyRoot::unavailable().is_none() {
        let root = EmptyRoot::new().with_file("app", app.path()).env("COIL_CACHE", WRITABLE);
        assert_eq!(root.run(&["/app"]).printed(), "42");
    }
}
