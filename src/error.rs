//! What can go wrong while packing, in the words the user reads.
//!
//! A [`Failure`] says what happened to what and why; the hint says what to type next. Modules make
//! their own small error types and turn them into failures where the path or the name is known.

use std::fmt;
use std::io;
use std::path::Path;

/// A mistake or a fault that ends the command: one sentence, its causes, and a way out.
#[derive(Debug)]
pub struct Failure {
    message: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: Option<String>,
}

/// The result of anything that can end the command.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure told by one sentence, without a full stop: what happened to what, and why.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), cause: None, hint: None }
    }

    /// Adds the error that lies below.
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what the user can type or do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the place where it happened in front of the sentence.
    pub fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// What the user can type or do next.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Names the thing that an error happened to, where the path or the name is known.
pub trait Context<T> {
    /// Turns the error into a failure with this sentence, keeping the error as its cause.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Failure::new(message()).because(cause))
    }
}

/// What helps where the cache is full, as [`Writing`] says it.
pub const ELSEWHERE: &str = "set COIL_CACHE to a directory on another disk";

/// Names the place that is full, where writing fails because of that.
pub trait Writing<T> {
    /// Turns the error into a failure with this sentence, as [`Context::context`] does; where no space is
    /// left, the sentence goes on with `place`, and the hint says how to go elsewhere: `elsewhere` is the end
    /// of a sentence that begins with "make room there, or".
    fn writing(self, place: &Path, elsewhere: &str, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Writing<T> for io::Result<T> {
    fn writing(self, place: &Path, elsewhere: &str, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Failure::new(format!("{}: no space is left in {}", message(), place.display()))
                    .hint(format!("make room there, or {elsewhere}"))
            }
            _ => Failure::new(message()).because(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_in_one_sentence_with_its_place() {
        let failed = |kind: io::ErrorKind| {
            let result: io::Result<()> = Err(kind.into());
            let place = Path::new("/small");
            result.writing(place, "go elsewhere", || "cannot write x".to_owned()).unwrap_err()
        };
        let full = failed(io::ErrorKind::StorageFull);
        assert_eq!(full.to_string(), "cannot write x: no space is left in /small");
        assert_eq!(full.advice(), Some("make room there, or go elsewhere"));
        assert!(std::error::Error::source(&full).is_none());
        let other = failed(io::ErrorKind::NotFound);
        assert_eq!((other.to_string().as_str(), other.advice()), ("cannot write x", None));
    }
}
