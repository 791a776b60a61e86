//! Writes a lock as TOML, always in the same order and the same layout.

use std::fmt::Write;

use super::{Artifact, LOCK_VERSION, Lock, Package};

impl Lock {
    /// The text of `pylock.toml`. Equal locks have equal texts.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        line(&mut text, "lock-version", &quoted(LOCK_VERSION));
        optional(&mut text, "requires-python", &self.requires_python);
        list(&mut text, "environments", &self.environments);
        list(&mut text, "extras", &self.extras);
        list(&mut text, "dependency-groups", &self.dependency_groups);
        list(&mut text, "default-groups", &self.default_groups);
        line(&mut text, "created-by", &quoted("coil"));
        if self.packages.is_empty() {
            line(&mut text, "packages", "[]");
        }
        for package in &self.packages {
            write_package(&mut text, package);
        }
        text
    }
}

fn write_package(text: &mut String, package: &Package) {
    text.push_str("\n[[packages]]\n");
    line(text, "name", &quoted(&package.name));
    optional(text, "version", &package.version);
    optional(text, "marker", &package.marker);
    optional(text, "requires-python", &package.requires_python);
    if let Some(vcs) = &package.vcs {
        let fields = [
            Some(("type", quoted(&vcs.kind))),
            vcs.url.as_ref().map(|value| ("url", quoted(value))),
            vcs.path.as_ref().map(|value| ("path", quoted(value))),
            vcs.requested_revision.as_ref().map(|value| ("requested-revision", quoted(value))),
            Some(("commit-id", quoted(&vcs.commit_id))),
            vcs.subdirectory.as_ref().map(|value| ("subdirectory", quoted(value))),
        ];
        line(text, "vcs", &table(fields));
    }
    if let Some(directory) = &package.directory {
        let subdirectory = directory.subdirectory.as_ref().map(|value| ("subdirectory", quoted(value)));
        line(text, "directory", &table([Some(("path", quoted(&directory.path))), subdirectory]));
    }
    if let Some(archive) = &package.archive {
        line(text, "archive", &artifact(archive));
    }
    if let Some(sdist) = &package.sdist {
        line(text, "sdist", &artifact(sdist));
    }
    match package.wheels.as_slice() {
        [] => {}
        [wheel] => line(text, "wheels", &format!("[{}]", artifact(wheel))),
        wheels => {
            let rows: String = wheels.iter().map(|wheel| format!("    {},\n", artifact(wheel))).collect();
            line(text, "wheels", &format!("[\n{rows}]"));
        }
    }
}

fn artifact(file: &Artifact) -> String {
    table([
        file.name.as_ref().map(|value| ("name", quoted(value))),
        file.url.as_ref().map(|value| ("url", quoted(value))),
        file.path.as_ref().map(|value| ("path", quoted(value))),
        file.size.map(|value| ("size", value.to_string())),
        file.subdirectory.as_ref().map(|value| ("subdirectory", quoted(value))),
        file.hashes.sha256.map(|sha256| ("hashes", table([Some(("sha256", quoted(&sha256.hex())))]))),
    ])
}

fn table<const N: usize>(fields: [Option<(&str, String)>; N]) -> String {
    let fields: Vec<String> =
        fields.into_iter().flatten().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn list(text: &mut String, key: &str, values: &[String]) {
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        line(text, key, &format!("[{}]", values.join(", ")));
    }
}

fn optional(text: &mut String, key: &str, value: &Option<String>) {
    if let Some(value) = value {
        line(text, key, &quoted(value));
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    text.push_str(key);
    text.push_str(" = ");
    text.push_str(value);
    text.push('\n');
}

/// A basic string of TOML: "any Unicode character may be used except those that must be escaped:
/// quotation mark, backslash, and the control characters other than tab".
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if control.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}
