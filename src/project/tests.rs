//! What the words of the command line come to, all together.

use std::path::Path;

use super::*;

fn words(projects: &[&str]) -> Words {
    Words { projects: projects.iter().map(|text| (*text).to_owned()).collect(), ..Words::default() }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn requirements_alone_are_a_project_called_after_the_first() {
    let project = Project::read(&words(&["HTTPie[socks]>=3", "rich"])).unwrap();
    assert_eq!(project.name, "httpie");
    assert_eq!(project.requirements.len(), 2);
    assert!(project.app.is_none() && project.default.is_none());
}

#[test]
fn an_entry_becomes_the_default_command() {
    let mut words = words(&["httpie"]);
    words.entry = Some("httpie.core:main --offline".into());
    words.commands = vec![("get".into(), "http GET".into())];
    let project = Project::read(&words).unwrap();
    assert_eq!(project.default.as_deref(), Some("httpie"));
    assert_eq!(project.commands["httpie"].args, ["--offline"]);
    assert_eq!(project.commands["get"].args, ["GET"]);
    words.entry = Some("get".into());
    assert_eq!(Project::read(&words).unwrap().default.as_deref(), Some("get"));
}

#[test]
fn a_script_is_the_only_file_of_the_app() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("hi.py");
    std::fs::write(
        &script,
        "# /// script\n# dependencies = [\"rich\"]\n# requires-python = \">=3.9\"\n# ///\n",
    )
    .unwrap();
    std::fs::write(directory.path().join("other.py"), "").unwrap();
    let project = Project::read(&words(&[text(&script)])).unwrap();
    assert_eq!(project.name, "hi");
    assert_eq!(project.script.as_deref(), Some("app/hi.py"));
    assert_eq!(project.app.unwrap().len(), 1);
    assert_eq!(project.requirements[0].text, "rich");
    assert_eq!(project.requires_python[0].1, ">=3.9");
}

#[test]
fn the_output_is_never_packed_and_a_second_tree_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("main.py"), "").unwrap();
    std::fs::write(directory.path().join("tool"), "").unwrap();
    let mut words = words(&[text(directory.path())]);
    words.never = vec![directory.path().join("tool")];
    assert_eq!(Project::read(&words).unwrap().app.unwrap().len(), 1);
    words.app = Some(directory.path().to_owned());
    assert!(Project::read(&words).err().unwrap().to_string().contains("second source tree"));
}

#[test]
fn requirements_files_with_a_source_tree_are_called_after_the_tree() {
    let directory = tempfile::tempdir().unwrap();
    let (tree, file) = (directory.path().join("src"), directory.path().join("requirements.txt"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("x.py"), "").unwrap();
    std::fs::write(&file, "click").unwrap();
    let mut words = Words { app: Some(tree), requirement_files: vec![file], ..Words::default() };
    words.entry = Some("x.py".into());
    let project = Project::read(&words).unwrap();
    assert_eq!((project.name.as_str(), project.default.as_deref()), ("src", Some("src")));
    words.requirement_files.push("/nowhere/r.txt".into());
    assert_eq!(Project::read(&words).err().unwrap().to_string(), "/nowhere/r.txt cannot be read");
}

#[test]
fn nothing_is_no_project() {
    assert_eq!(Project::read(&Words::default()).err().unwrap().to_string(), "there is nothing to pack");
}
