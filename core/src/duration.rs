//! Durations as text: the one notation of URL options, settings and command lines.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::error::excerpt;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a duration: {reason}")]
pub struct InvalidDuration {
    text: String,
    reason: &'static str,
}

/// Parses a duration such as `500ms`, `90s`, `1h 30m`, `1.5h` or `30d`.
///
/// The units are `ns`, `us`, `ms`, `s`, `m`, `h`, `d` (24 hours) and `w` (7 days), with jiff's
/// [longer spellings](jiff::fmt::friendly) and ISO 8601 (`PT1H30M`). `0s` is a duration; whether a
/// setting may be zero is for the setting to decide.
///
/// # Errors
/// [`InvalidDuration`] for other text, a number without a unit, a negative duration, and for months
/// and years, which have no fixed length.
///
/// ```
/// # use std::time::Duration;
/// use annals_core::duration;
///
/// assert_eq!(duration::parse("1h 30m")?, Duration::from_secs(5_400));
/// assert_eq!(duration::parse("30d")?, Duration::from_secs(30 * 86_400));
/// assert!(duration::parse("1mo").is_err());
/// # Ok::<(), duration::InvalidDuration>(())
/// ```
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let refuse = |reason| InvalidDuration { text: excerpt(text), reason };
    if text.parse::<f64>().is_ok() {
        return Err(refuse("it has no unit; write ms, s, m, h, d or w after the number"));
    }
    let span: Span =
        text.parse().map_err(|_| refuse("write for example 500ms, 90s, 1h 30m or 30d"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(refuse("months and years have no fixed length; write days, such as 30d"));
    }
    if span.is_negative() {
        return Err(refuse("it is negative"));
    }
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours());
    exact.ok().and_then(|exact| exact.try_into().ok()).ok_or_else(|| refuse("it is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_a_fixed_length() {
        let day = 24 * 3_600_000;
        for (text, ms) in [
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("90s", 90_000),
            ("2m", 120_000),
            ("2min", 120_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("PT1H30M", 5_400_000),
            ("24 hours", day),
            ("1d", day),
            ("2w", 14 * day),
            ("400d", 400 * day),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        for (text, reason) in [
            ("", "write for example"),
            ("soon", "write for example"),
            ("5 parsecs", "write for example"),
            ("90", "no unit"),
            ("1.5", "no unit"),
            ("-5s", "negative"),
            ("5s ago", "negative"),
            ("1mo", "months and years"),
            ("2y", "months and years"),
            ("999999999999h", "write for example"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.starts_with(&format!("\"{text}\" is not a duration")), "{error}");
        }
    }
}
