//! The choices that a pyproject.toml offers: its extras and its dependency groups, and where uv is told to
//! find what it needs.
//!
//! Groups are those of PEP 735; those that Poetry, PDM and uv had before it are known by name, because their
//! locks can be asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::requirement::Requirement;
use crate::error::{Context, Failure, Result};
use crate::lock::choose::check_names;
use crate::lock::normal_name;

/// What a directory's pyproject.toml offers; nothing where there is none.
#[derive(Debug, Default, Clone)]
pub struct Declared {
    /// The file, as it is called in messages.
    file: String,
    /// The names of its extras, in normal form; `None` where only its build backend knows them.
    pub extras: Option<BTreeSet<String>>,
    /// `[dependency-groups]`, by names in normal form.
    groups: BTreeMap<String, Vec<Value>>,
    /// Groups that only the tool knows that the project is made for, in normal form.
    others: BTreeSet<String>,
    /// Whether `[tool.uv.sources]` or a workspace says where dependencies are.
    pub has_uv_sources: bool,
    /// Its indexes for uv.
    pub uv_indexes: Vec<UvIndex>,
}

/// uv, "Indexes": one of `[[tool.uv.index]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UvIndex {
    /// Its name; empty where it has none.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Whether it takes the place of the public index.
    pub is_default: bool,
    /// Whether it is only for what `[tool.uv.sources]` takes from there.
    pub is_explicit: bool,
}

impl Declared {
    /// Reads the pyproject.toml in `directory`.
    pub fn read(directory: &Path) -> Result<Declared> {
        let path = directory.join("pyproject.toml");
        let file = path.display().to_string();
        let unreadable = || format!("{} cannot be read", path.display());
        let page: Table = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).context(unreadable)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Declared { file: directory.display().to_string(), ..Declared::default() });
            }
            Err(error) => return Err(error).context(unreadable),
        };
        let at = |keys: &[&str]| {
            let first = page.get(keys[0])?;
            keys[1..].iter().try_fold(first, |value, key| value.get(key))
        };
        let keys = |value: Option<&Value>| -> BTreeSet<String> {
            let table = value.and_then(Value::as_table);
            table.into_iter().flat_map(|table| table.keys()).map(|key| normal_name(key)).collect()
        };
        let mut others = keys(at(&["tool", "poetry", "group"]));
        others.extend(keys(at(&["tool", "pdm", "dev-dependencies"])));
        if at(&["tool", "uv", "dev-dependencies"]).or(at(&["tool", "poetry", "dev-dependencies"])).is_some() {
            others.insert("dev".to_owned());
        }
        let dynamic = at(&["project", "dynamic"]).and_then(Value::as_array).into_iter().flatten();
        let hidden = dynamic.filter_map(Value::as_str).any(|field| field == "optional-dependencies");
        let mut extras = keys(at(&["project", "optional-dependencies"]));
        extras.extend(keys(at(&["tool", "poetry", "extras"])));
        let stated = at(&["project"]).is_some() || at(&["tool", "poetry"]).is_some();
        Ok(Declared {
            extras: (stated && !hidden).then_some(extras),
            groups: groups(at(&["dependency-groups"]), &file)?,
            others,
            has_uv_sources: at(&["tool", "uv", "sources"]).is_some()
                || at(&["tool", "uv", "workspace"]).is_some(),
            uv_indexes: at(&["tool", "uv", "index"])
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(UvIndex::read)
                .collect(),
            file,
        })
    }

    /// Whether it offers the extra; where it cannot tell, it may.
    pub fn has_extra(&self, name: &str) -> bool {
        self.extras.as_ref().is_none_or(|extras| extras.contains(name))
    }

    /// Whether it offers the group.
    pub fn has_group(&self, name: &str) -> bool {
        self.groups.contains_key(name) || self.others.contains(name)
    }

    /// Fails where it does not offer one of these extras.
    pub fn check_extras(&self, wanted: &BTreeSet<String>) -> Result<()> {
        self.extras.as_ref().map_or(Ok(()), |extras| check_names("extra", wanted, extras, &self.file))
    }

    /// Fails where it does not offer one of these groups.
    pub fn check_groups(&self, wanted: &BTreeSet<String>) -> Result<()> {
        let known = self.groups.keys().chain(&self.others).cloned().collect();
        check_names("dependency group", wanted, &known, &self.file)
    }

    /// What the groups need, those that they include as well.
    ///
    /// A group that only another tool knows needs its lock: `locked` says whether there is one, and then it is
    /// left out here.
    pub fn group_requirements(&self, wanted: &BTreeSet<String>, locked: bool) -> Result<Vec<Requirement>> {
        let mut requirements = Vec::new();
        for name in wanted {
            match self.groups.contains_key(name) {
                true => self.expand(name, &mut Vec::new(), &mut requirements)?,
                false if locked => {}
                false => {
                    return Err(Failure::new(format!(
                        "the dependency group {name:?} of {} is not a standard one, and there is no lock that has it",
                        self.file
                    ))
                    .hint("lock the project with the tool it is made for, or move the group to [dependency-groups]"));
                }
            }
        }
        Ok(requirements)
    }

    /// PEP 735: "Dependency Group Includes ... tools SHOULD detect cycles and raise an error".
    fn expand(&self, name: &str, path: &mut Vec<String>, found: &mut Vec<Requirement>) -> Result<()> {
        if path.iter().any(|above| above == name) {
            path.push(name.to_owned());
            return Err(Failure::new(format!(
                "the dependency groups of {} include each other: {}",
                self.file,
                path.join(" -> ")
            )));
        }
        let Some(items) = self.groups.get(name) else {
            let from = path.last().map(String::as_str).unwrap_or_default();
            return Err(Failure::new(format!(
                "the dependency group {from:?} of {} includes {name:?}, which is none of its groups",
                self.file
            )));
        };
        path.push(name.to_owned());
        for item in items {
            let include = item.get("include-group").and_then(Value::as_str);
            match (item.as_str(), include) {
                (Some(text), _) => {
                    let origin = format!("the group {name:?} of {}", self.file);
                    let requirement = Requirement::parse(text, &origin)?;
                    if !found.iter().any(|other| other.text == requirement.text) {
                        found.push(requirement);
                    }
                }
                (None, Some(other)) => self.expand(&normal_name(other), path, found)?,
                (None, None) => {
                    return Err(Failure::new(format!(
                        "{}: the dependency group {name:?} has {item}, which is neither a requirement nor an include-group",
                        self.file
                    )));
                }
            }
        }
        path.pop();
        Ok(())
    }
}

