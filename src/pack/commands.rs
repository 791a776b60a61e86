//! Commands: which there are, which is the default, and what each of them runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use coil_bootstrap::format::manifest::Command;
use coil_bootstrap::format::path::TreePath;

use super::wheels::Facts;
use crate::error::{Failure, Result};
use crate::lock::normal_name;
use crate::plan::Listing;
use crate::project::Project;
use crate::project::default_command::{self, DefaultCommand, choose_default};
use crate::project::entry::{Entry, EntryPoint, Known, resolve_entry};
use crate::store::StoredLayer;

/// How many commands are named in a note.
const SHOWN: usize = 6;

/// What the commands came to.
#[derive(Debug, Default)]
pub struct Chosen {
    /// All named commands.
    pub commands: BTreeMap<String, Command>,
    /// The one that runs when none is named.
    pub default: Option<String>,
    /// Scripts to be made for those that are no file by themselves, by their path in the app's layer.
    pub scripts: Vec<(TreePath, String)>,
}

/// Decides all commands of a bundle. `output` is the name of its file, where the user says one.
pub fn choose(
    project: &Project,
    output: Option<&str>,
    wheels: &[StoredLayer<Facts>],
    runtime: &Listing,
) -> Result<Chosen> {
    let known = known(project, wheels, runtime);
    let mut chosen = Chosen::default();
    for (name, entry_point) in &project.commands {
        chosen.add(name, entry_point, &known)?;
    }
    for program in own_programs(project, wheels) {
        if !chosen.commands.contains_key(&program)
            && coil_bootstrap::format::manifest::is_command_name(&program)
        {
            let entry = EntryPoint::of(Entry::Script(program.clone()));
            chosen.add(&program, &entry, &known)?;
        }
    }
    chosen.default = match default(project, output, wheels) {
        None => None,
        Some(DefaultCommand::Command(name) | DefaultCommand::Script(name)) => {
            if !chosen.commands.contains_key(&name) {
                let entry = EntryPoint::of(Entry::Named(name.clone()));
                chosen.add(&name, &entry, &known)?;
            }
            Some(name)
        }
        Some(DefaultCommand::File(path)) => {
            let name = command_name(path.file_name().trim_end_matches(".py"), &project.name);
            let entry = EntryPoint::of(Entry::File(path));
            chosen.add(&name, &entry, &known)?;
            Some(name)
        }
    };
    for (name, command) in &chosen.commands {
        check_is_python(name, command, project)?;
    }
    if chosen.commands.is_empty() && wheels.iter().all(|wheel| wheel.facts.programs.is_empty()) {
        let message = format!("nothing in {} can be started", project.name);
        return Err(Failure::new(message).hint("say what to start, such as: -e pkg.mod:func, or -e main.py"));
    }
    Ok(chosen)
}

impl Chosen {
    /// What the user should know of commands that nobody stated: that none is the default, or that there are
    /// others beside it.
    pub fn note(&self, project: &Project) -> Option<String> {
        let others: Vec<&str> = self.commands.keys().map(String::as_str).collect();
        let others = others.into_iter().filter(|name| Some(*name) != self.default.as_deref());
        let others: Vec<&str> = others.filter(|name| !project.commands.contains_key(*name)).collect();
        let shown = match others.as_slice() {
            [] => return None,
            all if all.len() <= SHOWN => all.join(", "),
            all => format!("{} and {} more", all[..SHOWN].join(", "), all.len() - SHOWN),
        };
        Some(match &self.default {
            Some(_) if project.default.is_some() => return None,
            Some(default) => format!(
                "the default command is {default}; -o NAME, a link called NAME or COIL_RUN=NAME starts another: {shown}"
            ),
            None => format!(
                "there is no default command (-e NAME makes one, or -o NAME): the first argument names one of {shown}"
            ),
        })
    }

    fn add(&mut self, name: &str, entry_point: &EntryPoint, known: &Known) -> Result<()> {
        let script = match resolve_entry(&entry_point.entry, known)? {
            Entry::Script(program) => inside(format!("bin/{program}"))?,
            Entry::File(path) => path,
            Entry::Function { module, attribute } => {
                let first = attribute.split('.').next().unwrap_or(&attribute);
                let text = include_str!("../../runtime-templates/function.py");
                let text = text.replace("{module}", &module).replace("{first}", first);
                self.make_script(name, text.replace("{attribute}", &attribute))?
            }
            Entry::Module(module) | Entry::Named(module) => {
                let text = include_str!("../../runtime-templates/module.py");
                self.make_script(name, text.replace("{module}", &module))?
            }
        };
        let EntryPoint { args, variables, expand, .. } = entry_point.clone();
        self.commands.insert(name.to_owned(), Command { script, args, variables, expand });
        Ok(())
    }

