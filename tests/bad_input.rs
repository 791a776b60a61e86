//! Promise: whatever is wrong with the input or the machine, a pack ends with one clear error, leaves no
//! half-written output, and its caches are good afterwards.

mod kit;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coil_bootstrap::format::digest::Digest;
use kit::empty_root::is_root;
use kit::mounts::{cannot_mount, mounting};
use kit::{Bench, Packed, QUICK, Ran, WheelBuilder, skip};

const COIL: &str = env!("CARGO_BIN_EXE_coil");

fn wheel(name: &str) -> WheelBuilder {
    WheelBuilder::new(name, "1.0").file(&format!("{name}.py"), "def main(): pass\n")
}

#[track_caller]
fn refuse<S: AsRef<std::ffi::OsStr>>(bench: &Bench, words: &[S], parts: &[&str]) -> Ran {
    let words: Vec<&std::ffi::OsStr> = words.iter().map(AsRef::as_ref).collect();
    let ran = bench.try_pack(&[words.as_slice(), &["-o".as_ref(), "out".as_ref()]].concat());
    assert_eq!(ran.code(), Some(1), "{ran}");
    for part in parts {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    let left: Vec<_> = fs::read_dir(bench.root()).unwrap().map(|file| file.unwrap().file_name()).collect();
    let strange = |name: &&std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.starts_with("out") || name.starts_with(".coil")
    };
    assert!(!left.iter().any(|name| strange(&name)), "{left:?}");
    ran
}

#[test]
fn files_of_requirements_that_include_each_other() {
    let bench = Bench::new()
        .file("main.py", "")
        .file("a.txt", "-r sub/b.txt\n")
        .file("sub/b.txt", "# back again\n-r ../a.txt\n")
        .file("own.txt", "-c own.txt\n");
    for resolver in ["pip", "uv"] {
        let words = |file| ["main.py", "-r", file, "--resolver", resolver];
        refuse(
            &bench,
            &words("a.txt"),
            &["includes itself: a.txt -> sub/b.txt -> sub/../a.txt", "hint: take one of these -r lines out"],
        );
        refuse(&bench, &words("own.txt"), &["own.txt includes itself: own.txt -> own.txt"]);
    }
    let bench = bench.file("directory.txt/x", "");
    refuse(&bench, &["main.py", "-r", "directory.txt"], &["directory.txt cannot be read", "directory"]);
}

#[test]
fn a_local_wheel_for_something_else_is_told_before_anything_is_resolved() {
    let bench = Bench::new().file("main.py", "");
    for tag in [
        "cp37-cp37m-win_amd64",
        "cp399-cp399-manylinux2014_x86_64",
        "py3-none-macosx_11_0_arm64",
        "cp37-cp37m-linux_x86_64",
    ] {
        let bench = Bench::new().wheel_in("dist", &wheel("other").tag(tag));
        let file = format!("dist/other-1.0-{tag}.whl");
        for resolver in ["pip", "uv"] {
            let ran = refuse(
                &bench,
                &[file.as_str(), "-e", "other:main", "--resolver", resolver],
                &[
                    "other-1.0-",
                    tag,
                    "the runtime accepts",
                    "hint: take a wheel that fits, or name an interpreter",
                ],
            );
            assert!(!ran.stderr.contains("index"), "{ran}");
        }
    }
    drop(bench);
}

#[test]
fn a_wheel_for_a_newer_glibc_or_for_musl_is_refused_wherever_it_comes_from() {
    let machine = std::env::consts::ARCH;
    for (platform, reason) in [
        (format!("manylinux_2_99_{machine}"), "needs glibc 2.99, and the runtime has glibc 2."),
        (format!("musllinux_1_2_{machine}"), "is for musl, not for glibc: "),
    ] {
        let tag = format!("py3-none-{platform}");
        let native = wheel("native").tag(&tag);
        let file = format!("native-1.0-{tag}.whl");
        let bench = Bench::new().wheel_in("dist", &native).wheel(&native).file("main.py", "");
        let local = format!("dist/{file}");
        refuse(&bench, &[local.as_str(), "-e", "native:main"], &[&file, reason, "hint: "]);
        refuse(&bench, &["native", "--app", ".", "-e", "main.py"], &["native", "hint: "]);
        let sha256 = Digest::of(&fs::read(bench.path(&local)).unwrap()).hex();
        let lock = format!(
            "lock-version = \"1.0\"\ncreated-by = \"me\"\n[[packages]]\nname = \"native\"\nversion = \"1.0\"\n\
             wheels = [{{ path = \"dist/{file}\", hashes = {{ sha256 = \"{sha256}\" }} }}]\n"
        );
        let bench = bench.file("pylock.toml", lock);
        refuse(
            &bench,
            &["-r", "pylock.toml", "--app", ".", "-e", "main.py"],
            &["pylock.toml has no file of native 1.0 that fits CPython", &file, reason],
        );
    }
}

