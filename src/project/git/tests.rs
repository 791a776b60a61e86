//! Against real repositories, made by the tests.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::sealed::Directory;

/// A repository, and the user who works in it.
struct Repository(TempDir);

impl Repository {
    fn new() -> Repository {
        let repository = Repository(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet"]);
        repository
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn git(&self, words: &[&str]) -> String {
        let mut command = command(self.0.path());
        for (name, value) in [
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_NAME", "A"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_DATE", "1700000000 +0000"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ] {
            command.env(name, value);
        }
        let output = command.args(["-c", "protocol.file.allow=always"]).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn tree(&self, inner: &str) -> WorkTree {
        WorkTree::near(&self.0.path().join(inner)).unwrap().unwrap()
    }

    fn state(&self, inner: &str) -> State {
        match self.tree(inner).state().unwrap() {
            Found::Here(state) => state,
            other => panic!("{other:?}"),
        }
    }

    fn names(&self, inner: &str) -> Vec<String> {
        self.tree(inner)
            .tracked(&Listings::default())
            .unwrap()
            .files
            .into_iter()
            .map(|file| file.path)
            .collect()
    }
}

#[test]
fn what_is_in_no_repository_or_in_a_broken_one_is_none_of_gits() {
    let directory = tempfile::tempdir().unwrap();
    let tree = || WorkTree::near(directory.path()).unwrap();
    assert_eq!(tree(), None);
    fs::create_dir(directory.path().join(".git")).unwrap();
    assert_eq!(tree().unwrap().state().unwrap(), Found::Nothing);
    assert_eq!(tree().unwrap().top().unwrap(), Found::Nothing);
    fs::remove_dir(directory.path().join(".git")).unwrap();
    fs::write(directory.path().join(".git"), "gitdir: /nowhere\n").unwrap();
    let failures = [tree().unwrap().state().unwrap_err(), tree().unwrap().top().unwrap_err()];
    for failure in failures {
        assert!(failure.to_string().starts_with("git refuses to work in"), "{failure}");
    }
}

#[test]
fn the_inside_of_a_repository_is_no_work_tree() {
    let repository = Repository::new();
    repository.write("a.py", "");
    repository.commit();
    let inside = repository.tree(".git/refs");
    assert_eq!((inside.state().unwrap(), inside.top().unwrap()), (Found::Nothing, Found::Nothing));
    let work_tree = repository.tree(".");
    assert_eq!(work_tree.top().unwrap(), Found::Here(repository.path()));
}

#[test]
fn tracked_files_are_listed_as_they_are_there() {
    let repository = Repository::new();
    for name in ["a.py", "deep/b.py", "gone.py", "dir/x", "odd \"name\"\n.py"] {
        repository.write(name, "");
    }
    repository.write("run", "");
    repository.git(&["add", "--all"]);
    repository.git(&["update-index", "--chmod=+x", "run"]);
    repository.write("untracked", "");
    fs::remove_file(repository.path().join("gone.py")).unwrap();
    // A link in place of a directory leads to what git does not know.
    fs::remove_dir_all(repository.path().join("dir")).unwrap();
    symlink("deep", repository.path().join("dir")).unwrap();
    assert_eq!(repository.names("."), ["a.py", "deep/b.py", "odd \"name\"\n.py", "run"]);
    assert_eq!(repository.names("deep"), ["b.py"]);
    assert_eq!(repository.names("a.py"), ["a.py"]);
    assert!(repository.names("untracked").is_empty());
    let listed = repository.tree(".").tracked(&Listings::default()).unwrap().files;
    assert_eq!(
        listed.iter().filter(|file| file.executable).map(|file| &file.path).collect::<Vec<_>>(),
        ["run"]
    );
}

/// What is listed in the directory `inner`, and whether git was asked for it.
fn listed(listings: &Listings, repository: &Repository, inner: &str) -> (String, bool) {
    let mut is_asked = false;
    let listing = listings.of(&repository.tree(inner), || {
        is_asked = true;
        git(&repository.path().join(inner), &["ls-files"])
    });
    (String::from_utf8(listing.unwrap()).unwrap(), is_asked)
}

/// Listings that are kept in `directory`.
fn listings(directory: &Path) -> Listings {
    Listings::kept_in(Directory { path: directory.to_owned(), scratch: directory.to_owned() })
}

#[test]
fn git_is_asked_again_for_files_when_what_it_would_say_may_be_something_else() {
    let kept = tempfile::tempdir().unwrap();
    let listings = listings(kept.path());
    let repository = Repository::new();
    repository.write("one/a.py", "");
    repository.commit();
    let check = |inner: &str, expected: &str, why: &str| {
        for is_new in [true, false] {
            assert_eq!(listed(&listings, &repository, inner), (expected.to_owned(), is_new), "{why}");
        }
    };
    check(".", "one/a.py\n", "nothing is known yet");
    check("one", "a.py\n", "another directory");
    assert!(!listed(&listings, &repository, ".").1);
    repository.write("one/a.py", "changed");
    repository.write("untracked", "");
    assert!(!listed(&listings, &repository, ".").1, "this changes no listing");
    repository.write("two.py", "");
    repository.git(&["add", "two.py"]);
    check(".", "one/a.py\ntwo.py\n", "the index");
    repository.git(&["config", "core.quotePath", "false"]);
    check(".", "one/a.py\ntwo.py\n", "the configuration");
    // A reset to the content of the same size within the same instant is seen as well: no times are compared.
    repository.git(&["mv", "two.py", "six.py"]);
    check(".", "one/a.py\nsix.py\n", "a name of the same length");
    for file in fs::read_dir(kept.path()).unwrap().map(|entry| entry.unwrap().path()) {
        fs::write(file, "damaged").unwrap();
    }
    check(".", "one/a.py\nsix.py\n", "damage");
    assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 2, "one file for each directory");
    assert!(listed(&Listings::default(), &repository, ".").1);
}

#[test]
fn what_changes_while_git_lists_is_not_remembered() {
    let kept = tempfile::tempdir().unwrap();
    let listings = listings(kept.path());
    let repository = Repository::new();
    repository.write("a.py", "");
    repository.commit();
    let index = fs::read(repository.path().join(".git/index")).unwrap();
    let listing = listings.of(&repository.tree("."), || {
        repository.write("b.py", "");
        repository.git(&["add", "b.py"]);
        git(&repository.path(), &["ls-files"])
    });
    assert_eq!(listing.unwrap(), b"a.py\nb.py\n");
    fs::write(repository.path().join(".git/index"), index).unwrap();
    assert_eq!(listed(&listings, &repository, "."), ("a.py\n".to_owned(), true));
}

#[test]
fn nothing_is_remembered_of_a_repository_that_may_have_git_look_elsewhere() {
    let kept = tempfile::tempdir().unwrap();
    let listings = listings(kept.path());
    let repository = Repository::new();
    repository.write("a.py", "");
    repository.commit();
    let own = fs::read(repository.path().join(".git/config")).unwrap();
    let head = fs::read(repository.path().join(".git/HEAD")).unwrap();
    let is_remembered = || {
        let tree = repository.tree(".");
        let ask = |is_asked: &mut bool| {
            *is_asked = true;
            Ok(b"said".to_vec())
        };
        let (mut first, mut second) = (false, false);
        listings.of(&tree, || ask(&mut first)).unwrap();
        listings.of(&tree, || ask(&mut second)).unwrap();
        !second
    };
    assert!(is_remembered());
    for more in [
        "[core]\nworkTree = /elsewhere\n",
        "[include]\npath = more\n",
        "[includeIf \"gitdir:x\"]\npath = y\n",
    ] {
        fs::write(repository.path().join(".git/config"), [&own, more.as_bytes()].concat()).unwrap();
        assert!(!is_remembered(), "{more}");
    }
    fs::write(repository.path().join(".git/config"), &own).unwrap();
    for broken in ["", "nonsense", "ref: elsewhere", "0123456789abcdef0123456789abcdef0123456"] {
        fs::write(repository.path().join(".git/HEAD"), broken).unwrap();
        assert!(!is_remembered(), "git goes on above where HEAD is {broken:?}");
    }
    fs::write(repository.path().join(".git/HEAD"), &head).unwrap();
    assert!(is_remembered());
    fs::rename(repository.path().join(".git/refs"), repository.path().join(".git/not")).unwrap();
    assert!(!is_remembered());
    fs::rename(repository.path().join(".git/not"), repository.path().join(".git/refs")).unwrap();
    // As in a work tree beside the main one, and in a submodule.
    fs::rename(repository.path().join(".git"), repository.path().join("there")).unwrap();
    fs::write(repository.path().join(".git"), "gitdir: there\n").unwrap();
    assert!(!is_remembered());
}

#[test]
fn a_directory_below_an_ignored_one_is_ignored() {
    let repository = Repository::new();
    repository.write(".gitignore", "/out\n");
    repository.write("out/site/a[b].py", "");
    repository.write("site/a[b].py", "");
    assert!(repository.tree("out/site").is_ignored().unwrap());
    assert!(!repository.tree("site").is_ignored().unwrap());
    repository.commit();
    assert_eq!(repository.names("site/a[b].py"), ["a[b].py"], "a name is no pattern");
}

#[test]
fn the_state_is_that_of_the_directory_and_not_of_the_repository() {
    let repository = Repository::new();
    repository.write("one/a.py", "");
    repository.write("two/b.py", "");
    assert_eq!(repository.state(".").commit, None);
    let commit = repository.commit();
    repository.write("two/b.py", "changed");
    repository.write("two/new file", "");
    repository.write("two/new/x", "");
    let one = repository.state("one");
    let known = one.commit.clone().unwrap();
    assert_eq!((known.id.as_str(), known.time().unwrap()), (commit.as_str(), Some(1_700_000_000)));
    assert_eq!(one, State { commit: Some(known), ..State::default() });
    let two = repository.state("two");
    assert_eq!(
        (two.changed, two.untracked),
        (vec!["b.py".to_owned()], vec!["new file".to_owned(), "new/".to_owned()])
    );
    fs::remove_file(repository.path().join("one/a.py")).unwrap();
    assert_eq!(repository.state(".").changed, ["one/a.py", "two/b.py"]);
}

#[test]
fn a_commit_is_checked_out_beside_a_work_tree_that_stays_as_it_is() {
    let repository = Repository::new();
    repository.git(&["config", "filter.shout.smudge", "tr a-z A-Z"]);
    repository.git(&["config", "filter.shout.clean", "tr A-Z a-z"]);
    repository.write(".gitattributes", "*.txt filter=shout\n");
    repository.write("x.txt", "loud");
    repository.write("sub/a.py", "one");
    let first = repository.commit();
    repository.git(&["tag", "-a", "v1", "-m", "x"]);
    repository.write("sub/a.py", "two");
    repository.commit();
    repository.write("sub/a.py", "three");
    let before = (fs::read(repository.path().join(".git/index")).unwrap(), repository.git(&["for-each-ref"]));
    let scratch = tempfile::tempdir().unwrap();
    let check_out = |revision: &str| CheckOut::new(&repository.path(), revision, scratch.path());
    let failures = ["v2", "--help", "v1:sub"].map(|revision| check_out(revision).unwrap_err());
    let check_out = check_out("v1").unwrap();
    assert_eq!(check_out.commit.id, first);
    assert_eq!(check_out.commit.time().unwrap(), Some(1_700_000_000));
    let place = check_out.path(&repository.path().join("sub"), "v1").unwrap();
    assert_eq!(place.file_name().unwrap(), "sub");
    assert_eq!(fs::read_to_string(place.join("a.py")).unwrap(), "one");
    assert_eq!(fs::read_to_string(place.join("../x.txt")).unwrap(), "LOUD", "the repository's own filters");
    assert_eq!(git_text(&place, &["describe", "--dirty"]).unwrap(), "v1");
    let after = (fs::read(repository.path().join(".git/index")).unwrap(), repository.git(&["for-each-ref"]));
    assert!(before == after && fs::read(repository.path().join("sub/a.py")).unwrap() == b"three");
    assert!(!repository.path().join(".git/worktrees").exists());
    for failure in failures {
        assert!(failure.to_string().contains("there is no such commit"), "{failure}");
    }
}

#[test]
fn submodules_are_listed_and_checked_out_with_the_rest() {
    let (library, repository) = (Repository::new(), Repository::new());
    library.write("lib.py", "one");
    library.commit();
    repository.write("a.py", "");
    repository.git(&["submodule", "--quiet", "add", library.path().to_str().unwrap(), "vendor/lib"]);
    repository.commit();
    assert_eq!(repository.names("."), [".gitmodules", "a.py", "vendor/lib/lib.py"]);
    repository.write("vendor/lib/lib.py", "two");
    repository.write("vendor/lib/new", "");
    assert_eq!(repository.state(".").changed, ["vendor/lib"]);
    let scratch = tempfile::tempdir().unwrap();
    let check_out = CheckOut::new(&repository.path(), "HEAD", scratch.path()).unwrap();
    let place = check_out.path(&repository.path(), "HEAD").unwrap();
    assert_eq!(fs::read_to_string(place.join("vendor/lib/lib.py")).unwrap(), "one");
    // Untracked files of a submodule are not packed, so they change nothing.
    repository.write("vendor/lib/lib.py", "one");
    assert!(repository.state(".").changed.is_empty());
    fs::remove_dir_all(repository.path().join("vendor/lib")).unwrap();
    fs::create_dir(repository.path().join("vendor/lib")).unwrap();
    assert_eq!(repository.tree(".").tracked(&Listings::default()).unwrap().absent_submodules, ["vendor/lib"]);
}

#[test]
fn what_a_sparse_check_out_leaves_out_is_named() {
    let repository = Repository::new();
    repository.write("one/a.py", "");
    repository.write("two/b.py", "");
    repository.commit();
    repository.git(&["sparse-checkout", "set", "one"]);
    let listed = repository.tree(".").tracked(&Listings::default()).unwrap();
    assert_eq!((listed.files.len(), listed.sparse), (1, vec!["two/b.py".to_owned()]));
}
