//! Times in files: numbers in some unit, ISO 8601 with or without an offset, or a strftime pattern.
//! The format is decided once for an input, from its first block.

mod civil;
mod format;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::text::shown;
use crate::output::counted;
use civil::{Certainty, by_days, by_pattern, digits_only, guess, is_beyond, iso, ms_of};
pub(super) use format::TimeFormat;
use format::{Decimal, Unit};

/// Whether a text looks like a time. A number of seconds might count anything else.
pub(super) fn looks_like_a_time(text: &str, seconds: bool) -> bool {
    match Decimal::parse(text) {
        Some(number) => Unit::ALL
            .into_iter()
            .filter(|unit| seconds || *unit != Unit::Seconds)
            .any(|unit| unit.is_likely(&number)),
        None => iso(text, None).is_some() || guess(text).is_some(),
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
    /// Whether the times are timestamps by their type.
    typed: bool,
    /// Whether `--time-format` was given for them nevertheless.
    unused_format: bool,
    /// Local times that clocks show twice, and those that they skip.
    twice: Odd,
    never: Odd,
}

/// Local times that name no instant, or two.
#[derive(Debug, Default)]
struct Odd {
    count: u64,
    first: String,
}

impl Odd {
    fn note(&mut self, text: &str) {
        self.count += 1;
        if self.first.is_empty() {
            self.first = shown(text);
        }
    }

    fn remark(&self, clocks: &str, came: &str, taken: &str) -> Option<String> {
        let first = if self.count == 1 { "" } else { "first " };
        (self.count > 0).then(|| {
            format!(
                "note: clocks went {clocks}, and {} {came} ({first}{})\n{taken}; times with an \
                 offset, or in UTC, are exact",
                counted(self.count, "local time"),
                self.first
            )
        })
    }
}

impl Times {
    pub(super) fn new(format: Option<TimeFormat>, own: bool, zone: Option<TimeZone>) -> Self {
        let decided = format.clone().filter(|format| *format != TimeFormat::Auto);
        let own = own && format.is_none();
        let (twice, never) = (Odd::default(), Odd::default());
        Self {
            decided,
            own,
            zone,
            strange: 0,
            remark: None,
            assumed_utc: false,
            typed: false,
            unused_format: false,
            twice,
            never,
        }
    }

    /// The times are timestamps by their type: Unix milliseconds in UTC, or times of ISO 8601
    /// without an offset.
    #[cfg(feature = "parquet")]
    pub(super) fn are_timestamps(&mut self, utc: bool) {
        self.typed = true;
        self.unused_format = self.decided.is_some();
        self.decided = Some(match utc {
            true => TimeFormat::Number(Unit::Milliseconds),
            false => TimeFormat::Iso,
        });
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
        let mut block = block.map(str::trim).filter(|text| !text.is_empty()).peekable();
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
                "some times are numbers and some are text such as \"{}\"\nsay how they are read \
                 with --time-format",
                shown(text)
            ));
        } else {
            let pattern = digits_only(first);
            if let Some(pattern) = pattern
                && block.clone().all(|text| digits_only(text) == Some(pattern))
            {
                let seconds =
                    if first.len() == 10 { ", or --time-format s if they are" } else { "" };
                return Err(format!(
                    "the times are numbers such as {first}, which are hardly Unix \
                     seconds\n--time-format '{pattern}' reads them{seconds}"
                ));
            }
            let fits = |unit: &Unit| {
                let mut numbers = block.clone().filter_map(Decimal::parse);
                numbers.all(|number| unit.is_likely(&number))
            };
            let unit = Unit::ALL.into_iter().find(fits).ok_or_else(|| {
                let help = match block.clone().filter_map(Decimal::parse).all(|n| n.is_day()) {
                    true => "if they are days as spreadsheets count them, use --time-format excel",
                    false => "say what they count with --time-format s, ms, us or ns",
                };
                format!(
                    "the times (the first is {}) are no numbers of one unit between 1990 and \
                     2035\n{help}",
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
        let text = text.trim();
        let ms = match &self.decided {
            None | Some(TimeFormat::Auto) => return Err(self.misfit(text)),
            Some(TimeFormat::Number(unit)) => {
                let unit = *unit;
                let number = Decimal::parse(text).ok_or_else(|| self.misfit(text))?;
                let ms = number.to_ms(unit);
                if ms >= 0 && !unit.is_plausible(&number) {
                    self.note_strange(text, &number, unit);
                }
                ms
            }
            Some(TimeFormat::Iso) => {
                let found = iso(text, self.zone.as_ref());
                self.instant(text, found)?
            }
            Some(TimeFormat::Days) => {
                // A spreadsheet that writes 21,5 writes its days so, too.
                let number = Decimal::parse(&text.replacen(',', ".", 1));
                let days = number.and_then(|number| number.days_and_ms());
                let found = days.and_then(|days| by_days(days, self.zone.as_ref()));
                self.instant(text, found)?
            }
            Some(TimeFormat::Pattern(pattern)) => {
                let found = by_pattern(pattern, text, self.zone.as_ref());
                self.instant(text, found)?
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

    /// Takes an instant and notes how sure it is.
    fn instant(
        &mut self,
        text: &str,
        found: Option<(Timestamp, Certainty)>,
    ) -> Result<i128, String> {
        let Some((at, certainty)) = found else { return Err(self.misfit(text)) };
        match certainty {
            Certainty::Sure => {}
            Certainty::AssumedUtc => self.assumed_utc = true,
            Certainty::Twice => self.twice.note(text),
            Certainty::Never => self.never.note(text),
        }
        Ok(ms_of(at))
    }

    fn misfit(&self, text: &str) -> String {
        let text_shown = shown(text);
        match &self.decided {
            _ if text.is_empty() => "the time is empty".to_owned(),
            _ if self.typed => format!("the time {text_shown} is out of range"),
            _ if !text.contains(|c: char| c.is_ascii_digit()) => format!(
                "\"{text_shown}\" is no time\na line of totals, or a remark, is no row: leave it out"
            ),
            Some(TimeFormat::Number(unit)) => {
                let (_, unit) = unit.names();
                let hint =
                    if iso(text, None).is_some() { "\n--time-format rfc3339 reads it" } else { "" };
                format!("\"{text_shown}\" is no time in Unix {unit}{hint}")
            }
            Some(TimeFormat::Days) => {
                format!("\"{text_shown}\" is no number of days as spreadsheets count them")
            }
            Some(TimeFormat::Pattern(pattern)) => {
                let hint = match guess(text) {
                    _ if iso(text, None).is_some() => "\n--time-format rfc3339 reads it".to_owned(),
                    Some(others) => format!("\n--time-format {others} reads it, perhaps"),
                    None => String::new(),
                };
                format!("\"{text_shown}\" is not a time of the form {pattern}{hint}")
            }
            _ => {
                let hint = match guess(text) {
                    _ if is_beyond(text) => {
                        return format!(
                            "the time {text_shown} is out of range\nthe last is \
                             9999-12-30T22:00:00Z, and later ones are written in milliseconds"
                        );
                    }
                    Some(patterns) => format!("--time-format {patterns} reads it, perhaps"),
                    None if Decimal::parse(text).is_some_and(|number| number.is_day()) => {
                        "--time-format excel reads the days of a spreadsheet".to_owned()
                    }
                    None if Decimal::parse(text).is_some() => {
                        "--time-format s, ms, us or ns reads numbers".to_owned()
                    }
                    None => "give its pattern: --time-format '%d.%m.%Y %H:%M:%S', say".to_owned(),
                };
                format!("\"{text_shown}\" is no time as in 2026-05-17T08:30:00Z\n{hint}")
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
            format!("\nif it counts {counts}, use --time-format {option}")
        });
        let hint = match number.is_day() {
            true => "\nif it counts days as spreadsheets do, use --time-format excel".to_owned(),
            false => hint,
        };
        self.remark =
            Some(format!("note: the time {} in Unix {counts} is {at}{hint}", shown(text)));
    }

    /// Notes on the times that were read.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.unused_format {
            remarks.push(
                "note: the column of the times has timestamps; --time-format is not used"
                    .to_owned(),
            );
        }
        if let Some(remark) = &self.remark {
            let more = match self.strange {
                1 => String::new(),
                strange => format!(" ({strange} times lie outside 1990 to 2100)"),
            };
            remarks.push(match remark.split_once('\n') {
                Some((first, rest)) => format!("{first}{more}\n{rest}"),
                None => format!("{remark}{more}"),
            });
        }
        if self.assumed_utc {
            remarks.push(
                "note: times without an offset are read as UTC; --time-zone names another zone"
                    .to_owned(),
            );
        }
        let taken = "the earlier instant was taken";
        remarks.extend(self.twice.remark("back", "came twice", taken));
        let taken = "what the clocks skipped was added";
        remarks.extend(self.never.remark("forward", "never came", taken));
        remarks
    }

    /// The format, for messages.
    pub(super) fn describe(&self) -> String {
        match &self.decided {
            Some(TimeFormat::Number(unit)) => format!("Unix {}", unit.names().1),
            Some(TimeFormat::Pattern(pattern)) => pattern.clone(),
            Some(TimeFormat::Iso) => "ISO 8601".to_owned(),
            Some(TimeFormat::Days) => "days of a spreadsheet".to_owned(),
            _ => "the time of the import".to_owned(),
        }
    }
}
