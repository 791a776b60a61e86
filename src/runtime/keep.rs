//! What of a Python is left out of a runtime unless it is asked for, and the words it is asked for by; and one thing the
//! other way round, its sources.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Failure, Result};
use crate::project::nearest::nearest;

/// A part of a Python that most apps do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Wheels that `ensurepip` installs.
    Ensurepip,
    /// Headers, for compiling extension modules.
    Headers,
    /// The editor.
    Idle,
    /// The module `nis`, gone from Python 3.13, and Kerberos with all else that it needs.
    Nis,
    /// Byte code in `__pycache__` that coil does not compile: of other versions, of `-O`.
    Pycache,
    /// The other way round: the standard library's byte code alone, without its sources.
    Sourceless,
    /// Static libraries and what else building needs.
    Static,
    /// The standard library's own tests, and the extension modules that only they import.
    Tests,
    /// `tkinter` and `turtle`; Tk, with Tcl and their scripts.
    Tkinter,
    /// The turtle's demonstrations.
    Turtledemo,
}

use Keep::{Ensurepip, Headers, Idle, Nis, Pycache, Sourceless, Static, Tests, Tkinter, Turtledemo};

/// Every part, its word, and what it is called in a sentence. Sorted by word.
const PARTS: [(Keep, &str, &str); 10] = [
    (Ensurepip, "ensurepip", "wheels in ensurepip"),
    (Headers, "headers", "headers"),
    (Idle, "idle", "IDLE"),
    (Nis, "nis", "nis"),
    (Pycache, "pycache", "byte code of others"),
    (Sourceless, "sourceless", "byte code without its sources"),
    (Static, "static", "static libraries"),
    (Tests, "tests", "tests"),
    (Tkinter, "tkinter", "tkinter"),
    (Turtledemo, "turtledemo", "turtle demonstrations"),
];

/// Which parts are kept. Written and read as the list of their words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept(u16);

impl Keep {
    /// What it is called in a sentence.
    pub fn described(self) -> &'static str {
        PARTS.iter().find(|(part, ..)| *part == self).map_or("", |(.., text)| text)
    }
}

impl Kept {
    /// The parts that these words name; a window brings tkinter along.
    ///
    /// Fails on a word that names none, with the nearest one that does.
    pub fn parse<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Result<Kept> {
        let mut kept = Kept::default();
        for word in words {
            let word = word.as_ref().trim();
            let Some((part, ..)) = PARTS.iter().find(|(_, name, _)| *name == word) else {
                return Err(unknown(word));
            };
            kept = kept.with(*part);
            if matches!(part, Idle | Turtledemo) {
                kept = kept.with(Tkinter);
            }
        }
        Ok(kept)
    }

    /// This part alone.
    pub fn of(part: Keep) -> Kept {
        Kept::default().with(part)
    }

    /// Whether this part is kept.
    pub fn has(self, part: Keep) -> bool {
        self.0 & (1 << part as u16) != 0
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// These, and those.
    pub fn and(self, other: Kept) -> Kept {
        Kept(self.0 | other.0)
    }

    /// These without those.
    pub fn less(self, other: Kept) -> Kept {
        Kept(self.0 & !other.0)
    }

    /// The parts, in the order of their words.
    pub fn parts(self) -> impl Iterator<Item = Keep> {
        PARTS.iter().map(|(part, ..)| *part).filter(move |part| self.has(*part))
    }

    /// Their words, sorted.
    pub fn words(self) -> Vec<String> {
        PARTS.iter().filter(|(part, ..)| self.has(*part)).map(|(_, word, _)| (*word).to_owned()).collect()
    }

    fn with(self, part: Keep) -> Kept {
        Kept(self.0 | 1 << part as u16)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(","))
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.words().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kept, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Kept::parse(words).map_err(serde::de::Error::custom)
    }
}

fn unknown(word: &str) -> Failure {
    let failure = Failure::new(format!("there is no part of a Python called {word:?} to keep"));
    let words = PARTS.map(|(_, word, _)| word);
    match nearest(word, words) {
        Some(known) => failure.hint(format!("did you mean {known}?")),
        None => failure.hint(format!("what can be kept: {}", words.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_order_and_written_in_one() {
        let kept = Kept::parse(["tests", "headers"]).unwrap();
        assert!(kept.has(Tests) && kept.has(Headers) && !kept.has(Tkinter));
        assert_eq!(kept.to_string(), "headers,tests");
        assert_eq!(serde_json::to_string(&kept).unwrap(), r#"["headers","tests"]"#);
        assert_eq!(serde_json::from_str::<Kept>(r#"["tests","headers"]"#).unwrap(), kept);
        assert!(serde_json::from_str::<Kept>(r#"["nothing"]"#).is_err());
        let all = Kept::parse(PARTS.map(|(_, word, _)| word)).unwrap();
        assert_eq!(all.parts().count(), PARTS.len());
        assert!(PARTS.is_sorted_by_key(|(_, word, _)| *word));
    }

    #[test]
    fn what_opens_windows_brings_tkinter_along() {
        assert_eq!(Kept::parse(["idle"]).unwrap().to_string(), "idle,tkinter");
        assert_eq!(Kept::parse(["turtledemo"]).unwrap().to_string(), "tkinter,turtledemo");
    }

    #[test]
    fn a_word_that_names_nothing_is_answered_with_the_nearest() {
        let failure = Kept::parse(["tkiner"]).unwrap_err();
        assert_eq!(failure.to_string(), "there is no part of a Python called \"tkiner\" to keep");
        assert_eq!(failure.advice(), Some("did you mean tkinter?"));
        let failure = Kept::parse(["everything"]).unwrap_err();
        assert!(
            failure
                .advice()
                .unwrap()
                .ends_with("nis, pycache, sourceless, static, tests, tkinter, turtledemo")
        );
    }
}
