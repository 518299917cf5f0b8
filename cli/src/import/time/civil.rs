//! Times of ISO 8601 and of patterns, with or without an offset.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, Zoned};

/// Unix milliseconds, rounded down.
pub(super) fn ms_of(at: Timestamp) -> i128 {
    at.as_nanosecond().div_euclid(1_000_000)
}

/// How surely a text names an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// It has an offset, or clocks of the zone show it once.
    Sure,
    /// It has no offset, and no zone was named.
    AssumedUtc,
    /// Clocks show it twice: the first of the two instants is taken.
    Twice,
    /// Clocks skip it: it is read with the offset before the change.
    Never,
}

use Certainty::{AssumedUtc, Never, Sure, Twice};

/// Reads a time of ISO 8601, in `zone` if it has no offset.
pub(super) fn iso(text: &str, zone: Option<&TimeZone>) -> Option<(Timestamp, Certainty)> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some((at, Sure));
    }
    if let Ok(at) = text.parse::<Zoned>() {
        return Some((at.timestamp(), Sure));
    }
    if let Some(civil) = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" Z")) {
        return Some((in_zone(civil_of(civil)?, Some(&TimeZone::UTC))?.0, Sure));
    }
    if let Some(civil) = civil_of(text) {
        return in_zone(civil, zone);
    }
    // A blank before the offset.
    if let Some((civil, offset)) = text.rsplit_once(' ')
        && offset.starts_with(['+', '-'])
    {
        return Some((format!("{civil}{offset}").parse().ok()?, Sure));
    }
    let midnight = without_24(text)?;
    match midnight.parse::<Timestamp>() {
        Ok(at) => Some((at.checked_add(Span::new().hours(24)).ok()?, Sure)),
        Err(_) => in_zone(next_day(civil_of(&midnight)?)?, zone),
    }
}

fn civil_of(text: &str) -> Option<DateTime> {
    if let Ok(civil) = text.parse::<DateTime>() {
        return Some(civil);
    }
    text.parse::<Date>().ok().map(|date| date.to_datetime(Time::midnight()))
}

/// A time of 24:00 is written as 00:00 of the same day: it is the midnight at the day's end.
fn without_24(text: &str) -> Option<String> {
    let at = text.find("24:00").filter(|at| text[..*at].ends_with([' ', 'T']))?;
    let rest = &text[at + 5..];
    let zone = rest.strip_prefix(":00").unwrap_or(rest);
    let whole = zone.is_empty() || zone.starts_with([' ', '+', '-', 'Z']);
    whole.then(|| format!("{}00:00{rest}", &text[..at]))
}

fn next_day(civil: DateTime) -> Option<DateTime> {
    civil.checked_add(Span::new().days(1)).ok()
}

fn in_zone(civil: DateTime, zone: Option<&TimeZone>) -> Option<(Timestamp, Certainty)> {
    let Some(zone) = zone else {
        return Some((TimeZone::UTC.to_timestamp(civil).ok()?, AssumedUtc));
    };
    let found = zone.to_ambiguous_timestamp(civil);
    let certainty = match found.offset() {
        AmbiguousOffset::Unambiguous { .. } => Sure,
        AmbiguousOffset::Fold { .. } => Twice,
        AmbiguousOffset::Gap { .. } => Never,
    };
    Some((found.compatible().ok()?, certainty))
}

/// Reads days since 1899-12-30 and milliseconds of a day, in `zone`.
pub(super) fn by_days(
    (days, ms): (i64, i64),
    zone: Option<&TimeZone>,
) -> Option<(Timestamp, Certainty)> {
    let span = Span::new().try_days(days).ok()?.try_milliseconds(ms).ok()?;
    in_zone(Date::constant(1899, 12, 30).at(0, 0, 0, 0).checked_add(span).ok()?, zone)
}

/// Reads a time of a pattern, in `zone` if it has no offset.
pub(super) fn by_pattern(
    pattern: &str,
    text: &str,
    zone: Option<&TimeZone>,
) -> Option<(Timestamp, Certainty)> {
    let text = text.trim();
    if let Some(at) = by_pattern_of_day(pattern, text, zone, Some) {
        return Some(at);
    }
    by_pattern_of_day(pattern, &without_24(text)?, zone, next_day)
}

fn by_pattern_of_day(
    pattern: &str,
    text: &str,
    zone: Option<&TimeZone>,
    day: fn(DateTime) -> Option<DateTime>,
) -> Option<(Timestamp, Certainty)> {
    let parsed = BrokenDownTime::parse(pattern, text).ok()?;
    if let Ok(at) = parsed.to_timestamp() {
        return Some((at, Sure));
    }
    let civil = match parsed.to_datetime() {
        Ok(civil) => civil,
        Err(_) => parsed.to_date().ok()?.to_datetime(Time::midnight()),
    };
    in_zone(day(civil)?, zone)
}

