//! Times and durations as people write them.

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::time::Duration;

use annals::{Clock, SystemClock};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::failure::Failure;
use crate::stderr::print_note;

const NANOS_PER_MS: i128 = 1_000_000;

/// A number below this (3 March 1973) is probably a mistake: seconds instead of milliseconds, or an
/// age without its unit.
const EARLY_MS: u64 = 100_000_000_000;

/// A point in time: Unix milliseconds (any `u64`), RFC 3339, or an age such as `24h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moment {
    UnixMs(u64),
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// The first whole millisecond not before this time, for the start of a window. An age counts
    /// back from `now_ms`, to 1970 at most.
    pub(crate) fn at_or_after(&self, now_ms: u64) -> u64 {
        match self {
            Self::At(at) => whole_ms(at.as_nanosecond() + NANOS_PER_MS - 1),
            _ => self.at_or_before(now_ms),
        }
    }

    /// The last whole millisecond not after this time, for the end of a window.
    pub(crate) fn at_or_before(&self, now_ms: u64) -> u64 {
        match self {
            Self::UnixMs(ms) => *ms,
            Self::At(at) => whole_ms(at.as_nanosecond()),
            Self::Ago(age) => {
                now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }

    /// Prints a note if the number is probably a mistake.
    pub(crate) fn note_if_early(&self, option: &str) {
        if let Self::UnixMs(ms @ 1..EARLY_MS) = self {
            let at = to_the_ms(*ms);
            print_note(&format!(
                "note: {option} {ms} is {at}: Unix milliseconds; an age has a unit, as in 30d"
            ));
        }
    }
}

/// The bounds of a time window in Unix milliseconds, both inclusive. On a terminal, probable
/// mistakes are noted.
pub(crate) fn window(from: Option<&Moment>, to: Option<&Moment>) -> (Option<u64>, Option<u64>) {
    // One now for both.
    let now = now_ms();
    let bounds = (from.map(|from| from.at_or_after(now)), to.map(|to| to.at_or_before(now)));
    if io::stderr().is_terminal() {
        for (option, moment) in [("--from", from), ("--to", to)] {
            moment.inspect(|moment| moment.note_if_early(option));
        }
        if let (Some(from), Some(to)) = bounds
            && from > to
        {
            print_note("note: --from is after --to: the window is empty");
        }
    }
    bounds
}

fn whole_ms(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds.div_euclid(NANOS_PER_MS)).unwrap_or(0)
}

/// A number from this one to [`EARLY_MS`] would be a time of this century in seconds.
const SECONDS: u64 = 1_000_000_000;

/// Refuses numbers that look like seconds, where a mistake removes rows.
pub(crate) fn refuse_seconds(moments: &[(&str, &Option<Moment>)]) -> Result<(), Failure> {
    for (option, moment) in moments {
        if let Some(Moment::UnixMs(ms @ SECONDS..EARLY_MS)) = moment {
            let (at, in_ms) = (to_the_ms(*ms), ms * 1_000);
            return Err(Failure::Usage(format!(
                "{option} {ms} is {at}, in Unix milliseconds; if these are seconds, write {in_ms}, if \
                 not, the date"
            )));
        }
    }
    Ok(())
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::UnixMs).map_err(|_| {
                format!("Unix milliseconds end at {}; for no bound, leave the option out", u64::MAX)
            });
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return if at < Timestamp::UNIX_EPOCH {
                Err("history begins in 1970; write 0 for its beginning".to_owned())
            } else {
                Ok(Self::At(at))
            };
        }
        if let Ok(at) = text.parse::<jiff::civil::DateTime>() {
            let at = at.strftime("%Y-%m-%dT%H:%M:%S");
            return Err(format!(
                "the time zone is missing: write {at}Z for UTC, or add an offset such as +02:00"
            ));
        }
        annals::duration::parse(text).map(Self::Ago).map_err(|error| {
            format!(
                "{error}; a time is Unix milliseconds (1740081234000), RFC 3339 \
                 (2026-05-17T08:30:00Z) or an age (24h, 30s, 7d, 1h30m)"
            )
        })
    }
}

/// A duration above zero, such as `250ms`, `30s`, `1h30m` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match annals::duration::parse(text) {
        Ok(Duration::ZERO) => Err("it must be longer than zero".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

/// An IANA time zone.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| "no such zone; write Europe/Vienna, say, or UTC".to_owned())
}

/// The time now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemClock.now_ms()
}

/// A time for people: RFC 3339 in UTC to the millisecond, or the number itself after the year 9999.
pub(crate) fn to_the_ms(stored_at: u64) -> String {
    format_time(stored_at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// The same to the second.
pub(crate) fn to_the_second(stored_at: u64) -> String {
    format_time(stored_at, "%Y-%m-%dT%H:%M:%SZ")
}

/// A time in a time zone, to the minute if nothing is lost; the number itself outside of the years
/// that have a date.
pub(crate) fn in_zone(ms: i64, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let at = at.to_zoned(zone.clone());
    let time = match (ms % 60_000, ms % 1_000) {
        (0, _) => "%H:%M",
        (_, 0) => "%H:%M:%S",
        _ => "%H:%M:%S%.3f",
    };
    let offset = if at.offset().is_zero() { "Z" } else { "%:z" };
    at.strftime(&format!("%Y-%m-%dT{time}{offset}")).to_string()
}

/// The date, of a time that is a local midnight.
pub(crate) fn date_in_zone(ms: i64, zone: &TimeZone) -> Option<String> {
    let at = Timestamp::from_millisecond(ms).ok()?.to_zoned(zone.clone());
    let is_midnight = at.start_of_day().is_ok_and(|start| start == at);
    is_midnight.then(|| at.strftime("%Y-%m-%d").to_string())
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
    fn all_three_forms_parse() {
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
        assert_eq!(ms("900000h"), 0, "an age that reaches before 1970 is 1970");
    }

    #[test]
    fn parts_of_a_millisecond_round_into_the_window() {
        let at: Moment = "1970-01-01T00:00:01.0005Z".parse().unwrap();
        assert_eq!((at.at_or_after(NOW), at.at_or_before(NOW)), (1001, 1000));
        let at: Moment = "1970-01-01T00:00:01Z".parse().unwrap();
        assert_eq!((at.at_or_after(NOW), at.at_or_before(NOW)), (1000, 1000));
    }

    #[test]
    fn other_text_is_refused_with_what_to_write() {
        let refusal = |text: &str| text.parse::<Moment>().unwrap_err();
        assert!(refusal("18446744073709551616").contains("18446744073709551615"));
        assert!(refusal("2025-02-20T19:53:54").contains("2025-02-20T19:53:54Z"));
        assert!(refusal("2025-02-20").contains("2025-02-20T00:00:00Z"));
        assert!(refusal("1969-12-31T23:59:59Z").contains("1970"));
        assert!(refusal("1y").contains("30d"));
        assert!(refusal("2mo").contains("days"));
        for text in ["", "yesterday", "-5", "-5m", "5 m later", "1e3", "24H 3", "2025-13-01"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_units_and_are_not_zero() {
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
