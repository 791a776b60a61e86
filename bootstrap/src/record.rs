//! The launch record: all that a warm start has to know, in one small file of the environment.
//!
//! The manifest says the same and more, but it is JSON and part of the payload; a warm start reads
//! neither. The record is written when an environment is assembled and read by the same launcher, so
//! its form may change with any version: one that cannot be read counts as missing.
//!
//! ```text
//! "coil launch 5"  app's name  environment's path  mark of the host's loader  default command or ""
//! count of layers, each: the name of its directory
//! count of commands, each: name  "python" or "native"  script  "expand" or ""
//!     count of arguments, each: argument
//!     count of variables, each: name  value
//! count of variables, each: name  value
//! ```
//! Every field ends with a NUL byte.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAGIC: &[u8] = b"coil launch 5";

/// A launch record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The app's name: what is cleaned up first is old versions of the same.
    pub app: &'a str,
    /// The absolute path of the environment it was written for.
    pub environment: &'a Path,
    /// The mark of the loader of the host that the C library was chosen for; "any" where the bundle leaves no
    /// choice, "order" where the user made it.
    pub host: &'a str,
    /// The command that runs when none is named.
    pub default: Option<&'a str>,
    /// The names of its layers' directories.
    pub layers: Vec<&'a str>,
    /// All commands, sorted by name.
    pub commands: Vec<Command<'a>>,
    /// Defaults of environment variables.
    pub variables: Vec<(&'a OsStr, &'a OsStr)>,
}

/// One command of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether the script is a program by itself and not a Python file.
    pub native: bool,
    /// The script's path in the environment.
    pub script: &'a str,
    /// Arguments before the user's.
    pub args: Vec<&'a OsStr>,
    /// Variables that are set for it, whatever they were.
    pub variables: Vec<(&'a OsStr, &'a OsStr)>,
    /// Whether arguments and values are templates.
    pub expand: bool,
}

impl<'a> Command<'a> {
    /// A command without arguments.
    pub fn of(name: &'a str, script: &'a str, native: bool) -> Self {
        Command { name, native, script, args: Vec::new(), variables: Vec::new(), expand: false }
    }
}

impl<'a> Record<'a> {
    /// The bytes of this record.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut field = |field: &[u8]| {
            bytes.extend(field);
            bytes.push(0);
        };
        field(MAGIC);
        field(self.app.as_bytes());
        field(self.environment.as_os_str().as_bytes());
        field(self.host.as_bytes());
        field(self.default.unwrap_or("").as_bytes());
        field(self.layers.len().to_string().as_bytes());
        self.layers.iter().for_each(|layer| field(layer.as_bytes()));
        field(self.commands.len().to_string().as_bytes());
        for command in &self.commands {
            field(command.name.as_bytes());
            field(if command.native { b"native" } else { b"python" });
            field(command.script.as_bytes());
            field(if command.expand { b"expand" } else { b"" });
            field(command.args.len().to_string().as_bytes());
            command.args.iter().for_each(|arg| field(arg.as_bytes()));
            field(command.variables.len().to_string().as_bytes());
            for (name, value) in &command.variables {
                field(name.as_bytes());
                field(value.as_bytes());
            }
        }
        field(self.variables.len().to_string().as_bytes());
        for (name, value) in &self.variables {
            field(name.as_bytes());
            field(value.as_bytes());
        }
        bytes
    }

    /// Reads a record; `None` for anything that is not a whole one.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.next()? != MAGIC {
            return None;
        }
        let app = fields.text()?;
        let environment = Path::new(OsStr::from_bytes(fields.next()?));
        let host = fields.text()?;
        let default = Some(fields.text()?).filter(|name| !name.is_empty());
        let layers = (0..fields.count()?).map(|_| fields.text()).collect::<Option<_>>()?;
        let mut commands = Vec::new();
        for _ in 0..fields.count()? {
            let (name, kind, script) = (fields.text()?, fields.text()?, fields.text()?);
            let expand = fields.text()? == "expand";
            let args = (0..fields.count()?).map(|_| fields.next().map(OsStr::from_bytes));
            let args = args.collect::<Option<_>>()?;
            let variables = fields.variables()?;
            commands.push(Command { name, native: kind == "native", script, args, variables, expand });
        }
        let variables = fields.variables()?;
        let whole = fields.0.is_empty();
        whole.then_some(Record { app, environment, host, default, layers, commands, variables })
    }

    /// The command with this name.
    pub fn command(&self, name: &str) -> Option<&Command<'a>> {
        self.commands.iter().find(|command| command.name == name)
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let field = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(field)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.next()?).ok()
    }

    fn variables(&mut self) -> Option<Vec<(&'a OsStr, &'a OsStr)>> {
        let count = self.count()?;
        let pair = |_| Some((OsStr::from_bytes(self.next()?), OsStr::from_bytes(self.next()?)));
        (0..count).map(pair).collect()
    }

    fn count(&mut self) -> Option<usize> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_none_of_its_beginnings_does() {
        let record = Record {
            app: "site",
            environment: Path::new("/cache/envs/x"),
            host: "any",
            default: None,
            layers: vec!["01", "23"],
            commands: vec![
                Command::of("manage", "app/manage.py", false),
                Command {
                    args: vec!["-b".as_ref(), "".as_ref()],
                    variables: vec![("B".as_ref(), "$$".as_ref())],
                    expand: true,
                    ..Command::of("web", "bin/web", true)
                },
            ],
            variables: vec![("A".as_ref(), OsStr::from_bytes(b"\xff"))],
        };
        let bytes = record.encode();
        assert_eq!(Record::parse(&bytes), Some(record));
        for length in 0..bytes.len() {
            assert_eq!(Record::parse(&bytes[..length]), None);
        }
        assert_eq!(Record::parse(b"coil launch 5\0site\0/e\0any\0\0999999999999\0"), None);
    }
}
