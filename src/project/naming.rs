//! What a project, and the command that `-e` makes, are called where only an entry says it.

use super::Project;
use super::entry::{Entry, EntryPoint};
use super::settings::check_command_name;

/// Makes `-e`'s entry a command, called after the project, unless a command is meant by it.
pub fn name_for(entry: EntryPoint, project: &mut Project) -> String {
    if let (Entry::Named(name), true) = (&entry.entry, entry.args.is_empty() && entry.variables.is_empty())
        && project.commands.contains_key(name)
    {
        return name.clone();
    }
    let name =
        if check_command_name(&project.name).is_ok() { project.name.clone() } else { "app".to_owned() };
    project.commands.insert(name.clone(), entry);
    name
}

/// What a project that is only an entry is called.
pub fn name_of(entry: &EntryPoint) -> String {
    match &entry.entry {
        Entry::Function { module: name, .. } | Entry::Module(name) => {
            name.split('.').next().unwrap_or(name).to_owned()
        }
        Entry::Script(name) | Entry::Named(name) => name.clone(),
        Entry::File(path) => path.file_name().trim_end_matches(".py").to_owned(),
    }
}
