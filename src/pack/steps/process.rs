//! Running one step.
//!
//! The user's environment reaches a step (proxies, tokens, HOME), but for what belongs to another Python. What
//! would make its output differ from day to day or from machine to machine is fixed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use coil_bootstrap::format::template;

use super::environment::APP;
use crate::error::{Context, Failure, Result};
use crate::project::Project;
use crate::project::sources::source_date;
use crate::project::words;
use crate::report::Report;

/// How much of a failed step's output is shown, in bytes from its end.
const SHOWN: u64 = 64 << 10;

/// Where steps run.
pub struct Shell<'a> {
    /// The environment's directory.
    pub environment: &'a Path,
    /// The working directory: the app's tree.
    pub directory: &'a Path,
    /// The project that the steps are of.
    pub project: &'a Project,
}

impl Shell<'_> {
    /// Runs a step to its end. Its output is shown as it comes where the user wants to hear everything, else
    /// only if it fails.
    pub fn run(&self, step: &str, report: &Report) -> Result<()> {
        let cannot = || format!("the build step `{step}` cannot be run");
        let variables = self.variables();
        let words = words::split(step).map_err(|reason| Failure::new(format!("{}: {reason}", cannot())))?;
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_bytes())
        };
        let words: Vec<OsString> = words
            .iter()
            .flat_map(|word| template::expand(&word.template, value))
            .map(OsString::from_vec)
            .collect();
        let (program, args) =
            words.split_first().ok_or_else(|| Failure::new(format!("{}: it is empty", cannot())))?;
        let file = self.find(program, &variables).ok_or_else(|| {
            Failure::new(format!("{}: there is no program called {}", cannot(), program.to_string_lossy()))
                .hint("neither the packed environment nor PATH has it; add what provides it to the requirements")
        })?;
        let mut command = Command::new(file);
        command.args(args).current_dir(self.directory).env_clear().envs(variables).stdin(Stdio::null());
        let mut heard = tempfile::tempfile().context(cannot)?;
        let (out, err) = match report.is_verbose() {
            true => (io::stderr().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()),
            false => (heard.try_clone().map(Into::into), heard.try_clone().map(Into::into)),
        };
        command.stdout(out.context(cannot)?).stderr(err.context(cannot)?);
        let status = command.status().context(cannot)?;
        if status.success() {
            return Ok(());
        }
        let failure = Failure::new(format!("the build step `{step}` failed with {}", told(status)));
        let output = tail(&mut heard).context(cannot)?;
        let failure = if output.is_empty() { failure } else { failure.because(output) };
        Err(
            match self.project.builds.is_empty()
                || self.directory.read_dir().is_ok_and(|mut files| files.next().is_some())
            {
                true => failure,
                false => failure.hint(
                    "steps see the files of the app's tree; name those they need with include in [tool.coil]",
                ),
            },
        )
    }

    fn variables(&self) -> Vec<(OsString, OsString)> {
        let foreign = |name: &OsStr| {
            let name = name.to_string_lossy();
            name.starts_with("PYTHON")
                || name.starts_with("COIL")
                || ["PATH", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "CONDA_PREFIX", "__PYVENV_LAUNCHER__"]
                    .contains(&&*name)
        };
        let mut variables: Vec<_> = std::env::vars_os().filter(|(name, _)| !foreign(name)).collect();
        for (name, value) in &self.project.variables {
            if !variables.iter().any(|(there, _)| there == OsStr::new(name)) {
                variables.push((name.into(), value.into()));
            }
        }
        let fixed: [(&str, OsString); 9] = [
            ("PATH", self.path()),
            ("VIRTUAL_ENV", self.environment.into()),
            (APP, self.directory.into()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
            ("PYTHONHASHSEED", "0".into()),
            ("SOURCE_DATE_EPOCH", source_date(self.project.date)),
            ("LC_ALL", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("PWD", self.directory.into()),
        ];
        variables.retain(|(name, _)| !fixed.iter().any(|(known, _)| name == known));
        variables.extend(fixed.map(|(name, value)| (name.into(), value)));
        variables
    }

    /// The environment's programs, and the user's but for those of an active virtualenv.
    fn path(&self) -> OsString {
        let active: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"]
            .into_iter()
            .filter_map(|name| Some(PathBuf::from(std::env::var_os(name)?).join("bin")))
            .collect();
        let path = std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or("/usr/bin:/bin".into());
        let mut directories = vec![self.environment.join("bin")];
        directories.extend(std::env::split_paths(&path).filter(|directory| !active.contains(directory)));
        std::env::join_paths(directories).unwrap_or(path)
    }

    fn find(&self, program: &OsStr, variables: &[(OsString, OsString)]) -> Option<PathBuf> {
        if program.as_bytes().contains(&b'/') {
            return Some(self.directory.join(program)).filter(|file| file.exists());
        }
        let path = variables.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path)?;
        let runs = |file: &PathBuf| {
            file.metadata().is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(path).map(|directory| directory.join(program)).find(runs)
    }
}

fn told(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

/// The end of what a step has said.
fn tail(file: &mut File) -> io::Result<String> {
    let length = file.seek(io::SeekFrom::End(0))?;
    file.seek(io::SeekFrom::Start(length.saturating_sub(SHOWN)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    Ok(if length > SHOWN { format!("...{text}") } else { text })
}
