//! Which extras and dependency groups are wanted: of everything that is packed, and of one directory.

use std::collections::BTreeSet;

use super::declared::Declared;
use super::settings::Settings;
use crate::error::{Failure, Result};
use crate::lock::normal_name;

/// Which extras and dependency groups are wanted, and whether locks count.
#[derive(Debug, Default, Clone)]
pub struct Choice {
    /// `--extra NAME`
    pub extras: Vec<String>,
    /// `--all-extras`
    pub all_extras: bool,
    /// `--group NAME`, `--dev`
    pub groups: Vec<String>,
    /// Whether a pylock.toml beside a project is passed over, because it is made anew.
    pub relocks: bool,
}

impl Choice {
    /// The same with its names in normal form.
    pub fn normal(&self) -> Choice {
        let normal = |names: &Vec<String>| names.iter().map(|name| normal_name(name)).collect();
        Choice { extras: normal(&self.extras), groups: normal(&self.groups), ..self.clone() }
    }

    /// The extras and groups that are wanted of a directory: those that it offers of the ones that are asked
    /// for, and all that its own settings and its own argument ask for.
    pub fn of(
        &self,
        declared: &Declared,
        settings: &Settings,
        extras: &[String],
    ) -> Result<(Vec<String>, BTreeSet<String>)> {
        let normal =
            |names: &[String]| -> BTreeSet<String> { names.iter().map(|name| normal_name(name)).collect() };
        let mut wanted = normal(&settings.extras);
        wanted.extend(normal(extras));
        declared.check_extras(&wanted)?;
        wanted.extend(self.extras.iter().filter(|name| declared.has_extra(name)).cloned());
        if self.all_extras {
            let all = declared.extras.clone().ok_or_else(|| {
                Failure::new("only its build backend knows all extras of the project")
                    .hint("name those that are wanted with --extra")
            });
            wanted.extend(all?);
        }
        let mut groups = normal(&settings.groups);
        declared.check_groups(&groups)?;
        groups.extend(self.groups.iter().filter(|name| declared.has_group(name)).cloned());
        Ok((wanted.into_iter().collect(), groups))
    }

    /// Fails where something is asked for on the command line that no directory offers.
    pub fn check(&self, directories: &[Declared]) -> Result<()> {
        let nowhere = |kind: &str, option: &str, name: &str| {
            Failure::new(format!("{option} {name}: no project is given that could have this {kind}"))
                .hint("extras and groups are chosen of directories with a pyproject.toml, and of locks")
        };
        for name in &self.extras {
            if !directories.iter().any(|declared| declared.has_extra(name)) {
                let declared = directories.first().ok_or_else(|| nowhere("extra", "--extra", name))?;
                declared.check_extras(&[name.clone()].into())?;
            }
        }
        for name in &self.groups {
            if !directories.iter().any(|declared| declared.has_group(name)) {
                let declared = directories.first().ok_or_else(|| nowhere("group", "--group", name))?;
                declared.check_groups(&[name.clone()].into())?;
            }
        }
        Ok(())
    }
}
