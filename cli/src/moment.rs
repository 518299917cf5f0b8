//! Points in time and lengths of time as people type them.

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::time::Duration;

use annals::{Clock, SystemClock};
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::say::say;

const NANOS_PER_MS: i128 = 1_000_000;

/// A number below this (3 March 1973) is hardly meant: seconds since 1970 are, or the unit of an age
/// is missing.
const EARLY_MS: u64 = 100_000_000_000;

/// A point in time: Unix milliseconds (any `u64`), RFC 3339, or an age such as `24h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moment {
    UnixMs(u64),
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// The first whole millisecond that is not before it: for bounds that begin something. An age
    /// counts from `now_ms`; what is older than 1970 is 1970.
    pub(crate) fn at_or_after(&self, now_ms: u64) -> u64 {
        match self {
            Self::At(at) => whole_ms(at.as_nanosecond() + NANOS_PER_MS - 1),
            _ => self.at_or_before(now_ms),
        }
    }

    /// The last whole millisecond that is not after it: for bounds that end something.
    pub(crate) fn at_or_before(&self, now_ms: u64) -> u64 {
        match self {
            Self::UnixMs(ms) => *ms,
            Self::At(at) => whole_ms(at.as_nanosecond()),
            Self::Ago(age) => {
                now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }

    /// Says what a number means that is hardly meant so.
    pub(crate) fn remark(&self, option: &str) {
        if let Self::UnixMs(ms @ 1..EARLY_MS) = self {
            let at = to_the_ms(*ms);
            say(&format!(
                "note: {option} {ms} is {at}: Unix milliseconds; an age has a unit, as in 30d"
            ));
        }
    }
}

/// The bounds of a time window in Unix milliseconds, both inclusive. A person is told of those that
/// are hardly meant.
pub(crate) fn window(from: Option<&Moment>, to: Option<&Moment>) -> (Option<u64>, Option<u64>) {
    // One now for both.
    let now = now_ms();
    let bounds = (from.map(|from| from.at_or_after(now)), to.map(|to| to.at_or_before(now)));
    if io::stderr().is_terminal() {
        for (option, moment) in [("--from", from), ("--to", to)] {
            moment.inspect(|moment| moment.remark(option));
        }
        if let (Some(from), Some(to)) = bounds
            && from > to
        {
            say("note: --from is after --to: there is nothing between them");
        }
    }
    bounds
}

fn whole_ms(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds.div_euclid(NANOS_PER_MS)).unwrap_or(0)
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::UnixMs).map_err(|_| {
                format!(
                    "Unix milliseconds go up to {}; leave the bound away for no bound",
                    u64::MAX
                )
            });
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return if at < Timestamp::UNIX_EPOCH {
                Err("nothing is stored before 1970; use 0 for the beginning".to_owned())
            } else {
                Ok(Self::At(at))
            };
        }
        if let Ok(at) = text.parse::<jiff::civil::DateTime>() {
            let at = at.strftime("%Y-%m-%dT%H:%M:%S");
            return Err(format!(
                "which time zone? write {at}Z for UTC, or end it with +02:00, say"
            ));
        }
        match parse_duration(text) {
            Ok(age) => Ok(Self::Ago(age)),
            Err(Length::Unfixed) => Err(Length::Unfixed.to_string()),
            Err(Length::Unreadable) => Err("it is neither Unix milliseconds (1740081234000) nor \
                                            RFC 3339 (2026-05-17T08:30:00Z) nor an age (24h, 30s, \
                                            7d, 1h30m)"
                .to_owned()),
        }
    }
}

/// A length of time above zero, such as `250ms`, `30s`, `1h30m` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(refusal) => Err(refusal.to_string()),
    }
}

/// Why text is no length of time.
#[derive(Debug)]
enum Length {
    Unreadable,
    Unfixed,
}

