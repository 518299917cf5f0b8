//! Times in a query: Unix milliseconds, RFC 3339, or an age.

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
        if let Ok(at) = text.parse::<Timestamp>() {
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
        for text in ["", "-1", "yesterday", "1969-12-31T23:59:59Z", "99999999999999999999"] {
            assert!(Time::parse(text).is_err(), "{text}");
        }
    }
}
