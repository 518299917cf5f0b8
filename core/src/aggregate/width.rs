//! How wide a bucket is.

use std::fmt;
use std::time::Duration;

use crate::duration;
use crate::error::PersistenceError;

/// The width of a bucket: a fixed time, or a number of calendar units.
///
/// `From<Duration>` makes a fixed width.
///
/// ```
/// # use std::time::Duration;
/// # use annals_core::Width;
/// assert_eq!(Width::parse("15m")?, Width::from(Duration::from_secs(900)));
/// // A day of the calendar has 23, 24 or 25 hours.
/// assert_ne!(Width::parse("1d")?, Width::parse("24h")?);
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Width(pub(super) Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Fixed(Duration),
    Calendar { units: u32, unit: Unit },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "d" | "day" | "days" => Self::Day,
            "w" | "week" | "weeks" => Self::Week,
            "mo" | "month" | "months" => Self::Month,
            "q" | "quarter" | "quarters" => Self::Quarter,
            "y" | "year" | "years" => Self::Year,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "mo",
            Self::Quarter => "q",
            Self::Year => "y",
        }
    }
}

impl Width {
    /// Parses a width: a time such as `15m`, `24h` or `1h 30m` is fixed; one number of `d`, `w`
    /// (from Monday), `mo`, `q` or `y` is of the calendar. Several units, as in `2mo`, are counted
    /// from January 1970, weeks from 29 December 1969.
    ///
    /// # Errors
    /// [`InvalidAggregate`](PersistenceError::InvalidAggregate) for anything else, for less than a
    /// millisecond and for a mixture of both kinds.
    pub fn parse(text: &str) -> Result<Self, PersistenceError> {
        let refuse = |reason: &str| Err(PersistenceError::invalid_aggregate("width", text, reason));
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        if let (Ok(units), Some(unit)) = (number.parse::<u32>(), Unit::parse(unit.trim())) {
            return match units {
                1..=10_000 => Ok(Self(Kind::Calendar { units, unit })),
                _ => refuse("a width has 1 to 10,000 calendar units"),
            };
        }
        let is_calendar = |unit: &str| {
            matches!(unit, "d" | "day" | "days" | "w" | "wk" | "wks" | "week" | "weeks")
        };
        let lower = trimmed.to_lowercase();
        if lower.split(|letter: char| !letter.is_alphabetic()).any(is_calendar) {
            return refuse("days and weeks are of the calendar and stand alone: 1d, 1w, or 36h");
        }
        match duration::parse(trimmed) {
            Ok(time) => Self::from(time).checked(),
            Err(_) => refuse(
                "write a fixed time such as 15m, 1h or 24h, or a number of calendar units: 1d, \
                 1w, 1mo, 1q, 1y",
            ),
        }
    }

    /// Refuses a fixed width that no milliseconds express.
    pub(super) fn checked(self) -> Result<Self, PersistenceError> {
        let reason = match self.0 {
            Kind::Fixed(time) if time.subsec_nanos() % 1_000_000 != 0 => {
                "times are whole milliseconds"
            }
            Kind::Fixed(Duration::ZERO) => "a bucket has at least a millisecond",
            Kind::Fixed(time) if i64::try_from(time.as_millis()).is_err() => {
                "it is longer than all time; leave it out for a single bucket"
            }
            _ => return Ok(self),
        };
        Err(PersistenceError::invalid_aggregate("width", self.to_string(), reason))
    }
}

impl From<Duration> for Width {
    fn from(time: Duration) -> Self {
        Self(Kind::Fixed(time))
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Fixed(time) => write!(f, "{time:?}"),
            Kind::Calendar { units, unit } => write!(f, "{units}{}", unit.name()),
        }
    }
}
