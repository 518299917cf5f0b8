//! Rows on their way from a backend, whose values need not be text.
//!
//! A backend that keeps values in columns hands out [`PageRow`]s with [`Values`]: typed reads deserialize
//! straight from these, and text is made only for those who ask for it. What a typed read returns is what
//! `serde_json` makes of the text: where the two might differ, the text is made and read.

mod de;
mod key;
mod shape;

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::stream::RawRow;

pub use shape::Shape;

/// Rows in memory whose values are kept in another form than text.
pub trait Values: Send + Sync {
    /// Where the scalars of a row are; `None` if its text has to be read.
    fn shape(&self, row: usize) -> Option<&Shape>;

    /// A scalar of a row, by its number in the shape; `None` if the text of the row has to be read.
    fn scalar(&self, row: usize, number: usize) -> Option<ScalarRef<'_>>;

    /// The JSON text of a row.
    fn text(&self, row: usize) -> Arc<str>;
}

/// A scalar as `serde_json` would read it from the text.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ScalarRef<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of 0 to `u64::MAX`.
    Unsigned(u64),
    /// An integer below 0.
    Signed(i64),
    /// Any other number, as its nearest double.
    Float(f64),
    /// A string that is written without escapes.
    Text(&'a str),
}

/// A row of a page.
#[derive(Clone)]
pub struct PageRow {
    pub(crate) record: Arc<str>,
    pub(crate) stored_at: u64,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Text(Arc<str>),
    Values(Arc<dyn Values>, usize),
}

impl PageRow {
    /// Row number `row` of `values`, of `record` at `stored_at` (Unix milliseconds).
    pub fn new(record: Arc<str>, stored_at: u64, values: Arc<dyn Values>, row: usize) -> Self {
        Self { record, stored_at, value: Value::Values(values, row) }
    }

    /// The row with its text.
    pub fn into_raw(self) -> RawRow {
        let json = match self.value {
            Value::Text(json) => json,
            Value::Values(values, row) => values.text(row),
        };
        RawRow::new(self.record, json, self.stored_at)
    }

    /// The value as `T`.
    ///
    /// # Errors
    /// serde_json's, for text that does not deserialize as `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match &self.value {
            Value::Text(json) => serde_json::from_str(json),
            Value::Values(values, row) => match de::read(&**values, *row) {
                Some(value) => Ok(value),
                None => serde_json::from_str(&values.text(*row)),
            },
        }
    }
}

impl From<RawRow> for PageRow {
    fn from(row: RawRow) -> Self {
        Self { record: row.record, stored_at: row.stored_at, value: Value::Text(row.json) }
    }
}

impl fmt::Debug for PageRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clone().into_raw().fmt(f)
    }
}

#[cfg(test)]
mod tests;
