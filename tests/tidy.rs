//! Rules of ARCHITECTURE.md that a machine can watch: who may use whom, and what the launcher carries.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below `directory`, with their text up to the unit tests.
fn sources(directory: &str) -> Vec<(String, String)> {
    let mut pending = vec![root().join(directory)];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            found.push((shown(&path), code));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{directory} has no sources");
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn refuse(directory: &str, words: &[&str], why: &str) {
    for (file, code) in sources(directory) {
        for (number, line) in
            code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                panic!("{file}:{}: `{word}`: {why}", number + 1);
            }
        }
    }
}

#[test]
fn the_format_is_bytes_only() {
    let words =
        ["std::fs", "std::env", "std::time", "std::process", "std::thread", "crate::cache", "crate::host"];
    refuse("bootstrap/src/format", &words, "the format touches no files, no environment and no clock");
}

#[test]
fn a_floor_never_uses_a_higher_one() {
    let floors: [&[&str]; 6] = [
        &["cli", "commands"],
        &["pack"],
        &["bundle", "deploy", "image", "package", "rebase", "runtime_file", "portability", "sizes", "units"],
        &["layer", "needs", "plan", "store"],
        &[
            "project",
            "resolve",
            "lock",
            "wheel",
            "installed",
            "runtime",
            "bytecode",
            "interpreter",
            "find_python",
            "elf",
        ],
        &["checksums", "tree", "unfinished", "error"],
    ];
    for (height, floor) in floors.iter().enumerate() {
        let above: Vec<String> = floors[..height]
            .iter()
            .flat_map(|names| names.iter())
            .map(|name| format!("crate::{name}::"))
            .collect();
        let above: Vec<&str> = above.iter().map(String::as_str).collect();
        for name in floor.iter() {
            let paths = [format!("src/{name}"), format!("src/{name}.rs")];
            for path in paths.iter().filter(|path| root().join(path).exists()) {
                // `pack` is given the options it obeys, and the store makes layers of what `plan` lists.
                if *name != "pack" {
                    refuse(path, &above, "this belongs to a higher floor (ARCHITECTURE.md, Floors)");
                }
            }
        }
    }
}

#[test]
fn the_launcher_depends_on_its_short_list_and_nothing_else() {
    let manifest: toml::Table =
        fs::read_to_string(root().join("bootstrap/Cargo.toml")).unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    let names: Vec<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(names, ["blake3", "libc", "object", "rustix", "serde", "serde_json", "sha2", "zstd"]);
    assert_eq!(dependencies["zstd"]["version"].as_str().unwrap().chars().next(), Some('='));
}

#[test]
fn the_launcher_stays_small() {
    let size = coil::launcher::LAUNCHER.len();
    assert!(size < 1_980_000, "the launcher has grown to {size} bytes");
}

#[test]
fn no_file_is_more_than_one_idea_long() {
    for directory in ["src", "bootstrap/src"] {
        for (file, code) in sources(directory) {
            let length = code.lines().count();
            assert!(length <= 500, "{file} has {length} lines");
        }
    }
}

#[test]
fn what_is_packed_does_not_depend_on_the_clock_or_the_machine() {
    for directory in [
        "src/layer.rs",
        "src/bundle.rs",
        "src/plan.rs",
        "src/tree.rs",
        "src/wheel",
        "src/bytecode",
        "src/image",
        "src/package",
    ] {
        refuse(
            directory,
            &["SystemTime", "hostname", "available_parallelism().get"],
            "same inputs, same bytes",
        );
    }
}