impl UvIndex {
    fn read(index: &Value) -> Option<Self> {
        let text = |key: &str| index.get(key).and_then(Value::as_str).map(str::to_owned);
        let is = |key: &str| index.get(key).and_then(Value::as_bool).unwrap_or_default();
        Some(UvIndex {
            name: text("name").unwrap_or_default(),
            url: text("url")?,
            is_default: is("default"),
            is_explicit: is("explicit"),
        })
    }
}

fn groups(table: Option<&Value>, file: &str) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut groups = BTreeMap::new();
    for (name, items) in table.and_then(Value::as_table).into_iter().flatten() {
        let items = items
            .as_array()
            .ok_or_else(|| Failure::new(format!("{file}: the dependency group {name:?} must be a list")))?;
        if groups.insert(normal_name(name), items.clone()).is_some() {
            return Err(Failure::new(format!(
                "{file} has two dependency groups called {:?}",
                normal_name(name)
            )));
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Result<Declared> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("pyproject.toml"), text).unwrap();
        Declared::read(directory.path())
    }

    fn needs(declared: &Declared, group: &str) -> Result<Vec<String>> {
        let found = declared.group_requirements(&[group.to_owned()].into(), false)?;
        Ok(found.into_iter().map(|requirement| requirement.text).collect())
    }

    #[test]
    fn groups_include_groups_and_cycles_are_named() {
        let text = "[dependency-groups]\nTest_All = [\"pytest\", { include-group = \"lint\" }]\nlint = [\"ruff\", \"pytest\"]\n\
                    a = [{ include-group = \"b\" }]\nb = [{ include-group = \"A\" }]\nc = [{ include-group = \"nope\" }]\nd = [1]\n";
        let declared = declared(text).unwrap();
        assert_eq!(needs(&declared, "test-all").unwrap(), ["pytest", "ruff"]);
        let cycle = needs(&declared, "a").unwrap_err().to_string();
        assert!(cycle.ends_with("include each other: a -> b -> a"), "{cycle}");
        assert!(needs(&declared, "c").unwrap_err().to_string().contains("includes \"nope\""));
        assert!(needs(&declared, "d").is_err());
        assert_eq!(
            declared.check_groups(&["lnt".to_owned()].into()).unwrap_err().advice(),
            Some("did you mean lint?")
        );
    }

    #[test]
    fn what_other_tools_call_groups_and_extras_is_known_by_name() {
        let declared = declared(
            "[tool.poetry.group.docs]\n[tool.poetry.extras]\nhttp = []\n[tool.uv]\ndev-dependencies = []\nsources = {}\n",
        )
        .unwrap();
        assert!(declared.has_group("docs") && declared.has_group("dev") && declared.has_uv_sources);
        assert!(declared.has_extra("http") && !declared.has_extra("x"));
        assert!(needs(&declared, "docs").is_err());
        assert!(declared.group_requirements(&["docs".to_owned()].into(), true).unwrap().is_empty());
    }

    #[test]
    fn where_only_the_backend_knows_the_extras_any_may_be_meant() {
        let dynamic = declared("[project]\nname = \"x\"\ndynamic = [\"optional-dependencies\"]\n").unwrap();
        assert!(dynamic.check_extras(&["x".to_owned()].into()).is_ok());
        let none = declared("[project]\nname = \"x\"\n").unwrap();
        assert_eq!(
            none.check_extras(&["x".to_owned()].into()).unwrap_err().advice(),
            Some("it has no extras at all")
        );
    }
}
