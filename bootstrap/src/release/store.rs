//! The releases of an app on this machine, and how one comes there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::app::{App, need_root, write_whole};
use super::settings;
use super::systemd;
use super::units::{self, MARK, Unit};
use crate::bundle::Bundle;
use crate::cache::{Cache, SYSTEM_STORE};
use crate::clean_up;
use crate::error::{Error, Result};
use crate::first_start;
use crate::format::digest::Digest;
use crate::host::Host;

/// How many digits of a manifest's digest name a release.
const ID_DIGITS: usize = 12;

/// Where the app's static files are in its tree, where nothing else is said: what Django's documentation calls it.
const STATIC: &str = "staticfiles";

/// A release that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    id: String,
    directory: PathBuf,
    file: PathBuf,
}

/// What an installation has done.
pub struct Installed {
    /// The release.
    pub release: Release,
    /// Whether the file of settings is new.
    pub settings_made: bool,
}

/// The name of the release that has this manifest.
pub fn id(digest: &Digest) -> String {
    digest.hex()[..ID_DIGITS].to_owned()
}

impl Release {
    /// The release of `app` with this name, whether it is there or not.
    pub fn named(app: &App, id: &str) -> Release {
        let directory = app.releases().join(id);
        let file = directory.join(app.name());
        Release { id: id.to_owned(), directory, file }
    }

    /// All that are there, the one that was installed last first.
    pub fn all(app: &App) -> Vec<Release> {
        let entries = fs::read_dir(app.releases()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let releases = names.filter(|name| is_id(name)).map(|name| Release::named(app, &name));
        let mut releases: Vec<Release> = releases.filter(|release| release.file.is_file()).collect();
        releases.sort_by_key(|release| std::cmp::Reverse((release.since(), release.id.clone())));
        releases
    }

    /// The release that the link `current` or `previous` of `app` leads to.
    pub fn linked(app: &App, link: &str) -> Option<Release> {
        let target = fs::read_link(app.home().join(link)).ok()?;
        let id = target.file_name()?.to_str().filter(|id| is_id(id))?;
        Some(Release::named(app, id)).filter(|release| release.file.is_file())
    }

    /// Makes `link` lead to this release, in one step.
    pub fn link(&self, app: &App, link: &str) -> Result<()> {
        let (path, beside) = (app.home().join(link), app.home().join(format!(".{link}")));
        let _ = fs::remove_file(&beside);
        let target = Path::new("releases").join(&self.id);
        let made = symlink(target, &beside).and_then(|()| fs::rename(&beside, &path));
        made.map_err(Error::at("change the link", &path))
    }

    /// Its name: the beginning of its manifest's digest.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its bundle.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its bundle, opened.
    pub fn open(&self) -> Result<Bundle> {
        Bundle::open(&self.file)
    }

    /// When it was installed, in seconds since 1970.
    pub fn since(&self) -> u64 {
        let since = || {
            fs::metadata(&self.directory).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()
        };
        since().map_or(0, |since| since.as_secs())
    }

    /// Its units, as they were written when it was installed.
    pub fn units(&self) -> Result<Vec<Unit>> {
        let directory = self.directory.join("units");
        let mut units = Vec::new();
        for entry in fs::read_dir(&directory).map_err(Error::at("read", &directory))?.flatten() {
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else { continue };
            let text = fs::read_to_string(&path).map_err(Error::at("read", &path))?;
            if text.starts_with(MARK) {
                units.push(Unit { of_release: !name.ends_with("@.service"), name, text });
            }
        }
        units.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(units)
    }

    pub(super) fn remove(&self) -> Result<()> {
        // First out of sight, so that half a release is never there.
        let away = self.directory.with_file_name(format!(".{}-gone", self.id));
        fs::rename(&self.directory, &away)
            .and_then(|()| fs::remove_dir_all(&away))
            .map_err(Error::at("remove", &self.directory))
    }
}

/// Removes these releases, and from the system's store what is unpacked of them and nobody uses.
pub fn remove(releases: &[Release]) -> Result<()> {
    if releases.is_empty() {
        return Ok(());
    }
    releases.iter().try_for_each(Release::remove)?;
    let root = fs::canonicalize(SYSTEM_STORE).map_err(Error::at("open", Path::new(SYSTEM_STORE)))?;
    let cache = Cache::there(&root)?;
    let _lock = cache.lock(0);
    let gone: Vec<String> = releases.iter().map(|release| release.id.clone()).collect();
    clean_up::remove(&root, &gone).map(drop)
}

/// Makes a release of the bundle: a copy of the file, everything unpacked into the system's store, and units beside it.
/// Nothing is started and nothing that runs is touched.
pub fn install(bundle: &Bundle, host: &Host) -> Result<Installed> {
    need_root("installing a release")?;
    let app = App::of(bundle.manifest());
    let _lock = app.claim()?;
    install_locked(bundle, host, &app)
}

/// The same for who holds the lock.
pub(super) fn install_locked(bundle: &Bundle, host: &Host, app: &App) -> Result<Installed> {
    let environment = first_start::install_into(bundle, host, Path::new(SYSTEM_STORE))?;
    let release = Release::named(app, &id(&bundle.digest()));
    sweep(app);
    if !holds(&release.file, bundle.path()) {
        let made = app.releases().join(format!(".{}-{}", release.id, std::process::id()));
        let filled = fill(&made, bundle, app, &environment, &release);
        filled.and_then(|()| publish(&made, &release)).inspect_err(|_| drop(fs::remove_dir_all(&made)))?;
    }
    let settings_made = settings::make(app, &bundle.manifest().production.settings)?;
    if Release::linked(app, "current").is_none() {
        // Nothing serves yet: what is to serve can be looked at.
        write(&release.units()?, |_| true)?;
    }
    Ok(Installed { release, settings_made })
}

/// Writes those of these units that are wanted and not there yet. Says whether there were any.
pub fn write(units: &[Unit], wanted: impl Fn(&Unit) -> bool) -> Result<bool> {
    let mut changed = false;
    for unit in units.iter().filter(|unit| wanted(unit)) {
        let path = Path::new(super::app::UNITS).join(&unit.name);
        match fs::read_to_string(&path) {
            Ok(there) if there == unit.text => continue,
            Ok(there) if !there.starts_with(MARK) => {
                return Err(Error::Release(format!(
                    "{} is not coil's: rename what it belongs to, or give the app another name ([tool.coil] name)",
                    path.display()
                )));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::at("read", &path)(error));
            }
            _ => {}
        }
        let foreign = ["/usr/lib/systemd/system", "/lib/systemd/system"];
        let foreign = foreign.iter().map(|directory| Path::new(directory).join(&unit.name));
        if let Some(foreign) = foreign
            .into_iter()
            .find(|path| fs::read_to_string(path).is_ok_and(|text| !text.starts_with(MARK)))
        {
            return Err(Error::Release(format!(
                "{} is a unit of the system: give the app another name ([tool.coil] name) and pack it again",
                foreign.display()
            )));
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(Error::at("create", directory))?;
        }
        write_whole(&path, 0o644, unit.text.as_bytes())?;
        changed = true;
    }
    if changed && systemd::is_in_charge() {
        systemd::systemctl(&["daemon-reload"])?;
    }
    Ok(changed)
}

