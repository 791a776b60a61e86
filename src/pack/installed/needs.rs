//! Whether what is installed is all that the project's own wheels need: a wheel is built from sources that may
//! have moved on since the installation.

use crate::error::{Failure, Result};
use crate::installed::Survey;
use crate::interpreter::Interpreter;
use crate::lock::complete::{Distribution, Need, gaps};
use crate::lock::normal_name;
use crate::resolve::build::Built;
use crate::wheel::Metadata;

/// Fails where something that was built needs what neither is installed in `venv` nor was built itself.
pub fn check(built: &[Built], survey: &Survey, interpreter: &Interpreter, venv: &str) -> Result<()> {
    let own = |name: &str| built.iter().any(|built| normal_name(&built.name) == normal_name(name));
    let installed = survey.distributions.iter().map(|one| &one.metadata);
    let distribution = |name: &str, version: &str, requires: &[String]| Distribution {
        name: normal_name(name),
        version: version.to_owned(),
        requires: requires.to_vec(),
    };
    let mut distributions: Vec<Distribution> = installed
        .filter(|metadata| !own(&metadata.name))
        .map(|metadata| distribution(&metadata.name, &metadata.version, &metadata.requires_dist))
        .collect();
    let mut needs = Vec::new();
    for built in built {
        distributions.push(distribution(&built.name, &built.version, &[]));
        // Metadata that cannot be read is told about where the wheel is.
        let Ok(metadata) = Metadata::parse(built.metadata.as_bytes()) else { continue };
        let origin = format!("{} {}", built.name, built.version);
        let extras: Vec<String> = built.extras.iter().map(|extra| normal_name(extra)).collect();
        let need = |text| Need { text, origin: origin.clone(), extras: extras.clone() };
        needs.extend(metadata.requires_dist.into_iter().map(need));
    }
    match gaps(&distributions, &needs, &interpreter.markers).of_project.as_slice() {
        [] => Ok(()),
        [first, others @ ..] => {
            let failure = Failure::new(format!("{venv} has not all that is needed: {first}"))
                .hint("install the project again, or leave --venv out: then what it needs is resolved");
            Err(if others.is_empty() { failure } else { failure.because(others.join("\n")) })
        }
    }
}
