//! Durations as people write them: `60s`, `10min`, `30d`, `250ms`, `1h 30min`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Parses a duration. The unit is always demanded: a bare number would be read as seconds by one and as milliseconds by
/// another. Days are 24 hours and weeks are 7 days; months and years have no fixed length and are refused.
pub fn parse(text: &str) -> Result<Duration, String> {
    const FORMS: &str = "write a number with its unit, such as 250ms, 60s, 10min, 2h or 30d";
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(format!("{trimmed:?} has no unit; {FORMS}"));
    }
    let span: Span = trimmed.parse().map_err(|_| format!("{trimmed:?} is no duration; {FORMS}"))?;
    let signed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| format!("{trimmed:?} has units without a fixed length; {FORMS}"))?;
    Duration::try_from(signed).map_err(|_| format!("{trimmed:?} is negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, expected: Duration) {
        assert_eq!(parse(text), Ok(expected), "{text:?}");
    }

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        let error = parse(text).expect_err(text);
        assert!(error.contains(reason), "{text:?}: {error}");
    }

    #[test]
    fn every_unit_that_the_documentation_names() {
        is("250ms", Duration::from_millis(250));
        is("60s", Duration::from_secs(60));
        is("10min", Duration::from_secs(600));
        is("10 min", Duration::from_secs(600));
        is("2h", Duration::from_secs(7200));
        is("1h 30min", Duration::from_secs(5400));
        is("30d", Duration::from_secs(30 * 86_400));
        is("1w", Duration::from_secs(7 * 86_400));
        is("0s", Duration::ZERO);
        is("1.5s", Duration::from_millis(1500));
    }

    #[test]
    fn ambiguous_and_absurd_texts_are_refused_with_the_reason() {
        refused("60", "no unit");
        refused("1.5", "no unit");
        refused("", "no unit");
        refused("ten minutes", "no duration");
        refused("1 month", "fixed length");
        refused("-5s", "negative");
    }
}
