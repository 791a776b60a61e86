//! How large a file may be, and how long packing and unpacking may take.

use clap::Args;

use crate::error::Result;
use crate::layer::{DEFAULT_LEVEL, FAST_LEVEL, SMALL_LEVEL};
use crate::runtime::{Keep, Kept};

/// What is kept of a Python, and how hard all is compressed.
#[derive(Debug, Clone, Default, Args)]
pub struct Shape {
    /// Keep what is left out of the Python otherwise: ensurepip, headers, idle, nis, pycache, static, tests, tkinter,
    /// turtledemo. And sourceless: its byte code without sources.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub keep: Vec<String>,
    /// Make the file as small as it gets: --level 19 --keep sourceless. Packing takes several times as long.
    #[arg(long, conflicts_with = "fast")]
    pub small: bool,
    /// Make the first start as fast as it gets: --level -5 --keep sourceless. The file is larger by two fifths.
    #[arg(long)]
    pub fast: bool,
    /// How hard to compress, from -7 (larger, and unpacked faster) over 1 to 22 (small) [default: 9].
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true, value_parser = level)]
    pub level: Option<i32>,
}

impl Shape {
    /// zstd's level.
    pub fn level(&self) -> i32 {
        self.level.unwrap_or(match (self.small, self.fast) {
            (true, _) => SMALL_LEVEL,
            (_, true) => FAST_LEVEL,
            _ => DEFAULT_LEVEL,
        })
    }

    /// What is kept. Fails on a word that names nothing.
    pub fn kept(&self) -> Result<Kept> {
        let kept = Kept::parse(&self.keep)?;
        Ok(if self.small || self.fast { kept.and(Kept::of(Keep::Sourceless)) } else { kept })
    }
}

/// zstd takes 0 for its own default, which is another one.
fn level(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(level @ (-7..=-1 | 1..=22)) => Ok(level),
        _ => Err("a level is one of -7 to -1, and of 1 to 22".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_fast_leave_out_sources_and_choose_a_level_that_may_be_named_all_the_same() {
        let of = |small, fast, level| Shape { small, fast, level, keep: vec!["tests".into()] };
        let (tests, sourceless) = (Kept::of(Keep::Tests), Kept::of(Keep::Sourceless));
        let cases = [
            (of(false, false, None), DEFAULT_LEVEL, tests),
            (of(true, false, None), SMALL_LEVEL, tests.and(sourceless)),
            (of(false, true, None), FAST_LEVEL, tests.and(sourceless)),
            (of(false, true, Some(3)), 3, tests.and(sourceless)),
        ];
        for (shape, level, kept) in cases {
            assert_eq!((shape.level(), shape.kept().unwrap()), (level, kept), "{shape:?}");
        }
        assert!(level("0").is_err() && level("-8").is_err() && level("23").is_err());
    }
}
