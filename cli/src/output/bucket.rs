//! Buckets of an aggregate as rows of output.

use std::borrow::Cow;

use annals::{Bucket, BucketValue, Function};
use indicatif::HumanCount;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::line::{Header, Kind, Line};
use super::style::Style;
use super::table::Column;
use crate::moment::{date_in_zone, in_zone};
use crate::screen::{shown_name, shown_value};

/// The columns of an aggregate: the functions that were asked for.
pub(crate) struct BucketTable {
    /// Without the count and the skipped rows, which every bucket has.
    functions: Vec<Function>,
    shows_skipped: bool,
    zone: TimeZone,
    style: Style,
}

/// One bucket.
pub(crate) struct BucketLine<'a> {
    table: &'a BucketTable,
    bucket: &'a Bucket,
}

impl BucketTable {
    pub(crate) fn new(shown: &[Function], zone: TimeZone, style: Style) -> Self {
        let mut functions: Vec<Function> = Vec::new();
        for function in shown {
            let is_fixed = matches!(function, Function::Count | Function::Skipped);
            if !is_fixed && !functions.contains(function) {
                functions.push(function.clone());
            }
        }
        Self { functions, shows_skipped: shown.contains(&Function::Skipped), zone, style }
    }

    pub(crate) fn header(&self) -> Header {
        let names = || self.functions.iter().map(|function| function.name().to_owned());
        let before = [
            ("record", Kind::Text),
            ("start", Kind::Time),
            ("end", Kind::Time),
            ("count", Kind::Integer),
            ("skipped", Kind::Integer),
        ];
        let kinds = self.functions.iter().map(|function| {
            let kind = if is_time(function) { Kind::Time } else { Kind::Number };
            (function.name().to_owned(), kind)
        });
        let members = before.map(|(name, kind)| (name.to_owned(), kind)).into_iter();
        let members = members.chain(kinds).chain([("filled".to_owned(), Kind::Text)]);
        let mut columns = vec![Column::name("record"), Column::fixed("start")];
        columns.push(Column::number("count"));
        columns.extend(names().map(|name| Column::number(shown_value(&name))));
        Header::with_members(members, columns)
    }

    pub(crate) fn line<'a>(&'a self, bucket: &'a Bucket) -> BucketLine<'a> {
        BucketLine { table: self, bucket }
    }

    /// The start of a bucket: a date if both ends are local midnights, otherwise a time. The end
    /// has no column, which leaves room for results.
    fn start(&self, start: i64, end: i64) -> String {
        let date = date_in_zone(end, &self.zone).and_then(|_| date_in_zone(start, &self.zone));
        date.unwrap_or_else(|| in_zone(start, &self.zone))
    }

    fn cell(&self, function: &Function, value: BucketValue) -> String {
        match (function, value) {
            (Function::Duration(_), BucketValue::Integer(ms)) => {
                let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                format!("{:#}", SignedDuration::from_millis(ms))
            }
            (function, BucketValue::Integer(at)) if is_time(function) => {
                in_zone(i64::try_from(at).unwrap_or(i64::MAX), &self.zone)
            }
            (_, BucketValue::Integer(integer)) => HumanCount(integer).to_string(),
            (_, value) => shown_number(value.as_f64()),
        }
    }
}

/// Whether the result is a time.
fn is_time(function: &Function) -> bool {
    matches!(function, Function::MinAt | Function::MaxAt | Function::FirstAt | Function::LastAt)
}

/// The result of a function as text; empty if there is none, or none that JSON has a number for.
pub(super) fn result_text(bucket: &Bucket, function: &Function, style: &Style) -> String {
    match bucket.value(function) {
        Some(BucketValue::Integer(at)) if is_time(function) => {
            style.stored_at(at).text().into_owned()
        }
        Some(value) => {
            let text = serde_json::to_string(&value).unwrap_or_default();
            if text == "null" { String::new() } else { text }
        }
        None => String::new(),
    }
}

