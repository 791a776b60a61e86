//! Taking an app off a server: what runs of it ends, its units and releases go, and so does what is unpacked where nothing
//! else needs it. Settings and state are the administrator's and stay, unless he says otherwise.
//!
//! It does what it can: what is gone already, or was never there, is no error, and a machine without systemd in charge (a
//! root directory that is being put together) has its units removed all the same.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::app::{App, UNITS, need_root};
use super::canary::Canary;
use super::changes::note;
use super::store::{Release, id};
use super::systemd::{self, systemctl};
use super::units::MARK;
use crate::bundle::Bundle;
use crate::cache::{Cache, SYSTEM_STORE};
use crate::clean_up::{self, Removed};
use crate::error::{Error, Result, reason};
use crate::host::{Host, complain};
use crate::unused::Environment;

/// Removes the app. With `--purge` its settings and its state go, too; with `--others` it stays, and only what is unpacked of
/// versions goes that are neither this one nor a release.
pub fn remove(bundle: &Bundle, host: &Host) -> Result<String> {
    need_root("removing an app")?;
    let app = App::of(bundle.manifest());
    let said = |word: &str| host.args.iter().skip(1).any(|arg| arg == OsStr::new(word));
    let own = id(&bundle.digest());
    let is_installed = || app.releases().is_dir();
    let _lock = is_installed().then(|| app.lock()).transpose()?;
    let releases = Release::all(&app);
    let mut known: Vec<String> = releases.iter().map(|release| release.id().to_owned()).collect();
    known.push(own);
    let is_known = |one: &Environment| known.iter().any(|id| one.name().starts_with(id.as_str()));
    let is_of_app = |one: &Environment| one.app() == Some(bundle.manifest().name.as_str());
    if said("--others") {
        return Ok(told(&unpacked(|one| is_of_app(one) && !is_known(one))?));
    }
    // Who was waited for may have removed it.
    if is_installed() {
        take_down(&app)?;
        for release in &releases {
            release.remove()?;
        }
        for link in ["current", "previous"] {
            let _ = fs::remove_file(app.home().join(link));
        }
        note(&app, "removed")?;
    }
    let mut text = format!("{} is removed\n", app.name());
    if said("--purge") {
        purge(&app)?;
    } else {
        let kept = [app.home().join("state"), app.settings()];
        let kept = kept.iter().filter(|path| fs::symlink_metadata(path).is_ok());
        let kept: Vec<String> = kept.map(|path| path.display().to_string()).collect();
        if !kept.is_empty() {
            text += &format!("what stays, unless --purge is said: {}\n", kept.join(", "));
        }
    }
    match unpacked(|one| is_of_app(one) || is_known(one)) {
        Ok(removed) => text += &told(&removed),
        Err(error) => complain(app.name().as_ref(), &error),
    }
    Ok(text)
}

/// Removes from the system's store the environments that `goes` says it of, with what nothing else needs.
fn unpacked(goes: impl Fn(&Environment) -> bool) -> Result<Removed> {
    let store = Path::new(SYSTEM_STORE);
    // Nothing was ever unpacked there, or all of it is gone.
    let Ok(root) = fs::canonicalize(store) else { return Ok(Removed::default()) };
    let Ok(cache) = Cache::there(&root) else { return Ok(Removed::default()) };
    let _lock = cache.lock(0);
    let all = Environment::all(&root);
    let gone: Vec<String> = all.iter().filter(|one| goes(one)).map(|one| one.name().to_owned()).collect();
    clean_up::remove(&root, &gone)
}

fn told(removed: &Removed) -> String {
    let Removed { environments, layers, bytes } = removed;
    format!(
        "{SYSTEM_STORE}: {environments} environments and {layers} layers removed, {} MB\n",
        bytes / 1_000_000
    )
}

/// Ends what runs of the app, and removes its units.
fn take_down(app: &App) -> Result<()> {
    let units = units_of(app);
    let names: Vec<&str> = units.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let (templates, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("@."));
    let addresses: Vec<PathBuf> = units.iter().filter_map(|path| address(path)).collect();
    if systemd::is_in_charge() {
        Canary::withdraw(app);
        // Sockets and timers first: what they would start again must not be.
        let mut pending: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
        let stems = templates.iter().filter_map(|name| name.strip_suffix("@.service"));
        pending.extend(stems.flat_map(|stem| systemd::loaded(&format!("{stem}@*.service"))));
        let words = |verb: &'static str| -> Vec<&str> {
            [verb, "--"].into_iter().chain(pending.iter().map(String::as_str)).collect()
        };
        if !pending.is_empty() {
            systemctl(&words("stop"))?;
            let _ = systemctl(&words("reset-failed"));
        }
    }
    for path in &units {
        let _ = fs::remove_file(with_end(path, ".d/coil-credentials.conf"));
        let _ = fs::remove_dir(with_end(path, ".d"));
        fs::remove_file(path).map_err(Error::at("remove", path))?;
    }
    disable(&names);
    for address in addresses {
        // systemd leaves the file of a socket; the directory is its own where nothing else is in it.
        let _ = fs::remove_file(&address);
        let _ = address.parent().map(fs::remove_dir);
    }
    if systemd::is_in_charge() { systemctl(&["daemon-reload"]) } else { Ok(()) }
}

/// The files of its units, whichever release they are of.
fn units_of(app: &App) -> Vec<PathBuf> {
    let mark = format!("{MARK}{},", app.name());
    let entries = fs::read_dir(UNITS).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let paths = files.map(|entry| entry.path());
    let mut units: Vec<PathBuf> =
        paths.filter(|path| fs::read_to_string(path).is_ok_and(|text| text.starts_with(&mark))).collect();
    // Sockets, targets and timers come before what they start.
    units.sort_by_key(|path| (path.extension() == Some(OsStr::new("service")), path.clone()));
    units
}

/// The path that a socket unit listens at, where it is one in `/run`.
fn address(unit: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(unit).ok()?;
    let listen = text.lines().find_map(|line| line.strip_prefix("ListenStream="))?;
    listen.starts_with("/run/").then(|| listen.into())
}

/// Removes the links that start units with the machine. `systemctl disable` would need systemd.
fn disable(names: &[&str]) {
    for entry in fs::read_dir(UNITS).into_iter().flatten().flatten() {
        if entry.path().extension() != Some(OsStr::new("wants")) {
            continue;
        }
        for name in names {
            let link = entry.path().join(name);
            if fs::read_link(&link).is_ok() {
                let _ = fs::remove_file(link);
            }
        }
        let _ = fs::remove_dir(entry.path());
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Removes settings, credentials, state and the log. What else is in `/etc/APP` is somebody else's.
fn purge(app: &App) -> Result<()> {
    if !app.releases().is_dir() {
        return Ok(());
    }
    let _ = fs::remove_file(app.settings());
    for path in [app.credentials(), Path::new("/var/lib/private").join(app.name()), app.home()] {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Release(format!(
                    "{} cannot be removed: {}",
                    path.display(),
                    reason(&error)
                )));
            }
            _ => {}
        }
    }
    let _ = app.settings().parent().map(fs::remove_dir);
    Ok(())
}
