//! The units of a release, as text: systemd.unit(5), systemd.service(5), systemd.socket(5), systemd.exec(5).
//!
//! Pure: from a manifest to texts. Templates (`APP@.service`) are the same for every release whose project says the same;
//! the release is the instance. Only socket, timers and target name a release, the one that serves.

use super::app::{App, UNITS};
use crate::cache::SYSTEM_STORE;
use crate::format::manifest::Manifest;
use crate::format::production::{DRAIN, Kind, START_TIMEOUT, Service};

/// How every unit begins that is coil's to write.
pub const MARK: &str = "# Written by coil for ";

/// The file of a release with the values of settings that nobody has set.
pub const DEFAULTS: &str = "defaults";

/// What keeps a service from everything that is not its own. Not among it: MemoryDenyWriteExecute, as ctypes, cffi and
/// just-in-time compilers write code.
const SANDBOX: &str = include_str!("sandbox.conf");

/// A unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The name of its file.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// Whether it names the release that serves.
    pub of_release: bool,
}

/// All units of the app with this manifest, of which the release `id` is to serve.
pub fn all(manifest: &Manifest, id: &str) -> Vec<Unit> {
    let app = App::of(manifest);
    let mut units = Vec::new();
    for (name, service) in &manifest.production.services {
        let stem = app.stem(name);
        units.push(template(&app, name, service));
        match service.kind {
            Kind::Web => units.push(socket(&app, &stem, service, id)),
            Kind::Timer => units.push(timer(&app, &stem, service, id)),
            Kind::Worker | Kind::Release => {}
        }
    }
    units.push(target(&app, manifest, id));
    units
}

/// The unit of the release `id` for the process type `service`.
pub fn instance(app: &App, service: &str, id: &str) -> String {
    format!("{}@{id}.service", app.stem(service))
}

/// The address of a process type that answers requests.
pub fn address(app: &App, service: &str, said: &Service) -> String {
    let own = || format!("/run/{}/{}.sock", app.name(), app.stem(service));
    said.listen.clone().unwrap_or_else(own)
}

/// The files of variables of the release in this directory, the last word last: what the release declares, which may be
/// more than the server's own file has of an older one, and that file.
pub fn environment_files(app: &App, release: &str) -> [String; 2] {
    [format!("{release}/{DEFAULTS}"), app.settings().display().to_string()]
}

/// Lines for `[Service]` that say who a process of the app is and what it may do: those of its services, and those of a
/// command that is run beside them.
pub fn sandbox(app: &App) -> Vec<String> {
    let lines = SANDBOX.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.replace("@APP@", app.name()).replace("@USER@", &app.user())).collect()
}

fn template(app: &App, name: &str, service: &Service) -> Unit {
    let stem = app.stem(name);
    let (releases, what) = (app.releases(), what(name));
    let (releases, app_name, target) = (releases.display(), app.name(), app.target());
    let file = format!("{stem}@.service");
    let mut text = head(app, &file);
    text += &format!("[Unit]\nDescription={app_name}, {what}, release %i\n");
    text += "Wants=network-online.target\nAfter=network-online.target\n";
    if matches!(service.kind, Kind::Web | Kind::Worker) {
        // It goes down with the target, and a crash is never counted until it is given up: a socket whose service is
        // given up is closed.
        text += &format!("PartOf={target}\nStartLimitIntervalSec=0\n");
    }
    let kind = match service.kind {
        Kind::Web | Kind::Worker if service.notify => "notify",
        Kind::Web | Kind::Worker => "exec",
        Kind::Timer | Kind::Release => "oneshot",
    };
    text += &format!("\n[Service]\nType={kind}\n");
    // What was unpacked fits this machine and is there, whatever happened to either since: a host whose C library was
    // updated, a store that was deleted. The service itself may not write to it.
    // Its output would be a line in the journal at every start; a launcher that does not know the last word leaves it.
    let file_of = format!("{releases}/%i/{app_name}");
    text += &format!("ExecStartPre=+/usr/bin/env COIL=install {file_of} {SYSTEM_STORE} --quiet\n");
    text += &format!("ExecStart={file_of}\n");
    text += &format!("Environment=COIL_RUN={name} PYTHONUNBUFFERED=1\n");
    for file in environment_files(app, &format!("{releases}/%i")) {
        text += &format!("EnvironmentFile=-{file}\n");
    }
    if service.kind == Kind::Web {
        // Whether a descriptor blocks is a property of the socket, which the other release has, too.
        text += &format!("Sockets={stem}.socket\nNonBlocking=true\n");
    }
    if matches!(service.kind, Kind::Web | Kind::Worker) {
        text += "Restart=always\nRestartSec=1\n";
    }
    text += &format!("TimeoutStartSec={}\n", service.start_timeout.unwrap_or(START_TIMEOUT));
    text += &format!("TimeoutStopSec={}\nKillMode=mixed\n\n", service.drain.unwrap_or(DRAIN));
    for line in sandbox(app) {
        text += &line;
        text.push('\n');
    }
    Unit { name: file, text, of_release: false }
}

