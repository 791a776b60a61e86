//! Columns of what is printed for people.

use std::fmt::Display;

/// How wide a column is that holds all of `words`, in characters: never less than `least`, so that what is usually
/// printed looks the same every time.
pub fn width<T: Display>(least: usize, words: impl IntoIterator<Item = T>) -> usize {
    words.into_iter().map(|word| word.to_string().chars().count()).fold(least, usize::max)
}

#[cfg(test)]
mod tests {
    use super::width;

    #[test]
    fn a_column_is_as_wide_as_its_longest_word_in_characters() {
        assert_eq!(width(4, ["one", "sé"]), 4);
        assert_eq!(width(4, ["one", "sécurité", "four"]), 8);
        assert_eq!(width(4, Vec::<String>::new()), 4);
    }
}
