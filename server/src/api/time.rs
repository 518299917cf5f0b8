//! Times in a query: Unix milliseconds, RFC 3339, or an age.

use std::borrow::Cow;
use std::fmt;

use annals_core::{Clock, SystemClock, duration};
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

const NANOS_PER_MS: i128 = 1_000_000;

/// A time as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    UnixMs(u64),
    At(Timestamp),
    /// So many milliseconds before now.
    Ago(u64),
}

impl Time {
    /// The first whole millisecond not before it, for the start of a window.
    pub(super) fn at_or_after(self, now: u64) -> u64 {
        match self {
            Self::At(at) => whole_ms(at.as_nanosecond() + NANOS_PER_MS - 1),
            _ => self.at_or_before(now),
        }
    }

    /// The last whole millisecond not after it, for the end of a window.
    pub(super) fn at_or_before(self, now: u64) -> u64 {
        match self {
            Self::UnixMs(ms) => ms,
            Self::At(at) => whole_ms(at.as_nanosecond()),
            Self::Ago(age) => now.saturating_sub(age),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let ms = text.parse().map(Self::UnixMs);
            return ms.map_err(|_| format!("Unix milliseconds end at {}", u64::MAX));
        }
        let spelled = with_plus(text);
        if let Ok(at) = spelled.parse::<Timestamp>() {
            return match at < Timestamp::UNIX_EPOCH {
                true => Err("history begins in 1970".to_owned()),
                false => Ok(Self::At(at)),
            };
        }
        let age = duration::parse(text).map_err(|_| {
            "a time is Unix milliseconds (1740081234000), RFC 3339 (2026-05-17T08:30:00Z) or an age \
             (24h, 7d)"
                .to_owned()
        })?;
        Ok(Self::Ago(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// In the query of a URL, the + of an offset means a space unless it is escaped. A space before digits
/// at the end, behind a time of day, was one.
pub(crate) fn with_plus(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(' ') {
        Some((time, offset))
            if time.contains(':')
                && offset.starts_with(|first: char| first.is_ascii_digit())
                && offset.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') =>
        {
            format!("{time}+{offset}").into()
        }
        _ => text.into(),
    }
}

fn whole_ms(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds.div_euclid(NANOS_PER_MS)).unwrap_or(0)
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                Time::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The time now, in Unix milliseconds.
pub(super) fn now_ms() -> u64 {
    SystemClock.now_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_forms_and_half_a_millisecond_lies_outside_of_no_window() {
        let parse = |text| Time::parse(text).unwrap();
        assert_eq!(parse("17").at_or_after(0), 17);
        assert_eq!(parse("24h").at_or_after(86_400_001), 1);
        assert_eq!(parse("24h").at_or_before(5), 0);
        let half = parse("1970-01-01T00:00:01.0005Z");
        assert_eq!((half.at_or_after(0), half.at_or_before(0)), (1_001, 1_000));
        // `2026-11-28T08:00:00+01:00` in a URL.
        let written = parse("2026-11-28T08:00:00+01:00");
        for text in [
            "2026-11-28T08:00:00 01:00",
            "2026-11-28 08:00:00 01:00",
            "2026-11-28 08:00:00+01:00",
            "2026-11-28T08:00:00 0100",
            "2026-11-28T08:00:00 01",
            "2026-11-28T07:00:00Z",
        ] {
            assert_eq!(parse(text), written, "{text}");
        }
        for text in ["2026-11-28 08:00:00", "2026-11-28T08:00:00 x", "24 7", "24h 7", "1 2:3"] {
            assert!(Time::parse(text).is_err(), "{text}");
        }
        for text in ["", "-1", "yesterday", "1969-12-31T23:59:59Z", "99999999999999999999"] {
            assert!(Time::parse(text).is_err(), "{text}");
        }
    }
}
