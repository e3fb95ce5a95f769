//! MongoDB's Extended JSON, as far as the seed's documents need it: ids, dates and whole numbers, in the canonical form, the
//! relaxed one, and that of `mongoexport` before version 4.2.
//!
//! | | canonical | relaxed | before 4.2 |
//! |---|---|---|---|
//! | id | `{"$oid": "5f…"}` | the same | the same |
//! | date | `{"$date": {"$numberLong": "1600000000000"}}` | `{"$date": "2020-09-13T12:26:40Z"}` | `{"$date": "2020-09-13T12:26:40.000+0000"}`, or the number alone |
//! | number | `{"$numberInt": "1"}`, `{"$numberLong": "1"}`, `{"$numberDouble": "1.0"}` | `1` | `1`, `{"$numberLong": "1"}` |

use serde_json::Value;

/// Longest number or date that is looked at.
const TEXT_BYTES_MAX: usize = 40;
const DAY_MS: i64 = 24 * 3_600_000;

/// The one field of an object that has no other.
fn wrapped<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(name)
}

/// An id: an ObjectId in hexadecimal, or a string as it is.
pub(super) fn id(value: &Value) -> Option<&str> {
    let id = value.as_str().or_else(|| wrapped(value, "$oid")?.as_str())?;
    (!id.is_empty()).then_some(id)
}

/// A whole number, however MongoDB kept it.
pub(super) fn integer(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let float = |float: f64| (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
    if let Some(number) = value.as_f64() {
        return float(number);
    }
    let text = |name| wrapped(value, name)?.as_str().filter(|text| text.len() <= TEXT_BYTES_MAX);
    match text("$numberInt").or_else(|| text("$numberLong")) {
        Some(number) => number.parse().ok(),
        None => float(text("$numberDouble")?.parse().ok()?),
    }
}

/// A date as Unix milliseconds; none before 1970.
pub(super) fn millis(value: &Value) -> Option<u64> {
    let date = wrapped(value, "$date").unwrap_or(value);
    let millis = match date.as_str() {
        Some(text) => rfc3339(text)?,
        // A number that stands alone is no date, for nothing says so.
        None if std::ptr::eq(date, value) => return None,
        None => integer(date)?,
    };
    u64::try_from(millis).ok()
}

/// When an ObjectId was made, as Unix milliseconds: its first four bytes are the second.
pub(super) fn made_at(object_id: &str) -> Option<u64> {
    let is_one = object_id.len() == 24 && object_id.bytes().all(|b| b.is_ascii_hexdigit());
    is_one.then(|| u64::from_str_radix(&object_id[..8], 16).ok()).flatten().map(|seconds| seconds * 1_000)
}

/// `2020-09-13T12:26:40.123Z`, or with `+02:00` or `+0200`; what is below a millisecond is dropped.
fn rfc3339(text: &str) -> Option<i64> {
    if text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let is_right = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        // A leap second is the one after it: there is no other place for it.
        && second <= 60;
    let millis = format!("{fraction:0<3}");
    let millis: i64 = digits(&millis).then(|| millis[..3].parse().ok()).flatten()?;
    let of_day = ((hour * 60 + minute) * 60 + second) * 1_000 + millis;
    is_right.then_some(())?;
    Some(days_since_1970(year, month, day) * DAY_MS + of_day - offset(zone)?)
}

/// How far a zone's clocks are ahead.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let rest = rest.replacen(':', "", 1);
    let [hours, minutes] =
        (rest.len() == 4).then(|| numbers(&format!("{}:{}", &rest[..2], &rest[2..]), ':', [2, 2]))??;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Numbers of these lengths with `between` between them.
fn numbers<const N: usize>(text: &str, between: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(between);
    for (number, length) in found.iter_mut().zip(lengths) {
        *number = parts.next().filter(|part| part.len() == length && digits(part))?.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Source: Howard Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // The year begins in March, so that the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_a_date_is_the_same_instant() {
        for date in [
            json!({"$date": {"$numberLong": "1600000000123"}}),
            json!({"$date": "2020-09-13T12:26:40.123Z"}),
            json!({"$date": "2020-09-13T14:26:40.123456+02:00"}),
            json!({"$date": "2020-09-13T11:56:40.123-0030"}),
            json!({"$date": 1_600_000_000_123_u64}),
            json!("2020-09-13T12:26:40.123Z"),
        ] {
            assert_eq!(millis(&date), Some(1_600_000_000_123), "{date}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for date in [
            json!(1_600_000_000_123_u64),
            json!({"$date": "1969-12-31T23:59:59Z"}),
            json!({"$date": {"$numberLong": "-1"}}),
            json!({"$date": "2021-02-29T00:00:00Z"}),
            json!({"$date": "2020-13-01T00:00:00Z"}),
            json!({"$date": "2020-01-01T24:00:00Z"}),
            json!({"$date": "2020-01-01T00:00:00"}),
            json!({"$date": "2020-01-01T00:00:00.1x3Z"}),
            json!({"$date": "2020-01-01T00:00:00+é0"}),
            json!({"$date": "2020-01-01T00:00:00Z", "more": 1}),
            json!({"$date": null}),
            json!(null),
        ] {
            assert_eq!(millis(&date), None, "{date}");
        }
        assert_eq!(millis(&json!({"$date": "2020-02-29T00:00:00Z"})), Some(1_582_934_400_000));
    }

    #[test]
    fn an_object_id_says_when_it_was_made() {
        assert_eq!(made_at("5f5e1000aabbccddeeff0011"), Some(0x5f5e_1000 * 1_000));
        assert_eq!(made_at("5f5e1000aabbccddeeff00"), None);
        assert_eq!(made_at("general-room-of-everybod"), None);
    }

    proptest! {
        /// The other way round, slowly: day by day from 1970 on.
        #[test]
        fn a_date_is_read_as_the_calendar_has_it(
            days in 0i64..120_000, ms_of_day in 0i64..DAY_MS, offset in -23i64 * 60..23 * 60,
        ) {
            let (mut year, mut month, mut left) = (1970, 1, days);
            while left >= days_of(year, month) {
                left -= days_of(year, month);
                (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            }
            let (second, ms) = (ms_of_day / 1_000, ms_of_day % 1_000);
            let clock = format!("{:02}:{:02}:{:02}.{ms:03}", second / 3_600, second / 60 % 60, second % 60);
            let (sign, ahead) = (if offset < 0 { '-' } else { '+' }, offset.abs());
            let zone = format!("{sign}{:02}:{:02}", ahead / 60, ahead % 60);
            let text = format!("{year:04}-{month:02}-{:02}T{clock}{zone}", left + 1);
            let expected = u64::try_from(days * DAY_MS + ms_of_day - offset * 60_000).ok();
            prop_assert_eq!(millis(&json!({"$date": text})), expected);
        }

        #[test]
        fn every_form_of_a_number_is_the_same(number: i32) {
            let text = number.to_string();
            for value in [json!(number), json!(f64::from(number)), json!({"$numberInt": text.clone()}),
                          json!({"$numberLong": text.clone()}), json!({"$numberDouble": format!("{text}.0")})] {
                prop_assert_eq!(integer(&value), Some(i64::from(number)));
            }
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,48}", like in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.Z+-]{0,24}") {
            for text in [text, like] {
                for value in [json!(text), json!({"$date": text}), json!({"$numberLong": text}), json!({"$oid": text})] {
                    millis(&value);
                    integer(&value);
                    id(&value).and_then(made_at);
                }
            }
        }
    }
}
