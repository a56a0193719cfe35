//! Instants as the two services print them.

use crate::domain::time::Timestamp;

fn civil(at: Timestamp) -> jiff::civil::DateTime {
    let at = jiff::Timestamp::from_microsecond(at.0).unwrap_or_default();
    jiff::tz::Offset::UTC.to_datetime(at)
}

/// Appends what separates, then a number of exactly so many digits. A page has thousands of instants: `format!` with its
/// padding is most of what they cost.
fn push(text: &mut String, before: &str, number: u32, digits: u32) {
    text.push_str(before);
    for place in (0..digits).rev() {
        text.push(char::from_digit(number / 10_u32.pow(place) % 10, 10).unwrap_or('0'));
    }
}

/// `YYYY-MM-DDTHH:MM:SS`
fn whole_seconds(at: jiff::civil::DateTime) -> String {
    let mut text = String::with_capacity("YYYY-MM-DDTHH:MM:SS.ffffff".len());
    for (before, number, digits) in [
        ("", at.year().unsigned_abs().into(), 4),
        ("-", at.month().unsigned_abs().into(), 2),
        ("-", at.day().unsigned_abs().into(), 2),
        ("T", at.hour().unsigned_abs().into(), 2),
        (":", at.minute().unsigned_abs().into(), 2),
        (":", at.second().unsigned_abs().into(), 2),
    ] {
        push(&mut text, before, number, digits);
    }
    text
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff`, UTC, no zone, always six digits.
pub fn micros(at: Timestamp) -> String {
    let at = civil(at);
    let mut text = whole_seconds(at);
    push(&mut text, ".", at.subsec_nanosecond().unsigned_abs() / 1000, 6);
    text
}

/// `YYYY-MM-DDTHH:MM:SSZ`, for servers.
pub fn seconds(at: Timestamp) -> String {
    whole_seconds(civil(at)) + "Z"
}

/// The inverse, for filters: a date, or a date and time with or without fraction and zone (UTC when none is given).
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoned: Option<jiff::Timestamp> = text.parse().ok();
    let at = zoned.or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Some(Timestamp(at.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_and_no_zone() {
        assert_eq!(micros(Timestamp(0)), "1970-01-01T00:00:00.000000");
        assert_eq!(micros(Timestamp(1_700_000_000_000_007)), "2023-11-14T22:13:20.000007");
        assert_eq!(seconds(Timestamp(1_700_000_000_999_999)), "2023-11-14T22:13:20Z");
        assert_eq!(micros(Timestamp(i64::MAX)), "1970-01-01T00:00:00.000000", "beyond the calendar");
    }

    #[test]
    fn filters_take_iso_times() {
        for (text, micros) in [
            ("2023-11-14T22:13:20", Some(1_700_000_000_000_000)),
            ("2023-11-14T22:13:20.000007", Some(1_700_000_000_000_007)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000_000)),
            ("2023-11-14T23:13:20+01:00", Some(1_700_000_000_000_000)),
            ("2023-11-14", Some(1_699_920_000_000_000)),
            ("2023-11-14 22:13:20", Some(1_700_000_000_000_000)),
            ("yesterday", None),
            ("", None),
            ("2023-13-14", None),
        ] {
            assert_eq!(parse(text).map(|at| at.0), micros, "{text:?}");
        }
    }
}
