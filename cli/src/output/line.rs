//! Rows of output and their headers.

use std::borrow::Cow;

use annals::RecordSummary;
use serde::Serialize;
use serde_json::value::RawValue;

use super::screen::{shown_name, shown_value};
use super::table::Column;
use crate::moment::{to_the_ms, to_the_second};

/// A row of output. As JSON it is what `Serialize` gives.
pub(crate) trait Line: Serialize {
    /// The exact values for CSV, in the order of the [members](Header::members).
    fn fields(&self) -> Vec<Cow<'_, str>>;

    /// The cells of the table, safe for a terminal, in the order of the
    /// [columns](Header::columns).
    fn cells(&self) -> Vec<String>;
}

/// The names of the members and the columns of the table.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    /// The members' names, in their order in CSV.
    pub(super) members: Vec<Cow<'static, str>>,
    /// The columns of the table, a long one last.
    pub(super) columns: Vec<Column>,
}

impl Header {
    /// The header of stored values.
    pub(crate) fn values() -> Self {
        let columns = [Column::name("record"), Column::fixed("stored_at"), Column::rest("value")];
        Self::new(&["record", "value", "stored_at"], columns)
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
        Self::with_members(names.iter().cloned(), columns)
    }

    /// A header with computed members and columns.
    pub(super) fn with_members(
        members: impl Iterator<Item = String>,
        columns: Vec<Column>,
    ) -> Self {
        Self { members: members.map(Cow::Owned).collect(), columns }
    }

    pub(crate) fn new<const N: usize>(members: &[&'static str], columns: [Column; N]) -> Self {
        Self {
            members: members.iter().copied().map(Cow::Borrowed).collect(),
            columns: columns.into(),
        }
    }
}

/// A stored value.
#[derive(Debug, Serialize)]
pub(crate) struct ValueLine<'a> {
    record: &'a str,
    value: Box<RawValue>,
    stored_at: u64,
}

impl<'a> ValueLine<'a> {
    pub(crate) fn new(record: &'a str, value: Box<RawValue>, stored_at: u64) -> Self {
        Self { record, value: on_one_line(value), stored_at }
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
        vec![self.record.into(), self.value.get().into(), self.stored_at.to_string().into()]
    }

    fn cells(&self) -> Vec<String> {
        vec![shown_name(self.record), to_the_ms(self.stored_at), shown_value(self.value.get())]
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
        let line = serde_json::to_string(&ValueLine::new("r", value, 5)).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["value"], serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn a_value_is_printed_byte_for_byte() {
        let value: Box<RawValue> = serde_json::from_str(" 1.50e+02 ").unwrap();
        let line = serde_json::to_string(&ValueLine::new("r", value, 5)).unwrap();
        assert_eq!(line, r#"{"record":"r","value":1.50e+02,"stored_at":5}"#);
    }
}
