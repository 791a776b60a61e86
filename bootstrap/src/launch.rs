//! From the start of the process to `execve`.
//!
//! First everything is decided (what the user asks for, which environment, which program with which
//! arguments), then it is done. On a warm start that means: look at the cache directory, read the
//! launch record, see that its layers are there, `execve`.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use crate::builtins::{self, Builtin};
use crate::bundle::Bundle;
use crate::c_library::{self, Order};
use crate::cache::Candidate;
use crate::clean_up;
use crate::environment;
use crate::error::{Error, Result, reason};
use crate::first_start;
use crate::format::Damage;
use crate::format::digest::Digest;
use crate::format::stamp;
use crate::format::template;
use crate::host::{Host, complain};
use crate::mend;
use crate::receive;
use crate::record::{Command, Record};
use crate::trace::{self, shown};

/// Variables that would lead the interpreter to another standard library, or other modules. They are
/// meant for the machine's Python and taken out of the app's environment, unless COIL_INHERIT is set.
pub const FOREIGN: [&str; 6] = [
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
];

/// How often a first start is made whose environment goes before the app is started: a clean-up that is told to keep
/// nothing comes at any time.
const TRIES: u32 = 3;

/// What the user asks for, before it is known whether that exists.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// One of the launcher's own commands.
    Builtin(Builtin),
    /// The command with this name.
    Command(String),
    /// The default command, unless a command has the name the bundle was called by (a symbolic link).
    Default {
        /// That name.
        called: Option<String>,
    },
}

/// A program and all it is started with.
pub struct Exec {
    program: PathBuf,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

/// Starts the app of the bundle whose stamp this is. Returns only if there is no app to become: the
/// exit code.
pub fn launch(stamp: &[u8]) -> i32 {
    let host = Host::observe();
    start(&host, stamp).unwrap_or_else(|error| {
        complain(host.called().unwrap_or(OsStr::new("coil")), &error);
        error.exit_code()
    })
}

fn start(host: &Host, stamp: &[u8]) -> Result<i32> {
    let wish = wish(host)?;
    if wish == Wish::Builtin(Builtin::Receive) {
        // Before all else: it needs no payload.
        let received = receive::receive(host)?;
        return received.map_or(Ok(0), |bundle| Err(installation(bundle).run()));
    }
    let digest = stamp::read(stamp).ok_or(Error::NoPayload)?;
    if let Wish::Builtin(builtin) = &wish
        && !builtin.needs_environment()
    {
        return builtins::run(*builtin, &open_bundle(host, digest)?, host);
    }
    let order = host.order()?;
    let mut broken = false;
    for (candidate, place) in places(host, &digest, order) {
        let Some(opened) = read_record(candidate, &place, host, digest) else { continue };
        let Some(record) = usable(&opened.bytes, &place, order) else { continue };
        match become_app(&record, &wish, host) {
            // Part of the cache is gone or damaged, or cannot execute any more: it is compared and mended.
            Error::Exec { source, .. } if mend::can_help(&source) => broken = true,
            error => return Err(error),
        }
        trace::say("start", || {
            "its interpreter cannot be started, so the cache is compared and mended".into()
        });
        break;
    }
    let bundle = open_bundle(host, digest)?;
    trace::say("bundle", || "the manifest was read: this is a first start".into());
    for _ in 1..TRIES {
        match start_first(&bundle, &wish, host, broken) {
            error if error.is_missing() => {
                trace::say("start", || format!("once more, as a clean-up was quicker: {error}"));
            }
            error => return Err(error),
        }
    }
    Err(start_first(&bundle, &wish, host, broken))
}

/// A first start. Only an error comes back.
fn start_first(bundle: &Bundle, wish: &Wish, host: &Host, broken: bool) -> Error {
    let opened = first_start::prepare(bundle, host, broken).and_then(|place| {
        let path = place.join(environment::RECORD);
        Opened::at(&path).map(|opened| (opened, path.clone())).map_err(Error::at("read", &path))
    });
    let (opened, path) = match opened {
        Ok(opened) => opened,
        Err(error) => return error,
    };
    let unreadable = || io::Error::other("it was written by another version of coil");
    match Record::parse(&opened.bytes) {
        Some(record) => become_app(&record, wish, host),
        None => Error::at("use", &path)(unreadable()),
    }
}

/// What the user asks for.
fn wish(host: &Host) -> Result<Wish> {
    if let Some(name) = env::var_os("COIL").filter(|name| !name.is_empty()) {
        let name = name.to_string_lossy();
        return Builtin::named(&name).map(Wish::Builtin).ok_or_else(|| Error::NoBuiltin(name.into()));
    }
    if let Some(name) = env::var_os("COIL_RUN").filter(|name| !name.is_empty()) {
        return Ok(Wish::Command(name.to_string_lossy().into_owned()));
    }
    // The file's own name says nothing: a file called `flask` may hold an app that has a `flask` too.
    let own = host.bundle.as_deref().and_then(Path::file_name);
    let called = host.called().filter(|called| Some(*called) != own);
    Ok(Wish::Default { called: called.and_then(OsStr::to_str).map(str::to_owned) })
}

/// Where the environment may be, best first. In one cache there is more than one where hosts with different C libraries
/// share it, or where the user has ordered one.
fn places<'a>(
    host: &'a Host,
    digest: &'a Digest,
    order: Order,
) -> impl Iterator<Item = (&'a Candidate, PathBuf)> + 'a {
    host.candidates.iter().flat_map(move |candidate| {
        order.allowed().iter().map(move |libc| (candidate, candidate.environment(digest, *libc)))
    })
}

/// The launch record of the environment at `place`, where there is one in a cache that can be trusted. Where a machine
/// removes old files one by one, the first start of a day looks after the whole environment before.
fn read_record(candidate: &Candidate, place: &Path, host: &Host, digest: Digest) -> Option<Opened> {
    let opened = match Opened::at(&place.join(environment::RECORD)) {
        Ok(read) => read,
        Err(error) => {
            trace::say("cache", || format!("{} is passed over: {}", shown(place), reason(&error)));
            return None;
        }
    };
    if let Some(why) = candidate.distrust(host.uid) {
        trace::say("cache", || format!("{} is not trusted: {why}", shown(&candidate.root)));
        return None;
    }
    trace::say("cache", || format!("{} has a launch record of {} bytes", shown(place), opened.bytes.len()));
    if opened.first_today && candidate.swept {
        trace::say("cache", || {
            "files may vanish there, so the first start of a day compares them all".into()
        });
        mend::look_after(host, candidate, || open_bundle(host, digest));
    }
    Some(opened)
}

/// A launch record that was read. Its file stays open, so that a clean-up sees this start coming (`in_use`); `execve`
/// closes it.
struct Opened {
    bytes: Vec<u8>,
    first_today: bool,
    _file: File,
}

impl Opened {
    /// Reads a launch record and notes that it is used. As many system calls as reading alone, on all but the first
    /// day's first start.
    fn at(path: &Path) -> io::Result<Opened> {
        let mut file = File::open(path)?;
        let there = file.metadata()?;
        let mut bytes = vec![0; there.len() as usize];
        file.read_exact(&mut bytes)?;
        Ok(Opened { bytes, first_today: clean_up::note_use(&file, &there), _file: file })
    }
}

/// The record in these bytes, if it is of this launcher's version, made for this host, and its layers are there.
fn usable<'a>(bytes: &'a [u8], place: &Path, order: Order) -> Option<Record<'a>> {
    let Some(record) = Record::parse(bytes) else {
        trace::say("record", || format!("that of {} was written by another version of coil", shown(place)));
        return None;
    };
    if !c_library::fits(record.host, order) {
        trace::say("libc", || format!("it was made for a host with another C library ({})", record.host));
        return None;
    }
    trace::say("libc", || format!("it was made for this host's C library ({})", record.host));
    if let Some(layer) = environment::missing_layer(&record) {
        trace::say("layers", || format!("{layer} is missing, so this is a first start again"));
        return None;
    }
    trace::say("layers", || format!("all {} are there", record.layers.len()));
    Some(record)
}

