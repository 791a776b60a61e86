//! How long a registry is waited for, and what is tried again.
//!
//! Only silence ends a connection, never the length of what is sent: a slow line is no fault.

use std::io;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};

use super::header;
use crate::error::{Failure, Result};

/// How often something is tried that failed by chance.
pub const TRIES: u32 = 5;

/// The variable that says how long a registry may be silent, in seconds.
pub const VARIABLE: &str = "COIL_REGISTRY_TIMEOUT";

/// How long that is where nobody says it.
const SILENCE: u64 = 60;

/// How many times as long a registry may take to store what it was sent: it may have to put a large blob together.
const TO_STORE: u32 = 3;

/// The longest wait that a registry can ask for, in seconds; for more than that, nobody is kept waiting.
const LONGEST_WAIT: u64 = 60;

/// How long a registry may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience(Duration);

impl Patience {
    /// What the user says, or as long as usual.
    pub fn find() -> Result<Patience> {
        let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
        let seconds = text.as_deref().map_or(Some(SILENCE), |text| text.parse().ok());
        match seconds.filter(|seconds| (1..=86_400).contains(seconds)) {
            Some(seconds) => Ok(Patience(Duration::from_secs(seconds))),
            None => Err(Failure::new(format!(
                "{VARIABLE} is {:?}, which is no number of seconds",
                text.unwrap_or_default()
            ))
            .hint("set it to a number from 1 to 86400, or unset it")),
        }
    }

    /// While it sends or receives.
    pub fn while_it_talks(self) -> Duration {
        self.0
    }

    /// While it connects.
    pub fn while_it_connects(self) -> Duration {
        self.0.min(Duration::from_secs(20))
    }

    /// Before it answers a request of this method.
    pub fn before_it_answers(self, method: &str) -> Duration {
        match method {
            "PUT" | "PATCH" => self.0 * TO_STORE,
            _ => self.0,
        }
    }
}

/// How long to wait before the next try, after this many.
pub fn pause(tried: u32) -> Duration {
    Duration::from_millis(250 << tried)
}

/// How long to wait before an answer like this is asked for again; `None` where it is an answer, or the registry wants to
/// be left alone for longer than anybody waits.
pub fn before_next(status: StatusCode, headers: &HeaderMap, tried: u32) -> Option<Duration> {
    let passes =
        status == StatusCode::TOO_MANY_REQUESTS || matches!(status.as_u16(), 408 | 500 | 502 | 503 | 504);
    if !passes || tried >= TRIES {
        return None;
    }
    match retry_after(headers) {
        Some(seconds) => (seconds <= LONGEST_WAIT).then(|| Duration::from_secs(seconds).max(pause(0))),
        None => Some(pause(tried)),
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3). Nobody here looks at a clock to read a date.
pub fn retry_after(headers: &HeaderMap) -> Option<u64> {
    header(headers, "retry-after")?.trim().parse().ok()
}

/// Whether the same request may go well the next time. A registry that never `answered` anything is not there, or not
/// called like that.
pub fn is_by_chance(error: &ureq::Error, answered: bool) -> bool {
    match error {
        ureq::Error::Io(error) => match error.kind() {
            // What the two sides said to each other made no sense: a certificate, no TLS at all.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => false,
            io::ErrorKind::ConnectionRefused => answered,
            _ => true,
        },
        ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed => true,
        ureq::Error::HostNotFound => answered,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_waited_for_as_long_as_it_asks_within_reason() {
        let wait = |status: u16, after: Option<&str>, tried| {
            let mut headers = HeaderMap::new();
            headers.extend(
                after.map(|text| ("retry-after".parse().unwrap(), text.parse().unwrap())).map(
                    |(name, value): (ureq::http::HeaderName, ureq::http::HeaderValue)| (Some(name), value),
                ),
            );
            before_next(StatusCode::from_u16(status).unwrap(), &headers, tried)
        };
        assert_eq!(wait(429, Some("7"), 1), Some(Duration::from_secs(7)));
        assert_eq!(wait(429, Some("0"), 1), Some(pause(0)));
        assert_eq!(wait(503, Some("3600"), 1), None);
        assert_eq!(wait(429, Some("Fri, 31 Dec 1999 23:59:59 GMT"), 2), Some(pause(2)));
        assert_eq!(wait(502, None, 1), Some(pause(1)));
        assert_eq!(wait(502, None, TRIES), None);
        assert_eq!(wait(403, Some("1"), 1), None);
    }
}
