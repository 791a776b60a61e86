//! Activating a release and going back to one: what is asked for, who may, and what is said of it.

use std::ffi::OsStr;

use super::app::{App, need_root};
use super::canary::{self, Canary};
use super::changes::note;
use super::handover::Handover;
use super::store::{self, Release};
use super::systemd;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::host::Host;

/// Makes the bundle's release the one that serves, and says so in a sentence. One that is not installed is installed. With
/// `--weight N` it gets so many of a hundred requests instead, beside the one that serves; 0 ends that.
pub fn activate(bundle: &Bundle, host: &Host) -> Result<String> {
    let share = canary::asked(host.args.get(1..).unwrap_or_default())?;
    let app = begin("activating a release", bundle)?;
    let _lock = app.claim()?;
    if share == Some(0) {
        return withdraw(&app);
    }
    let installed = store::install_locked(bundle, host, &app).map_err(|error| {
        let serving = Release::linked(&app, "current")
            .map_or("nothing serves".into(), |it| format!("{} serves as before", it.id()));
        let id = store::id(&bundle.digest());
        let _ = note(&app, &format!("refused {id}: {error}; {serving}"));
        Error::Release(format!("{error}\n{id} was not activated; {serving}"))
    });
    let release = installed?.release;
    let handover = Handover { app: &app, manifest: bundle.manifest(), release: &release, word: "activated" };
    match share {
        Some(share) => handover.give_share(share),
        None => handover.make(),
    }
}

/// Makes the release before the one that serves, or the one that is named, the one that serves. While a release has a share
/// beside the one that serves, the way back is the end of that.
pub fn roll_back(bundle: &Bundle, host: &Host) -> Result<String> {
    let app = begin("a rollback", bundle)?;
    let _lock = app.lock()?;
    let release = match host.args.get(1) {
        Some(asked) => named(&app, asked)?,
        None if Canary::there(&app).is_some() => return withdraw(&app),
        None => Release::linked(&app, "previous").ok_or_else(|| {
            Error::Release(format!(
                "there is no release of {} before the one that serves; COIL=status lists those that are there",
                app.name()
            ))
        })?,
    };
    let there = release.open()?;
    Handover { app: &app, manifest: there.manifest(), release: &release, word: "rolled-back-to" }.make()
}

fn begin(what: &str, bundle: &Bundle) -> Result<App> {
    need_root(what)?;
    systemd::need(what)?;
    if bundle.manifest().production.services.is_empty() {
        return Err(Error::Release(format!(
            "{} has no services: name them in a Procfile or under [tool.coil.services], and pack it again",
            bundle.manifest().name
        )));
    }
    // The connection over which this was asked for may end; what was begun is finished.
    // SAFETY: ignoring a signal runs no code of ours in a handler, and no other thread changes signals.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    Ok(App::of(bundle.manifest()))
}

/// Ends what has a share beside the release that serves.
fn withdraw(app: &App) -> Result<String> {
    let serving = Release::linked(app, "current").map_or("nothing".into(), |release| release.id().to_owned());
    let told = match Canary::there(app) {
        Some(canary) => format!("{} gets no requests any more; ", canary.id()),
        None => String::new(),
    };
    Canary::withdraw(app);
    Ok(format!("{}: {told}{serving} gets all of them\n", app.name()))
}

/// The release whose name begins so.
fn named(app: &App, asked: &OsStr) -> Result<Release> {
    let asked = asked.to_string_lossy();
    let mut fitting = Release::all(app).into_iter().filter(|release| release.id().starts_with(&*asked));
    match (fitting.next(), fitting.next()) {
        (Some(release), None) if !asked.is_empty() => Ok(release),
        _ => Err(Error::Release(format!(
            "{asked:?} is the beginning of no release of {}, or of several; COIL=status lists them",
            app.name()
        ))),
    }
}
