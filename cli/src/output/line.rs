//! Rows of output and their headers.

use std::borrow::Cow;

use annals::RecordSummary;
use serde::Serialize;
use serde_json::value::RawValue;

use super::style::{Style, Time};
use super::table::Column;
use crate::moment::{to_the_ms, to_the_second};
use crate::screen::{shown_name, shown_value};

/// A row of output. As JSON it is what `Serialize` gives.
pub(crate) trait Line: Serialize {
    /// The exact values for CSV, in the order of the [members](Header::members).
    fn fields(&self) -> Vec<Cow<'_, str>>;

    /// The same for Parquet, without those that there are not.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    fn present(&self) -> Vec<Option<Cow<'_, str>>> {
        self.fields().into_iter().map(|field| Some(field).filter(|f| !f.is_empty())).collect()
    }

    /// The cells of the table, safe for a terminal, in the order of the
    /// [columns](Header::columns).
    fn cells(&self) -> Vec<String>;
}

/// The names of the members and the columns of the table.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    /// The members' names, in their order in CSV.
    pub(super) members: Vec<Cow<'static, str>>,
    /// What each member is.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    pub(super) kinds: Vec<Kind>,
    /// The columns of the table, a long one last.
    pub(super) columns: Vec<Column>,
}

/// What a member is, for formats with types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "parquet"), allow(dead_code))]
pub(crate) enum Kind {
    Text,
    Json,
    Time,
    Integer,
    Number,
}

impl Header {
    /// The header of stored values.
    pub(crate) fn values() -> Self {
        let columns = [Column::name("record"), Column::fixed("stored_at"), Column::rest("value")];
        let kinds = vec![Kind::Text, Kind::Json, Kind::Time];
        Self { kinds, ..Self::new(&["record", "value", "stored_at"], columns) }
    }

    /// The header of a listing of records.
    pub(crate) fn records() -> Self {
        let columns = [
            Column::name("record"),
            Column::number("count"),
            Column::fixed("first"),
            Column::fixed("last"),
        ];
        Self::new(&["record", "count", "first", "last"], columns)
    }

    /// A header with any names.
    #[cfg(feature = "sql")]
    pub(crate) fn of_members(names: &[String]) -> Self {
        let columns = Column::untyped(names.iter().map(|name| shown_name(name)));
        Self::with_members(names.iter().map(|name| (name.clone(), Kind::Text)), columns)
    }

    /// A header with computed members and columns.
    pub(super) fn with_members(
        members: impl Iterator<Item = (String, Kind)>,
        columns: Vec<Column>,
    ) -> Self {
        let (members, kinds) = members.map(|(name, kind)| (Cow::Owned(name), kind)).unzip();
        Self { members, kinds, columns }
    }

    pub(crate) fn new<const N: usize>(members: &[&'static str], columns: [Column; N]) -> Self {
        Self {
            members: members.iter().copied().map(Cow::Borrowed).collect(),
            kinds: vec![Kind::Text; members.len()],
            columns: columns.into(),
        }
    }
}

/// A stored value.
#[derive(Debug, Serialize)]
pub(crate) struct ValueLine<'a> {
    record: &'a str,
    value: Box<RawValue>,
    stored_at: Time,
    #[serde(skip)]
    at: u64,
    #[serde(skip)]
    style: &'a Style,
}

impl<'a> ValueLine<'a> {
    pub(crate) fn new(
        record: &'a str,
        value: Box<RawValue>,
        stored_at: u64,
        style: &'a Style,
    ) -> Self {
        let (value, at) = (on_one_line(value), stored_at);
        Self { record, value, stored_at: style.stored_at(at), at, style }
    }
}

/// Replaces line breaks by spaces. JSON text has them between tokens only, where both mean the same;
/// inside a string they are escaped.
fn on_one_line(value: Box<RawValue>) -> Box<RawValue> {
    if !value.get().contains(['\n', '\r']) {
        return value;
    }
    let spaced = value.get().replace(['\n', '\r'], " ");
    RawValue::from_string(spaced).unwrap_or(value)
}

impl Line for ValueLine<'_> {
    fn fields(&self) -> Vec<Cow<'_, str>> {
        vec![self.record.into(), self.style.value(self.value.get()), self.stored_at.text()]
    }

    fn present(&self) -> Vec<Option<Cow<'_, str>>> {
        self.fields().into_iter().map(Some).collect()
    }

    fn cells(&self) -> Vec<String> {
        let at = self.style.in_table(self.at).unwrap_or_else(|| to_the_ms(self.at));
        vec![shown_name(self.record), at, shown_value(self.value.get())]
    }
}

impl Line for RecordSummary {
    fn fields(&self) -> Vec<Cow<'_, str>> {
        let numbers = [self.count, self.first, self.last].map(|n| Cow::from(n.to_string()));
        [Cow::from(self.record.as_str())].into_iter().chain(numbers).collect()
    }

    fn cells(&self) -> Vec<String> {
        let Self { record, count, first, last, .. } = self;
        let (first, last) = (to_the_second(*first), to_the_second(*last));
        vec![shown_name(record), indicatif::HumanCount(*count).to_string(), first, last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_line_breaks_stays_one_line_and_the_same_value() {
        let text = "{\n  \"a\\nb\": [1,\r\n2]\n}";
        let value: Box<RawValue> = serde_json::from_str(text).unwrap();
        let line =
            serde_json::to_string(&ValueLine::new("r", value, 5, &Style::default())).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["value"], serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn a_value_is_printed_byte_for_byte() {
        let value: Box<RawValue> = serde_json::from_str(" 1.50e+02 ").unwrap();
        let line =
            serde_json::to_string(&ValueLine::new("r", value, 5, &Style::default())).unwrap();
        assert_eq!(line, r#"{"record":"r","value":1.50e+02,"stored_at":5}"#);
    }
}
