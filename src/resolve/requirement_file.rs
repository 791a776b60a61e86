//! The user's files of requirements: read to know what they depend on, not to understand them.
//!
//! The resolver reads the files itself. coil needs their content for the key of a resolution, the
//! hashes they demand, the hosts their options log in to, and refuses what cannot be packed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use coil_bootstrap::format::digest::Digest;

use super::pin::{Pin, Source};
use crate::error::{Context, Failure, Result};
use crate::lock::normal_name;
use crate::project::requirement::leading_name;

/// What is in the files, and in the files that they name.
#[derive(Debug, Default)]
pub struct RequirementFiles {
    /// The content of each file, in the order of reading.
    pub contents: Vec<String>,
    /// The addresses of indexes and pages that the files name.
    pub indexes: Vec<String>,
    /// Whether they name the index that replaces the usual one.
    pub names_index: bool,
    /// The SHA-256 that are allowed for a name; empty where only other algorithms are.
    hashes: BTreeMap<String, BTreeSet<Digest>>,
    /// How many requirements there are, and the first that is not exact.
    requirements: usize,
    loose: Option<String>,
    seen: BTreeSet<(PathBuf, bool)>,
}

impl RequirementFiles {
    /// Reads the files and those that they name with `-r` and `-c`.
    pub fn read(requirements: &[PathBuf], constraints: &[PathBuf]) -> Result<RequirementFiles> {
        let mut files = RequirementFiles::default();
        for path in requirements {
            files.enter(path, true)?;
        }
        for path in constraints {
            files.enter(path, false)?;
        }
        Ok(files)
    }

    /// Whether they are a lock: every requirement states one version and its hashes, or one commit.
    pub fn are_exact(&self) -> bool {
        self.requirements > 0 && self.has_hashes() && self.loose.is_none()
    }

    /// The first requirement that is not exact.
    pub fn first_loose(&self) -> Option<&str> {
        self.loose.as_deref()
    }

    /// Whether a file with this digest may be taken for `name`.
    pub fn allow(&self, name: &str, sha256: Option<Digest>) -> bool {
        let allowed = self.hashes.get(&normal_name(name)).filter(|allowed| !allowed.is_empty());
        allowed.is_none_or(|allowed| sha256.is_none_or(|sha256| allowed.contains(&sha256)))
    }

    /// Whether any requirement demands a hash; then all must.
    pub fn has_hashes(&self) -> bool {
        !self.hashes.is_empty()
    }

    /// Checks what was chosen against the hashes that the files demand: pip does this by itself, uv does
    /// it only when it installs.
    pub fn check_hashes(&self, pins: &[Pin]) -> Result<()> {
        if !self.has_hashes() {
            return Ok(());
        }
        let is_file = |pin: &&Pin| !pin.is_local() && !matches!(pin.source, Source::Vcs(_));
        for pin in pins.iter().filter(is_file) {
            let Some(allowed) = self.hashes.get(&pin.name) else {
                return Err(Failure::new(format!(
                    "{} has no --hash in the requirement files, and other requirements have one",
                    pin.name
                ))
                .hint("add the hashes of everything that is needed: uv pip compile --generate-hashes"));
            };
            if allowed.is_empty() {
                return Err(Failure::new(format!("the requirement files have no SHA-256 for {}", pin.name))
                    .hint("--resolver pip checks the other kinds of hashes too"));
            }
            let Source::File { sha256, .. } = &pin.source else { continue };
            if !sha256.is_some_and(|sha256| allowed.contains(&sha256)) {
                return Err(Failure::new(format!(
                    "{} is not one of the files whose hashes the requirement files list",
                    pin.file_name()
                ))
                .hint("make the hashes anew: uv pip compile --generate-hashes"));
            }
        }
        Ok(())
    }

    fn enter(&mut self, path: &Path, counts: bool) -> Result<()> {
        let unreadable = || format!("{} cannot be read", path.display());
        if !self.seen.insert((path.canonicalize().context(unreadable)?, counts)) {
            return Ok(());
        }
        let text = std::fs::read_to_string(path).context(unreadable)?;
        for line in logical_lines(&text) {
            self.take(&line, path, counts)?;
        }
        self.contents.push(text);
        Ok(())
    }

    fn take(&mut self, line: &str, path: &Path, counts: bool) -> Result<()> {
        if let Some(target) = option(line, "-e", "--editable") {
            return Err(Failure::new(format!("{} has the editable requirement {target:?}", path.display()))
                .hint("an editable install cannot be packed: give the directory itself as a PROJECT, without -e"));
        }
        for (short, long) in [("-i", "--index-url"), ("", "--extra-index-url"), ("-f", "--find-links")] {
            if let Some(address) = option(line, short, long) {
                self.names_index |= short == "-i";
                self.indexes.push(expanded(address));
                return Ok(());
            }
        }
        let requirements = option(line, "-r", "--requirement");
        if let Some(other) = requirements.or_else(|| option(line, "-c", "--constraint")) {
            let counts = counts && requirements.is_some();
            // Addresses are left to the resolver.
            if other.contains("://") {
                self.count(other, counts, false);
                return Ok(());
            }
            return self.enter(&path.parent().unwrap_or(Path::new("")).join(other), counts);
        }
        let name = leading_name(line);
        if !line.starts_with('-') {
            self.count(line, counts, is_exact(line));
        }
        if !name.is_empty() && line.contains("--hash") {
            let allowed = self.hashes.entry(normal_name(name)).or_default();
            for word in line.split_whitespace().map(|word| word.strip_prefix("--hash=").unwrap_or(word)) {
                allowed.extend(
                    word.strip_prefix("sha256:").and_then(|hex| Digest::from_hex(&hex.to_lowercase())),
                );
            }
        }
        Ok(())
    }

