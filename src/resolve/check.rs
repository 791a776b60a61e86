//! Whether what a lock lists is all that is needed: the wheels themselves are asked.
//!
//! What the project itself needs and the lock has not is an error: the lock is not this project's. What
//! wheels need of each other is a warning, because the one who locks may overrule them (uv's
//! `override-dependencies`); in a file of requirements nobody can, so there it is an error, as in pip.

use std::collections::BTreeSet;

use super::Request;
use super::build::metadata_of;
use super::pin::{FetchedWheel, Pin};
use crate::error::{Failure, Result};
use crate::interpreter::Interpreter;
use crate::lock::complete::{Distribution, Gaps, Need, gaps};
use crate::lock::normal_name;
use crate::wheel::Metadata;

/// Fails where the project lacks something; what wheels lack comes back as warnings.
pub fn check(
    request: &Request,
    pins: &[Pin],
    wheels: &[FetchedWheel],
    interpreter: &Interpreter,
) -> Result<Vec<String>> {
    let mut distributions = Vec::new();
    for (pin, wheel) in pins.iter().zip(wheels) {
        // A damaged wheel is told about where it is read whole.
        let Ok(text) = metadata_of(&wheel.path) else { continue };
        let Ok(metadata) = Metadata::parse(text.as_bytes()) else { continue };
        distributions.push(Distribution {
            name: pin.name.clone(),
            version: metadata.version,
            requires: metadata.requires_dist,
        });
    }
    let Gaps { of_project, mut of_distributions } =
        gaps(&distributions, &needs(request), &interpreter.markers);
    let own: BTreeSet<&String> = of_project.iter().collect();
    of_distributions.retain(|gap| !own.contains(gap));
    let from = request.locked_by();
    let hint = match request.locks.first() {
        Some(lock) => format!("lock it anew: {}", lock.relock()),
        None => "make the file anew: uv pip compile --generate-hashes".to_owned(),
    };
    let refused = match request.locks.is_empty() {
        true => [of_project, of_distributions.split_off(0)].concat(),
        false => of_project,
    };
    if let Some((first, others)) = refused.split_first() {
        let failure = Failure::new(format!("{from} has not all that is needed: {first}")).hint(hint);
        return Err(match others.is_empty() {
            true => failure,
            false => failure.because(others.join("\n")),
        });
    }
    Ok(of_distributions.into_iter().map(|gap| format!("{gap}: {from} is followed")).collect())
}

/// What the project itself asks for.
fn needs(request: &Request) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for built in &request.built {
        let Ok(metadata) = Metadata::parse(built.metadata.as_bytes()) else { continue };
        let extras: Vec<String> = built.extras.iter().map(|extra| normal_name(extra)).collect();
        let origin = format!("{} {}", normal_name(&built.name), built.version);
        let need = |text: String| Need { text, origin: origin.clone(), extras: extras.clone() };
        needs.extend(metadata.requires_dist.into_iter().map(need));
    }
    needs.extend(request.requirements.iter().map(|requirement| Need {
        text: requirement.text.clone(),
        origin: requirement.origin.clone(),
        extras: Vec::new(),
    }));
    needs
}
