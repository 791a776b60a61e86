//! Build steps: commands of the project that change the app's tree before it is packed.
//!
//! They run in the environment that the bundle will have on its target, made by the launcher's own code, so
//! that they also prove that it works. Their working directory is a private copy of the app's tree: what is in
//! it afterwards is packed, what they write elsewhere is not. The outcome is kept by what it was made of:
//! the sources, the wheels, the runtime and the steps themselves.

mod environment;
mod outcome;
mod process;
mod workplace;

use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::Python;

use self::outcome::Outcome;
use self::process::Shell;
use self::workplace::Workplace;
use super::closed_world::Expected;
use super::wheels::Facts;
use super::{Packing, libraries, runtime};
use crate::checksums::Checksums;
use crate::error::{Context, Result};
use crate::last_use;
use crate::plan::Listing;
use crate::project::Project;
use crate::project::sources::source_date;
use crate::report::{Loudness, Report};
use crate::store::StoredLayer;
use crate::tree::Tree;

/// What the steps get to see beside the sources.
pub struct Installed<'a> {
    /// The runtime.
    pub runtime: &'a StoredLayer<runtime::Facts>,
    /// The wheels.
    pub wheels: &'a [StoredLayer<Facts>],
    /// Files of a virtualenv that belong to none of them.
    pub unowned: Option<&'a StoredLayer<Facts>>,
    /// Which libraries are brought.
    pub expected: &'a Expected,
}

impl Installed<'_> {
    fn python(&self) -> &Python {
        &self.runtime.facts.python
    }

    /// The libraries that are brought for the runtime and the wheels. The bundle may have more of them, for the app.
    /// Which they are is told when that is put together.
    fn brought(&self, packing: &Packing) -> Result<Option<StoredLayer<()>>> {
        let others = self.wheels.iter().chain(self.unowned).map(|layer| &layer.listing);
        let listings: Vec<&Listing> = std::iter::once(&self.runtime.listing).chain(others).collect();
        let silent = Report::new(Loudness::Quiet);
        libraries::layer(&packing.saying(&silent), &listings, self.expected)
    }
}

/// Runs the project's steps, unless the outcome is known, and puts what comes of them into its tree.
pub fn run(packing: &Packing, project: &mut Project, installed: &Installed, refresh: bool) -> Result<()> {
    if project.steps.is_empty() {
        return Ok(());
    }
    let before = project.app.take().unwrap_or_default();
    let brought = installed.brought(packing)?;
    let key = key(project, installed, brought.as_ref(), &before)?;
    let place = packing.store.work().join(format!("steps-{}", key.hex()));
    let known = if refresh { None } else { Outcome::read(&place) };
    let outcome = match known {
        Some(outcome) => {
            last_use::mark(&place);
            outcome
        }
        None => {
            let environment = environment::prepare(packing, installed, brought)?;
            let workplace = Workplace::make(packing.store.scratch(), &before)?;
            let shell = Shell { environment: &environment, directory: &workplace.app(), project };
            for step in &project.steps {
                packing.report.doing(&format!("running {step}"));
                shell.run(step, packing.report)?;
            }
            let outcome =
                workplace.outcome(&before, &project.exclude)?.keep(&place, packing.store.scratch())?;
            packing.report.done(&format!("ran {}: {outcome}", steps(project.steps.len())));
            outcome
        }
    };
    outcome.warnings.iter().for_each(|warning| packing.report.warning(warning));
    project.app = Some(outcome.apply(before, &place)?);
    Ok(())
}

fn steps(count: usize) -> String {
    if count == 1 { "1 build step".to_owned() } else { format!("{count} build steps") }
}

/// A digest of everything that the outcome is made of.
fn key(
    project: &Project,
    installed: &Installed,
    brought: Option<&StoredLayer<()>>,
    before: &Tree,
) -> Result<Digest> {
    let sources = Checksums::of(before).context(|| format!("cannot read the sources of {}", project.name))?;
    let wheels: Vec<&Digest> =
        installed.wheels.iter().chain(installed.unowned).map(|wheel| &wheel.blob.diff_id).collect();
    let key = serde_json::json!([
        env!("COIL_CODE"),
        sources.all(),
        installed.runtime.blob.diff_id,
        brought.map(|layer| &layer.blob.diff_id),
        wheels,
        project.steps,
        project.exclude,
        project.variables,
        source_date(project.date).to_string_lossy(),
    ]);
    Ok(Digest::of(key.to_string().as_bytes()))
}
