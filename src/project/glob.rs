//! The patterns of `include` and `exclude`.

/// Whether `pattern` covers `path`, a relative path, or a directory that it is in.
///
/// `*` and `?` stand for letters of one component, `**` for any number of components. A pattern
/// without `/` names a file or directory at any depth, one with `/` begins at the top.
pub fn covers(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    let components: Vec<&str> = path.split('/').collect();
    let trimmed = pattern.trim_matches('/');
    if !pattern.trim_end_matches('/').contains('/') {
        return components.iter().any(|component| component_matches(trimmed, component));
    }
    let pattern: Vec<&str> = trimmed.split('/').collect();
    (1..=components.len()).any(|end| components_match(&pattern, &components[..end]))
}

fn components_match(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", rest)) => (0..=path.len()).any(|skipped| components_match(rest, &path[skipped..])),
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(name, below)| component_matches(first, name) && components_match(rest, below)),
    }
}

/// Matches by remembering the last star only: linear in the name for each star.
fn component_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut letter, mut star) = (0, 0, None);
    while letter < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, letter));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[letter] => {
                at += 1;
                letter += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    letter = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_at_any_depth_and_a_path_from_the_top() {
        assert!(covers("tests", "src/tests/a.py"));
        assert!(covers("*.md", "docs/a.md"));
        assert!(!covers("*.md", "docs/a.mdx"));
        assert!(covers("docs/*.md", "docs/a.md"));
        assert!(!covers("docs/*.md", "src/docs/a.md"));
        assert!(covers("/docs", "docs/x/y") && !covers("/docs", "src/docs"));
        assert!(covers("src/**/data/*", "src/a/b/data/x") && covers("src/**/data/*", "src/data/x"));
        assert!(covers("a*b?c", "aXXbYc") && !covers("a*b?c", "aXXbc"));
    }
}