/// Checks a pattern: a time written with it must be readable.
///
/// # Errors
/// What is wrong with the pattern.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    let at = Date::constant(2026, 5, 17).at(8, 30, 0, 0);
    let Ok(at) = at.to_zoned(TimeZone::UTC) else { return Ok(()) };
    let written = |pattern: &str| BrokenDownTime::from(&at).to_string(pattern);
    let Ok(text) = written(pattern) else {
        let unknown = sequences(pattern).find(|sequence| written(sequence).is_err());
        return Err(match unknown {
            Some(sequence) => format!("{sequence} stands for nothing"),
            None => "a % is followed by nothing; %% is a percent sign".to_owned(),
        });
    };
    if let Some((first, second)) = twice(pattern) {
        return Err(match first == second {
            true => format!("{first} stands in it twice; name each part of a time once"),
            false => format!("{first} and {second} are the same part of a time; name each once"),
        });
    }
    match by_pattern(pattern, &text, None) {
        Some(_) => Ok(()),
        None if BrokenDownTime::parse(pattern, &text).is_ok() => {
            Err("it has no whole date: year, month and day".to_owned())
        }
        None => {
            let written_only = sequences(pattern).find(|sequence| {
                written(sequence).is_ok_and(|text| BrokenDownTime::parse(sequence, text).is_err())
            });
            Err(match written_only {
                Some(sequence) => format!("{sequence} cannot be read"),
                None => "a time written with it cannot be read back".to_owned(),
            })
        }
    }
}

/// The pattern of a time that is written in digits only, if a text may be one: 2026051708.
pub(super) fn digits_only(text: &str) -> Option<&'static str> {
    let pattern = match text.len() {
        8 => "%Y%m%d",
        10 => "%Y%m%d%H",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => return None,
    };
    let is_near = text.starts_with("19") || text.starts_with("20");
    (is_near && by_pattern(pattern, text, None).is_some()).then_some(pattern)
}

/// The % sequences of a pattern.
fn sequences(pattern: &str) -> impl Iterator<Item = &str> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once('%')?;
        let begin = rest.len() - after.len() - 1;
        let end = after.find(|c: char| c.is_ascii_alphabetic() || c == '%')?;
        let sequence = &rest[begin..begin + end + 2];
        rest = &after[end + 1..];
        Some(sequence)
    })
}

/// The first two sequences that stand for the same part of a time, of which only the last would
/// count.
fn twice(pattern: &str) -> Option<(&str, &str)> {
    let mut seen: Vec<(char, &str)> = Vec::new();
    for sequence in sequences(pattern) {
        for part in parts(sequence).chars() {
            if let Some((_, before)) = seen.iter().find(|(other, _)| *other == part) {
                return Some((before, sequence));
            }
            seen.push((part, sequence));
        }
    }
    None
}

/// The parts of a time that a sequence stands for, each as the letter of its commonest sequence.
fn parts(sequence: &str) -> &str {
    match sequence.chars().last() {
        Some('Y' | 'y') => "Y",
        Some('m' | 'b' | 'B' | 'h') => "m",
        Some('d' | 'e') => "d",
        Some('H' | 'k' | 'I' | 'l') => "H",
        Some('f' | 'N') => "f",
        Some('p' | 'P') => "p",
        Some('a' | 'A' | 'u' | 'w') => "a",
        Some('G' | 'g') => "G",
        Some('F' | 'D') => "Ymd",
        Some('T') => "HMS",
        Some('R') => "HM",
        Some('%' | 'n' | 't') | None => "",
        Some(_) => &sequence[sequence.len() - 1..],
    }
}

/// Whether a text is a time of ISO 8601, but none that can be stored.
pub(super) fn is_beyond(text: &str) -> bool {
    iso(text, None).is_none() && civil_of(text.trim().trim_end_matches(['Z', 'z'])).is_some()
}

/// The common patterns of spreadsheets and loggers that fit, with `or` between them: 05/06/2026 is
/// read in two ways.
pub(super) fn guess(text: &str) -> Option<String> {
    const COMMON: [&str; 16] = [
        "%d.%m.%Y %H:%M:%S",
        "%d.%m.%Y %H:%M",
        "%d.%m.%Y",
        "%m/%d/%Y %I:%M:%S %p",
        "%m/%d/%Y %I:%M %p",
        "%d/%m/%Y %I:%M:%S %p",
        "%d/%m/%Y %I:%M %p",
        "%m/%d/%Y %H:%M:%S",
        "%m/%d/%Y %H:%M",
        "%d/%m/%Y %H:%M:%S",
        "%d/%m/%Y %H:%M",
        "%Y/%m/%d %H:%M:%S",
        "%Y/%m/%d %H:%M",
        "%d-%m-%Y %H:%M",
        "%Y-%m-%d %I:%M:%S %p",
        "%Y-%m-%d %I:%M %p",
    ];
    let fit = COMMON.into_iter().filter(|pattern| by_pattern(pattern, text, None).is_some());
    let fit: Vec<_> = fit.map(|pattern| format!("'{pattern}'")).collect();
    (!fit.is_empty()).then(|| fit.join(" or "))
}
