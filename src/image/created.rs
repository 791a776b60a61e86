//! When an image was made, as its configuration says it.

use coil_bootstrap::format::time;

use crate::error::{Failure, Result};

/// The last second of the year 9999: RFC 3339 has no later one.
const LAST: u64 = 253_402_300_799;

/// `SOURCE_DATE_EPOCH`, seconds since 1970, as RFC 3339 has it.
pub fn rfc3339(epoch: &str) -> Result<String> {
    let seconds: u64 = epoch.parse().ok().filter(|seconds| *seconds <= LAST).ok_or_else(|| {
        Failure::new(format!("SOURCE_DATE_EPOCH is {epoch:?}, which is no number of seconds since 1970"))
            .hint("set it to a whole number, such as what `git log -1 --format=%ct` prints, or unset it")
    })?;
    Ok(time::rfc3339(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_of_seconds_is_no_date() {
        assert_eq!(rfc3339("951782400").unwrap(), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339("253402300799").unwrap(), "9999-12-31T23:59:59Z");
        assert!(["", "-1", "now", "1.5", "253402300800"].iter().all(|bad| rfc3339(bad).is_err()));
    }
}
