//! What became of each host: as a table for people, as JSON for programs.

use serde::Serialize;

use crate::error::{Context, Result};

/// What became of a host.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The host, as it was named.
    pub host: String,
    /// The release that was current before, where there was one.
    pub before: Option<String>,
    /// The release that is current now, as far as the host said.
    pub now: Option<String>,
    /// How many bytes were sent to it.
    pub sent: u64,
    /// How long it took, in seconds.
    #[serde(serialize_with = "in_milliseconds")]
    pub seconds: f64,
    /// How it ended.
    pub outcome: State,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How it ended for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The release is active.
    Active,
    /// The release is installed, and what was active still is.
    Installed,
    /// The release before is active again.
    RolledBack,
    /// Something failed.
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Installed => "installed",
            State::RolledBack => "rolled back",
            State::Failed => "failed",
        }
    }
}

/// Seconds with three decimals.
fn in_milliseconds<S: serde::Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((seconds * 1e3).round() / 1e3)
}

/// A line for each host.
pub fn table(outcomes: &[Outcome]) -> String {
    let release = |release: &Option<String>| release.clone().unwrap_or_else(|| "-".into());
    let mut rows = vec![["host", "before", "now", "sent", "seconds", "outcome"].map(str::to_owned)];
    rows.extend(outcomes.iter().map(|outcome| {
        let sent = bytes(outcome.sent);
        let seconds = format!("{:.1}", outcome.seconds);
        let (before, now) = (release(&outcome.before), release(&outcome.now));
        [outcome.host.clone(), before, now, sent, seconds, outcome.outcome.word().to_owned()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                5 => text += cell,
                3 | 4 => text += &format!("{cell:>width$}  "),
                _ => text += &format!("{cell:<width$}  "),
            }
        }
        text += "\n";
    }
    text
}

/// A number of bytes for people, also a small one.
pub fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} B"),
        1000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// The same for programs.
pub fn json(app: &str, release: Option<&str>, outcomes: &[Outcome]) -> Result<String> {
    #[derive(Serialize)]
    struct All<'a> {
        app: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        release: Option<&'a str>,
        hosts: &'a [Outcome],
    }
    let all = All { app, release, hosts: outcomes };
    Ok(serde_json::to_string_pretty(&all).context(|| "cannot print JSON".into())? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_host_with_columns_below_each_other() {
        let outcome = |host: &str, before: Option<&str>, sent, outcome| Outcome {
            host: host.into(),
            before: before.map(str::to_owned),
            now: Some("0123456789ab".into()),
            sent,
            seconds: 1.25,
            outcome,
            error: None,
            hint: None,
        };
        let told = table(&[
            outcome("web1", None, 23_456_789, State::Active),
            outcome("root@web2", Some("ba9876543210"), 12_345, State::RolledBack),
        ]);
        let expected = "\
host       before        now              sent  seconds  outcome
web1       -             0123456789ab  23.5 MB      1.2  active
root@web2  ba9876543210  0123456789ab  12.3 kB      1.2  rolled back
";
        assert_eq!(told, expected);
    }
}
