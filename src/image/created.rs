//! When an image was made, as its configuration says it.

use crate::error::{Failure, Result};

const DAY: u64 = 24 * 3600;

/// The last second of the year 9999: RFC 3339 has no later one.
const LAST: u64 = 253_402_300_799;

/// `SOURCE_DATE_EPOCH`, seconds since 1970, as RFC 3339 has it.
pub fn rfc3339(epoch: &str) -> Result<String> {
    let seconds: u64 = epoch.parse().ok().filter(|seconds| *seconds <= LAST).ok_or_else(|| {
        Failure::new(format!("SOURCE_DATE_EPOCH is {epoch:?}, which is no number of seconds since 1970"))
            .hint("set it to a whole number, such as what `git log -1 --format=%ct` prints, or unset it")
    })?;
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March on, so that the day that comes and goes is the last of a year; 400 of them have
    // 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        let cases = [
            ("0", "1970-01-01T00:00:00Z"),
            ("318211200", "1980-02-01T00:00:00Z"),
            ("951782399", "2000-02-28T23:59:59Z"),
            ("951782400", "2000-02-29T00:00:00Z"),
            ("4107542399", "2100-02-28T23:59:59Z"),
            ("4107542400", "2100-03-01T00:00:00Z"),
            ("253402300799", "9999-12-31T23:59:59Z"),
        ];
        for (epoch, text) in cases {
            assert_eq!(rfc3339(epoch).unwrap(), text);
        }
        assert!(["", "-1", "now", "1.5", "253402300800"].iter().all(|bad| rfc3339(bad).is_err()));
    }
}