impl std::fmt::Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "write a number with its unit: 250ms, 30s, 5m, 1h30m, 7d, 2w",
            Self::Unfixed => "months and years have no fixed length; write days (30d, 365d)",
        })
    }
}

fn parse_duration(text: &str) -> Result<Duration, Length> {
    let span: Span = text.parse().map_err(|_| Length::Unreadable)?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(Length::Unfixed);
    }
    // A day is 24 hours here, whatever the clocks of a country do.
    let exact =
        span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| Length::Unreadable)?;
    Duration::try_from(exact).map_err(|_| Length::Unreadable)
}

/// The time now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemClock.now_ms()
}

/// `stored_at` for people: RFC 3339 in UTC to the millisecond, or the bare number beyond the year
/// 9999.
pub(crate) fn to_the_ms(stored_at: u64) -> String {
    format_time(stored_at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// As [`to_the_ms`], to the second.
pub(crate) fn to_the_second(stored_at: u64) -> String {
    format_time(stored_at, "%Y-%m-%dT%H:%M:%SZ")
}

fn format_time(stored_at: u64, format: &str) -> String {
    match i64::try_from(stored_at).map(Timestamp::from_millisecond) {
        Ok(Ok(at)) => at.strftime(format).to_string(),
        _ => stored_at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_740_081_234_567;

    fn ms(text: &str) -> u64 {
        text.parse::<Moment>().unwrap().at_or_before(NOW)
    }

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!(ms("0"), 0);
        assert_eq!(ms("18446744073709551615"), u64::MAX);
        assert_eq!(ms("2025-02-20T19:53:54.567Z"), NOW);
        assert_eq!(ms("2025-02-20T20:53:54.567+01:00"), NOW);
        assert_eq!(ms("2025-02-20t19:53:54.567z"), NOW);
        assert_eq!(ms("30s"), NOW - 30_000);
        assert_eq!(ms("1h30m"), NOW - 5_400_000);
        assert_eq!(ms("7d"), NOW - 7 * 86_400_000);
        assert_eq!(ms("1w 1d"), NOW - 8 * 86_400_000);
        assert_eq!(ms("250ms"), NOW - 250);
        assert_eq!(ms("0s"), NOW);
        assert_eq!(ms("900000h"), 0, "an age beyond 1970 is the beginning");
    }

    #[test]
    fn parts_of_a_millisecond_round_into_the_window() {
        let at: Moment = "1970-01-01T00:00:01.0005Z".parse().unwrap();
        assert_eq!((at.at_or_after(NOW), at.at_or_before(NOW)), (1001, 1000));
        let at: Moment = "1970-01-01T00:00:01Z".parse().unwrap();
        assert_eq!((at.at_or_after(NOW), at.at_or_before(NOW)), (1000, 1000));
    }

    #[test]
    fn everything_else_says_what_would_do() {
        let refusal = |text: &str| text.parse::<Moment>().unwrap_err();
        assert!(refusal("18446744073709551616").contains("18446744073709551615"));
        assert!(refusal("2025-02-20T19:53:54").contains("2025-02-20T19:53:54Z"));
        assert!(refusal("2025-02-20").contains("2025-02-20T00:00:00Z"));
        assert!(refusal("1969-12-31T23:59:59Z").contains("1970"));
        assert!(refusal("1y").contains("365d"));
        assert!(refusal("2mo").contains("days"));
        for text in ["", "yesterday", "-5", "-5m", "5 m ago", "1e3", "24H 3", "2025-13-01"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_have_units_and_are_not_zero() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("7d").unwrap(), Duration::from_secs(7 * 86_400));
        for text in ["", "0s", "10", "-1s", "1mo", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(to_the_ms(NOW), "2025-02-20T19:53:54.567Z");
        assert_eq!(to_the_second(NOW), "2025-02-20T19:53:54Z");
        assert_eq!(to_the_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(to_the_ms(i64::MAX as u64), "9223372036854775807");
    }
}