#[test]
fn a_wheel_and_the_app_that_have_one_path_are_both_named() {
    let greedy = wheel("greedy").data("data", "app/main.py", "1");
    let bench = Bench::new().wheel(&greedy).file("src/main.py", "2");
    refuse(
        &bench,
        &["greedy", "--app", "src", "-e", "main.py"],
        &["greedy-1.0-py3-none-any.whl and greedy both install app/main.py"],
    );
}

#[test]
fn a_directory_that_cannot_be_read_is_named() {
    if is_root() {
        return skip("root can read every directory");
    }
    let bench = Bench::new().file("src/main.py", "").file("src/inner/x.py", "");
    fs::set_permissions(bench.path("src/inner"), fs::Permissions::from_mode(0o000)).unwrap();
    refuse(&bench, &["src"], &["src/inner cannot be read", "Permission denied"]);
    fs::set_permissions(bench.path("src/inner"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A bench with a project of one wheel and a script, and what it packs to.
fn small_project() -> (Bench, Vec<u8>) {
    let bench = Bench::new()
        .wheel(&wheel("one"))
        .file("main.py", "# /// script\n# dependencies = ['one']\n# ///\nimport one\n");
    bench.pack_to("good", &["main.py", QUICK]);
    let good = fs::read(bench.path("good")).unwrap();
    fs::create_dir(bench.path("small")).unwrap();
    (bench, good)
}

/// Packs with a small file system mounted at `small`, then again with room; `variable` says what lies there.
fn with_a_full_disk(bench: &Bench, size: &str, variable: &str, output: &str) -> Ran {
    let script = format!(
        "cd \"$1\"; mount -t tmpfs -o size={size} tmpfs small; export COIL_CACHE=\"$2\" {variable}; code=0
        set -- pack main.py {QUICK} --no-index --find-links wheels
        \"$0\" \"$@\" -o {output} || code=$?
        find . -path ./small/pack -prune -o \\( -name '.coil*' -o -name 'out*' -o -name 'coil-*' \\) -print
        echo \"code $code\"
        mount -o remount,size=900m small
        \"$0\" \"$@\" -q -o again"
    );
    let place = bench.root().as_os_str();
    let cache = kit::packer_cache();
    mounting(&script, &[COIL.as_ref(), place, cache.as_os_str()])
}

#[test]
fn a_disk_that_fills_up_is_named_and_the_next_pack_is_right() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let (bench, good) = small_project();
    let root = bench.root().display().to_string();
    for (size, variable, output, parts) in [
        (
            "64k",
            format!("COIL_CACHE='{root}/small'"),
            "out",
            [
                format!("no space is left in {root}/small/pack"),
                "hint: make room there, or set COIL_CACHE".into(),
            ],
        ),
        (
            "14m",
            format!("COIL_CACHE='{root}/small'"),
            "out",
            [
                format!("no space is left in {root}/small/pack"),
                "hint: make room there, or set COIL_CACHE".into(),
            ],
        ),
        (
            "4m",
            String::new(),
            "small/out",
            [
                "cannot write the bundle to small/out: no space is left in small".into(),
                "hint: make room there, or name a file on another disk with -o".into(),
            ],
        ),
    ] {
        let ran = with_a_full_disk(&bench, size, &variable, output);
        assert_eq!(ran.stdout, "code 1\n", "{size} {variable}: nothing is left over: {ran}");
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran}");
        for part in parts {
            assert!(ran.stderr.contains(&part), "{part}: {ran}");
        }
        assert!(
            ran.status.success() && fs::read(bench.path("again")).unwrap() == good,
            "{size} {variable}: {ran}"
        );
    }
}

#[test]
fn a_full_directory_for_temporary_files_is_no_obstacle() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    // A member that is too large for memory goes through a temporary file.
    let large: Vec<u8> = (0..12_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bench = Bench::new()
        .wheel_in("wheels", &wheel("one").file("large.bin", &large))
        .file("main.py", "import one\n");
    fs::create_dir(bench.path("small")).unwrap();
    let script = "cd \"$1\"; mount -t tmpfs -o size=2m tmpfs small; export COIL_CACHE=\"$2\" TMPDIR=\"$1/small\"; code=0
        \"$0\" pack wheels/one-1.0-py3-none-any.whl -e one:main --no-index --level 1 -o out || code=$?
        find small -mindepth 1; echo \"code $code\"";
    let cache = kit::packer_cache();
    let ran = mounting(script, &[COIL.as_ref(), bench.root().as_os_str(), cache.as_os_str()]);
    // What a pack works on lies in the cache: on the disk that needs the room anyway.
    assert!(ran.stdout == "code 0\n" && bench.path("out").exists(), "{ran}");
}

#[test]
fn a_read_only_output_is_named() {
    if let Some(reason) = cannot_mount() {
        return skip(&reason);
    }
    let (bench, _) = small_project();
    let script = "cd \"$1\"; mount -t tmpfs -o ro tmpfs small; export COIL_CACHE=\"$2\"; \"$0\" pack main.py --no-index --find-links wheels -o small/out";
    let cache = kit::packer_cache();
    let ran = mounting(script, &[COIL.as_ref(), bench.root().as_os_str(), cache.as_os_str()]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    for part in
        ["cannot write the bundle to small/out", "Read-only file system", "hint: name a file in a directory"]
    {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
}

/// Everything in a directory, by name.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// How many packs are interrupted.
const ROUNDS: u32 = 12;

#[test]
fn a_pack_that_is_interrupted_leaves_nothing_half_written() {
    let cache = kit::scratch();
    let bench = Bench::new()
        .lean()
        .wheel(&wheel("one"))
        .file("src/main.py", "print('first')")
        .env("COIL_CACHE", cache.path());
    fs::create_dir(bench.path("dist")).unwrap();
    let words = ["one", "--app", "src", "-e", "main.py", "--name", "app", QUICK];
    let cold = Instant::now();
    bench.pack_to("dist/app", &words);
    let cold = cold.elapsed();
    let warm = Instant::now();
    let bench = bench.file("src/main.py", "print('second')");
    bench.pack_to("dist/app", &words);
    let warm = warm.elapsed();

    for round in 0..ROUNDS {
        let signal = ["-INT", "-TERM", "-KILL"][round as usize % 3];
        // Every sixth round makes everything anew.
        let whole = if round % 6 == 5 {
            fs::remove_dir_all(cache.path().join("pack")).unwrap();
            cold
        } else {
            warm
        };
        let bench = Bench::new().lean().env("COIL_CACHE", cache.path());
        fs::create_dir(bench.path("dist")).unwrap();
        let bench = bench.wheel(&wheel("one")).file("src/main.py", format!("print('round {round}')"));
        if round % 2 == 0 {
            fs::copy(COIL, bench.path("dist/app")).unwrap();
        }
        let before = names(&bench.path("dist"));
        let mut command = bench.coil(&["pack"]);
        command.args(words).args(["-o", "dist/app"]);
        bench.limit(&mut command);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Moments that are spread over the whole of it, most of them near its end, where it writes.
        let part = f64::from(round * 7919 % ROUNDS) / f64::from(ROUNDS);
        std::thread::sleep(whole.mul_f64(1.1 * part.sqrt()).max(Duration::from_millis(1)));
        let sent =
            Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
        sent.unwrap();
        let done = child.wait().unwrap().success();
        let after = names(&bench.path("dist"));
        assert!(after == before || after == ["app"], "{signal} {round}: {after:?}");
        let app = Packed::at(bench.path("dist/app"));
        let is_bundle =
            after == ["app"] && fs::metadata(app.path()).unwrap().len() != fs::metadata(COIL).unwrap().len();
        assert!(is_bundle || !done, "{signal} {round}");
        if is_bundle {
            app.start().env("COIL", "verify").run().succeeded();
        }
        if round % 6 == 5 {
            let right = bench.pack_to("dist/app", &words);
            assert_eq!(right.start().run().printed(), format!("round {round}"));
            let fresh = Bench::new()
                .lean()
                .wheel(&wheel("one"))
                .file("src/main.py", format!("print('round {round}')"));
            let elsewhere = fresh.pack(&words);
            assert!(
                fs::read(right.path()).unwrap() == fs::read(elsewhere.path()).unwrap(),
                "{signal} {round}"
            );
        }
    }
}
