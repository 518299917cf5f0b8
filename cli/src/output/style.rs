//! How times, texts and numbers are written.

use std::borrow::Cow;

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::locale::Locale;
use crate::cell::is_read_as_string;

/// How times are written in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Times {
    /// Unix milliseconds
    Ms,
    /// RFC 3339 in UTC: 2026-05-17T08:30:00.000Z
    Rfc3339,
    /// As a clock on the wall shows them, without an offset: 2026-05-17 10:30:00.000
    Local,
}

/// How rows are written.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    times: Times,
    /// The zone of local times.
    zone: TimeZone,
    /// Whether a table has local times instead of UTC.
    local_table: bool,
    /// Whether a string is written without its quotes in CSV.
    pub(crate) text: bool,
    /// The language of the spreadsheet that CSV is for.
    pub(crate) spreadsheet: Option<Locale>,
}

impl Default for Style {
    fn default() -> Self {
        let (times, zone) = (Times::Ms, TimeZone::UTC);
        Self { times, zone, local_table: false, text: false, spreadsheet: None }
    }
}

/// A time of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Time {
    Ms(i64),
    Text(String),
}

impl Style {
    pub(crate) fn new(
        times: Option<Times>,
        zone: TimeZone,
        text: bool,
        spreadsheet: Option<Locale>,
    ) -> Self {
        let default = if spreadsheet.is_some() { Times::Local } else { Times::Ms };
        let local_table = times == Some(Times::Local);
        let times = times.unwrap_or(default);
        Self { times, zone, local_table, text: text || spreadsheet.is_some(), spreadsheet }
    }

    /// Whether times are Unix milliseconds.
    pub(super) fn has_milliseconds(&self) -> bool {
        self.times == Times::Ms
    }

    /// A time in Unix milliseconds as it is written. What has no date is written as the number.
    pub(crate) fn time(&self, ms: i64) -> Time {
        if self.times == Times::Ms {
            return Time::Ms(ms);
        }
        let Ok(at) = Timestamp::from_millisecond(ms) else { return Time::Ms(ms) };
        Time::Text(match self.times {
            Times::Local => {
                let local = at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
                let point = self.spreadsheet.map_or('.', Locale::decimal_point);
                format!("{local}{point}{:03}", ms.rem_euclid(1000))
            }
            _ => at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        })
    }

    /// As [`time`](Self::time), of a row.
    pub(crate) fn stored_at(&self, ms: u64) -> Time {
        self.time(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// A time for the table, if it is not the one in UTC.
    pub(super) fn in_table(&self, ms: u64) -> Option<String> {
        self.local_table.then(|| self.stored_at(ms).text().into_owned())
    }

    /// The text of a value in CSV.
    pub(super) fn value<'a>(&self, json: &'a str) -> Cow<'a, str> {
        match self.text {
            true => self.text_of(json),
            false => Cow::Borrowed(json),
        }
    }

    /// A string without its quotes if an import reads it as that string anyhow, and other JSON as it
    /// is.
    pub(super) fn text_of<'a>(&self, json: &'a str) -> Cow<'a, str> {
        let decimal_comma = self.spreadsheet.is_some_and(|locale| locale.decimal_point() == ',');
        match bare(json) {
            Cow::Owned(text) if !is_read_as_string(&text, decimal_comma) => Cow::Borrowed(json),
            text => text,
        }
    }
}

/// The content of a JSON string, or other JSON as it is.
pub(super) fn bare(json: &str) -> Cow<'_, str> {
    match json.trim_ascii_start().starts_with('"') {
        true => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
        false => Cow::Borrowed(json),
    }
}

impl Time {
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Ms(ms) => ms.to_string().into(),
            Self::Text(text) => text.into(),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ms(ms) => serializer.serialize_i64(*ms),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(times: Times, locale: Option<&str>) -> String {
        let zone = TimeZone::get("Europe/Vienna").unwrap();
        let locale = locale.map(|name| name.parse().unwrap());
        Style::new(Some(times), zone, false, locale).time(1_779_006_600_120).text().into_owned()
    }

    #[test]
    fn a_time_is_a_number_or_a_text() {
        assert_eq!(times(Times::Ms, None), "1779006600120");
        assert_eq!(times(Times::Rfc3339, None), "2026-05-17T08:30:00.120Z");
        assert_eq!(times(Times::Local, None), "2026-05-17 10:30:00.120");
        assert_eq!(times(Times::Local, Some("de_AT")), "2026-05-17 10:30:00,120");
        assert_eq!(times(Times::Local, Some("en_US")), "2026-05-17 10:30:00.120");
        let style = Style::new(Some(Times::Rfc3339), TimeZone::UTC, false, None);
        assert_eq!(style.time(i64::MAX), Time::Ms(i64::MAX));
    }

    #[test]
    fn a_string_loses_its_quotes_and_nothing_else() {
        for (json, text) in [
            (r#""a\n\"b""#, "a\n\"b"),
            (r#" "x" "#, "x"),
            (r#""""#, ""),
            ("1.50", "1.50"),
            (r#"["a"]"#, r#"["a"]"#),
        ] {
            assert_eq!(bare(json), text);
        }
    }
}
