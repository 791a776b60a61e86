//! How an image starts its commands.
//!
//! No launcher is there: what a bundle's launcher does is said in the image's configuration where that can say it (the
//! interpreter, the script, fixed arguments), and by a small program of the command's name where it cannot (another
//! name than the script's, variables, templates).

use coil_bootstrap::format::manifest::{Command, Manifest};
use coil_bootstrap::format::template::{self, Piece};

/// The environment's place in an image.
pub const ENVIRONMENT: &str = "/venv";

/// The directory of [`Starts::programs`], in front on PATH.
pub const PROGRAMS: &str = "venv/run";

/// The commands of an image.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Starts {
    /// What a container runs, its own arguments following.
    pub entry_point: Option<Vec<String>>,
    /// What a container runs that is given no arguments.
    pub command: Option<Vec<String>>,
    /// Programs to be made, by name: text of a Python file.
    pub programs: Vec<(String, String)>,
}

impl Starts {
    /// How the commands of this bundle are started in its image.
    ///
    /// Where the default is a program under its own name, or the only command, it is the entry point: the image
    /// is that program, and arguments are its. Where a project names several, arguments name one: the default is what
    /// runs without any.
    pub fn of(manifest: &Manifest) -> Starts {
        let mut starts = Starts::default();
        for (name, command) in &manifest.commands {
            if !is_plain(name, command) {
                starts.programs.push((name.clone(), program(command, manifest)));
            }
        }
        let Some((name, command)) =
            manifest.default.as_ref().and_then(|name| manifest.commands.get_key_value(name))
        else {
            return starts;
        };
        let line = match command.expand || !command.variables.is_empty() {
            true => vec![format!("/{PROGRAMS}/{name}")],
            false => line(command, manifest).into_iter().chain(command.args.iter().cloned()).collect(),
        };
        match manifest.commands.len() == 1 || is_plain(name, command) {
            true => starts.entry_point = Some(line),
            false => starts.command = Some(line),
        }
        starts
    }
}

/// Whether the environment has the command already, under its name.
fn is_plain(name: &str, command: &Command) -> bool {
    command.script.below("bin") == Some(name) && command.args.is_empty() && command.variables.is_empty()
}

/// The program of a command, and its script.
fn line(command: &Command, manifest: &Manifest) -> Vec<String> {
    let script = format!("{ENVIRONMENT}/{}", command.script);
    let native = command.script.top() == "bin" && manifest.environment.links.contains_key(&command.script);
    if native { vec![script] } else { vec![format!("{ENVIRONMENT}/bin/python"), script] }
}

fn program(command: &Command, manifest: &Manifest) -> String {
    let pieces =
        |text: &String| match template::parse(text).filter(|pieces| command.expand && !pieces.is_empty()) {
            Some(pieces) => format!("[{}]", pieces.iter().map(piece).collect::<Vec<_>>().join(", ")),
            None => format!("[{}]", quoted(text)),
        };
    let list = |texts: Vec<String>| texts.join(", ");
    let variables = command.variables.iter();
    let variables = variables.map(|(name, text)| format!("{}: {}", quoted(name), pieces(text))).collect();
    let program = line(command, manifest).iter().map(|text| quoted(text)).collect();
    include_str!("../../runtime-templates/image_command.py")
        .replace("{program}", &format!("[{}]", list(program)))
        .replace("{arguments}", &format!("[{}]", list(command.args.iter().map(pieces).collect())))
        .replace("{variables}", &format!("{{{}}}", list(variables)))
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => quoted(text),
        Piece::Variable { name, default, or_empty, whole } => {
            let truth = |value: bool| if value { "True" } else { "False" };
            let default = quoted(default.unwrap_or_default());
            format!("({}, {default}, {}, {})", quoted(name), truth(*or_empty), truth(*whole))
        }
    }
}

/// A text as Python reads it: JSON's strings are Python's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
