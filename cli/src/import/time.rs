//! Times in files: numbers in some unit, ISO 8601 with or without an offset, or a strftime pattern.
//! The format is decided once for an input, from its first block.

use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// 1990 and 2100 in Unix seconds: a time outside is implausible.
const EARLIEST: i128 = 631_152_000;
const LATEST: i128 = 4_102_444_800;

/// The value of `--time-format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    Auto,
    Number(Unit),
    Iso,
    Pattern(String),
}

/// The unit of a number since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
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
            pattern if pattern.contains('%') => Self::Pattern(pattern.to_owned()),
            _ => {
                return Err("write auto, ms, s, us, ns, rfc3339, or a pattern such as \
                            '%d.%m.%Y %H:%M:%S'"
                    .to_owned());
            }
        })
    }
}

impl Unit {
    const ALL: [Self; 4] =
        [Self::Milliseconds, Self::Seconds, Self::Microseconds, Self::Nanoseconds];

    /// The value of the option, and the word in messages.
    fn names(self) -> (&'static str, &'static str) {
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

    /// Whether a number in this unit lies between 1990 and 2100.
    fn is_plausible(self, number: &Decimal) -> bool {
        (EARLIEST * self.per_second()..LATEST * self.per_second()).contains(&number.whole)
    }
}

/// An exact decimal number: the whole part, rounded down, and nine digits after the point.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    whole: i128,
    nanos: i128,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
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

    /// Unix milliseconds, rounded down.
    fn to_ms(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Seconds => self.whole * 1000 + self.nanos / 1_000_000,
            Unit::Milliseconds => self.whole,
            Unit::Microseconds => self.whole.div_euclid(1_000),
            Unit::Nanoseconds => self.whole.div_euclid(1_000_000),
        }
    }
}

/// Reads the times of one input.
#[derive(Debug)]
pub(super) struct Times {
    decided: Option<TimeFormat>,
    /// Whether the times are annals' own, where numbers are milliseconds.
    own: bool,
    zone: Option<TimeZone>,
    /// The number of times outside 1990 to 2100, and the note on the first.
    strange: u64,
    remark: Option<String>,
    /// Whether a time without an offset was read as UTC by default.
    assumed_utc: bool,
}

impl Times {
    pub(super) fn new(format: Option<TimeFormat>, own: bool, zone: Option<TimeZone>) -> Self {
        let decided = format.clone().filter(|format| *format != TimeFormat::Auto);
        let own = own && format.is_none();
        Self { decided, own, zone, strange: 0, remark: None, assumed_utc: false }
    }

    /// Whether the format is still to be decided.
    pub(super) fn is_open(&self) -> bool {
        self.decided.is_none()
    }

