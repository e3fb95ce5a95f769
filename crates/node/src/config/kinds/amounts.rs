//! Amounts: durations, bytes, counts. A bare number is refused where its unit could be mistaken.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Kind;

const MS: u64 = 1;
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", MS), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BYTE_UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// `10` and `MiB` of `10MiB`: digits, perhaps a space, a unit. `None` if it overflows.
fn parse_amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// The amount in the largest unit that leaves no fraction.
fn write_amount(amount: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().rev().find(|(_, scale)| amount >= *scale && amount.is_multiple_of(*scale));
    let (name, scale) = whole.copied().unwrap_or((units[0].0, 1));
    format!("{}{name}", amount / scale)
}

/// A duration in whole milliseconds: `500ms`, `2s`, `10m`, `1h`, `1d`.
pub struct Time(RangeInclusive<u64>);

impl Time {
    /// Any duration.
    pub const ANY: Self = Self(0..=u64::MAX);

    /// From `least` to `most` milliseconds.
    pub const fn between_ms(least: u64, most: u64) -> Self {
        Self(least..=most)
    }

    /// A duration as it would be written; less than a millisecond is lost.
    pub fn write(duration: Duration) -> String {
        write_amount(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS)
    }
}

impl Kind for Time {
    type Value = Duration;

    fn parse(&self, text: &str) -> Option<Duration> {
        let amount = parse_amount(text, &TIME_UNITS)?;
        self.0.contains(&amount).then(|| Duration::from_millis(amount))
    }
    fn allowed(&self) -> String {
        format!("a duration with its unit, such as 500ms, 2s, 10m or 1h{}", limits(&self.0, &TIME_UNITS))
    }
    fn placeholder(&self) -> &'static str {
        "TIME"
    }
}

/// A number of bytes: `512B`, `64KiB`, `1MiB`, `2GiB`; units of 1,024.
pub struct Bytes(RangeInclusive<u64>);

impl Bytes {
    /// Any number of bytes.
    pub const ANY: Self = Self(0..=u64::MAX);

    /// From `least` to `most` bytes.
    pub const fn between(least: u64, most: u64) -> Self {
        Self(least..=most)
    }

    /// A number of bytes as it would be written.
    pub fn write(bytes: u64) -> String {
        write_amount(bytes, &BYTE_UNITS)
    }
}

impl Kind for Bytes {
    type Value = u64;

    fn parse(&self, text: &str) -> Option<u64> {
        parse_amount(text, &BYTE_UNITS).filter(|amount| self.0.contains(amount))
    }
    fn allowed(&self) -> String {
        format!(
            "an amount of bytes with its unit, such as 512B, 64KiB or 1MiB{}",
            limits(&self.0, &BYTE_UNITS)
        )
    }
    fn placeholder(&self) -> &'static str {
        "BYTES"
    }
}

fn limits(range: &RangeInclusive<u64>, units: &[(&str, u64)]) -> String {
    let write = |amount| write_amount(amount, units);
    match (*range.start(), *range.end()) {
        (0, u64::MAX) => String::new(),
        (least, u64::MAX) => format!(", at least {}", write(least)),
        (least, most) => format!(", from {} to {}", write(least), write(most)),
    }
}

/// A whole number within limits.
pub struct Count(RangeInclusive<u64>);

impl Count {
    /// From `least` to `most`.
    pub const fn between(least: u64, most: u64) -> Self {
        Self(least..=most)
    }
}

impl Kind for Count {
    type Value = u64;

    fn parse(&self, text: &str) -> Option<u64> {
        // Not `str::parse` alone, which takes a plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && self.0.contains(number))
    }
    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }
    fn placeholder(&self) -> &'static str {
        "NUMBER"
    }
}

/// A part of a whole, from 0 to 1: `0.01`.
pub struct Ratio;

impl Kind for Ratio {
    type Value = f64;

    fn parse(&self, text: &str) -> Option<f64> {
        text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
    }
    fn allowed(&self) -> String {
        "a number from 0 to 1, such as 0.01".into()
    }
    fn placeholder(&self) -> &'static str {
        "RATIO"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_duration_is_read_as_itself(ms: u64) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(Time::ANY.parse(&Time::write(duration)), Some(duration));
        }

        #[test]
        fn written_bytes_are_read_as_themselves(bytes: u64) {
            prop_assert_eq!(Bytes::ANY.parse(&Bytes::write(bytes)), Some(bytes));
        }

        #[test]
        fn round_amounts_too(count in 0u64..100_000, unit in 0usize..5) {
            let ms = count * TIME_UNITS[unit].1;
            prop_assert_eq!(Time::ANY.parse(&Time::write(Duration::from_millis(ms))), Some(Duration::from_millis(ms)));
            let bytes = count * BYTE_UNITS[unit].1;
            prop_assert_eq!(Bytes::ANY.parse(&Bytes::write(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_is_too_odd(text: String) {
            _ = (Time::ANY.parse(&text), Bytes::ANY.parse(&text), Count::between(0, 9).parse(&text));
        }
    }

    #[test]
    fn an_amount_needs_its_unit() {
        assert_eq!(Time::ANY.parse("1h"), Some(Duration::from_secs(3_600)));
        assert_eq!(Bytes::ANY.parse("64 kib"), Some(65_536));
        for wrong in
            ["", "5", "s", "-1s", "1.5s", "1 week", "99999999999999999999ms", "18446744073709551615h"]
        {
            assert_eq!(Time::ANY.parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(Bytes::ANY.parse("1KB"), None, "a thousand or 1,024?");
    }

    #[test]
    fn limits_are_kept_and_told() {
        let kind = Time::between_ms(100, 60_000);
        assert_eq!(kind.parse("99ms"), None);
        assert_eq!(kind.parse("1m"), Some(Duration::from_secs(60)));
        assert!(kind.allowed().ends_with(", from 100ms to 1m"), "{}", kind.allowed());
        assert_eq!(Count::between(1, 64).parse("65"), None);
        assert_eq!(Count::between(1, 64).parse("+2"), None);
        assert_eq!((Ratio.parse("0.01"), Ratio.parse("1")), (Some(0.01), Some(1.0)));
        for wrong in ["", "1.1", "-0.1", "NaN", "1%"] {
            assert_eq!(Ratio.parse(wrong), None, "{wrong:?}");
        }
    }
}
