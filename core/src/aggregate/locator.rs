//! Which bucket a time lies in: a time enters, the interval around it leaves.

use jiff::civil::{Date, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::width::Unit;

/// A half-open interval of Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first millisecond.
    pub start: i64,
    /// The first millisecond after it; `i64::MAX` for the last interval of all.
    pub end: i64,
}

impl Span {
    pub(super) const ALL: Span = Span { start: i64::MIN, end: i64::MAX };

    /// Whether a time lies in the next interval, which is as wide as this one.
    fn is_followed_by(&self, time: i64, width: i64) -> bool {
        let next_end = self.end.checked_add(width);
        self.start < self.end && self.end <= time && next_end.is_some_and(|end| time < end)
    }

    /// Whether it has the time in it. The last interval of all has `i64::MAX`, too.
    pub fn contains(&self, time: i64) -> bool {
        self.start <= time && (time < self.end || self.end == i64::MAX)
    }
}

/// How time is divided.
#[derive(Debug, Clone)]
pub(super) enum Grid {
    /// Not at all.
    Whole,
    Fixed {
        width: i64,
        origin: i64,
    },
    Calendar {
        units: u32,
        unit: Unit,
        zone: TimeZone,
    },
}

impl Grid {
    /// How long a bucket is at the most, in milliseconds.
    pub(super) fn longest(&self) -> i64 {
        const DAY: i64 = 86_400_000;
        match self {
            Self::Whole => i64::MAX,
            Self::Fixed { width, .. } => *width,
            Self::Calendar { units, unit, .. } => {
                let days = match unit {
                    Unit::Day => 1,
                    Unit::Week => 7,
                    Unit::Month => 31,
                    Unit::Quarter => 92,
                    Unit::Year => 366,
                };
                // Clocks change by at most a day.
                (i64::from(*units) * days + 1) * DAY
            }
        }
    }
}

/// Finds the bucket of a time. It keeps the last one, so that times of one bucket after the other
/// cost a comparison each.
#[derive(Debug, Clone)]
pub struct Locator {
    grid: Grid,
    current: Span,
}

impl Locator {
    pub(super) fn new(grid: Grid) -> Self {
        Self { grid, current: Span { start: 0, end: 0 } }
    }

    /// The bucket of a time in Unix milliseconds.
    pub fn locate(&mut self, time: i64) -> Span {
        if !self.current.contains(time) {
            self.current = match &self.grid {
                Grid::Whole => Span::ALL,
                // Mostly it is the next one, which costs no division.
                Grid::Fixed { width, .. } if self.current.is_followed_by(time, *width) => {
                    Span { start: self.current.end, end: self.current.end + width }
                }
                Grid::Fixed { width, origin } => {
                    // Both are below the width, so that nothing overflows.
                    let phase = (time.rem_euclid(*width) - origin).rem_euclid(*width);
                    let start = time.saturating_sub(phase);
                    Span { start, end: start.saturating_add(*width) }
                }
                Grid::Calendar { units, unit, zone } => {
                    calendar(time, i64::from(*units), *unit, zone)
                }
            };
        }
        self.current
    }
}

/// The calendar ends with the year 9999: all later times lie in its last bucket.
fn calendar(time: i64, units: i64, unit: Unit, zone: &TimeZone) -> Span {
    let last = Timestamp::MAX.as_millisecond();
    let instant = Timestamp::from_millisecond(time.min(last)).unwrap_or(Timestamp::MAX);
    let index = ordinal(unit, zone.to_datetime(instant).date()).div_euclid(units) * units;
    let bound = |index: i64| {
        nth(unit, index).and_then(|date| first_instant(date, zone)).unwrap_or(i64::MAX)
    };
    let (mut index, mut start, mut end) = (index, bound(index), bound(index + units));
    // Where clocks go back over midnight, a time after the start of a day can have the date of the
    // day before.
    while time >= end && end < i64::MAX {
        index += units;
        (start, end) = (end, bound(index + units));
    }
    while time < start {
        index -= units;
        (start, end) = (bound(index), start);
    }
    Span { start, end }
}

const EPOCH: Date = date(1970, 1, 1);
/// A Monday.
const FIRST_WEEK: Date = date(1969, 12, 29);

fn days_since(first: Date, day: Date) -> i64 {
    day.duration_since(first).as_hours() / 24
}

/// The number of the unit that a day lies in; the one of 1 January 1970 is 0.
fn ordinal(unit: Unit, day: Date) -> i64 {
    let months = (i64::from(day.year()) - 1970) * 12 + i64::from(day.month()) - 1;
    match unit {
        Unit::Day => days_since(EPOCH, day),
        Unit::Week => days_since(FIRST_WEEK, day).div_euclid(7),
        Unit::Month => months,
        Unit::Quarter => months.div_euclid(3),
        Unit::Year => i64::from(day.year()) - 1970,
    }
}

/// The first day of a unit; `None` beyond the calendar.
fn nth(unit: Unit, index: i64) -> Option<Date> {
    let after =
        |first: Date, days: i64| first.checked_add(jiff::Span::new().try_days(days).ok()?).ok();
    let month = |months: i64| {
        let year = i16::try_from(1970 + months.div_euclid(12)).ok()?;
        Date::new(year, (months.rem_euclid(12) + 1) as i8, 1).ok()
    };
    match unit {
        Unit::Day => after(EPOCH, index),
        Unit::Week => after(FIRST_WEEK, index.checked_mul(7)?),
        Unit::Month => month(index),
        Unit::Quarter => month(index.checked_mul(3)?),
        Unit::Year => month(index.checked_mul(12)?),
    }
}

/// The first instant of a day in Unix milliseconds: midnight, the first of two midnights, or the
/// end of the gap where clocks go forward over midnight.
fn first_instant(day: Date, zone: &TimeZone) -> Option<i64> {
    let midnight = day.at(0, 0, 0, 0);
    let instant = match zone.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(midnight).ok()?,
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(midnight).ok()?,
        AmbiguousOffset::Gap { before, .. } => {
            let within = before.to_timestamp(midnight).ok()?;
            let after = within.checked_add(SignedDuration::from_secs(1)).ok()?;
            zone.preceding(after).next().map_or(within, |change| change.timestamp())
        }
    };
    Some(instant.as_millisecond())
}