/// A number for reading: integers in full, others to six significant digits.
pub(crate) fn shown_number(number: f64) -> String {
    const DIGITS: i32 = 6;
    let magnitude = number.abs();
    if !number.is_finite() || number == 0.0 || (number.trunc() == number && magnitude < 1e15) {
        // Without the sign of a negative zero.
        return (number + 0.0).to_string();
    }
    let exponent = magnitude.log10().floor() as i32;
    if !(-5..15).contains(&exponent) {
        return format!("{number:.5e}");
    }
    let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl Serialize for BucketLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let style = &self.table.style;
        if style.has_milliseconds() {
            return self.bucket.serialize(serializer);
        }
        // The same members, with the times written in another way.
        let Bucket { record, start, end, count, skipped, filled, .. } = self.bucket;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("record", &**record)?;
        members.serialize_entry("start", &style.time(*start))?;
        members.serialize_entry("end", &style.time(*end))?;
        members.serialize_entry("count", count)?;
        if *skipped > 0 || self.table.shows_skipped {
            members.serialize_entry("skipped", skipped)?;
        }
        for function in &self.table.functions {
            match self.bucket.value(function) {
                Some(BucketValue::Integer(at)) if is_time(function) => {
                    members.serialize_entry(function.name(), &style.stored_at(at))?;
                }
                Some(value) => members.serialize_entry(function.name(), &value)?,
                None => {}
            }
        }
        if *filled {
            members.serialize_entry("filled", filled)?;
        }
        members.end()
    }
}

impl Line for BucketLine<'_> {
    fn fields(&self) -> Vec<Cow<'_, str>> {
        let Bucket { record, start, end, count, skipped, filled, .. } = self.bucket;
        let style = &self.table.style;
        let time = |ms: i64| style.time(ms).text().into_owned();
        let mut fields: Vec<Cow<'_, str>> = vec![Cow::from(&**record)];
        let numbers = [time(*start), time(*end), count.to_string(), skipped.to_string()];
        fields.extend(numbers.map(Cow::from));
        let result = |function| Cow::Owned(result_text(self.bucket, function, style));
        fields.extend(self.table.functions.iter().map(result));
        fields.push(if *filled { "true" } else { "" }.into());
        fields
    }

    fn cells(&self) -> Vec<String> {
        let Self { table, bucket } = self;
        let mut cells = vec![shown_name(&bucket.record), table.start(bucket.start, bucket.end)];
        cells.push(HumanCount(bucket.count).to_string());
        cells.extend(table.functions.iter().map(|function| {
            let value = bucket.value(function).map(|value| table.cell(function, value));
            value.unwrap_or_default()
        }));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_significant_digits_and_integers_all_of_theirs() {
        for (number, shown) in [
            (0.0, "0"),
            (-0.0, "0"),
            (21.483333333333334, "21.4833"),
            (-1.0 / 3.0, "-0.333333"),
            (2.5, "2.5"),
            (1234567.0, "1234567"),
            (1234567.891, "1234568"),
            (9_007_199_254_740_992.0, "9.00720e15"),
            (0.000_012_345_678, "0.0000123457"),
            (1.5e-9, "1.50000e-9"),
            (1e300, "1.00000e300"),
            (f64::INFINITY, "inf"),
            (999_999.96, "1000000"),
        ] {
            assert_eq!(shown_number(number), shown);
        }
    }

    #[test]
    fn a_bucket_of_whole_days_shows_dates_and_others_times_with_their_offset() {
        let vienna = TimeZone::get("Europe/Vienna").unwrap();
        let table = BucketTable::new(&[], vienna, Style::default());
        // The day of 29 March 2026 has 23 hours.
        let (start, end) = (1_774_738_800_000, 1_774_821_600_000);
        assert_eq!(table.start(start, end), "2026-03-29");
        assert_eq!(table.start(start, end - 3_600_000), "2026-03-29T00:00+01:00");
        assert_eq!(table.start(end - 3_600_000, end), "2026-03-29T23:00+02:00");
        let utc = BucketTable::new(&[], TimeZone::UTC, Style::default());
        assert_eq!(utc.start(1_500, 2_500), "1970-01-01T00:00:01.500Z");
    }
}