    /// Decides the format from all times of the first block.
    ///
    /// # Errors
    /// Why it cannot be decided, and the option that decides it.
    pub(super) fn decide<'a>(
        &mut self,
        block: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), String> {
        if !self.is_open() {
            return Ok(());
        }
        let mut block = block.filter(|text| !text.is_empty()).peekable();
        let Some(first) = block.peek().copied() else {
            return Ok(());
        };
        let numbers = block.clone().filter(|text| Decimal::parse(text).is_some()).count();
        let all = block.clone().count();
        let format = if numbers == 0 {
            TimeFormat::Iso
        } else if self.own {
            TimeFormat::Number(Unit::Milliseconds)
        } else if numbers < all {
            let text = block.find(|text| Decimal::parse(text).is_none()).unwrap_or(first);
            return Err(format!(
                "some times are numbers and some are text such as \"{}\"; say how they are read \
                 with --time-format",
                shown(text)
            ));
        } else {
            let fits = |unit: &Unit| {
                let mut numbers = block.clone().filter_map(Decimal::parse);
                numbers.all(|number| unit.is_plausible(&number))
            };
            let unit = Unit::ALL.into_iter().find(fits).ok_or_else(|| {
                format!(
                    "the times (the first is {}) are no numbers of one unit between 1990 and 2100; \
                     say what they count with --time-format s, ms, us or ns",
                    shown(first)
                )
            })?;
            TimeFormat::Number(unit)
        };
        self.decided = Some(format);
        Ok(())
    }

    /// Unix milliseconds, rounded down.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn read(&mut self, text: &str) -> Result<u64, String> {
        let ms = match &self.decided {
            None | Some(TimeFormat::Auto) => return Err(self.misfit(text)),
            Some(TimeFormat::Number(unit)) => {
                let unit = *unit;
                let number = Decimal::parse(text).ok_or_else(|| self.misfit(text))?;
                if !unit.is_plausible(&number) {
                    self.note_strange(text, &number, unit);
                }
                number.to_ms(unit)
            }
            Some(TimeFormat::Iso) => match iso(text, self.zone.as_ref()) {
                Some((at, sure)) => {
                    self.assumed_utc |= !sure;
                    ms_of(at)
                }
                None => return Err(self.misfit(text)),
            },
            Some(TimeFormat::Pattern(pattern)) => {
                match by_pattern(pattern, text, self.zone.as_ref()) {
                    Ok((at, sure)) => {
                        self.assumed_utc |= !sure;
                        ms_of(at)
                    }
                    Err(why) => {
                        return Err(format!(
                            "\"{}\" is not a time of the form {pattern}: {why}",
                            shown(text)
                        ));
                    }
                }
            }
        };
        match u64::try_from(ms) {
            Ok(ms) => Ok(ms),
            Err(_) if ms < 0 => {
                Err(format!("the time {} lies before 1970, where nothing is stored", shown(text)))
            }
            Err(_) => Err(format!("the time {} is out of range", shown(text))),
        }
    }

    fn misfit(&self, text: &str) -> String {
        let text_shown = shown(text);
        match &self.decided {
            _ if text.is_empty() => "the time is empty".to_owned(),
            Some(TimeFormat::Number(unit)) => {
                let (_, unit) = unit.names();
                let hint =
                    if iso(text, None).is_some() { "; --time-format rfc3339 reads it" } else { "" };
                format!("\"{text_shown}\" is no time in Unix {unit}{hint}")
            }
            _ => {
                let hint = match guess(text) {
                    Some(pattern) => format!("--time-format '{pattern}' reads it, perhaps"),
                    None if Decimal::parse(text).is_some() => {
                        "--time-format s, ms, us or ns reads numbers".to_owned()
                    }
                    None => "give its pattern: --time-format '%d.%m.%Y %H:%M:%S', say".to_owned(),
                };
                format!("\"{text_shown}\" is no time as in 2026-05-17T08:30:00Z; {hint}")
            }
        }
    }

    fn note_strange(&mut self, text: &str, number: &Decimal, unit: Unit) {
        self.strange += 1;
        if self.remark.is_some() {
            return;
        }
        let (_, counts) = unit.names();
        let at = i64::try_from(number.to_ms(unit)).map(Timestamp::from_millisecond);
        let at = match at {
            Ok(Ok(at)) => at.strftime("%Y-%m-%d").to_string(),
            _ => "far beyond the year 9999".to_owned(),
        };
        let meant = Unit::ALL.into_iter().find(|other| other.is_plausible(number));
        let hint = meant.map_or(String::new(), |meant| {
            let (option, counts) = meant.names();
            format!("; if it counts {counts}, use --time-format {option}")
        });
        self.remark =
            Some(format!("note: the time {} in Unix {counts} is {at}{hint}", shown(text)));
    }

    /// Notes on the times that were read.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(remark) = &self.remark {
            let more = match self.strange {
                1 => String::new(),
                strange => format!(" ({strange} times lie outside 1990 to 2100)"),
            };
            remarks.push(format!("{remark}{more}"));
        }
        if self.assumed_utc {
            remarks.push(
                "note: times without an offset are read as UTC; --time-zone names another zone"
                    .to_owned(),
            );
        }
        remarks
    }

    /// The format, for messages.
    pub(super) fn describe(&self) -> String {
        match &self.decided {
            Some(TimeFormat::Number(unit)) => format!("Unix {}", unit.names().1),
            Some(TimeFormat::Pattern(pattern)) => pattern.clone(),
            Some(TimeFormat::Iso) => "ISO 8601".to_owned(),
            _ => "the time of the import".to_owned(),
        }
    }
}

fn ms_of(at: Timestamp) -> i128 {
    at.as_nanosecond().div_euclid(1_000_000)
}