fn socket(app: &App, stem: &str, service: &Service, id: &str) -> Unit {
    let name = format!("{stem}.socket");
    let listen = match &service.listen {
        Some(address) => address.clone(),
        None => format!("/run/{}/{stem}.sock", app.name()),
    };
    let text = format!(
        "{}[Unit]\nDescription={}, where it listens\n\n\
         [Socket]\nListenStream={listen}\nService={stem}@{id}.service\nBacklog=4096\nTriggerLimitIntervalSec=0\n\n\
         [Install]\nWantedBy=sockets.target\n",
        head(app, &name),
        app.name(),
    );
    Unit { name, text, of_release: true }
}

fn timer(app: &App, stem: &str, service: &Service, id: &str) -> Unit {
    let name = format!("{stem}.timer");
    let schedule = service.schedule.as_deref().unwrap_or("daily");
    let text = format!(
        "{}[Unit]\nDescription={}, its schedule\nPartOf={}\n\n\
         [Timer]\nOnCalendar={schedule}\nPersistent=true\nUnit={stem}@{id}.service\n",
        head(app, &name),
        app.name(),
        app.target(),
    );
    Unit { name, text, of_release: true }
}

fn target(app: &App, manifest: &Manifest, id: &str) -> Unit {
    let name = app.target();
    let wanted = |(name, service): (&String, &Service)| match service.kind {
        Kind::Web => vec![format!("{}.socket", app.stem(name)), instance(app, name, id)],
        Kind::Worker => vec![instance(app, name, id)],
        Kind::Timer => vec![format!("{}.timer", app.stem(name))],
        Kind::Release => vec![],
    };
    let wants: Vec<String> = manifest.production.services.iter().flat_map(wanted).collect();
    let text = format!(
        "{}[Unit]\nDescription={}, release {id}\nWants={}\n\n[Install]\nWantedBy=multi-user.target\n",
        head(app, &name),
        app.name(),
        wants.join(" "),
    );
    Unit { name, text, of_release: true }
}

fn head(app: &App, file: &str) -> String {
    let name = app.name();
    format!(
        "{MARK}{name}, and written again with every release: what you change belongs into\n# {UNITS}/{file}.d/*.conf\n"
    )
}

fn what(name: &str) -> &str {
    if name == "web" { "answering requests" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::{Command, tests::manifest};

    fn site() -> Manifest {
        let mut site = Manifest { name: "site".into(), ..manifest() };
        let timer = Service { schedule: Some("daily".into()), ..Service::of(Kind::Timer) };
        let services = [
            ("web", Service::of(Kind::Web)),
            ("worker", Service::of(Kind::Worker)),
            ("nightly", timer),
            ("release", Service::of(Kind::Release)),
        ];
        let script = site.commands["hello"].script.clone();
        for (name, service) in services {
            site.commands.insert(name.into(), Command::of(script.clone()));
            site.production.services.insert(name.into(), service);
        }
        site
    }

    fn text(name: &str) -> String {
        let found = all(&site(), "0123456789ab").into_iter().find(|unit| unit.name == name);
        found.map(|unit| unit.text).unwrap_or_default()
    }

    #[test]
    fn a_release_is_an_instance_and_only_socket_timer_and_target_name_it() {
        let units = all(&site(), "0123456789ab");
        let names: Vec<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
        let expected = [
            "site-nightly@.service",
            "site-nightly.timer",
            "site-release@.service",
            "site@.service",
            "site.socket",
            "site-worker@.service",
            "site.target",
        ];
        assert_eq!(names, expected);
        for unit in &units {
            assert!(unit.text.starts_with(MARK));
            assert_eq!(unit.text.contains("0123456789ab"), unit.of_release, "{}", unit.name);
        }
    }

    #[test]
    fn the_socket_outlives_its_services_and_falls_back_to_the_last_good_one() {
        let socket = text("site.socket");
        for line in [
            "ListenStream=/run/site/site.sock",
            "Service=site@0123456789ab.service",
            "TriggerLimitIntervalSec=0",
        ] {
            assert!(socket.lines().any(|there| there == line), "{line}");
        }
        assert!(!socket.contains("PartOf"));
        let web = text("site@.service");
        for line in ["NonBlocking=true", "Sockets=site.socket", "StartLimitIntervalSec=0", "KillMode=mixed"] {
            assert!(web.lines().any(|there| there == line), "{line}");
        }
    }

    #[test]
    fn the_target_wants_all_that_is_kept_running() {
        let target = text("site.target");
        let wants =
            "Wants=site-nightly.timer site.socket site@0123456789ab.service site-worker@0123456789ab.service";
        assert!(target.lines().any(|line| line == wants), "{target}");
        assert!(
            text("site-release@.service").contains("Type=oneshot")
                && !text("site-release@.service").contains("PartOf")
        );
    }
}
