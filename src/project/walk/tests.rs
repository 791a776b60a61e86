//! The choice of a source tree's files, tried on directories made for it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

fn site(files: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    directory
}

fn names(tree: &Tree) -> Vec<String> {
    tree.iter().map(|(path, _)| path.to_string()).collect()
}

fn all(directory: &tempfile::TempDir) -> Result<(Tree, Vec<String>)> {
    walk(directory.path(), &Selection::default())
}

#[test]
fn settings_with_secrets_stay_behind_unless_they_are_named() {
    let site = site(&["app.py", ".env", "deep/.env.local", ".env.example"]);
    let packed = |include: &[String]| {
        let selection = Selection { include, ..Selection::default() };
        let (tree, notes) = walk(site.path(), &selection).unwrap();
        (tree.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(), notes.len())
    };
    assert_eq!(packed(&[]), (vec!["app/.env.example".to_owned(), "app/app.py".to_owned()], 2));
    assert_eq!(packed(&[".env".to_owned()]).0, ["app/.env"]);
}

#[test]
fn leftovers_stay_out_and_files_keep_their_bits() {
    let site = site(&[
        "manage.py",
        "run.sh",
        "a/__init__.py",
        "a/__pycache__/x.pyc",
        "a/old.pyc",
        ".git/HEAD",
        "env/pyvenv.cfg",
        "env/lib/x.py",
        "node_modules/x.js",
        "x.egg-info/PKG-INFO",
        "a/b.py~",
        ".#manage.py",
        ".env",
    ]);
    fs::set_permissions(site.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    let (tree, notes) = all(&site).unwrap();
    assert_eq!(names(&tree), ["app/a/__init__.py", "app/manage.py", "app/run.sh"]);
    assert!(tree.get("app/run.sh").unwrap().executable && !tree.get("app/manage.py").unwrap().executable);
    assert_eq!(notes.len(), 1, "of what is left out only .env is worth a word");
}

#[test]
fn include_exclude_and_the_output_are_obeyed() {
    let site = site(&["src/a.py", "src/tests/t.py", "docs/x.md", "tool"]);
    let never = [site.path().canonicalize().unwrap().join("tool")];
    let (include, exclude) = (["src".to_owned(), "tool".to_owned()], ["tests".to_owned()]);
    let selection = Selection { include: &include, exclude: &exclude, never: &never, ..Selection::default() };
    assert_eq!(names(&walk(site.path(), &selection).unwrap().0), ["app/src/a.py"]);
}

#[test]
fn of_a_work_tree_only_what_is_tracked_is_taken_and_what_artifacts_names() {
    let site = site(&[
        "a.py",
        "b.py",
        "notes",
        "dist/x.js",
        "dist/x.py",
        "node_modules/y.js",
        "node_modules/.git/z",
    ]);
    let tracked = ["a.py", "b.py"].map(|path| Tracked { path: path.into(), executable: path == "b.py" });
    let packed = |selection: &Selection| names(&walk_tracked(site.path(), &tracked, selection).unwrap().0);
    assert_eq!(packed(&Selection::default()), ["app/a.py", "app/b.py"]);
    let artifacts =
        |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
    let (dist, modules) = (artifacts(&["dist/*.js"]), artifacts(&["/node_modules"]));
    assert_eq!(
        packed(&Selection { artifacts: &dist, ..Selection::default() }),
        ["app/a.py", "app/b.py", "app/dist/x.js"]
    );
    let include = artifacts(&["a.py", "notes"]);
    assert_eq!(
        packed(&Selection { artifacts: &modules, include: &include, ..Selection::default() }),
        ["app/a.py", "app/node_modules/y.js"]
    );
    let everything = artifacts(&["*"]);
    assert_eq!(
        packed(&Selection { artifacts: &everything, exclude: &include, ..Selection::default() }),
        ["app/b.py", "app/dist/x.js", "app/dist/x.py"],
    );
    let (tree, _) = walk_tracked(site.path(), &tracked, &Selection::default()).unwrap();
    assert!(tree.get("app/b.py").unwrap().executable, "git says so, whatever the disk says");
}

#[test]
fn nobody_misses_a_leftover_or_what_was_left_out_on_purpose() {
    let site = site(&["notes", ".venv/x", "x.pyc", "out", "docs/x", "dist/x"]);
    let never = [site.path().canonicalize().unwrap().join("out")];
    let (exclude, artifacts) = (["docs".to_owned()], ["dist".to_owned()]);
    let selection =
        Selection { exclude: &exclude, artifacts: &artifacts, never: &never, ..Selection::default() };
    let untracked = ["notes", ".venv/", "x.pyc", "out", "docs/", "dist/", "gone"].map(str::to_owned);
    assert_eq!(missed(site.path(), &untracked, &selection), ["notes"]);
}

#[test]
fn links_are_kept_inside_and_refused_outside() {
    let site = site(&["data/x", "a/y"]);
    let root = site.path().canonicalize().unwrap();
    symlink("../data", site.path().join("a/data")).unwrap();
    symlink(root.join("data/x"), site.path().join("a/absolute")).unwrap();
    let (tree, _) = all(&site).unwrap();
    let target = |path: &str| match &tree.get(path).unwrap().content {
        Content::Symlink(target) => target.clone(),
        _ => panic!("{path} is no link"),
    };
    assert_eq!((target("app/a/data"), target("app/a/absolute")), ("../data".into(), "../data/x".into()));
    symlink("/etc/passwd", site.path().join("leak")).unwrap();
    assert!(all(&site).err().unwrap().to_string().contains("it leads out of"));
}

#[test]
fn a_link_to_nothing_or_to_what_is_left_out_is_refused() {
    let site = site(&["x", ".tox/y"]);
    symlink(".tox/y", site.path().join("link")).unwrap();
    assert!(all(&site).err().unwrap().to_string().contains("is left out"));
    fs::remove_file(site.path().join(".tox/y")).unwrap();
    assert!(all(&site).is_err());
}

#[test]
fn a_name_that_is_not_utf8_is_refused_and_a_pipe_is_noted() {
    let site = site(&["x"]);
    let socket = std::os::unix::net::UnixListener::bind(site.path().join("socket")).unwrap();
    let (tree, notes) = all(&site).unwrap();
    assert_eq!(names(&tree), ["app/x"]);
    assert!(notes[0].ends_with("it is a socket"));
    drop(socket);
    fs::write(site.path().join(OsStr::from_bytes(b"\xff.py")), "").unwrap();
    assert!(all(&site).err().unwrap().to_string().contains("not UTF-8"));
}
