//! `coil deploy` and `coil rollback`: a release on other machines.

use std::io::{self, Write};

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::release::App;

use crate::cli::{self, Deploy, Rollback};
use crate::deploy::containers::{Containers, Offer, OfferedImage, Place, repository};
use crate::deploy::{
    Course, Offered, Offering, Outcome, Services, Ssh, State, json, roll_back, roll_out, table,
};
use crate::error::{Failure, Result};
use crate::report::{Loudness, Report};

/// Brings a bundle to hosts and activates it there; prints what became of each.
pub fn run(options: &Deploy) -> Result<()> {
    let report = Report::new(options.volume.or(Loudness::Normal));
    report.doing(&format!("reading {}", options.bundle.display()));
    let ssh = Ssh::new(options.reach.ssh.as_deref(), options.reach.sudo)?;
    let course = Course {
        parallel: options.reach.parallel,
        canary: options.canary,
        wait: options.wait,
        activate: !options.no_activate,
        keep_going: options.keep_going,
        roll_back: options.rollback_on_failure,
    };
    let hosts = &options.reach.hosts;
    let (app, release, outcomes) = if options.containers.image {
        let offer = Offer::of(&options.bundle, super::image::created()?.as_deref())?;
        report.leave();
        let ssh = ssh.for_any_user();
        let image =
            OfferedImage::new(containers(&options.containers, offer.repository(), &ssh, &report), &offer);
        let outcomes = roll_out(&image, hosts, &course, &report);
        (offer.repository().to_owned(), offer.release().to_owned(), outcomes)
    } else {
        let offering = Offering::of(&options.bundle)?;
        report.leave();
        let outcomes = roll_out(&Offered { ssh: &ssh, offering: &offering }, hosts, &course, &report);
        (offering.app().to_owned(), offering.release().to_owned(), outcomes)
    };
    report.leave();
    let text = if options.reach.json { json(&app, Some(&release), &outcomes)? } else { table(&outcomes) };
    print(&text)?;
    let back = back(&options.containers, &app);
    verdict(&outcomes, if course.activate { State::Active } else { State::Installed }, &back, &release)
}

/// The hosts of a user who runs containers.
fn containers<'a>(
    options: &'a cli::Containers,
    app: &str,
    ssh: &'a Ssh,
    report: &'a Report,
) -> Containers<'a> {
    let place = Place { engine: options.engine, repository: app.to_owned() };
    Containers { ssh, place, run: options.run.as_deref(), report }
}

/// The options of `coil rollback` that undo this.
fn back(options: &cli::Containers, app: &str) -> String {
    let mut words = format!("--app {app}");
    if options.image {
        words += " --image";
    }
    if let Some(engine) = options.engine {
        words += &format!(" --engine {}", engine.word());
    }
    if let Some(run) = &options.run {
        words += &format!(" --run {}", shlex::try_quote(run).unwrap_or_default());
    }
    words
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
    let (hosts, parallel) = (&options.reach.hosts, options.reach.parallel);
    let outcomes = if options.containers.image {
        let ssh = ssh.for_any_user();
        let app = containers(&options.containers, &repository(&app), &ssh, &report);
        roll_back(&app, hosts, parallel, &report)
    } else {
        roll_back(&Services { ssh: &ssh, app: &app }, hosts, parallel, &report)
    };
    report.leave();
    print(&if options.reach.json { json(&app, None, &outcomes)? } else { table(&outcomes) })?;
    let failed = names(&outcomes, |outcome| outcome.outcome != State::RolledBack);
    match failed.as_str() {
        "" => Ok(()),
        failed => Err(Failure::new(format!("not rolled back: {failed}"))),
    }
}

/// An error unless every host is as it was meant to be, with what to type next.
fn verdict(outcomes: &[Outcome], meant: State, back: &str, release: &str) -> Result<()> {
    let good = outcomes.iter().filter(|outcome| outcome.outcome == meant).count();
    if good == outcomes.len() {
        return Ok(());
    }
    let what = if meant == State::Active { "active" } else { "installed" };
    let failed = names(outcomes, |outcome| outcome.error.is_some());
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
            "`coil rollback {have} {back}` puts back what was before; or deploy again, and only what is still \
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
