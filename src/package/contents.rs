//! What a package puts where.

use std::collections::BTreeMap;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::manifest::Manifest;
use coil_bootstrap::release::{self, App};

use super::{Content, Entry, Kind, Role, label, scripts};

/// Directories that a package manager's own packages have.
const COMMON: [&str; 9] = [
    "etc",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib/systemd",
    "usr/lib/systemd/system",
    "usr/lib/systemd/system/multi-user.target.wants",
    "usr/share",
    "usr/share/doc",
];

/// Everything in the package called `package` of this bundle, whose file is `content`, in the order of paths.
pub fn entries(bundle: &Bundle, app: &App, package: &str, content: Content) -> Vec<Entry> {
    let manifest = bundle.manifest();
    let name = app.name();
    let mut found: BTreeMap<String, Kind> = BTreeMap::new();
    let file = |content, mode, role| Kind::File { content, mode, role };
    let text = |text, role| file(Content::Text(text), 0o644, role);
    found.insert(format!("usr/lib/{name}/{name}"), file(content, 0o755, Role::Program));
    if manifest.production.services.is_empty() {
        for command in programs(manifest) {
            found.insert(format!("usr/bin/{command}"), Kind::Link(format!("../lib/{name}/{name}")));
        }
    } else {
        let settings = file(Content::Text(release::unwritten_settings(app)), 0o600, Role::Configuration);
        found.insert(format!("etc/{name}/env"), settings);
        let units = "usr/lib/systemd/system";
        let unit = format!("{name}-activate.service");
        found.insert(format!("{units}/multi-user.target.wants/{unit}"), Kind::Link(format!("../{unit}")));
        found.insert(format!("{units}/{unit}"), text(scripts::first_start(app), Role::Program));
    }
    let documentation = format!("usr/share/doc/{package}");
    found.insert(format!("{documentation}/copyright"), text(copyright(bundle), Role::Documentation));
    if let Some(lock) = &manifest.lock {
        found.insert(format!("{documentation}/pylock.toml"), text(lock.clone(), Role::Documentation));
    }
    let paths: Vec<String> = found.keys().cloned().collect();
    for path in paths {
        for (at, _) in path.match_indices('/') {
            let own = !COMMON.contains(&&path[..at]);
            found.insert(path[..at].to_owned(), Kind::Directory { own });
        }
    }
    found.into_iter().map(|(path, kind)| Entry { path, kind }).collect()
}

/// The names that users start it by: every command, and the app's own name where one is the default.
fn programs(manifest: &Manifest) -> Vec<String> {
    let mut names: Vec<String> = manifest.commands.keys().cloned().collect();
    let own = App::of(manifest).name().to_owned();
    if manifest.default.is_some() && !names.contains(&own) {
        names.push(own);
    }
    names
}

/// What it is and where it came from.
fn copyright(bundle: &Bundle) -> String {
    let manifest = bundle.manifest();
    let version = manifest.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut text = format!("{}{version}\n", manifest.name);
    for (what, key) in [("Licence", "licenses"), ("Source", "source"), ("Homepage", "url")] {
        text += &label(manifest, key).map(|said| format!("{what}: {said}\n")).unwrap_or_default();
    }
    if let Some(source) = &manifest.source {
        let dirty = if source.dirty { " with changes" } else { "" };
        text += &format!("Commit: {}{dirty}\n", source.commit);
    }
    text += &format!("Manifest: {}\n", bundle.digest());
    text += &format!(
        "\nPacked by coil with everything that it needs: Python {} and the distributions below. Their own licences\n\
         are in the bundle, beside each of them (`COIL=unpack` writes all files out).\n\n",
        manifest.python.version
    );
    for layer in &manifest.layers {
        let version = layer.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
        text += &format!("{}{version}  {}\n", layer.name, layer.digest);
    }
    text
}
