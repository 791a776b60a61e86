//! The recipe: how a bundle was made, so that it can be made again.
//!
//! Together with the lock and the version of Python, which are in the manifest as well, it says everything
//! that decided the bundle's bytes but the sources themselves. It never holds a path of the machine it was
//! made on: the same project in another directory has the same recipe.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::manifest::is_command_name;

/// What made a bundle of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Recipe {
    /// The version of coil.
    pub coil: String,
    /// The library that compressed the layers, and its version: `libzstd 1.5.7`. Another one makes other
    /// bytes of the same layer.
    pub compressor: String,
    /// The compression level, -7 to 22 and not 0.
    pub level: i32,
    /// What was kept of the Python that is left out otherwise, in coil's words, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// What was named to be packed, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// The extras that were wanted of whatever has them, in normal form, sorted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub extras: BTreeSet<String>,
    /// Whether all extras were wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all_extras: bool,
    /// The dependency groups that were wanted, in normal form, sorted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// The entry that was named as the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The commands that were named, beside those of the project.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, String>,
    /// The libraries that were named as the host's to provide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_libraries: Vec<String>,
    /// The libraries that were named to be brought from the machine that packed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bring_libraries: Vec<String>,
}

/// One thing that was named to be packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// The requirement's text, or the file's name; `.` for a directory.
    pub name: String,
    /// The extras that were wanted of it; those of a requirement are in its text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<String>,
}

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// A directory with a project.
    Directory,
    /// A Python file.
    Script,
    /// A wheel file.
    Wheel,
    /// A requirement (PEP 508), without credentials.
    Requirement,
    /// A file of requirements.
    Requirements,
    /// A source tree beside the requirements.
    App,
    /// A virtualenv whose distributions were packed as they were installed; there is no lock then.
    Virtualenv,
}

impl InputKind {
    /// Whether it is on the disk of whoever packs.
    pub fn is_path(self) -> bool {
        self != InputKind::Requirement
    }
}

impl Recipe {
    /// Says what is impossible about it.
    pub(super) fn check(&self) -> Result<(), String> {
        if !matches!(self.level, -7..=-1 | 1..=22) {
            return Err(format!("its recipe has the compression level {}", self.level));
        }
        if let Some(name) = self.commands.keys().find(|name| !is_command_name(name)) {
            return Err(format!("{name:?}, in its recipe, cannot be the name of a command"));
        }
        for Input { kind, name, extras } in &self.inputs {
            let directory = matches!(kind, InputKind::Directory | InputKind::App | InputKind::Virtualenv);
            let file = !name.contains('/') && name != ".." && (name == ".") == directory;
            if name.is_empty() || kind.is_path() && !file {
                return Err(format!("its recipe has an input called {name:?}"));
            }
            if extras.iter().any(String::is_empty) {
                return Err("its recipe has an extra without a name".into());
            }
        }
        if self.extras.iter().chain(&self.groups).any(String::is_empty) {
            return Err("its recipe has an extra or a group without a name".into());
        }
        let own = [&self.coil, &self.compressor].into_iter().chain(&self.entry).chain(self.commands.values());
        let own = own.chain(&self.keep).chain(&self.host_libraries).chain(&self.bring_libraries);
        let own = own.chain(&self.extras).chain(&self.groups);
        let inputs = self.inputs.iter().flat_map(|input| input.extras.iter().chain([&input.name]));
        if own.chain(inputs).any(|text| text.contains(['\0', '\n'])) {
            return Err("its recipe holds a NUL byte or a line break".into());
        }
        Ok(())
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let input = |kind, name: &str| Input { kind, name: name.into(), extras: Vec::new() };
        Recipe {
            coil: "0.1.0".into(),
            compressor: "libzstd 1.5.7".into(),
            level: 9,
            keep: vec!["tests".into()],
            inputs: vec![
                input(InputKind::Directory, "."),
                input(InputKind::Requirement, "x @ https://host/a/x.zip"),
                input(InputKind::Wheel, "x-1-py3-none-any.whl"),
                input(InputKind::Virtualenv, "."),
            ],
            extras: ["postgres".into()].into(),
            all_extras: true,
            groups: ["docs".into()].into(),
            entry: Some("main.py".into()),
            commands: [("web".into(), "-m site".into())].into(),
            host_libraries: vec!["libGL.so.1".into()],
            bring_libraries: vec!["libpq.so.*".into()],
        }
    }

    #[test]
    fn a_recipe_reads_back_what_was_written() {
        assert_eq!(recipe().check(), Ok(()));
        let json = serde_json::to_string(&recipe()).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe());
        assert!(serde_json::from_str::<Recipe>(&json.replacen("entry", "entries", 1)).is_err());
    }

    #[test]
    fn paths_of_a_machine_and_impossible_values_are_refused() {
        let refused = |change: &dyn Fn(&mut Recipe)| {
            let mut bad = recipe();
            change(&mut bad);
            assert!(bad.check().is_err(), "{bad:?}");
        };
        refused(&|bad| bad.level = 0);
        refused(&|bad| bad.level = 23);
        refused(&|bad| bad.level = -8);
        refused(&|bad| bad.inputs[0].name = "/home/me/project".into());
        refused(&|bad| bad.inputs[0].name = "project".into());
        refused(&|bad| bad.inputs[1].name = String::new());
        refused(&|bad| bad.inputs[2].name = "../x.whl".into());
        refused(&|bad| bad.inputs[2].name = ".".into());
        refused(&|bad| bad.inputs[2].extras = vec![String::new()]);
        refused(&|bad| bad.inputs[3].name = "/home/me/.venv".into());
        refused(&|bad| _ = bad.extras.insert(String::new()));
        refused(&|bad| _ = bad.groups.insert("a\nb".into()));
        refused(&|bad| bad.entry = Some("a\0b".into()));
        refused(&|bad| drop(bad.commands.insert("a/b".into(), "x".into())));
        refused(&|bad| bad.host_libraries[0] = "a\nb".into());
    }
}
