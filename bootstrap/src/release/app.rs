//! An app on a server: its name in units and paths.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::host::complain;

/// The directory that units of an administrator are in (systemd.unit(5)).
pub const UNITS: &str = "/etc/systemd/system";

/// How long the name of a user may be (useradd(8)).
const USER_LENGTH: usize = 31;

/// An app and its places on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    name: String,
}

impl App {
    /// The app of this bundle.
    pub fn of(manifest: &Manifest) -> App {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        let name: String = manifest.name.chars().map(plain).take(100).collect();
        let name = name.trim_start_matches(['-', '.']);
        App { name: if name.is_empty() { "app".into() } else { name.into() } }
    }

    /// Its name, as units and directories have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user that its services run as: systemd makes one of this name for as long as they do (`DynamicUser=`).
    pub fn user(&self) -> String {
        let plain = |c: char| if c == '.' { '-' } else { c.to_ascii_lowercase() };
        let name: String = self.name.chars().map(plain).collect();
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let mut name = if begins { name } else { format!("app-{name}") };
        name.truncate(USER_LENGTH);
        name
    }

    /// `/var/lib/APP`
    pub fn home(&self) -> PathBuf {
        Path::new("/var/lib").join(&self.name)
    }

    /// Where its releases are.
    pub fn releases(&self) -> PathBuf {
        self.home().join("releases")
    }

    /// Its file of settings.
    pub fn settings(&self) -> PathBuf {
        Path::new("/etc").join(&self.name).join("env")
    }

    /// The directory whose files are its credentials (systemd.exec(5), `LoadCredential=`).
    pub fn credentials(&self) -> PathBuf {
        Path::new("/etc").join(&self.name).join("credentials")
    }

    /// The beginning of the names of the units of a process type.
    pub fn stem(&self, service: &str) -> String {
        if service == "web" { self.name.clone() } else { format!("{}-{service}", self.name) }
    }

    /// The unit that wants all others.
    pub fn target(&self) -> String {
        format!("{}.target", self.name)
    }

    /// Waits until nobody else changes releases of this app, and keeps others from it until the value is dropped.
    pub fn lock(&self) -> Result<File> {
        let path = self.home().join("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(Error::at("open", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                complain(self.name.as_ref(), &"another change of its releases is under way; waiting for it");
            }
            Err(TryLockError::Error(error)) => return Err(Error::at("lock", &path)(error)),
        }
        file.lock().map_err(Error::at("lock", &path))?;
        Ok(file)
    }

    /// Makes its directory, and waits as `lock` does. A directory that is there and holds something else stays untouched.
    pub fn claim(&self) -> Result<File> {
        loop {
            self.make_home()?;
            let lock = self.lock()?;
            // Who removes the app removes the file that was waited for, too.
            if lock.metadata().is_ok_and(|file| file.nlink() > 0) {
                return Ok(lock);
            }
        }
    }

    fn make_home(&self) -> Result<()> {
        match make_releases(&self.home(), &self.releases())? {
            true => Ok(()),
            false => Err(Error::Release(format!(
                "{} belongs to something else that is called {}: give the app another name ([tool.coil] name) and pack it \
                 again",
                self.home().display(),
                self.name
            ))),
        }
    }
}

/// Makes the directory of releases, and says whether the one around it is an app's.
///
/// Several may do so at once: `releases` is made before anything else in `home`. So what is seen in `home` is asked for
/// first, and `releases` afterwards: what another has put there meanwhile never looks as if it were somebody else's.
fn make_releases(home: &Path, releases: &Path) -> Result<bool> {
    let used = fs::read_dir(home).is_ok_and(|mut entries| entries.next().is_some());
    if used && !releases.is_dir() {
        return Ok(false);
    }
    fs::create_dir_all(releases).map_err(Error::at("create", releases))?;
    Ok(true)
}

/// Refuses to go on as somebody who may not.
pub fn need_root(what: &str) -> Result<()> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Error::Release(format!("{what} is for root to do: put `sudo` in front of it"))),
    }
}

/// Writes a file that appears whole or not at all.
pub fn write_whole(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".coil-{}", std::process::id()));
    let beside = PathBuf::from(name);
    let write = || {
        let _ = fs::remove_file(&beside);
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&beside)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&beside);
        Error::at("write", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &str) -> App {
        App::of(&Manifest { name: name.into(), ..crate::format::manifest::tests::manifest() })
    }

    #[test]
    fn names_of_apps_are_names_of_units_and_users() {
        let site = called("My.Site");
        assert_eq!((site.name(), site.user().as_str()), ("My.Site", "my-site"));
        assert_eq!((site.stem("web").as_str(), site.stem("worker").as_str()), ("My.Site", "My.Site-worker"));
        assert_eq!(called("..a b/\u{e9}%i").name(), "a-b---i");
        assert_eq!(called("\u{e9}").name(), "app");
        assert_eq!(called("2048").user(), "app-2048");
        assert_eq!(called(&"x".repeat(300)).user().len(), USER_LENGTH);
    }

    #[test]
    fn what_several_make_at_once_belongs_to_all_of_them() {
        let place = std::env::temp_dir().join(format!("coil-homes-{}", std::process::id()));
        for round in 0..300 {
            let home = place.join(round.to_string());
            let releases = home.join("releases");
            let barrier = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for one in 0..4 {
                    let (home, releases, barrier) = (&home, &releases, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        assert!(make_releases(home, releases).unwrap());
                        fs::write(home.join(format!("lock-{one}")), "").unwrap();
                    });
                }
            });
        }
        let other = place.join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "").unwrap();
        assert!(!make_releases(&other, &other.join("releases")).unwrap());
        assert!(!other.join("releases").exists());
        fs::remove_dir_all(&place).unwrap();
    }
}