/// Whether `name` names a release.
pub fn is_id(name: &str) -> bool {
    name.len() == ID_DIGITS && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Makes the directory `made` with everything that belongs to the release.
fn fill(made: &Path, bundle: &Bundle, app: &App, environment: &Path, release: &Release) -> Result<()> {
    let _ = fs::remove_dir_all(made);
    let units = made.join("units");
    fs::create_dir_all(&units).map_err(Error::at("create", &units))?;
    let file = made.join(app.name());
    // The kernel shares the blocks where the file system can.
    fs::copy(bundle.path(), &file).map_err(Error::at("copy the bundle to", &file))?;
    let set = fs::set_permissions(&file, fs::Permissions::from_mode(0o755));
    set.and_then(|()| File::open(&file)?.sync_all()).map_err(Error::at("write", &file))?;
    for unit in units::all(bundle.manifest(), &release.id) {
        write_whole(&units.join(&unit.name), 0o644, unit.text.as_bytes())?;
    }
    let defaults = settings::defaults(&bundle.manifest().production.settings);
    write_whole(&made.join(units::DEFAULTS), 0o644, defaults.as_bytes())?;
    let link = |name: &str, target: &Path| {
        let path = made.join(name);
        symlink(target, &path).map_err(Error::at("create", &path))
    };
    link("environment", environment)?;
    match static_files(bundle, environment) {
        Some(directory) => link("static", &directory),
        None => Ok(()),
    }
}

/// The directory of the app's static files in an environment, where it has one.
pub fn static_files(bundle: &Bundle, environment: &Path) -> Option<PathBuf> {
    let said =
        bundle.manifest().production.services.values().find_map(|service| service.static_files.as_deref());
    let directory = environment.join("app").join(said.unwrap_or(STATIC));
    directory.is_dir().then_some(directory)
}

/// Moves what was made to its place. A release that is there already and differs in the launcher alone, with which other
/// units and defaults may come, changes places with it as a whole.
fn publish(made: &Path, release: &Release) -> Result<()> {
    let place = &release.directory;
    let placed = match renameat_with(CWD, made, CWD, place, RenameFlags::EXCHANGE) {
        Ok(()) => fs::remove_dir_all(made),
        Err(Errno::NOENT) => fs::rename(made, place),
        // A file system that does not know how: the next installation sweeps what a kill would leave.
        Err(_) => {
            let away = place.with_file_name(format!(".{}-replaced", release.id));
            fs::rename(place, &away)
                .and_then(|()| fs::rename(made, place))
                .and_then(|()| fs::remove_dir_all(&away))
        }
    };
    placed.map_err(Error::at("create", place))?;
    let releases = place.parent().unwrap_or(Path::new("/"));
    File::open(releases).and_then(|directory| directory.sync_all()).map_err(Error::at("write", releases))
}

/// Removes what killed installations have left. The caller holds the lock.
fn sweep(app: &App) {
    for entry in fs::read_dir(app.releases()).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the file at `path` is the same as the one at `other`, byte for byte.
fn holds(path: &Path, other: &Path) -> bool {
    let same = || -> io::Result<bool> {
        let (mut one, mut two) = (File::open(path)?, File::open(other)?);
        if one.metadata()?.len() != two.metadata()?.len() {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; 1 << 18], vec![0; 1 << 18]);
        loop {
            let length = one.read(&mut left)?;
            if length == 0 {
                return Ok(true);
            }
            two.read_exact(&mut right[..length])?;
            if left[..length] != right[..length] {
                return Ok(false);
            }
        }
    };
    same().unwrap_or(false)
}
