//! Refusing what would not start elsewhere: libraries that nothing in the bundle provides, and symbols that are
//! newer than the C library in it.
//!
//! What a distribution does not work without is refused; a plugin that cannot be loaded is told in a line, and left
//! to the host. So is what belongs to a driver.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli;
use crate::error::{Failure, Result};
use crate::needs::{Layer, Missing, Pattern, TooNew, World, is_driver};
use crate::plan::Listing;
use crate::project::Project;
use crate::report::Report;

/// How many names a line of a report has room for.
const SHOWN: usize = 4;

/// What the user expects of the host, and of the machine that packs.
pub struct Expected {
    host: Vec<Pattern>,
    /// What is brought: libraries, and patterns of missing ones.
    pub brought: Vec<Pattern>,
    host_libc: bool,
}

impl Expected {
    /// What the command line and the project say.
    pub fn of(options: &cli::Libraries, project: &Project, libc: cli::Libc) -> Expected {
        Expected {
            host: Pattern::all(options.host_library.iter().chain(&project.host_libraries)),
            brought: Pattern::all(options.bring_library.iter().chain(&project.bring_libraries)),
            host_libc: libc == cli::Libc::Host,
        }
    }

    fn of_host(&self, library: &str) -> bool {
        self.host.iter().any(|pattern| pattern.matches(library))
    }
}

/// The layers of these listings, the runtime's first.
pub fn layers<'a>(listings: impl IntoIterator<Item = &'a Listing>) -> Vec<Layer<'a>> {
    let layer = |listing: &'a Listing| Layer { origin: &listing.origin, needs: &listing.needs };
    listings.into_iter().map(layer).collect()
}

/// Refuses layers that need what none of them has, and warns of what only plugins need.
pub fn check(listings: &[Listing], expected: &Expected, report: &Report) -> Result<()> {
    let layers = layers(listings);
    for Layer { origin, needs } in &layers {
        if let Some(file) = needs.foreign.first() {
            let message = format!("{origin} is damaged: {file} is for another machine than its name says");
            return Err(Failure::new(message).hint("take a wheel that fits this machine"));
        }
    }
    let world = World::new(&layers);
    let too_new: Vec<TooNew> = world.too_new().into_iter().filter(|new| !expected.is_for_host(new)).collect();
    if let Some(new) = too_new.iter().find(|new| new.wanted.essential) {
        return Err(refuse_version(new));
    }
    too_new
        .iter()
        .for_each(|new| report.warning(&format!("{}; it cannot be loaded there", told_version(new))));
    let (drivers, missing): (Vec<Missing>, Vec<Missing>) =
        world.missing().into_iter().partition(|missing| is_driver(missing.library));
    let missing: Vec<Missing> =
        missing.into_iter().filter(|missing| !expected.of_host(missing.library)).collect();
    let (essential, plugins): (Vec<Missing>, Vec<Missing>) =
        missing.into_iter().partition(|missing| missing.essential);
    if let Some(first) = essential.first() {
        return Err(refuse(first, &essential));
    }
    for (origin, files, libraries) in by_origin(&drivers) {
        let (files, libraries) = (listed(&files), listed(&libraries));
        report.detail(&format!("{origin}: {files} will look for the host's drivers: {libraries}"));
    }
    for (origin, files, libraries) in by_origin(&plugins) {
        report.warning(&format!(
            "{origin}: nothing in the bundle provides {}; without that on the host, some of it cannot be loaded: {}",
            listed(&libraries),
            listed(&files)
        ));
    }
    Ok(())
}

impl Expected {
    /// With the host's C library its version decides, and it is told by `coil inspect --portability`.
    fn is_for_host(&self, new: &TooNew) -> bool {
        self.host_libc && new.wanted.what.family == "GLIBC"
    }
}

fn refuse(first: &Missing, all: &[Missing]) -> Failure {
    let same = |missing: &&Missing| (missing.origin, missing.file) == (first.origin, first.file);
    let own: BTreeSet<String> = all.iter().filter(same).map(|missing| missing.library.to_owned()).collect();
    let libraries: BTreeSet<&str> = all.iter().map(|missing| missing.library).collect();
    let words = |option: &str| {
        if libraries.len() > SHOWN {
            return format!("--{option} \"*\"");
        }
        let each = libraries.iter().map(|library| format!("--{option} {library}"));
        each.collect::<Vec<_>>().join(" ")
    };
    let Missing { origin, file, .. } = first;
    let own: Vec<String> = own.into_iter().collect();
    let message = format!("{origin} needs {}, which nothing in the bundle provides: {file}", own.join(", "));
    Failure::new(message).hint(format!(
        "bring what is missing from this machine ({}), or leave it to every host ({})",
        words("bring-library"),
        words("host-library")
    ))
}

fn refuse_version(new: &TooNew) -> Failure {
    Failure::new(told_version(new)).hint(
        "pack with a Python of a newer system (--python, --runtime), or take a distribution that was built for \
         an older one",
    )
}

fn told_version(new: &TooNew) -> String {
    let TooNew { origin, wanted, carried } = new;
    let there = carried.as_ref().map_or("none".to_owned(), ToString::to_string);
    let (what, library, file) = (&wanted.what, wanted.what.library(), &wanted.file);
    format!("{origin} needs {what} of {library}, and the runtime carries {there}: {file}")
}

/// Files and libraries of each origin, without repetition.
fn by_origin<'a>(all: &[Missing<'a>]) -> Vec<(&'a str, Vec<String>, Vec<String>)> {
    let mut grouped: BTreeMap<&str, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for Missing { origin, file, library, .. } in all {
        let (files, libraries) = grouped.entry(origin).or_default();
        files.insert(file.file_name().to_owned());
        libraries.insert((*library).to_owned());
    }
    let lists = |(origin, (files, libraries)): (_, (BTreeSet<_>, BTreeSet<_>))| {
        (origin, files.into_iter().collect(), libraries.into_iter().collect())
    };
    grouped.into_iter().map(lists).collect()
}

/// Names, as many as one reads.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=SHOWN => shown,
        count => format!("{shown} and {} more", count - SHOWN),
    }
}