/// Reads a time of ISO 8601, in `zone` if it has no offset. The flag says whether the offset is
/// known.
fn iso(text: &str, zone: Option<&TimeZone>) -> Option<(Timestamp, bool)> {
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

fn by_pattern(
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
fn guess(text: &str) -> Option<&'static str> {
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

/// The beginning of a text, escaped for one line.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(times: &mut Times, texts: &[&str]) -> Result<Vec<u64>, String> {
        times.decide(texts.iter().copied())?;
        texts.iter().map(|text| times.read(text)).collect()
    }

    fn auto(texts: &[&str]) -> Result<Vec<u64>, String> {
        read_all(&mut Times::new(Some(TimeFormat::Auto), false, None), texts)
    }

    #[test]
    fn auto_finds_the_unit_of_a_block() {
        const MS: u64 = 1_740_081_234_567;
        assert_eq!(auto(&["1740081234567"]).unwrap(), [MS]);
        assert_eq!(auto(&["1740081234.567"]).unwrap(), [MS]);
        assert_eq!(auto(&["1740081234567999"]).unwrap(), [MS]);
        assert_eq!(auto(&["1740081234567999999"]).unwrap(), [MS]);
        assert_eq!(auto(&["1740081234", "1740081235"]).unwrap(), [MS - 567, MS + 433]);
        assert_eq!(auto(&["1.740081234e9"]).unwrap(), [MS - 567]);
        // One unit for all, or none.
        assert!(auto(&["1740081234", "1740081234567"]).unwrap_err().contains("--time-format s"));
        assert!(auto(&["5"]).unwrap_err().contains("--time-format"));
        assert!(auto(&["1740081234", "yesterday"]).unwrap_err().contains("\"yesterday\""));
    }

    #[test]
    fn iso_times_come_in_all_their_forms() {
        let vienna = TimeZone::get("Europe/Vienna").unwrap();
        let at = |text: &str, zone: Option<&TimeZone>| {
            let mut times = Times::new(None, false, zone.cloned());
            read_all(&mut times, &[text]).unwrap()[0]
        };
        for text in [
            "2025-02-20T19:53:54Z",
            "2025-02-20 19:53:54Z",
            "2025-02-20T20:53:54+01:00",
            "2025-02-20 20:53:54+01",
            "2025-02-20T20:53:54+0100",
            "2025-02-20 19:53:54 UTC",
            "2025-02-20T19:53:54",
            "2025-02-20 19:53:54.000000",
        ] {
            assert_eq!(at(text, None), 1_740_081_234_000, "{text}");
        }
        assert_eq!(at("2025-02-20 20:53:54", Some(&vienna)), 1_740_081_234_000);
        assert_eq!(at("2025-02-20 20:53", Some(&vienna)), 1_740_081_180_000);
        assert_eq!(at("2025-02-20", Some(&vienna)), 1_740_006_000_000);
        // Clocks showed 02:30 twice, and never on the day of the other change.
        assert_eq!(at("2025-10-26 02:30:00", Some(&vienna)), 1_761_438_600_000);
        assert_eq!(at("2025-03-30 02:30:00", Some(&vienna)), 1_743_298_200_000);
        assert_eq!(at("2025-02-20T19:53:54.5679Z", None), 1_740_081_234_567);
    }

    #[test]
    fn patterns_are_those_of_strftime() {
        let format: TimeFormat = "%d.%m.%Y %H:%M".parse().unwrap();
        let vienna = TimeZone::get("Europe/Vienna").ok();
        let mut times = Times::new(Some(format), false, vienna);
        assert_eq!(times.read("20.02.2025 20:53").unwrap(), 1_740_081_180_000);
        assert!(times.read("2025-02-20").unwrap_err().contains("%d.%m.%Y %H:%M"));
        assert!(times.remarks().is_empty());
        assert!("yyyy".parse::<TimeFormat>().unwrap_err().contains("%d.%m.%Y"));
    }

    #[test]
    fn what_does_not_fit_names_the_option_that_helps() {
        let mut times = Times::new(None, false, None);
        times.decide(["20.02.2025 20:53"].into_iter()).unwrap();
        assert!(times.read("20.02.2025 20:53").unwrap_err().contains("'%d.%m.%Y %H:%M'"));
        assert!(times.read("").unwrap_err().contains("empty"));
        let mut times = Times::new(None, true, None);
        times.decide(["5"].into_iter()).unwrap();
        assert!(times.read("2025-02-20T19:53:54Z").unwrap_err().contains("rfc3339"));
        assert!(times.read("-5").unwrap_err().contains("before 1970"));
        assert!(times.read("99999999999999999999").unwrap_err().contains("out of range"));
    }

    #[test]
    fn an_implausible_number_is_stored_and_noted() {
        let mut times = Times::new(None, true, None);
        assert_eq!(read_all(&mut times, &["1740081234", "1740081235"]).unwrap()[0], 1_740_081_234);
        let remarks = times.remarks();
        assert!(remarks[0].contains("1970-01-21") && remarks[0].contains("--time-format s"));
        assert!(remarks[0].contains("2 times"), "{remarks:?}");
    }

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