fn open_bundle(host: &Host, digest: Digest) -> Result<Bundle> {
    let bundle = Bundle::open(&host.own_file()?)?;
    if bundle.digest() != digest {
        return Err(bundle.damaged(Damage::new("its manifest has another digest than its stamp")));
    }
    Ok(bundle)
}

/// Decides what to execute and executes it. Only an error comes back.
fn become_app(record: &Record, wish: &Wish, host: &Host) -> Error {
    match decide(record, wish, host) {
        Ok(exec) => exec.run(),
        Err(error) => error,
    }
}

fn decide(record: &Record, wish: &Wish, host: &Host) -> Result<Exec> {
    let users = host.args.get(1..).unwrap_or_default();
    if let Wish::Builtin(_) = wish {
        return Ok(interpreter(record, users, host));
    }
    let (command, users) = choose(record, wish, users)?;
    let script = record.environment.join(command.script);
    let mut args = Vec::with_capacity(2 + command.args.len() + users.len());
    let program = if command.native {
        script.clone()
    } else {
        args.push(record.environment.join("bin/python").into_os_string());
        record.environment.join("run").join(command.name)
    };
    args.push(script.into_os_string());
    let mut variables = variables(record, host);
    let own = prepared(command, &variables, &mut args);
    args.extend_from_slice(users);
    variables.retain(|(name, _)| !own.iter().any(|(set, _)| set == name));
    variables.extend(own);
    Ok(Exec { program, args, variables })
}

