//! A time as Socket.IO's clients read it: RFC 3339 in UTC with milliseconds, as `Date.toISOString` of JavaScript writes it.

use hubbub_core::ids::Millis;
use serde::{Serialize, Serializer};

const DAY_MS: u64 = 86_400_000;
/// The last millisecond of the year 9999, the last one that has four digits.
const LAST: u64 = 253_402_300_799_999;

/// `2026-11-27T07:43:00.123Z`.
#[derive(Debug, Clone, Copy)]
pub struct Time([u8; 24]);

impl Time {
    /// The time.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and signs are ASCII")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// An instant as it is written. By hand: with `format!` it cost as much as the rest of a message's event.
///
/// *Source.* Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`, for days since 1970 only.
pub fn rfc3339(at: Millis) -> Time {
    let at = at.0.min(LAST);
    let (days, ms) = (at / DAY_MS, at % DAY_MS);
    // Days since 1 March of the year 0, in eras of 400 years: leap days are last in their years then.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (end, digits, number) in [
        (4, 4, year),
        (7, 2, month),
        (10, 2, day),
        (13, 2, hour),
        (16, 2, minute),
        (19, 2, second),
        (23, 3, ms % 1_000),
    ] {
        let mut left = number;
        for at in (end - digits..end).rev() {
            // A remainder of ten is a digit.
            text[at] = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
    Time(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_javascript_does() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_795_765_380_123, "2026-11-27T07:43:00.123Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(Millis(ms)).as_str(), text);
        }
    }
}
