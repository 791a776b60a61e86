//! What somebody may have meant: the nearest of the names that exist.

/// The name that is fewest changed letters away from `word`, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = 1 + word.chars().count() / 3;
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(changes, _)| *changes <= near)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be inserted, removed or replaced to make one word of the other.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, other) in two.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_a_stranger_none() {
        let keys = ["commands", "default", "environment"];
        assert_eq!(nearest("comands", keys), Some("commands"));
        assert_eq!(nearest("enviroment", keys), Some("environment"));
        assert_eq!(nearest("zip", keys), None);
    }
}
