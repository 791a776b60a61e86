//! `coil deploy` and `coil rollback`: a release on other machines.

use std::io::{self, Write};

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::release::App;

use crate::cli::{Deploy, Rollback};
use crate::deploy::{Course, Offering, Outcome, Ssh, State, json, roll_back, roll_out, table};
use crate::error::{Failure, Result};
use crate::report::{Loudness, Report};

/// Brings a bundle to hosts and activates it there; prints what became of each.
pub fn run(options: &Deploy) -> Result<()> {
    let report = Report::new(options.volume.or(Loudness::Normal));
    report.doing(&format!("reading {}", options.bundle.display()));
    let offering = Offering::of(&options.bundle)?;
    report.leave();
    let ssh = Ssh::new(options.reach.ssh.as_deref(), options.reach.sudo)?;
    let course = Course {
        parallel: options.reach.parallel,
        canary: options.canary,
        wait: options.wait,
        activate: !options.no_activate,
        keep_going: options.keep_going,
        roll_back: options.rollback_on_failure,
    };
    let outcomes = roll_out(&offering, &options.reach.hosts, &ssh, &course, &report);
    report.leave();
    let (app, release) = (offering.app(), offering.release());
    let text = if options.reach.json { json(app, Some(release), &outcomes)? } else { table(&outcomes) };
    print(&text)?;
    verdict(&outcomes, if course.activate { State::Active } else { State::Installed }, app, release)
}

/// Puts the previous release back on hosts; prints what became of each.
pub fn run_rollback(options: &Rollback) -> Result<()> {
    let report = Report::new(options.volume.or(Loudness::Normal));
    let app = match (&options.app, &options.bundle) {
        (Some(app), _) => app.clone(),
        (None, Some(bundle)) => {
            let bundle = Bundle::open(bundle).map_err(|error| Failure::new(error.to_string()))?;
            App::of(bundle.manifest()).name().to_owned()
        }
        (None, None) => {
            return Err(Failure::new("which app? A host can have several")
                .hint("name it with --app NAME, or its bundle with --bundle FILE"));
        }
    };
    let ssh = Ssh::new(options.reach.ssh.as_deref(), options.reach.sudo)?;
    let outcomes = roll_back(&app, &options.reach.hosts, &ssh, options.reach.parallel, &report);
    report.leave();
    print(&if options.reach.json { json(&app, None, &outcomes)? } else { table(&outcomes) })?;
    let failed = names(&outcomes, |outcome| outcome.outcome != State::RolledBack);
    match failed.as_str() {
        "" => Ok(()),
        failed => Err(Failure::new(format!("not rolled back: {failed}"))),
    }
}

/// An error unless every host is as it was meant to be, with what to type next.
fn verdict(outcomes: &[Outcome], meant: State, app: &str, release: &str) -> Result<()> {
    let good = outcomes.iter().filter(|outcome| outcome.outcome == meant).count();
    if good == outcomes.len() {
        return Ok(());
    }
    let what = if meant == State::Active { "active" } else { "installed" };
    let failed = names(outcomes, |outcome| outcome.outcome == State::Failed);
    let failure = Failure::new(format!(
        "release {release} is {what} on {good} of {} hosts; failed: {failed}",
        outcomes.len()
    ));
    let have = names(outcomes, |outcome| outcome.now.as_deref() == Some(release));
    let own = outcomes.iter().find_map(|outcome| outcome.hint.clone());
    Err(failure.hint(match (have.is_empty(), own) {
        (_, Some(hint)) if outcomes.len() == 1 => hint,
        (true, _) => "nothing has changed for anybody; deploy again, and only what is still lacking is sent".to_owned(),
        (false, _) => format!(
            "`coil rollback {have} --app {app}` puts back what was before; or deploy again, and only what is still \
             lacking is sent"
        ),
    }))
}

/// The names of these hosts, as they are typed.
fn names(outcomes: &[Outcome], these: impl Fn(&Outcome) -> bool) -> String {
    let names: Vec<&str> =
        outcomes.iter().filter(|outcome| these(outcome)).map(|outcome| outcome.host.as_str()).collect();
    names.join(" ")
}

fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}
