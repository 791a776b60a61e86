//! Files of requirements that include themselves: refused before a tool loses itself in them.

use std::path::{Path, PathBuf};

use super::requirement_file::{logical_lines, option};
use crate::error::{Failure, Result};

/// Refuses files that include themselves with `-r` or `-c`, directly or through others.
///
/// What cannot be read is left to those who read it for good.
pub fn refuse_cycles(files: &[PathBuf]) -> Result<()> {
    let (mut above, mut done) = (Vec::new(), Vec::new());
    files.iter().try_for_each(|file| enter(file, &mut above, &mut done))
}

fn enter(file: &Path, above: &mut Vec<(PathBuf, PathBuf)>, done: &mut Vec<PathBuf>) -> Result<()> {
    let (Ok(real), Ok(text)) = (file.canonicalize(), std::fs::read_to_string(file)) else { return Ok(()) };
    if done.contains(&real) {
        return Ok(());
    }
    if let Some(first) = above.iter().position(|(other, _)| *other == real) {
        let way = above[first..].iter().map(|(_, file)| file.display().to_string());
        let way = way.chain([file.display().to_string()]).collect::<Vec<_>>().join(" -> ");
        return Err(Failure::new(format!("{} includes itself: {way}", file.display()))
            .hint("take one of these -r lines out"));
    }
    above.push((real.clone(), file.to_owned()));
    for line in logical_lines(&text) {
        let other = option(&line, "-r", "--requirement").or_else(|| option(&line, "-c", "--constraint"));
        if let Some(other) = other.filter(|other| !other.contains("://")) {
            enter(&file.parent().unwrap_or(Path::new("")).join(other), above, done)?;
        }
    }
    above.pop();
    done.push(real);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_includes_itself_is_refused_with_the_way_round() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("a.txt"), "x\n-r sub/b.txt\n-r c.txt\n").unwrap();
        std::fs::write(at("sub/b.txt"), "--requirement=../c.txt\n").unwrap();
        std::fs::write(at("c.txt"), "# twice is no cycle\ny\n-r missing.txt\n").unwrap();
        assert!(refuse_cycles(&[at("a.txt"), at("c.txt")]).is_ok());
        std::fs::write(at("c.txt"), "-c sub/../a.txt\n").unwrap();
        let told = refuse_cycles(&[at("a.txt")]).unwrap_err().to_string();
        let way = told.replace(&format!("{}/", directory.path().display()), "");
        let last = "sub/../sub/../a.txt";
        assert_eq!(way, format!("{last} includes itself: a.txt -> sub/b.txt -> sub/../c.txt -> {last}"));
    }
}