    fn count(&mut self, what: &str, counts: bool, exact: bool) {
        self.requirements += usize::from(counts);
        if counts && !exact && self.loose.is_none() {
            self.loose = Some(what.to_owned());
        }
    }
}

/// Whether a requirement states one version and a hash of it, or one commit.
fn is_exact(line: &str) -> bool {
    let (what, marker) = line.split_once(';').map_or((line, ""), |(what, rest)| (what, rest));
    let words = format!("{what} {marker}");
    let hashed = words.contains("--hash");
    let version = what.split_once("==").map(|(_, version)| version.split("--hash").next().unwrap_or(version));
    let pinned = version.is_some_and(|version| !version.contains(['*', ',', '<', '>', '!']));
    let commit = what.split("git+").nth(1).and_then(|address| address.rsplit_once('@'));
    let commit = commit
        .is_some_and(|(_, revision)| revision.chars().take_while(char::is_ascii_hexdigit).count() == 40);
    commit || (hashed && (pinned || what.contains('@')))
}

/// Lines without comments, those that end in a backslash joined with the next.
pub(super) fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut whole = String::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        // "A line that begins with # is treated as a comment"; elsewhere white space stands before the #.
        let comment = line.match_indices('#').map(|(at, _)| at);
        let end = comment.into_iter().find(|at| *at == 0 || line[..*at].ends_with([' ', '\t']));
        let line = line[..end.unwrap_or(line.len())].trim_end();
        match line.strip_suffix('\\') {
            Some(part) => whole.push_str(part),
            None => {
                whole.push_str(line);
                lines.push(std::mem::take(&mut whole).trim().to_owned());
            }
        }
    }
    lines.push(whole.trim().to_owned());
    lines.retain(|line| !line.is_empty());
    lines
}

/// The value of an option that a line consists of: `-r x`, `-rx`, `--requirement x`, `--requirement=x`.
pub(super) fn option<'a>(line: &'a str, short: &str, long: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix(long) {
        return rest.starts_with(['=', ' ', '\t']).then(|| rest[1..].trim());
    }
    let rest = line.strip_prefix(short).filter(|_| !short.is_empty())?;
    Some(rest.trim())
}

/// `${NAME}` is replaced by the variable, as pip does it.
fn expanded(text: &str) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            expanded.push_str("${");
            rest = after;
            continue;
        };
        match std::env::var(name) {
            Ok(value) => expanded.push_str(&value),
            Err(_) => expanded.push_str(&format!("${{{name}}}")),
        }
        rest = after;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<RequirementFiles> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        RequirementFiles::read(&[directory.path().join(files[0].0)], &[])
    }

    fn pin(name: &str, content: &[u8]) -> Pin {
        let address = format!("https://host/{name}-1-py3-none-any.whl");
        let source = Source::File { address, sha256: Some(Digest::of(content)), direct: false };
        Pin { name: name.into(), version: Some("1".into()), source }
    }

    #[test]
    fn files_that_are_named_are_read_once() {
        let files = read(&[
            ("r.txt", "# x\n-r sub/base.txt\n-csub/limits.txt\nclick # why\n--index-url=https://me:pw@host/simple\n"),
            ("sub/base.txt", "-r ../r.txt\nflask\n"),
            ("sub/limits.txt", "flask<3\n"),
        ])
        .unwrap();
        assert_eq!(files.contents.len(), 3);
        assert_eq!(files.indexes, ["https://me:pw@host/simple"]);
        assert!(files.names_index && !files.has_hashes());
        assert!(read(&[("r.txt", "-r nowhere.txt")]).is_err());
    }

    #[test]
    fn a_file_is_a_lock_when_every_line_states_one_file_or_commit() {
        let hash = format!("--hash=sha256:{}", Digest::of(b"a").hex());
        let commit = "c @ git+https://host/c.git@0123456789012345678901234567890123456789#egg=c";
        let exact = format!(
            "--index-url https://host\na==1.0 ; python_version > '3' \\\n  {hash}\nb @ https://host/b.whl {hash}\n{commit}\n-c c.txt\n"
        );
        let is = |text: &str| read(&[("r.txt", text), ("c.txt", "loose\n")]).unwrap().are_exact();
        assert!(is(&exact));
        for loose in [
            "x==1.0".to_owned(),
            format!("x==1.* {hash}"),
            format!("x>=1 {hash}"),
            "x @ git+https://host/x@main".into(),
            "-r c.txt".into(),
        ] {
            assert!(!is(&format!("{exact}{loose}\n")), "{loose}");
        }
        assert!(!is("") && !is("a==1\n"));
    }

    #[test]
    fn editable_requirements_are_refused() {
        for line in ["-e .", "-e./x", "--editable=git+https://host/x#egg=x"] {
            let error = read(&[("r.txt", line)]).unwrap_err();
            assert!(error.to_string().contains("editable"), "{line}");
        }
    }

    #[test]
    fn hashes_are_demanded_of_everything_as_soon_as_one_is_given() {
        let good = Digest::of(b"a").hex();
        let files =
            read(&[("r.txt", &format!("A.b==1 \\\n    --hash=sha256:{good} \\\n    --hash sha512:00\n"))])
                .unwrap();
        assert!(files.check_hashes(&[pin("a-b", b"a")]).is_ok());
        let wrong = files.check_hashes(&[pin("a-b", b"b")]).unwrap_err().to_string();
        assert!(wrong.contains("is not one of the files"), "{wrong}");
        let other = files.check_hashes(&[pin("a-b", b"a"), pin("c", b"c")]).unwrap_err().to_string();
        assert!(other.starts_with("c has no --hash"), "{other}");
    }
}
