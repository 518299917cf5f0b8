//! How times are written: numbers in some unit, ISO 8601, or a pattern.

use std::str::FromStr;

use super::civil::check_pattern;

/// 1990 and 2100 in Unix seconds: a time outside is implausible.
const EARLIEST: i128 = 631_152_000;
const LATEST: i128 = 4_102_444_800;
/// 2000 and 2035: a unit is not taken for one that leads beyond, such as a count of 100 nanoseconds
/// since the year 1, or of seconds since 1904.
const EARLIEST_NANOSECONDS: i128 = 946_684_800;
const LATEST_LIKELY: i128 = 2_051_222_400;

/// The value of `--time-format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) enum TimeFormat {
    Auto,
    Number(Unit),
    Iso,
    /// Days since 1899-12-30, in the zone: what spreadsheets count.
    Days,
    Pattern(String),
}

/// The unit of a number since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl FromStr for TimeFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "ms" => Self::Number(Unit::Milliseconds),
            "s" => Self::Number(Unit::Seconds),
            "us" => Self::Number(Unit::Microseconds),
            "ns" => Self::Number(Unit::Nanoseconds),
            "rfc3339" => Self::Iso,
            "excel" => Self::Days,
            pattern if pattern.contains('%') => {
                check_pattern(pattern).map_err(|why| {
                    format!("{why}; '%d.%m.%Y %H:%M:%S' is a pattern, for example")
                })?;
                Self::Pattern(pattern.to_owned())
            }
            _ => {
                return Err("write auto, ms, s, us, ns, rfc3339, excel, or a pattern such as \
                            '%d.%m.%Y %H:%M:%S'"
                    .to_owned());
            }
        })
    }
}

impl Unit {
    pub(super) const ALL: [Self; 4] =
        [Self::Milliseconds, Self::Seconds, Self::Microseconds, Self::Nanoseconds];

    /// The value of the option, and the word in messages.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Seconds => ("s", "seconds"),
            Self::Milliseconds => ("ms", "milliseconds"),
            Self::Microseconds => ("us", "microseconds"),
            Self::Nanoseconds => ("ns", "nanoseconds"),
        }
    }

    fn per_second(self) -> i128 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }

    /// Whether a number is likely to be in this unit: it lies between 1990 (2000 in nanoseconds) and
    /// 2035.
    pub(super) fn is_likely(self, number: &Decimal) -> bool {
        let earliest = if self == Self::Nanoseconds { EARLIEST_NANOSECONDS } else { EARLIEST };
        (earliest * self.per_second()..LATEST_LIKELY * self.per_second()).contains(&number.whole)
    }

    /// Whether a number in this unit lies between 1990 and 2100.
    pub(super) fn is_plausible(self, number: &Decimal) -> bool {
        (EARLIEST * self.per_second()..LATEST * self.per_second()).contains(&number.whole)
    }
}

/// An exact decimal number: the whole part, rounded down, and nine digits after the point.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    whole: i128,
    nanos: i128,
}

impl Decimal {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if let Some((mantissa, exponent)) = digits.split_once(['e', 'E']) {
            // A float as some programs print it, with the precision of a float.
            let decimal = mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
            if !decimal || !is_number(exponent) {
                return None;
            }
            let value: f64 = text.parse().ok().filter(|value: &f64| value.abs() < 1e19)?;
            let whole = value.floor();
            return Some(Self { whole: whole as i128, nanos: ((value - whole) * 1e9) as i128 });
        }
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        if !is_number(whole) || !is_number(fraction) || whole.len() > 30 {
            return None;
        }
        let whole: i128 = whole.parse().ok()?;
        let mut nanos = 0;
        for digit in fraction.bytes().chain(std::iter::repeat(b'0')).take(9) {
            nanos = nanos * 10 + i128::from(digit - b'0');
        }
        Some(match (negative, nanos) {
            (false, _) => Self { whole, nanos },
            (true, 0) => Self { whole: -whole, nanos },
            (true, _) => Self { whole: -whole - 1, nanos: 1_000_000_000 - nanos },
        })
    }

    /// Whether it may be a day as spreadsheets count them, from 1899-12-30: 1954 to 2119.
    pub(super) fn is_day(&self) -> bool {
        (20_000..80_000).contains(&self.whole)
    }

    /// The whole number, and the milliseconds of a day that the fraction is, to the nearest one: a
    /// spreadsheet's fraction is a float.
    pub(super) fn days_and_ms(&self) -> Option<(i64, i64)> {
        let ms = (self.nanos * 86_400_000 + 500_000_000).div_euclid(1_000_000_000);
        Some((i64::try_from(self.whole).ok()?, i64::try_from(ms).ok()?))
    }

    /// Unix milliseconds, rounded down.
    pub(super) fn to_ms(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Seconds => self.whole * 1000 + self.nanos / 1_000_000,
            Unit::Milliseconds => self.whole,
            Unit::Microseconds => self.whole.div_euclid(1_000),
            Unit::Nanoseconds => self.whole.div_euclid(1_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        let decimal = |text| Decimal::parse(text);
        assert_eq!(decimal("-0.5").unwrap(), Decimal { whole: -1, nanos: 500_000_000 });
        assert_eq!(decimal("12.0345").unwrap(), Decimal { whole: 12, nanos: 34_500_000 });
        for text in ["", "-", ".5", "5.", "1e", "0x10", "1_000", "+5", "NaN", "1e-3", "٣"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
