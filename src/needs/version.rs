//! Versions of symbols: `GLIBC_2.34` is the family `GLIBC` and the number 2.34.
//!
//! Only families of libraries that a runtime always carries count: who brings another library brings the
//! version it was linked with.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The families that count.
pub const FAMILIES: [&str; 4] = ["CXXABI", "GCC", "GLIBC", "GLIBCXX"];

/// A version of symbols.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SymbolVersion {
    /// `GLIBC`, `GLIBCXX`, ...
    pub family: String,
    /// `[2, 34]`
    pub number: Vec<u32>,
}

impl SymbolVersion {
    /// Reads `GLIBC_2.34`; `None` for other families and for what is no number (`GLIBC_PRIVATE`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = match text {
            // Files whose relocations are packed name a feature instead of the version that brought it.
            "GLIBC_ABI_DT_RELR" => "GLIBC_2.36",
            text => text,
        };
        let (family, number) = text.split_once('_')?;
        let family = FAMILIES.into_iter().find(|known| *known == family)?;
        let number: Option<Vec<u32>> = number.split('.').map(|number| number.parse().ok()).collect();
        Some(SymbolVersion { family: family.to_owned(), number: number? })
    }

    /// The library whose version this is, as people call it.
    pub fn library(&self) -> &'static str {
        match self.family.as_str() {
            "GLIBC" => "libc.so.6",
            "GCC" => "libgcc_s.so.1",
            _ => "libstdc++.so.6",
        }
    }

    /// `2.34`
    pub fn shown_number(&self) -> String {
        self.number.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for SymbolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.family, self.shown_number())
    }
}

/// The newest version of each family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Newest(BTreeMap<String, Vec<u32>>);

impl Newest {
    /// Adds a version.
    pub fn add(&mut self, version: SymbolVersion) {
        let newest = self.0.entry(version.family).or_default();
        *newest = version.number.max(std::mem::take(newest));
    }

    /// Adds all of another's.
    pub fn add_all(&mut self, other: &Newest) {
        other.iter().for_each(|version| self.add(version));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = SymbolVersion> {
        let version = |(family, number): (&String, &Vec<u32>)| SymbolVersion {
            family: family.clone(),
            number: number.clone(),
        };
        self.0.iter().map(version)
    }

    /// The newest of this family.
    pub fn of(&self, family: &str) -> Option<SymbolVersion> {
        let number = self.0.get(family)?.clone();
        Some(SymbolVersion { family: family.to_owned(), number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        let mut newest = Newest::default();
        for text in ["GLIBC_2.4", "GLIBC_2.34", "GLIBC_2.2.5", "GLIBCXX_3.4.9"] {
            newest.add(SymbolVersion::parse(text).unwrap());
        }
        let shown: Vec<String> = newest.iter().map(|version| version.to_string()).collect();
        assert_eq!(shown, ["GLIBC_2.34", "GLIBCXX_3.4.9"]);
    }

    #[test]
    fn other_names_are_no_versions() {
        for text in ["GLIBC_PRIVATE", "OPENSSL_3.0.0", "GLIBC_", "GLIBC_2.x", "", "GLIBC"] {
            assert_eq!(SymbolVersion::parse(text), None, "{text}");
        }
        assert_eq!(SymbolVersion::parse("GLIBC_ABI_DT_RELR").unwrap().number, [2, 36]);
    }
}