    /// A script of ours: in a directory of its own, so that nothing can be imported from beside it.
    fn make_script(&mut self, name: &str, text: String) -> Result<TreePath> {
        self.scripts.push((inside(format!("venv/libexec/{name}"))?, text));
        inside(format!("libexec/{name}"))
    }
}

/// A file of the app is started as Python: what is plainly something else is refused.
fn check_is_python(name: &str, command: &Command, project: &Project) -> Result<()> {
    let node = project.app.as_ref().and_then(|tree| tree.get(&command.script));
    let Some(Ok(Some((_, mut reader)))) = node.map(|node| node.content.open()) else { return Ok(()) };
    let mut start = [0; 128];
    let count = reader.read(&mut start).unwrap_or(0);
    let first = start[..count].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_script = first.starts_with(b"#!") && !String::from_utf8_lossy(first).contains("py");
    if !is_script && !first.starts_with(b"\x7fELF") {
        return Ok(());
    }
    let file = command.script.below("app").unwrap_or(&command.script);
    Err(Failure::new(format!("the command {name} cannot start {file}: it is no Python file"))
        .hint(format!("a bundle starts Python; say under [tool.coil.commands] what {name} runs")))
}

fn inside(path: String) -> Result<TreePath> {
    TreePath::new(path).map_err(|error| Failure::new(error.to_string()))
}

fn command_name(name: &str, otherwise: &str) -> String {
    let name = if name == "__main__" { otherwise } else { name };
    let usable = coil_bootstrap::format::manifest::is_command_name(name);
    if usable { name.to_owned() } else { "main".to_owned() }
}

/// What an entry can name.
fn known<'a>(project: &'a Project, wheels: &'a [StoredLayer<Facts>], runtime: &'a Listing) -> Known<'a> {
    let programs = wheels.iter().flat_map(|wheel| wheel.facts.programs.iter().cloned());
    let app = project.app.iter().flat_map(|tree| tree.iter().map(|(path, _)| path.as_str()));
    let layers = move || wheels.iter().map(|wheel| &wheel.listing.files).chain([&runtime.files]);
    Known::new(programs, app, move || Box::new(layers().flat_map(|files| files.paths())))
}

/// The names of what the user asked for, as opposed to what that needs in turn.
fn own_names(project: &Project) -> Vec<String> {
    let requirements = project.requirements.iter().map(|requirement| requirement.name.as_str());
    let wheels = project.wheels.iter().filter_map(|(path, _)| path.file_name()?.to_str()?.split('-').next());
    let mut names = vec![normal_name(&project.name)];
    names.extend(requirements.chain(wheels).map(normal_name));
    names
}

/// The programs of what the user asked for. A source tree's requirements are what it needs, not what
/// was asked for.
fn own_programs(project: &Project, wheels: &[StoredLayer<Facts>]) -> BTreeSet<String> {
    let names = if project.app.is_some() { vec![normal_name(&project.name)] } else { own_names(project) };
    let own = wheels.iter().filter(|wheel| names.contains(&normal_name(&wheel.facts.name)));
    own.flat_map(|wheel| wheel.facts.programs.iter().cloned()).collect()
}

fn default(project: &Project, output: Option<&str>, wheels: &[StoredLayer<Facts>]) -> Option<DefaultCommand> {
    let names = own_names(project);
    let with_app = project.app.is_some();
    let scripts = wheels.iter().map(|wheel| (normal_name(&wheel.facts.name), wheel.facts.programs.clone()));
    let facts = default_command::Facts {
        stated: project.default.as_deref(),
        output,
        name: Some(&project.name),
        commands: project.commands.keys().map(String::as_str).collect(),
        names: names.iter().take(if with_app { 1 } else { usize::MAX }).map(String::as_str).collect(),
        scripts: scripts.collect(),
        script: project.script.as_ref(),
        files: project.app.iter().flat_map(|tree| tree.iter().map(|(path, _)| path)).collect(),
    };
    choose_default(&facts)
}
