//! Resolution with pip: `pip install --dry-run --report`, which tells the exact files.

use std::collections::BTreeMap;
use std::path::Path;

use coil_bootstrap::format::digest::Digest;
use serde::Deserialize;

use super::Work;
use super::complaint;
use super::fetch::without_at;
use super::pin::{Pin, Source};
use super::tool::{Tools, run};
use crate::error::{Context, Failure, Result};
use crate::lock::{Vcs, normal_name, url};
use crate::project::declared::Declared;
use crate::project::lock_file::workspace_of;

/// pip, "Installation report", version 1: the parts that are used.
#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    is_direct: bool,
    download_info: Download,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

/// PyPA, "Recording the direct URL origin of installed distributions".
#[derive(Deserialize)]
struct Download {
    url: String,
    subdirectory: Option<String>,
    archive_info: Option<Archive>,
    vcs_info: Option<Revision>,
    dir_info: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Archive {
    hash: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Revision {
    vcs: String,
    requested_revision: Option<String>,
    commit_id: String,
}

/// What pip chooses.
pub fn pins(work: &Work, tools: &Tools) -> Result<Vec<Pin>> {
    if let Some(project) = work.request.uv_projects.iter().find(|project| work.needs_uv(project)) {
        return Err(Failure::new(format!(
            "{} says in [tool.uv] where its dependencies are, and pip does not read that",
            project.join("pyproject.toml").display()
        ))
        .hint("install uv (https://docs.astral.sh/uv/), or lock the project: uv lock"));
    }
    let report = work.scratch.join("report.json");
    let mut command = tools.pip(work.interpreter)?;
    command.args(["install", "--dry-run", "--ignore-installed", "--quiet", "--report"]).arg(&report);
    if work.exact {
        command.arg("--no-deps");
    }
    if !work.request.options.builds() {
        command.args(["--only-binary", ":all:"]);
    }
    let (words, variables) = work.indexes.for_pip();
    command.args(words).envs(variables);
    for file in &work.request.constraint_files {
        command.arg("-c").arg(file);
    }
    match work.files.has_hashes() {
        // Only a file can state hashes; else pip's messages are better without one.
        true => command.arg("-r").arg(&work.list),
        false => {
            command.args(work.lines.lines().map(|line| without_at(line).unwrap_or_else(|| line.to_owned())))
        }
    };
    for file in &work.request.requirement_files {
        command.arg("-r").arg(file);
    }
    let log = work.scratch.join("pip.log");
    command.arg("--log").arg(&log);
    let cannot = "the requirements cannot be resolved";
    run(command, cannot).map_err(|failure| match unreached(&log) {
        Some(why) => complaint::failure(cannot, &why, ""),
        None => failure,
    })?;
    let bytes = std::fs::read(&report).context(|| "pip left no report".to_owned())?;
    let report: Report =
        serde_json::from_slice(&bytes).context(|| "pip's report cannot be read".to_owned())?;
    report.install.into_iter().map(|item| pin_of(item, work)).collect()
}

impl Work<'_> {
    /// Whether a project cannot be resolved without uv; an index of its own alone is no such reason.
    fn needs_uv(&self, project: &Path) -> bool {
        Declared::read(project).is_ok_and(|declared| declared.has_uv_sources)
            || workspace_of(project).is_some()
    }
}

/// What pip says of the last index that failed. It goes on with a line in its log, finds nothing, and says
/// then that there is no such distribution.
fn unreached(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().rfind(|line| line.contains("Could not fetch URL"))?;
    let said = &line[line.find("Could not fetch URL")?..];
    Some(said.trim_end_matches(" - skipping").replace(": connection error: ", ": "))
}

fn pin_of(item: Item, work: &Work) -> Result<Pin> {
    let name = normal_name(&item.metadata.name);
    let download = item.download_info;
    let source = if let Some(revision) = download.vcs_info {
        Source::Vcs(Vcs {
            kind: revision.vcs,
            url: Some(download.url),
            path: None,
            requested_revision: revision.requested_revision,
            commit_id: revision.commit_id,
            subdirectory: download.subdirectory,
        })
    } else if download.dir_info.is_some() {
        let path = url::local_path(&download.url);
        Source::Directory(path.ok_or_else(|| Failure::new(format!("pip names no directory for {name}")))?)
    } else {
        let built = url::local_path(&download.url).and_then(|path| work.stand_in(&path));
        match built {
            Some(index) => Source::Built(index),
            None => Source::File {
                sha256: download.archive_info.as_ref().and_then(Archive::sha256),
                address: download.url,
                direct: item.is_direct,
            },
        }
    };
    Ok(Pin { name, version: Some(item.metadata.version), source })
}

impl Archive {
    fn sha256(&self) -> Option<Digest> {
        let old = || self.hash.as_deref()?.strip_prefix("sha256=");
        Digest::from_hex(self.hashes.get("sha256").map(String::as_str).or_else(old)?)
    }
}
