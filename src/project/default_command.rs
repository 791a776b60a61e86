//! Which command runs when none is named. A pure choice among what is known.

use std::collections::{BTreeMap, BTreeSet};

use coil_bootstrap::format::path::TreePath;

/// What is known when the choice is made.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// What the user or `[tool.coil]` says.
    pub stated: Option<&'a str>,
    /// The name of the file that is written, where the user says one.
    pub output: Option<&'a str>,
    /// The app's name, as the user or the project writes it.
    pub name: Option<&'a str>,
    /// The names of the commands that are stated one by one.
    pub commands: Vec<&'a str>,
    /// The project's name and then those of its requirements, as they were written; normal forms.
    pub names: Vec<&'a str>,
    /// The console scripts of each distribution, by its name in normal form.
    pub scripts: BTreeMap<String, BTreeSet<String>>,
    /// The script, where the project is one.
    pub script: Option<&'a TreePath>,
    /// The files of the app.
    pub files: Vec<&'a TreePath>,
}

/// The command that runs when none is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultCommand {
    /// One of the commands.
    Command(String),
    /// A console script.
    Script(String),
    /// A file of the app.
    File(TreePath),
}

/// Chooses the default. Without one, the first argument names the command.
pub fn choose_default(facts: &Facts) -> Option<DefaultCommand> {
    if let Some(name) = facts.stated {
        return Some(DefaultCommand::Command(name.to_owned()));
    }
    if let Some(name) = facts.output.filter(|name| facts.commands.contains(name)) {
        return Some(DefaultCommand::Command(name.to_owned()));
    }
    if let [only] = facts.commands.as_slice() {
        return Some(DefaultCommand::Command((*only).to_owned()));
    }
    if let Some(name) = facts.names.iter().find(|name| facts.commands.contains(name)) {
        return Some(DefaultCommand::Command((*name).to_owned()));
    }
    if let Some(script) = called_like_the_app(facts) {
        return Some(DefaultCommand::Script(script.to_owned()));
    }
    if let Some(script) = facts.names.iter().find_map(|name| script_of(name, facts.scripts.get(*name)?)) {
        return Some(DefaultCommand::Script(script));
    }
    if let Some(script) = facts.script {
        return Some(DefaultCommand::File(script.clone()));
    }
    main_file(&facts.files).cloned().map(DefaultCommand::File)
}

/// The console script of what was asked for that is called exactly like the file, or like the app.
fn called_like_the_app<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    let is_script = |called: &str| {
        facts.names.iter().filter_map(|name| facts.scripts.get(*name)).any(|scripts| scripts.contains(called))
    };
    facts.output.into_iter().chain(facts.name).find(|called| is_script(called))
}

/// The console script that is called like its distribution, else its only one.
fn script_of(name: &str, scripts: &BTreeSet<String>) -> Option<String> {
    let same = scripts.iter().find(|script| crate::lock::normal_name(script) == name);
    let only = || scripts.first().filter(|_| scripts.len() == 1);
    same.or_else(only).cloned()
}

/// `__main__.py`, else the one file that looks like the start of an app.
fn main_file<'a>(files: &[&'a TreePath]) -> Option<&'a TreePath> {
    let top: Vec<&TreePath> = files
        .iter()
        .copied()
        .filter(|file| file.matches('/').count() == 1 && file.ends_with(".py"))
        .collect();
    let called = |names: &[&str]| -> Vec<&'a TreePath> {
        top.iter().copied().filter(|file| names.contains(&file.file_name())).collect()
    };
    for candidates in [called(&["__main__.py"]), called(&["main.py", "app.py", "manage.py"]), top.clone()] {
        match candidates.as_slice() {
            [] => {}
            [only] => return Some(only),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(distribution: &str, names: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        BTreeMap::from([(distribution.to_owned(), names.iter().map(|name| (*name).to_owned()).collect())])
    }

    fn with_files(names: &[&str]) -> Option<String> {
        let paths: Vec<TreePath> =
            names.iter().map(|name| TreePath::new(format!("app/{name}")).unwrap()).collect();
        match choose_default(&Facts { files: paths.iter().collect(), ..Facts::default() })? {
            DefaultCommand::File(path) => Some(path.below("app").unwrap().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_stated_comes_first_and_a_single_command_next() {
        let facts = Facts { stated: Some("web"), commands: vec!["a", "b"], ..Facts::default() };
        assert_eq!(choose_default(&facts), Some(DefaultCommand::Command("web".into())));
        let facts = Facts { commands: vec!["a"], scripts: scripts("a", &["a"]), ..Facts::default() };
        assert_eq!(choose_default(&facts), Some(DefaultCommand::Command("a".into())));
        let facts = Facts { commands: vec!["a", "b"], ..Facts::default() };
        assert_eq!(choose_default(&facts), None);
        let facts = Facts { commands: vec!["a", "b"], names: vec!["b"], ..Facts::default() };
        assert_eq!(choose_default(&facts), Some(DefaultCommand::Command("b".into())));
    }

    #[test]
    fn the_script_called_like_its_distribution_is_the_default() {
        let with = |names: &[&str]| {
            choose_default(&Facts {
                names: vec!["httpie"],
                scripts: scripts("httpie", names),
                ..Facts::default()
            })
        };
        assert_eq!(with(&["http", "https", "httpie"]), Some(DefaultCommand::Script("httpie".into())));
        assert_eq!(with(&["http"]), Some(DefaultCommand::Script("http".into())));
        assert_eq!(with(&["http", "https"]), None);
    }

    #[test]
    fn the_script_that_the_file_or_the_app_is_called_like_goes_first() {
        let facts = |output, name| Facts {
            output,
            name,
            names: vec!["httpie"],
            scripts: scripts("httpie", &["http", "httpie"])
                .into_iter()
                .chain(scripts("pygments", &["pygmentize"]))
                .collect(),
            ..Facts::default()
        };
        let chosen = |output, name| match choose_default(&facts(output, name)) {
            Some(DefaultCommand::Script(script)) => script,
            other => panic!("{other:?}"),
        };
        assert_eq!(chosen(Some("http"), Some("httpie")), "http");
        assert_eq!(chosen(None, Some("http")), "http");
        assert_eq!(chosen(Some("httpie"), Some("http")), "httpie");
        assert_eq!(chosen(Some("HTTP"), None), "httpie", "exactly like it");
        assert_eq!(chosen(Some("pygmentize"), None), "httpie", "nobody asked for pygments");
        let stated = Facts { stated: Some("httpie"), ..facts(Some("http"), None) };
        assert_eq!(choose_default(&stated), Some(DefaultCommand::Command("httpie".into())));
        let commands = |output| Facts { commands: vec!["web", "work"], output, ..Facts::default() };
        assert_eq!(choose_default(&commands(Some("web"))), Some(DefaultCommand::Command("web".into())));
        assert_eq!(choose_default(&commands(Some("site"))), None);
    }

    #[test]
    fn a_plain_tree_starts_with_the_file_that_looks_like_it() {
        assert_eq!(with_files(&["__main__.py", "main.py", "x.py"]).as_deref(), Some("__main__.py"));
        assert_eq!(with_files(&["manage.py", "x.py", "a/main.py"]).as_deref(), Some("manage.py"));
        assert_eq!(with_files(&["manage.py", "app.py"]), None);
        assert_eq!(with_files(&["x.py", "data.txt"]).as_deref(), Some("x.py"));
        assert_eq!(with_files(&["x.py", "y.py"]), None);
    }
}
