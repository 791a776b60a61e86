//! The scripts of a package: what they are to do is the bundle's own work.

use coil_bootstrap::release::App;

use super::Package;

/// How every script begins.
const HEAD: &str = "#!/bin/sh\nset -e\n";

/// When a script of an rpm runs: `%post`, `%preun`, `%postun`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Installed,
    BeforeRemoval,
    Removed,
}

/// The scripts of a package of Debian, by name (Debian Policy, chapter 6).
pub fn deb(package: &Package) -> Vec<(&'static str, String)> {
    let filled = |text: &str| format!("{HEAD}{}", fill(text, &package.app));
    let prerm = filled(include_str!("scripts/prerm"));
    match package.has_services {
        true => vec![
            ("postinst", filled(include_str!("scripts/services.postinst"))),
            ("postrm", filled(include_str!("scripts/services.postrm"))),
            ("preinst", filled(include_str!("scripts/services.preinst"))),
            ("prerm", prerm),
        ],
        false => vec![("postinst", filled(include_str!("scripts/program.postinst"))), ("prerm", prerm)],
    }
}

/// The scripts of an rpm: when they run, and what they do.
pub fn rpm(package: &Package) -> Vec<(Moment, String)> {
    let filled = |text: &str| format!("set -e\n{}", fill(text, &package.app));
    let preun = (Moment::BeforeRemoval, filled(include_str!("scripts/preun")));
    match package.has_services {
        true => vec![
            (Moment::Installed, filled(include_str!("scripts/services.post"))),
            preun,
            (Moment::Removed, filled(include_str!("scripts/services.postun"))),
        ],
        false => vec![(Moment::Installed, filled(include_str!("scripts/program.post"))), preun],
    }
}

/// The unit that activates the package where that could not be done when it was installed.
pub fn first_start(app: &App) -> String {
    fill(include_str!("scripts/activate.service"), app)
}

fn fill(text: &str, app: &App) -> String {
    // An app's name is letters, digits, dashes, dots and underscores: nothing to quote.
    text.replace("@APP@", app.name()).replace("@FILE@", &format!("/usr/lib/{0}/{0}", app.name()))
}