/// Adds the command's own arguments to `args` and returns the variables it sets. Templates are filled in
/// from `variables`, as a shell does it: what the command sets is for the command and not for them.
fn prepared(
    command: &Command,
    variables: &[(OsString, OsString)],
    args: &mut Vec<OsString>,
) -> Vec<(OsString, OsString)> {
    // Nothing is a template that was not UTF-8 in the manifest.
    let template = |text: &OsStr| text.to_str().filter(|_| command.expand).map(str::to_owned);
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_bytes())
    };
    for arg in &command.args {
        match template(arg) {
            Some(text) => args.extend(template::expand(&text, value).into_iter().map(OsString::from_vec)),
            None => args.push(arg.to_os_string()),
        }
    }
    let set = |(name, text): &(&OsStr, &OsStr)| {
        let value = template(text).map(|text| OsString::from_vec(template::expand_whole(&text, value)));
        (name.to_os_string(), value.unwrap_or_else(|| text.to_os_string()))
    };
    command.variables.iter().map(set).collect()
}

/// The installation of a bundle that was received.
fn installation(bundle: PathBuf) -> Exec {
    let mut variables: Vec<_> = env::vars_os().filter(|(name, _)| name != "COIL").collect();
    variables.push(("COIL".into(), "install".into()));
    Exec { args: vec![bundle.clone().into_os_string()], program: bundle, variables }
}

/// The environment's interpreter itself, with the user's arguments.
fn interpreter(record: &Record, users: &[OsString], host: &Host) -> Exec {
    let program = record.environment.join("bin/python");
    let mut args = vec![program.clone().into_os_string()];
    args.extend_from_slice(users);
    Exec { program, args, variables: variables(record, host) }
}

/// The command that is wished for, and the arguments that are left for it.
fn choose<'r, 'a, 'u>(
    record: &'r Record<'a>,
    wish: &Wish,
    users: &'u [OsString],
) -> Result<(&'r Command<'a>, &'u [OsString])> {
    let missing = |asked: Option<String>| Error::NoCommand {
        asked,
        known: record.commands.iter().map(|command| command.name.to_owned()).collect(),
    };
    let (asked, users) = match wish {
        Wish::Command(name) => (Some(name.clone()), users),
        Wish::Default { called: Some(name) } if record.command(name).is_some() => (Some(name.clone()), users),
        _ => match (record.default, users.split_first()) {
            (Some(default), _) => (Some(default.to_owned()), users),
            (None, Some((first, rest))) => (Some(first.to_string_lossy().into_owned()), rest),
            (None, None) => (None, users),
        },
    };
    let command = asked.as_deref().and_then(|name| record.command(name));
    command.map(|command| (command, users)).ok_or_else(|| missing(asked))
}

/// The app's environment variables: the user's, less what would mislead Python, with the environment
/// in front on PATH as in any activated virtualenv.
fn variables(record: &Record, host: &Host) -> Vec<(OsString, OsString)> {
    let inherit = env::var_os("COIL_INHERIT").is_some_and(|value| !value.is_empty() && value != "0");
    let ours = |name: &OsStr| {
        ["COIL", "COIL_RUN", trace::VARIABLE, "COIL_BUNDLE", "VIRTUAL_ENV", "PATH"]
            .iter()
            .any(|our| name == *our)
    };
    let foreign = |name: &OsStr| !inherit && FOREIGN.iter().any(|foreign| name == *foreign);
    let mut variables: Vec<_> = env::vars_os().filter(|(name, _)| !ours(name) && !foreign(name)).collect();
    for (name, value) in &record.variables {
        if !variables.iter().any(|(there, _)| there == name) {
            variables.push((name.to_os_string(), value.to_os_string()));
        }
    }
    let mut path = record.environment.join("bin").into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or("/usr/bin:/bin".into()));
    variables.push(("PATH".into(), path));
    variables.push(("VIRTUAL_ENV".into(), record.environment.into()));
    if let Some(bundle) = &host.bundle {
        variables.push(("COIL_BUNDLE".into(), bundle.into()));
    }
    variables
}

impl Exec {
    /// Becomes the program. Comes back only with the reason why not.
    fn run(self) -> Error {
        let failed = |source| Error::Exec { program: self.program.clone(), source };
        let variables = self.variables.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        });
        let strings = |list: &mut dyn Iterator<Item = OsString>| -> Result<Vec<CString>, io::Error> {
            list.map(|text| CString::new(text.into_vec()).map_err(io::Error::other)).collect()
        };
        let program = CString::new(self.program.as_os_str().as_bytes()).map_err(io::Error::other);
        let (program, args, variables) =
            match (program, strings(&mut self.args.into_iter()), strings(&mut variables.into_iter())) {
                (Ok(program), Ok(args), Ok(variables)) => (program, args, variables),
                (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return failed(error),
            };
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        trace::say("start", || {
            let (arguments, variables) = (args.len(), variables.len());
            format!("execve of {} with {arguments} arguments and {variables} variables", shown(&self.program))
        });
        let (args, variables) = (pointers(&args), pointers(&variables));
        // SAFETY: both arrays end with a null pointer and point to NUL-terminated strings that are
        // owned by vectors still alive here; execve only reads them.
        unsafe { libc::execve(program.as_ptr(), args.as_ptr(), variables.as_ptr()) };
        failed(io::Error::last_os_error())
    }
}
