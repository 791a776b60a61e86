//! Proxies that weight: haproxy through its runtime API, nginx through a file that its configuration includes. Which of them
//! knows an app is asked of them, not guessed from files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::app::{App, write_whole};
use crate::error::{Error, Result};

/// Where haproxy of Debian, and of Fedora and its kin, hears an administrator ("stats socket", management guide, 9.3).
const SOCKETS: [&str; 3] = ["/run/haproxy/admin.sock", "/var/lib/haproxy/stats", "/run/haproxy.sock"];

/// How long a proxy may take to answer, and a worker of nginx to take no more requests.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the release that serves weighs in nginx, whose servers' weights are whole numbers.
const WHOLE: u32 = 100;

/// The proxies of this machine that know both sockets of an app.
pub struct Proxies {
    app: String,
    /// Where haproxy is told.
    haproxy: Option<PathBuf>,
    /// The file that nginx includes.
    nginx: Option<PathBuf>,
}

impl Proxies {
    /// Those of this app. Fails where there is none.
    pub fn of(app: &App) -> Result<Proxies> {
        let name = app.name();
        let asked = format!("show servers state {name}");
        let knows = |socket: &&Path| {
            tell(socket, &asked)
                .is_ok_and(|told| told.lines().any(|line| line.split(' ').nth(3) == Some("canary")))
        };
        let haproxy = SOCKETS.iter().map(Path::new).find(knows).map(Path::to_owned);
        let file = PathBuf::from(format!("/run/{name}/canary.nginx"));
        let nginx = includes(name).then_some(file);
        if haproxy.is_none() && nginx.is_none() {
            return Err(Error::Release(format!(
                "nothing on this machine weights requests of {name}: haproxy has no server {name}/canary at {}, and nginx \
                 includes no /run/{name}/canary*.nginx; `coil units FILE --proxy haproxy` (or nginx) prints what it is to be told",
                SOCKETS[0]
            )));
        }
        Ok(Proxies { app: name.into(), haproxy, nginx })
    }

    /// Has `weight` of a hundred requests go to `address`.
    pub fn give(&self, address: &str, weight: u8) -> Result<()> {
        if let Some(socket) = &self.haproxy {
            let app = &self.app;
            let rest = 100 - weight;
            self.change(
                socket,
                &format!(
                    "set server {app}/canary weight {weight}; set server {app}/active weight {rest}; \
                     set server {app}/canary state ready"
                ),
            )?;
        }
        if let Some(file) = &self.nginx {
            let server =
                if address.starts_with('/') { format!("unix:{address}") } else { address.to_owned() };
            let weight = nginx_weight(weight);
            write_whole(file, 0o644, format!("server {server} weight={weight};\n").as_bytes())?;
            reload()?;
        }
        Ok(())
    }

    /// Has every request go to the release that serves, and waits until that is so. What cannot be told is gone.
    pub fn take_back(&self) {
        if let Some(socket) = &self.haproxy {
            let app = &self.app;
            let _ = self.change(
                socket,
                &format!("set server {app}/canary state maint; set server {app}/active weight 100"),
            );
        }
        if let Some(file) = &self.nginx
            && fs::remove_file(file).is_ok()
        {
            let _ = reload();
        }
    }

    fn change(&self, socket: &Path, words: &str) -> Result<()> {
        let told = tell(socket, words).map_err(Error::at("tell haproxy at", socket))?;
        // It says nothing where it did as it was told.
        match told.lines().find(|line| !line.trim().is_empty()) {
            None => Ok(()),
            Some(line) => Err(Error::Release(format!("haproxy refused `{words}`: {}", line.trim()))),
        }
    }
}

/// What a canary weighs beside the other, which weighs [`WHOLE`], to get this many of a hundred.
fn nginx_weight(share: u8) -> u32 {
    let share = u32::from(share.min(99));
    ((WHOLE * share + (100 - share) / 2) / (100 - share)).max(1)
}

/// What haproxy says to a line.
fn tell(socket: &Path, line: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut told = String::new();
    stream.take(1 << 20).read_to_string(&mut told)?;
    Ok(told)
}

/// Whether nginx runs and its configuration includes an app's file.
fn includes(app: &str) -> bool {
    let output = Command::new("nginx").arg("-T").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let wanted = format!("include /run/{app}/canary*.nginx;");
    text.lines().any(|line| line.trim() == wanted) && !workers().is_empty()
}

/// Has nginx read its configuration again, and waits until every worker that has the old one takes no more requests.
fn reload() -> Result<()> {
    let before = workers();
    let output = Command::new("nginx").args(["-s", "reload"]).stdin(Stdio::null()).output();
    let output = output.map_err(Error::at("run", "nginx"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Release(format!(
            "`nginx -s reload` failed: {}",
            said.lines().next().unwrap_or_default()
        )));
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && workers().iter().any(|worker| before.contains(worker)) {
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The workers of nginx that take requests: one that is about to end says so in its title.
fn workers() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_worker = |entry: &fs::DirEntry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|title| {
            title.starts_with(b"nginx: worker process") && !title.starts_with(b"nginx: worker process is")
        })
    };
    entries.filter(is_worker).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_weights_give_the_share_that_was_asked_for() {
        for share in 1..=99u8 {
            let weight = f64::from(nginx_weight(share));
            let got = 100.0 * weight / (weight + f64::from(WHOLE));
            assert!((got - f64::from(share)).abs() < 0.5, "{share}: {got}");
        }
    }

    #[test]
    fn an_app_that_no_proxy_knows_gets_no_share() {
        let app = App::of(&crate::format::manifest::Manifest {
            name: "no-such-app".into(),
            ..crate::format::manifest::tests::manifest()
        });
        assert!(Proxies::of(&app).err().unwrap().to_string().contains("--proxy haproxy"));
    }
}
