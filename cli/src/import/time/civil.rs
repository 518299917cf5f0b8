//! Times of ISO 8601 and of patterns, with or without an offset.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Unix milliseconds, rounded down.
pub(super) fn ms_of(at: Timestamp) -> i128 {
    at.as_nanosecond().div_euclid(1_000_000)
}

/// Reads a time of ISO 8601, in `zone` if it has no offset. The flag says whether the offset is
/// known.
pub(super) fn iso(text: &str, zone: Option<&TimeZone>) -> Option<(Timestamp, bool)> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some((at, true));
    }
    if let Ok(at) = text.parse::<Zoned>() {
        return Some((at.timestamp(), true));
    }
    if let Some(civil) = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" Z")) {
        return Some((in_zone(civil_of(civil)?, Some(&TimeZone::UTC))?, true));
    }
    Some((in_zone(civil_of(text)?, zone)?, zone.is_some()))
}

fn civil_of(text: &str) -> Option<DateTime> {
    if let Ok(civil) = text.parse::<DateTime>() {
        return Some(civil);
    }
    text.parse::<Date>().ok().map(|date| date.to_datetime(Time::midnight()))
}

/// A local time that occurs twice is the first of the two instants. One that clocks skip is read
/// with the offset before the change.
fn in_zone(civil: DateTime, zone: Option<&TimeZone>) -> Option<Timestamp> {
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    zone.to_ambiguous_timestamp(civil).compatible().ok()
}

pub(super) fn by_pattern(
    pattern: &str,
    text: &str,
    zone: Option<&TimeZone>,
) -> Result<(Timestamp, bool), String> {
    let parsed = BrokenDownTime::parse(pattern, text.trim()).map_err(|error| error.to_string())?;
    if let Ok(at) = parsed.to_timestamp() {
        return Ok((at, true));
    }
    let civil = match parsed.to_datetime() {
        Ok(civil) => civil,
        Err(_) => parsed
            .to_date()
            .map(|date| date.to_datetime(Time::midnight()))
            .map_err(|error| error.to_string())?,
    };
    let at = in_zone(civil, zone).ok_or_else(|| "it is out of range".to_owned())?;
    Ok((at, zone.is_some()))
}

/// The first common pattern of spreadsheets and loggers that fits.
pub(super) fn guess(text: &str) -> Option<&'static str> {
    const COMMON: [&str; 10] = [
        "%d.%m.%Y %H:%M:%S",
        "%d.%m.%Y %H:%M",
        "%d.%m.%Y",
        "%m/%d/%Y %I:%M:%S %p",
        "%m/%d/%Y %H:%M:%S",
        "%m/%d/%Y %H:%M",
        "%d/%m/%Y %H:%M:%S",
        "%d/%m/%Y %H:%M",
        "%Y/%m/%d %H:%M:%S",
        "%Y/%m/%d %H:%M",
    ];
    COMMON.into_iter().find(|pattern| by_pattern(pattern, text, None).is_ok())
}
